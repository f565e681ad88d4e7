"""The listener without TLS: for whom it answers, what its tokens are worth elsewhere, and how the owner is told."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.config import load_config
from meshnode.domain.errors import MeshError
from tests.dialects.abpa3_app import OFFERS, App, UpgradeError, ask_plain, plain_app, plain_node
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import running_nodes

OFFER = {"dialect": "abpa3"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """A node with a plain listener as configured by its address alone."""
    made = plain_node(tmp_path / "node")
    try:
        yield made.start()
    finally:
        made.close()


# ── for whom ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/ws", "/healthz", "/api/pair"])
@pytest.mark.parametrize("lan_only", [True, False])
def test_local_sources_only(tmp_path: Path, path: str, lan_only: bool) -> None:
    """Every path, whatever `pairing.lan_only` and `abpa3.lan_only` say."""
    flags = {"http.trusted_proxies": ["127.0.0.0/8"], "pairing.lan_only": lan_only, "abpa3.lan_only": lan_only}
    host = plain_node(tmp_path / "host", **flags).start()
    method = "POST" if path == "/api/pair" else "GET"
    try:
        far = ask_plain(host, method, path, {"X-Forwarded-For": "203.0.113.9"})
        near = ask_plain(host, method, path, {"X-Forwarded-For": "192.168.1.7"})
    finally:
        host.close()
    assert (far.status, far.code) == (403, "not_local")
    assert near.code != "not_local"


def test_forwarding_headers_of_nobody_we_trust_are_refused(node: LocalNode) -> None:
    """They say that somebody else is asking."""
    answer = ask_plain(node, "GET", "/healthz", {"Via": "1.1 somewhere"})
    assert (answer.status, answer.code) == (403, "proxy_not_configured")


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
    answer = ask_plain(node, "GET", "/healthz", {"Authorization": f"Bearer {peer.token}"})
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
        assert ask_plain(node, "GET", "/healthz").status == 200
    finally:
        for connection in connections:
            connection.close()


def test_bodies_are_capped(node: LocalNode) -> None:
    """8 KiB before a token, here too."""
    app = App(node.call("POST", OFFERS, OFFER)["qr"], tls=False)
    answer = app.pair("x" * 10_000)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert app.pair().status == 200
