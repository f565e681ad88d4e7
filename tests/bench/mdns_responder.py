"""Publishes many services of our type from one host: the last of its network interfaces to come up. Then waits."""

import asyncio
import os
import sys
from pathlib import Path

from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from meshnode.domain.identity import make_node_id
from meshnode.transport.txt_record import SERVICE_TYPE, TxtRecord, encode_txt, format_instance


async def main(count: int, address: str, ready: Path) -> None:
    zeroconf = AsyncZeroconf(interfaces=[address])
    announcing = []
    for number in range(count):
        node_id = make_node_id(number, os.urandom(10))
        info = ServiceInfo(
            SERVICE_TYPE,
            f"{format_instance(f'node {number}', node_id)}.{SERVICE_TYPE}",
            port=6969,
            properties=encode_txt(TxtRecord(node_id, 1, "0" * 16, pairing_open=False)),
            server=f"{node_id}.local.",
            parsed_addresses=[f"10.78.{1 + number // 250}.{number % 250 + 1}"],
        )
        announcing.append(await zeroconf.async_register_service(info, cooperating_responders=True))
    await asyncio.gather(*announcing)
    ready.touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
