"""Every kind of caller there is, at one node with all listeners; for the authorisation tests."""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from websockets.exceptions import InvalidStatus

from meshnode.domain.principal import Action, ListenerName
from meshnode.transport.http_server import Route
from meshnode.transport.rpc_server import RpcServer
from meshnode.transport.rpc_socket import Method
from tests.dialects.asking import RpcClient, bearer
from tests.dialects.conformance import Mesh
from tests.dialects.drivers import Salita
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

LISTENERS: Final[tuple[ListenerName, ...]] = ("public", "control", "plain")
CALLERS: Final = (
    "anonymous", "device 1", "device 2", "peer 1", "peer 2", "announced", "revoked device", "revoked peer", "owner",
    "plain device",
)  # fmt: skip
ALL_DIALECTS: Final = ["salita", "aisopod", "mylzip", "abpa3"]
INVALID: Final = b"[]"  # no body and no parameters of any entry point: what passes the gate is refused, harmlessly


class Principals(msgspec.Struct):
    """The node and a token of each caller."""

    host: LocalNode
    tokens: dict[str, str]
    ids: dict[str, str]

    def counts_on(self, caller: str) -> ListenerName:
        """The one listener where the caller's token counts."""
        return {"owner": "control", "plain device": "plain"}.get(caller, "public")  # type: ignore[return-value]

    def address(self, listener: str) -> str:
        """HOST:PORT."""
        ports = {"public": self.host.address, "plain": f"127.0.0.1:{self.host.plain_port}"}
        return ports.get(listener, self.host.control_address)

    def ask(self, caller: str, listener: str, method: str, path: str, body: bytes | None = INVALID) -> Answer:
        """One request."""
        headers = {"Content-Type": "application/json", **bearer(self.tokens.get(caller))}
        sent = None if method in ("GET", "HEAD") else body
        if listener == "public":
            return Joiner(self.host.port).request(method, path, sent, headers)
        return ask_control(self.address(listener), method, path, sent, headers)

    def call(self, caller: str, listener: str, method: str, params: Any) -> str:
        """`ok`, the stable code of a refusal, or JSON-RPC's own number."""
        scheme = "wss" if listener == "public" else "ws"
        try:
            with RpcClient(f"{scheme}://{self.address(listener)}/ws", bearer(self.tokens.get(caller))) as socket:
                return socket.ask(method, params).code
        except InvalidStatus as error:
            return str(json.loads(error.response.body or b"{}")["code"])

    # ── what there is ──────────────────────────────────────────────────────────────────────────────────────────────

    def routes(self) -> dict[tuple[ListenerName, str], Action]:
        """Every HTTP route of the composed graph, whoever added it: (listener, `METHOD path`) → its Action."""
        return {(listener, f"{r.method} {r.path}"): r.action for listener in LISTENERS for r in self._routes(listener)}

    def _routes(self, listener: ListenerName) -> list[Route]:
        app = getattr(self.host.graph, listener)._app
        found = [inspect.getclosurevars(r.handler).nonlocals["route"] for r in app.router.routes()]
        assert all(isinstance(route, Route) for route in found), "a route that no gate stands before"
        return found

    def methods(self) -> dict[tuple[ListenerName, str], Action]:
        """Every JSON-RPC method of the composed graph: (listener, name) → its Action."""
        (rpc,) = {
            r.answer.__self__  # type: ignore[attr-defined]
            for listener in LISTENERS
            for r in self._routes(listener)
            if r.path == "/ws"
        }
        assert isinstance(rpc, RpcServer)
        methods: dict[tuple[ListenerName, str], Method] = rpc._methods
        return {key: method.action for key, method in methods.items()}


@contextmanager
def principals(folder: Path) -> Iterator[Principals]:
    """One node, and everybody who may call it."""
    flags: dict[str, Any] = {"listen.plain": "127.0.0.1:0", "listen.plain_dialects": ALL_DIALECTS}
    host = LocalNode(folder / "host", **flags)
    try:
        host.start()
        yield _introduce(host)
    finally:
        host.close()


def _introduce(host: LocalNode) -> Principals:
    tokens, ids = {"owner": host.owner_token}, {}
    for name, driver, level in (
        ("device 1", Salita(host), 1),
        ("device 2", Salita(host), 2),
        ("peer 1", Mesh(host), 1),
        ("peer 2", Mesh(host), 2),
        ("announced", Salita(host), 0),
        ("revoked device", Salita(host), 1),
        ("revoked peer", Mesh(host), 1),
    ):
        device, done = driver.paired()
        tokens[name], ids[name] = done.token, device.id
        if level == 2:
            host.call("PUT", f"/api/v1/nodes/id:{device.id}/trust", {"level": 2})
        elif level == 0:  # no such token can be made: a row without rights has none, and losing the rights ends it
            host.graph.use.sessions.set_level(device.id, 0)
        if name.startswith("revoked"):
            host.call("POST", f"/api/v1/nodes/id:{device.id}/revoke")
    tokens["plain device"], ids["plain device"] = _pair_plainly(host)
    host.call("PUT", f"/api/v1/nodes/id:{ids['plain device']}/trust", {"level": 2})  # and still acts at level 1
    return Principals(host, tokens, ids)


def _pair_plainly(host: LocalNode) -> tuple[str, str]:
    started = host.call("POST", "/auth/pair/start", {})
    body = {name: started[name] for name in ("code", "pin", "linking_code")}
    body["node_identity"] = {"node_id": str(uuid.uuid4()), "name": "old client"}
    headers = {"Content-Type": "application/json"}
    answer = ask_control(
        f"127.0.0.1:{host.plain_port}", "POST", "/auth/pair/verify", json.dumps(body).encode(), headers
    )
    assert answer.status == 200, answer
    return answer.json["session_token"], body["node_identity"]["node_id"]
