"""A HomeKit controller (aiohomekit): for each port on stdin, one pair-setup; prints its milliseconds or its failure."""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any

from aiohomekit.controller.ip.connection import HomeKitConnection
from aiohomekit.exceptions import HomeKitException
from aiohomekit.protocol import perform_pair_setup_part1, perform_pair_setup_part2

PIN = "031-45-154"


async def _drive(connection: HomeKitConnection, steps: Generator[Any, Any, Any]) -> Any:
    request, expected = steps.send(None)
    while True:
        response = await connection.post_tlv("/pair-setup", body=request, expected=expected)
        try:
            request, expected = steps.send(response)
        except StopIteration as result:
            return result.value


async def pair(port: int, store: Path) -> float:
    """Milliseconds from connecting to the stored pairing."""
    began = time.perf_counter()
    connection = HomeKitConnection(None, ["127.0.0.1"], port)
    try:
        await connection.ensure_connection()
        salt, public_key = await _drive(connection, perform_pair_setup_part1(False))
        steps = perform_pair_setup_part2(PIN, str(uuid.uuid4()), salt, public_key)
        pairing = await _drive(connection, steps)
        store.write_text(json.dumps(pairing))
        return (time.perf_counter() - began) * 1000
    finally:
        await connection.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = f"{await pair(int(line), Path(sys.argv[1])):.3f}"
        except HomeKitException as error:
            answer = f"failed: {error!r}"
        print(answer, flush=True)


asyncio.run(main())
