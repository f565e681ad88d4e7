"""The listener without TLS: what of the node is on it, for whom, and what its tokens are worth elsewhere."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshnode.config import load_config
from meshnode.dialects.table import DIALECTS
from meshnode.domain.errors import MeshError
from meshnode.domain.principal import NEEDS, Action, Need
from meshnode.transport.http_server import Route
from meshnode.transport.rpc_socket import Method
from tests.dialects.abpa3_app import OFFERS, App, UpgradeError
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import running_nodes

THIN: tuple[str, ...] = ("salita", "aisopod", "mylzip", "abpa3")
OFFER = {"dialect": "abpa3"}


@dataclass
class Nothing:
    """Stands for the use cases while routes are only listed."""

    def __getattr__(self, name: str) -> Any:
        return Nothing()

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
    flags = {"listen.plain": "127.0.0.1:0", "listen.plain_dialects": list(THIN)}
    node = LocalNode(Path(tmp_path_factory.mktemp("plain")) / "node", **flags)
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """A node with a plain listener as configured by its address alone."""
    made = LocalNode(tmp_path / "node", **{"listen.plain": "127.0.0.1:0"})
    try:
        yield made.start()
    finally:
        made.close()


def ask(port: int, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
    """One request without TLS."""
    app = App({"host": "127.0.0.1", "port": port, "pairToken": ""}, tls=False)
    return app.ask(method, path, body, headers)


def plain_app(node: LocalNode) -> App:
    """An app that has paired over the plain listener."""
    app = App(node.call("POST", OFFERS, OFFER)["qr"], tls=False)
    assert app.port == node.plain_port
    assert app.pair().status == 200
    return app


# ── what is there ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "route"), ROUTES, ids=lambda value: getattr(value, "path", value))
def test_only_thin_clients_routes_are_there(all_spoken: LocalNode, name: str, route: Route) -> None:
    """No owner's, operator's or mesh route, even for who has the right token; what a device may ask, is."""
    path = route.path.replace("{ref}", "x").replace("{offer_id}", "x").replace("{request_id}", "x")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {all_spoken.owner_token}"}
    answer = ask(all_spoken.plain_port, route.method, path, headers, None if route.body is None else b"{}")
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
        assert ask(all_spoken.plain_port, "GET", path, headers).code == "not_found", path
    assert ask(all_spoken.plain_port, "GET", "/healthz").json == {"status": "ok"}


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
    host = LocalNode(tmp_path / "a", **{"listen.plain": "127.0.0.1:0"}).start()
    try:
        for path in ("/auth/pair/verify", "/graphql", "/api/v1/encrypted/devices/pair"):
            assert ask(host.plain_port, "POST", path).code == "not_found"
    finally:
        host.close()
    host = LocalNode(tmp_path / "b", **{"listen.plain": "127.0.0.1:0", "listen.plain_dialects": []}).start()
    try:
        assert ask(host.plain_port, "POST", "/api/pair").code == "not_found"
    finally:
        host.close()


def test_off_by_default(tmp_path: Path) -> None:
    """No listener, no warning, and the QR code names the TLS port."""
    host = LocalNode(tmp_path / "host").start()
    try:
        assert host.graph.plain is None
        assert host.call("GET", "/api/v1/node")["degraded"] == []
        assert host.call("POST", OFFERS, OFFER)["qr"]["port"] == host.port
    finally:
        host.close()


# ── for whom ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/ws", "/healthz", "/api/pair"])
@pytest.mark.parametrize("lan_only", [True, False])
def test_local_sources_only(tmp_path: Path, path: str, lan_only: bool) -> None:
    """Every path, whatever `pairing.lan_only` and `abpa3.lan_only` say."""
    flags = {"http.trusted_proxies": ["127.0.0.0/8"], "pairing.lan_only": lan_only, "abpa3.lan_only": lan_only}
    host = LocalNode(tmp_path / "host", **{"listen.plain": "127.0.0.1:0", **flags}).start()
    method = "POST" if path == "/api/pair" else "GET"
    try:
        far = ask(host.plain_port, method, path, {"X-Forwarded-For": "203.0.113.9"})
        near = ask(host.plain_port, method, path, {"X-Forwarded-For": "192.168.1.7"})
    finally:
        host.close()
    assert (far.status, far.code) == (403, "not_local")
    assert near.code != "not_local"


def test_forwarding_headers_of_nobody_we_trust_are_refused(node: LocalNode) -> None:
    """They say that somebody else is asking."""
    answer = ask(node.plain_port, "GET", "/healthz", {"Via": "1.1 somewhere"})
    assert (answer.status, answer.code) == (403, "proxy_not_configured")


def test_no_cookie_is_read(all_spoken: LocalNode) -> None:
    """A device's token in the session cookie's name is nobody's there."""
    app = plain_app(all_spoken)
    own = dict.fromkeys(("__Host-meshnode", "meshnode"), app.key)
    for name, token in own.items():
        with pytest.raises(UpgradeError) as refused:
            app.connect("", Cookie=f"{name}={token}")
        assert refused.value.answer.status == 401
        with socket.create_connection(("127.0.0.1", all_spoken.plain_port), 10) as _:
            stranger = ask(all_spoken.plain_port, "GET", "/healthz", {"Cookie": f"{name}={token}"})
            assert stranger.status == 200
            assert "set-cookie" not in stranger.headers


# ── what its tokens are worth ──────────────────────────────────────────────────────────────────────────────────────


