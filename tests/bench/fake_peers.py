"""Answers as any number of paired peers would, on every address of this machine: nonces, sessions, heartbeats.

`GET /counts` tells how many heartbeats each sender has been answered: {path: count}.
"""

import asyncio
import resource
import ssl
import sys
from asyncio import sslproto
from collections import Counter
from pathlib import Path

import msgspec
from aiohttp import web

from meshnode.dialects.mesh.codec import Nonce, OpenedSession, encode_binary
from meshnode.domain.heartbeat import Heartbeat
from meshnode.transport.tls_listener import TLS_BUFFER_BYTES
from tests.bench.seed import PEER_EPOCH

HEARTBEAT, NAIVE = "/mesh/v1/heartbeat", "/naive"
SESSION_S = 7200.0
beats: Counter[str] = Counter()
decode = msgspec.json.Decoder(Heartbeat).decode


def answer_with(body: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


async def nonce(_: web.Request) -> web.Response:
    return answer_with(Nonce(nonce=encode_binary(bytes(32))))


async def session(_: web.Request) -> web.Response:
    return answer_with(OpenedSession(token="t" * 43, expires_in=SESSION_S, epoch_held=0, revision_held=0))


async def heartbeat(request: web.Request) -> web.Response:
    """The peer knows what the sender announces, and has nothing new to say."""
    beat = decode(await request.read())
    beats[request.path] += 1
    return answer_with(
        Heartbeat(
            epoch=PEER_EPOCH,
            sequence=beat.sequence,
            announcement_sha256=beat.known_sha256 or "A" * 43,
            known_sha256=beat.announcement_sha256,
        )
    )


async def counts(_: web.Request) -> web.Response:
    return web.Response(body=msgspec.json.encode(beats), content_type="application/json")


async def main(port: int, pem: Path) -> None:
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    app = web.Application()
    app.router.add_post("/mesh/v1/nonce", nonce)
    app.router.add_post("/mesh/v1/session", session)
    app.router.add_post(HEARTBEAT, heartbeat)
    app.router.add_post(NAIVE, heartbeat)
    app.router.add_get("/counts", counts)
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=330.0)
    await runner.setup()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    await web.TCPSite(runner, "0.0.0.0", port, backlog=1024, ssl_context=context).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
