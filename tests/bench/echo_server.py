"""C, the ceiling: aiohttp, one process, plain HTTP, that decodes and encodes the heartbeat's JSON and nothing more."""

import asyncio
import sys

import orjson
from aiohttp import web


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps(orjson.loads(await request.read())), content_type="application/json")


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_post("/mesh/v1/heartbeat", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=256).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
