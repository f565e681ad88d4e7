"""Heartbeats that count, for machines without wrk: the arguments and the answer of heartbeats.lua, in asyncio.

It needs more CPU than the server, so it limits the rate of every variant; only CPU per request says something then.
"""

import argparse
import asyncio
import json
import ssl
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit


class Peers:
    """Whose turn it is, and that peer's next sequence."""

    def __init__(self, tokens: Path, host: str, begin_above: int) -> None:
        known, *lines = tokens.read_text().splitlines()
        self._peers: list[tuple[str, str]] = []
        for line in lines:
            token, announcement = line.split()
            head = (
                f"POST /mesh/v1/heartbeat HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
                "Content-Type: application/json\r\nContent-Length: "
            )
            tail = f',"announcement_sha256":"{announcement}","known_sha256":"{known}"}}'
            self._peers.append((head, tail))
        self._sequences = [begin_above] * len(self._peers)
        self._next = 0

    def request(self) -> bytes:
        number = self._next = (self._next + 1) % len(self._peers)
        self._sequences[number] += 1
        head, tail = self._peers[number]
        body = f'{{"epoch":1,"sequence":{self._sequences[number]}{tail}'
        return f"{head}{len(body)}\r\n\r\n{body}".encode()


@dataclass
class Count:
    """What came back."""

    requests: int = 0
    refused: int = 0
    broken: int = 0


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _one_connection(streams: Streams, peers: Peers, until: float, count: Count) -> None:
    reader, writer = streams
    try:
        while time.monotonic() < until:
            writer.write(peers.request())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            count.requests += 1
            count.refused += not head.startswith(b"HTTP/1.1 200 ")
    except (OSError, asyncio.IncompleteReadError):
        count.broken += 1
    finally:
        writer.close()


async def _run(arguments: argparse.Namespace) -> None:
    parts = urlsplit(arguments.url)
    peers = Peers(arguments.tokens, parts.netloc, arguments.begin_above)
    tls = None
    if parts.scheme == "https":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    streams = [await asyncio.open_connection(parts.hostname, parts.port, ssl=tls) for _ in range(arguments.connections)]
    count = Count()
    started = time.monotonic()
    until = started + arguments.seconds
    async with asyncio.TaskGroup() as group:
        for one in streams:
            group.create_task(_one_connection(one, peers, until, count))
    seconds = time.monotonic() - started
    print(json.dumps({**asdict(count), "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("url")
    parser.add_argument("tokens", type=Path)
    parser.add_argument("begin_above", type=int)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
