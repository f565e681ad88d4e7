"""The listener without TLS: what of the node is on it, route by route and method by method."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.config import load_config
from meshnode.dialects.table import DIALECTS
from meshnode.domain.principal import NEEDS, Action, Need
from meshnode.transport.http_server import Route
from meshnode.transport.rpc_socket import Method
from tests.dialects.abpa3_app import OFFERS, WebSocket, ask_plain, plain_app, plain_node
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode

THIN = ("salita", "aisopod", "mylzip", "abpa3")


class Nothing:
    """Stands for the use cases while routes are only listed."""

    def __getattr__(self, name: str) -> Any:
        return Nothing()

    def __setitem__(self, *_: Any) -> None:
        return

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Nothing()


def served() -> tuple[list[tuple[str, Route]], list[tuple[str, Method]]]:
    """Every route and every method that any dialect registers."""
    config = load_config({}, {"MESHNODE_CONFIG": "/dev/null"}).config
    routes, methods = [], []
    for dialect in DIALECTS:
        wire = dialect.serve(Nothing(), getattr(config, dialect.name, None))  # type: ignore[arg-type]
        routes += [(dialect.name, route) for route in wire.routes]
        methods += [(dialect.name, method) for method in wire.methods]
    return routes, methods


ROUTES, METHODS = served()


def may_be_plain(name: str, entry: Route | Method) -> bool:
    """What the text allows there: of thin clients' dialects, what needs no more than a device; events; the probe."""
    if name not in THIN:
        return isinstance(entry, Method) and entry.name.startswith("event.")
    return "public" in entry.listeners and NEEDS[entry.action] in (Need.ANYONE, Need.PAIRED, Need.DEVICE)


@pytest.fixture(scope="module")
def all_spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node that speaks every thin clients' dialect without TLS."""
    node = plain_node(Path(tmp_path_factory.mktemp("plain")) / "node", **{"listen.plain_dialects": list(THIN)})
    try:
        yield node.start()
    finally:
        node.close()


@pytest.mark.parametrize(("name", "route"), ROUTES, ids=lambda value: getattr(value, "path", value))
def test_only_thin_clients_routes_are_there(all_spoken: LocalNode, name: str, route: Route) -> None:
    """No owner's, operator's or mesh route, even for who has the right token; what a device may ask, is."""
    path = route.path.replace("{ref}", "x").replace("{offer_id}", "x").replace("{request_id}", "x")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {all_spoken.owner_token}"}
    answer = ask_plain(all_spoken, route.method, path, headers, None if route.body is None else b"{}")
    if may_be_plain(name, route) or route.path == "/healthz":
        assert answer.code in ("token_required", "token_expired"), (
            "it is there, and the owner's token counts for nothing"
        )
    else:
        assert answer.code in ("not_found", "method_not_allowed"), answer


def test_the_cores_own_routes_stay_away(all_spoken: LocalNode) -> None:
    """Metrics and the API's description need more than this listener gives."""
    app = plain_app(all_spoken)
    headers = {"Authorization": f"Device {app.key}"}
    for path in ("/metrics", "/openapi.json", "/readyz", "/api/v1/node", "/mesh/v1/identity"):
        assert ask_plain(all_spoken, "GET", path, headers).code == "not_found", path
    assert ask_plain(all_spoken, "GET", "/healthz").json == {"status": "ok"}


@pytest.mark.parametrize(("name", "method"), METHODS, ids=lambda value: getattr(value, "name", value))
def test_only_thin_clients_methods_are_there(all_spoken: LocalNode, name: str, method: Method) -> None:
    """As with the routes; `event.*` for all, nothing else of mesh."""
    app = plain_app(all_spoken)
    with app.connect() as ws:
        code = ws.call(method.name, {"nothing": 0}).get("error", {}).get("code")
    assert (code != -32601) == may_be_plain(name, method)


def test_there_is_something_of_everybody_to_judge() -> None:
    """The tables above are not empty, and tell both kinds apart."""
    assert {name for name, route in ROUTES if may_be_plain(name, route)} >= {"abpa3"}
    kept_away = {NEEDS[route.action] for name, route in ROUTES if not may_be_plain(name, route)}
    assert kept_away >= {Need.OWNER, Need.OPERATOR, Need.PEER}
    assert {method.name for name, method in METHODS if may_be_plain(name, method)} >= {
        "event.subscribe",
        "event.publish",
    }
    assert all(Action.CONNECT is not route.action for _, route in ROUTES), "/ws is the core's"


def test_a_dialect_that_is_not_named_is_not_there(tmp_path: Path) -> None:
    """abpa3 alone by default; without it in `plain_dialects`, not even that."""
    host = plain_node(tmp_path / "a").start()
    try:
        for path in ("/auth/pair/verify", "/graphql", "/api/v1/encrypted/devices/pair"):
            assert ask_plain(host, "POST", path).code == "not_found"
    finally:
        host.close()
    host = plain_node(tmp_path / "b", **{"listen.plain_dialects": []}).start()
    try:
        assert ask_plain(host, "POST", "/api/pair").code == "not_found"
    finally:
        host.close()


def test_off_by_default(tmp_path: Path) -> None:
    """No listener, no warning, and the QR code names the TLS port."""
    host = LocalNode(tmp_path / "host").start()
    try:
        assert host.graph.plain is None
        assert host.call("GET", "/api/v1/node")["degraded"] == []
        assert host.call("POST", OFFERS, {"dialect": "abpa3"})["qr"]["port"] == host.port
    finally:
        host.close()


@pytest.mark.parametrize("name", ["__Host-meshnode", "meshnode"])
def test_no_cookie_is_read(all_spoken: LocalNode, name: str) -> None:
    """A device's token in the session cookie's place opens a stranger's socket."""
    app = plain_app(all_spoken)
    with WebSocket(app.host, app.port, {"Cookie": f"{name}={app.key}"}, tls=False) as ws:
        refusal = ws.call("event.subscribe", {"topics": ["app.*"]})["error"]
    assert refusal["data"]["code"] == "token_required"


def test_no_cookie_is_set(all_spoken: LocalNode) -> None:
    """salita's phone gets its token in the answer alone; over TLS it gets a cookie too."""
    answers: list[Answer] = []
    for ask in (ask_plain, ask_tls):
        offer = all_spoken.call("POST", OFFERS, {"dialect": "salita"})
        body = {
            "code": offer["code"], "pin": offer["pin"], "linking_code": offer["linking_code"],
            "node_identity": {"node_id": f"phone-{len(answers)}", "name": "phone"},
        }  # fmt: skip
        headers = {"Content-Type": "application/json"}
        answers.append(ask(all_spoken, "POST", "/auth/pair/verify", headers, json.dumps(body).encode()))
    assert [answer.status for answer in answers] == [200, 200]
    assert ["set-cookie" in answer.headers for answer in answers] == [False, True]


def ask_tls(node: LocalNode, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
    """As `ask_plain`, over TLS."""
    return Joiner(node.port).request(method, path, body, headers)
