"""The obvious design: a token check, one aiosqlite UPDATE and commit per request; WAL and NORMAL, its best case."""

import asyncio
import hashlib
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

import aiosqlite
import orjson
from aiohttp import web

from tests.bench.seed import Seeded, write_tokens

BEAT = "UPDATE mesh_nodes SET status = 'online', last_seen = ?, epoch = ?, sequence = ? WHERE id = ?"


async def main(port: int, data: Path) -> None:
    seeded = Seeded.read(data)
    tokens = {node_id: secrets.token_urlsafe(32) for node_id, _ in seeded.peers}
    ids = {hashlib.sha256(token.encode()).digest(): node_id for node_id, token in tokens.items()}

    async with aiosqlite.connect(data / "meshnode.db") as connection:
        await connection.execute("PRAGMA synchronous=NORMAL")

        async def heartbeat(request: web.Request) -> web.Response:
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            node_id = ids.get(hashlib.sha256(token.encode()).digest())
            if node_id is None:
                return web.Response(status=401)
            beat = orjson.loads(await request.read())
            await connection.execute(BEAT, (datetime.now(UTC).isoformat(), beat["epoch"], beat["sequence"], node_id))
            await connection.commit()
            return web.Response(body=orjson.dumps(beat), content_type="application/json")

        app = web.Application()
        app.router.add_post("/mesh/v1/heartbeat", heartbeat)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=256).start()
        write_tokens(data, "A" * 43, [(tokens[node_id], digest) for node_id, digest in seeded.peers])
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