def test_a_token_counts_where_it_was_issued(node: LocalNode) -> None:
    """Keys from the plain listener are refused on TLS and the other way round; for HTTP and the socket."""
    plain = plain_app(node)
    offer = node.call("POST", OFFERS, OFFER)["qr"] | {"port": node.port}
    tls = App(offer, tls=True)
    assert tls.pair("Desk").status == 200
    for app, other in ((plain, tls), (tls, plain)):
        stray = App({"host": "127.0.0.1", "port": other.port, "pairToken": ""}, tls=other.tls)
        with pytest.raises(UpgradeError) as refused:
            stray.connect(app.key)
        assert (refused.value.answer.status, refused.value.answer.code) == (401, "token_required")
        answer = stray.ask("GET", "/healthz", headers={"Authorization": f"Device {app.key}"})
        assert answer.status == 401
        app.connect().drop()


def test_a_plain_token_stays_at_level_1(node: LocalNode) -> None:
    """Whatever the owner makes of the row: anybody on the wire can read that token. Restarts don't change it."""
    app = plain_app(node)
    node.call("PUT", f"/api/v1/nodes/{app.device_id}/trust", {"level": 2})
    session = node.graph.use.sessions.find(app.key)
    assert (session.principal.level, session.listener) == (1, "plain")
    node.restart()
    assert node.graph.use.sessions.find(app.key).principal.level == 1
    assert node.shown(app.device_id)["trust_level"] == 2
    app = App({"host": "127.0.0.1", "port": node.plain_port, "pairToken": ""}, tls=False)


def test_a_peers_session_is_no_token_there(node: LocalNode) -> None:
    """Sessions are made over TLS."""
    peer = Joiner(node.port)
    peer.pair(node.offer().pin)
    assert peer.open_session().status == 200
    answer = ask(node.plain_port, "GET", "/healthz", {"Authorization": f"Bearer {peer.token}"})
    assert answer.status == 401


def test_pairing_again_over_tls_ends_the_plain_key(node: LocalNode) -> None:
    """One device moves up: without its plain key, which counts for nothing there, it is a new row."""
    app = plain_app(node)
    offer = node.call("POST", OFFERS, OFFER)["qr"] | {"port": node.port}
    moved = App(offer, tls=True)
    assert moved.pair(headers={"Authorization": f"Device {app.key}"}).status == 401
    assert moved.pair().status == 200
    assert moved.device_id == "pixel7-2"
    app.connect().drop()


def test_revoking_ends_a_plain_socket(node: LocalNode) -> None:
    """As on TLS."""
    app = plain_app(node)
    with app.connect() as ws:
        node.call("POST", f"/api/v1/nodes/{app.device_id}/revoke")
        assert ws.closed() == (4001, "revoked")


# ── told ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_owner_is_told(node: LocalNode, caplog: pytest.LogCaptureFixture) -> None:
    """A warning at the start, the address among the listeners, and `plain_listener` in what is degraded."""
    with caplog.at_level(logging.WARNING):
        node.restart()
    address = f"http://127.0.0.1:{node.plain_port}"
    assert any(address in record.message for record in caplog.records if record.levelno == logging.WARNING)
    status = node.call("GET", "/api/v1/node")
    assert address in status["listeners"]
    assert [entry["code"] for entry in status["degraded"]] == ["plain_listener"]
    assert address in status["degraded"][0]["detail"]


def test_a_port_in_use_ends_the_start(tmp_path: Path) -> None:
    """75, naming the address: the owner asked for that very port."""
    with running_nodes(tmp_path) as nodes, socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        node = nodes.make(MESHNODE_LISTEN__PLAIN=address)
        with pytest.raises(AssertionError, match="ended at once"):
            node.start()
        assert node.process is not None
        assert node.process.returncode == 75
        assert address in node.log()


def test_a_killed_daemon_takes_its_plain_devices_back(tmp_path: Path) -> None:
    """kill -9 of a real one: same port, same key, no new pairing; a clean stop tells the socket."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_nodes(tmp_path) as nodes:
        node = nodes.start(MESHNODE_LISTEN__PLAIN=f"127.0.0.1:{port}")
        app = App(node.call("POST", OFFERS, OFFER)["qr"], tls=False)
        assert app.port == port
        assert app.pair().status == 200
        with app.connect() as ws:
            node.kill()
            with pytest.raises(ConnectionError):
                ws.closed()
        node.start()
        with app.connect() as ws:
            assert "result" in ws.call("event.subscribe", {"topics": ["app.*"]})
            assert node.is_online(app.device_id)
            assert node.stop() == 0
            assert ws.closed()[0] == 1001


@pytest.mark.parametrize("value", ["nonsense:port", "127.0.0.1:99999", ""])
def test_a_bad_address_is_named(value: str) -> None:
    """As every setting."""
    with pytest.raises(MeshError, match=r"listen\.plain"):
        load_config({"listen.plain": value}, {"MESHNODE_CONFIG": "/dev/null"})


def test_slow_and_many_visitors_are_held_off(node: LocalNode) -> None:
    """The door is the same as on TLS: nine silent connections of one source, and the oldest is gone."""
    connections = [socket.create_connection(("127.0.0.1", node.plain_port), 10) for _ in range(9)]
    try:
        assert connections[0].recv(1) == b""
        assert ask(node.plain_port, "GET", "/healthz").status == 200
    finally:
        for connection in connections:
            connection.close()


def test_bodies_are_capped(node: LocalNode) -> None:
    """8 KiB before a token, here too."""
    app = App(node.call("POST", OFFERS, OFFER)["qr"], tls=False)
    answer = app.pair("x" * 10_000)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert app.pair().status == 200
