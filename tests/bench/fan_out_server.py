"""The ceiling of `fan-out`: aiohttp WebSockets, one process, plain TCP; what one sends, all others get."""

import asyncio
import sys

from aiohttp import WSMsgType, web

SOCKETS: set[web.WebSocketResponse] = set()


async def serve(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    SOCKETS.add(ws)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            for other in SOCKETS:
                if other is not ws:
                    await other.send_str(message.data)
    SOCKETS.discard(ws)
    return ws


async def main(port: int) -> None:
    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


asyncio.run(main(int(sys.argv[1])))
