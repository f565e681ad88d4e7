"""An aisopod client as somebody writes it from the reference document, who has never heard of meshnode."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.fakes.joiner import Joiner, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Asked

WAIT_S = 10.0
PHONE = {
    "device_name": "Mina's iPhone",
    "device_type": "ios",
    "client_version": "1.4.0",
    "device_id": "6f1c0b52-8a3e-4c2f-9d51-2b7a4f0e9c11",
}
OTHER_ID = "0a7d33a4-52f4-4f0e-8f5c-7c1f4f6f5d20"
REQUESTS = "/api/v1/pairing/requests"


class App:
    """One open socket; the next frame is the answer, as a simple client takes it for granted."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self._calls = 0

    async def call(self, method: str, params: Any) -> dict[str, Any]:
        """Send a request; the whole answer."""
        self._calls += 1
        await self.ws.send_str(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": self._calls}))
        answer = await self.hear()
        assert (answer["jsonrpc"], answer.get("id")) == ("2.0", self._calls), answer
        return answer

    async def result(self, method: str, params: Any) -> Any:
        """The result of a call that succeeds."""
        answer = await self.call(method, params)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, params: Any) -> tuple[int, str]:
        """The JSON-RPC code of a call that fails, and our own code."""
        error = (await self.call(method, params))["error"]
        return error["code"], error["data"]["code"]

    async def hear(self) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(await self.ws.receive_str(timeout=WAIT_S))
        return frame

    async def closed(self) -> int | None:
        """The code of the close frame that comes."""
        message = await self.ws.receive(timeout=WAIT_S)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        code: int | None = message.data
        return code

    async def ask(self, **other: Any) -> str:
        """`node.pair.request`; the code."""
        return str((await self.result("node.pair.request", PHONE | other))["pairing_code"])

    async def confirm(self, code: str, device_id: str = PHONE["device_id"]) -> Any:
        """`node.pair.confirm`, by who may."""
        return await self.result("node.pair.confirm", {"pairing_code": code, "device_id": device_id})

    async def refused(self, code: str, device_id: str = PHONE["device_id"]) -> tuple[int, str]:
        """`node.pair.confirm`, in vain."""
        return await self.error("node.pair.confirm", {"pairing_code": code, "device_id": device_id})


@asynccontextmanager
async def connect(node: Asked, token: str | None = None) -> AsyncIterator[App]:
    """A socket on the public listener; with a token, the device's."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined]
    before = list(transports.values())
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"https://{node.address}/ws", headers=headers, ssl=tls_context()) as ws,
    ):
        (own,) = [transport for transport in transports.values() if transport not in before]
        yield App(ws)
    until = time.monotonic() + WAIT_S
    while own._sock is not None and time.monotonic() < until:  # TLS ends a little later than its session
        await asyncio.sleep(0.002)


@asynccontextmanager
async def connect_owner(node: LocalNode) -> AsyncIterator[App]:
    """The owner's socket, on the control listener."""
    headers = {"Authorization": f"Bearer {node.owner_token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://{node.control_address}/ws", headers=headers) as ws,
    ):
        yield App(ws)


async def asked(node: Asked, method: str, path: str, body: Any = None) -> Any:
    """The control API, without holding up this loop."""
    return await asyncio.to_thread(node.call, method, path, body)


async def waiting(node: Asked) -> list[dict[str, Any]]:
    """The requests as the owner sees them."""
    found: list[dict[str, Any]] = (await asked(node, "GET", REQUESTS))["requests"]
    return found


async def approve(node: Asked, code: str) -> dict[str, Any]:
    """The owner compares the code and approves that request."""
    (request,) = [r for r in await waiting(node) if r["code"] == code]
    approved: dict[str, Any] = (await asked(node, "POST", f"{REQUESTS}/{request['id']}/approve"))["request"]
    return approved


async def paired(node: Asked, **other: Any) -> str:
    """A device that has gone all the way; its token."""
    async with connect(node) as app:
        code = await app.ask(**other)
        await approve(node, code)
        assert (await app.hear())["method"] == "node.pair.approved"
        token: str = (await app.confirm(code, other.get("device_id", PHONE["device_id"])))["device_token"]
        return token


async def is_let_in(node: Asked, token: str) -> bool:
    """Whether the token counts."""
    headers = {"Authorization": f"Bearer {token}"}
    answer = await asyncio.to_thread(Joiner(node.port).request, "GET", "/readyz", None, headers)
    assert answer.status in (200, 401), answer
    return bool(answer.status == 200)
