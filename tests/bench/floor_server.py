"""The floor: what any daemon on these libraries costs. aiohttp, aiosqlite, orjson, zeroconf imported; one route."""

import asyncio
import sys

import aiosqlite
import orjson
import zeroconf.asyncio  # noqa: F401  # imported, as the design says; not used
from aiohttp import web


async def health(_: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps({"status": "ok"}), content_type="application/json")


async def main(port: int, database: str) -> None:
    async with aiosqlite.connect(database) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("CREATE TABLE IF NOT EXISTS nodes (id TEXT PRIMARY KEY)")
        await connection.commit()
        app = web.Application()
        app.router.add_get("/healthz", health)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
