"""The obvious sender: a task and a timer per peer, spread evenly over the interval; aiohttp, TLS, keep-alive.

It sends the same heartbeat to the same fake peers as a node does, and does nothing else.
"""

import asyncio
import resource
import sys
from asyncio import sslproto

import aiohttp
import msgspec

from meshnode.domain.heartbeat import Heartbeat
from meshnode.transport.http_client import KEEPALIVE_S, pin
from meshnode.transport.tls_listener import TLS_BUFFER_BYTES
from tests.bench.fake_peers import NAIVE

decode = msgspec.json.Decoder(Heartbeat).decode


async def beat(session: aiohttp.ClientSession, url: str, fingerprint: aiohttp.Fingerprint, wait_s: float) -> None:
    """One peer's heartbeat, once."""
    await asyncio.sleep(wait_s)
    async with session.post(
        url,
        data=msgspec.json.encode(Heartbeat(epoch=1, sequence=1, announcement_sha256="A" * 43, known_sha256="B" * 43)),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {'t' * 43}"},
        ssl=fingerprint,
    ) as response:
        if response.status != 200:
            raise RuntimeError(f"{url} answers {response.status}")
        decode(await response.read())


async def main(hosts: list[str], port: int, sha256: bytes, interval_s: float) -> None:
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fingerprint = pin(sha256)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def keep_beating(number: int, host: str) -> None:
            url = f"https://{host}:{port}{NAIVE}"
            await beat(session, url, fingerprint, number * interval_s / len(hosts))
            while True:
                await beat(session, url, fingerprint, interval_s)

        await asyncio.gather(*(keep_beating(number, host) for number, host in enumerate(hosts)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[4:], int(sys.argv[1]), bytes.fromhex(sys.argv[2]), float(sys.argv[3])))
