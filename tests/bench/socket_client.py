"""Opens many sockets, publishes on one and counts what arrives on the others; a line of JSON at each step.

Steps, each asked for by a line on stdin: `connect`, `publish N`, `end`.
"""

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

TOPIC = "app.bench"
PER_TOKEN = 4  # sockets that one node may hold
WINDOW = 8  # events on their way


class Sockets:
    """All of them, in one process."""

    def __init__(self, url: str, count: int, tokens: list[str]) -> None:
        self._url = url
        self._count = count
        self._tokens = tokens
        self._session: aiohttp.ClientSession
        self._open: list[aiohttp.ClientWebSocketResponse] = []
        self._arrived = 0
        self._moved = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []

    async def connect(self) -> dict[str, Any]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=tls))
        for number in range(self._count + 1):
            headers = {}
            if self._tokens:
                headers["Authorization"] = f"Bearer {self._tokens[number // PER_TOKEN]}"
            ws = await self._session.ws_connect(self._url, headers=headers, compress=0)
            if self._tokens and number:
                subscribe = {"jsonrpc": "2.0", "id": 0, "method": "event.subscribe", "params": {"topics": [TOPIC]}}
                await ws.send_json(subscribe)
                answer = await ws.receive_json()
                if "result" not in answer:
                    raise RuntimeError(f"refused: {answer}")
            self._open.append(ws)
        self._readers = [asyncio.create_task(self._read(ws)) for ws in self._open[1:]]
        return {"connected": self._count}

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for _ in ws:
            self._arrived += 1
            self._moved.set()

    async def publish(self, events: int) -> dict[str, Any]:
        before, began = self._arrived, time.monotonic()
        for number in range(events):
            params = {"topic": TOPIC, "data": {"number": number, "text": "x" * 64}}
            await self._open[0].send_json({"jsonrpc": "2.0", "method": "event.publish", "params": params})
            await self._wait(before + (number + 1 - WINDOW) * self._count)
        await self._wait(before + events * self._count)
        return {"deliveries": self._arrived - before, "seconds": time.monotonic() - began}

    async def _wait(self, arrived: int) -> None:
        async with asyncio.timeout(60):
            while self._arrived < arrived:
                self._moved.clear()
                await self._moved.wait()

    async def end(self) -> dict[str, Any]:
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._session.close()
        return {"ended": True}


async def main() -> None:
    url, count, tokens = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    known = [line.split()[0] for line in Path(tokens).read_text().splitlines()[1:]] if tokens != "-" else []
    sockets = Sockets(url, count, known)
    while line := (await asyncio.to_thread(sys.stdin.readline)).split():
        verb, *arguments = line
        print(json.dumps(await getattr(sockets, verb)(*map(int, arguments))), flush=True)
        if verb == "end":
            return


asyncio.run(main())
