"""abpa3's devices once paired: the socket, restarts, the registry; and its offers as the owner handles them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from tests.dialects.abpa3_app import OFFERS, App, paired, refusal, scan
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import running_nodes, wait_for

FAR = {"X-Forwarded-For": "203.0.113.9"}


async def judge(node: LocalNode) -> None:
    """Let the node see who has been silent."""
    node.graph.sweeper.judge_due()


# ── the socket ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_device_is_online_while_its_socket_is_open(node: LocalNode) -> None:
    """However long it says nothing; afterwards as long as any thin client, with its last sign of life."""
    app = paired(node)
    with app.connect() as socket:
        assert "result" in socket.call("event.subscribe", {"topics": ["app.*"]})
        node.clock.step(1000)
        node.run(judge(node))
        assert node.is_online("pixel7")
    wait_for("the socket to be gone", lambda: not node.graph.connections.has_socket("pixel7"))
    left = node.shown("pixel7")["last_seen"]
    node.clock.step(1000)
    node.run(judge(node))
    assert node.shown("pixel7")["status"] == "offline"
    assert node.shown("pixel7")["last_seen"] == left
    app.connect().drop()
    assert node.shown("pixel7")["last_seen"] > left


def test_revoking_ends_the_socket_and_the_key(node: LocalNode) -> None:
    """At once; the registry says so, and only a new offer helps."""
    app = paired(node)
    with app.connect() as socket:
        node.call("POST", "/api/v1/nodes/pixel7/revoke")
        assert socket.closed() == (4001, "revoked")
    assert refusal(app).status == 401
    assert node.call("GET", "/api/devices")["devices"][0]["revoked"] is True
    assert paired(node).device_id == "pixel7-2"


def test_a_refreshed_key_is_a_key(node: LocalNode) -> None:
    """It begins as abpa3's keys do, also after a restart, and opens the socket."""
    app = paired(node)
    for _ in range(2):
        with app.connect() as socket:
            key = socket.call("node.token.refresh", {})["result"]["device_token"]
        assert key.startswith("dev_")
        assert len(key) == len(app.key)
        app.key = key
        app.connect().drop()
        node.restart()


@pytest.mark.parametrize("key", ["dev_92fd8a71e5c4", "", "dev_", "x" * 3000])
def test_a_wrong_key_opens_nothing(node: LocalNode, key: str) -> None:
    """401 before the upgrade, never a stranger's socket."""
    app = paired(node)
    assert refusal(app, key).status == 401


def proxied(folder: Path, **flags: Any) -> LocalNode:
    """A node behind a proxy on this machine, which says for whom it asks."""
    return LocalNode(folder, **{"http.trusted_proxies": ["127.0.0.0/8"], **flags})


@pytest.mark.parametrize("lan_only", [True, False])
def test_the_socket_is_for_the_local_network_too(tmp_path: Path, lan_only: bool) -> None:
    """`abpa3.lan_only` holds whatever `pairing.lan_only` lets in: 403 before the upgrade; off, a socket."""
    host = proxied(tmp_path / "host", **{"abpa3.lan_only": lan_only, "pairing.lan_only": False}).start()
    try:
        app = scan(host)
        assert app.pair(headers=FAR).status == 200, "pairing goes by pairing.lan_only alone"
        app.connect(X_Forwarded_For="192.168.1.7").drop()
        if lan_only:
            answer = refusal(app, None, X_Forwarded_For="203.0.113.9")
            assert (answer.status, answer.code) == (403, "not_local")
        else:
            app.connect(X_Forwarded_For="203.0.113.9").drop()
    finally:
        host.close()


def test_pairing_is_for_the_local_network(tmp_path: Path) -> None:
    """A far source is `not_local`, forwarding headers from nobody we trust `proxy_not_configured`; with `error`."""
    host = proxied(tmp_path / "host").start()
    try:
        far = scan(host).pair(headers=FAR)
    finally:
        host.close()
    open_to_all = LocalNode(tmp_path / "other").start()
    try:
        forged = scan(open_to_all).pair(headers={"X-Forwarded-For": "192.168.1.7"})
        app = paired(open_to_all)
        answer = refusal(app, None, X_Forwarded_For="192.168.1.7")
    finally:
        open_to_all.close()
    assert (far.status, far.code, bool(far.json["error"])) == (403, "not_local", True)
    assert (forged.status, forged.code) == (403, "proxy_not_configured")
    assert (answer.status, answer.code) == (403, "proxy_not_configured")


# ── restarts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_killed_between_every_two_steps(tmp_path: Path) -> None:
    """kill -9 after the offer, after pairing, while connected: the token still pairs, the key still connects."""
    with running_nodes(tmp_path) as nodes:
        node = nodes.start()
        offer = node.call("POST", OFFERS, {"dialect": "abpa3"})
        node.kill()
        node.start()
        assert node.call("GET", f"{OFFERS}/{offer['offer_id']}")["state"] == "open"
        app = App(offer["qr"], tls=True)
        assert app.pair().status == 200
        node.kill()
        node.start()
        assert app.pair("another").status in (404, 409), "whether it was used or never known, it is no token"
        with app.connect() as socket:
            assert node.is_online("pixel7")
            node.kill()
            with pytest.raises(ConnectionError):
                socket.closed()
        node.start()
        with app.connect() as socket:
            assert "result" in socket.call("event.subscribe", {"topics": ["app.*"]})
            assert node.is_online("pixel7")


def test_a_restarted_client_and_a_restarted_node_need_no_new_pairing(node: LocalNode) -> None:
    """All that the app keeps is host, port and key; a clean stop tells its socket."""
    first = paired(node)
    with first.connect() as socket:
        node.restart()
        assert socket.closed() == (1001, "the node is stopping")
    kept = App({"host": first.host, "port": first.port, "pairToken": ""}, tls=True)
    kept.key = first.key
    with kept.connect() as socket:
        assert "result" in socket.call("event.publish", {"topic": "app.ui.sync", "data": None})
    assert [device["deviceId"] for device in node.call("GET", "/api/devices")["devices"]] == ["pixel7"]


# ── the registry and the owner ─────────────────────────────────────────────────────────────────────────────────────


def test_the_registry_is_the_owners(node: LocalNode) -> None:
    """Owner and level 2; nobody else. Rows of other dialects and keys are not in it."""
    Joiner(node.port, id="laptop").pair(node.offer().pin)
    app = paired(node)
    assert app.ask("GET", "/api/devices").status == 401
    headers = {"Authorization": f"Device {app.key}"}
    assert (app.ask("GET", "/api/devices", headers=headers).code) == "not_permitted"
    node.call("PUT", "/api/v1/nodes/pixel7/trust", {"level": 2})
    answer = app.ask("GET", "/api/devices", headers=headers)
    assert [device["deviceId"] for device in answer.json["devices"]] == ["pixel7"]
    assert app.key not in answer.body.decode()
    assert "dev_" not in answer.body.decode()


def test_an_offer_is_watched_and_cancelled_by_its_id(node: LocalNode) -> None:
    """State, expiry and what happened; cancelling ends it, also with no id named."""
    offer = node.call("POST", OFFERS, {"dialect": "abpa3", "expires_in": 60})
    seen = node.call("GET", f"{OFFERS}/{offer['offer_id']}")
    assert 50 < seen.pop("expires_in") <= 60
    assert seen == {
        "offer_id": offer["offer_id"], "dialect": "abpa3", "state": "open", "expires_at": offer["expires_at"],
        "attempts": 3, "activity": {},
    }  # fmt: skip
    assert App(offer["qr"], tls=True).pair().status == 200
    seen = node.call("GET", f"{OFFERS}/{offer['offer_id']}")
    assert seen["state"] == "used"
    assert seen["activity"] == {"paired": "pixel7", "name": "Pixel 7", "address": "127.0.0.1", "was": None}
    assert node.call("DELETE", f"{OFFERS}/{offer['offer_id']}") == {"cancelled": False}
    late = node.call("POST", OFFERS, {"dialect": "abpa3", "expires_in": 60})
    node.clock.step(61)
    assert node.call("GET", f"{OFFERS}/{late['offer_id']}")["state"] == "expired"
    assert node.call("DELETE", OFFERS) == {"cancelled": True}
    with pytest.raises(MeshError, match="that offer is over"):
        node.call("GET", f"{OFFERS}/no-such-offer")


@pytest.mark.parametrize("dialect", ["aisopod", "control", "nonsense", "\u202eabpa3\x07", ""])
def test_a_dialect_without_offers_is_told_which_have_them(node: LocalNode, dialect: str) -> None:
    """400 naming the field and the dialects; devices of the others ask by themselves."""
    with pytest.raises(MeshError, match=r"mesh, .*abpa3") as refused:
        node.call("POST", OFFERS, {"dialect": dialect})
    assert refused.value.code == "invalid_params"
    assert refused.value.members == {"field": "dialect"}
    assert "meshnode requests" in refused.value.detail
    assert "\u202e" not in refused.value.detail


def test_switched_off_it_is_not_there(tmp_path: Path) -> None:
    """404, and no offers of it."""
    host = LocalNode(tmp_path / "host", **{"abpa3.enabled": False}).start()
    try:
        app = App({"host": "127.0.0.1", "port": host.port, "pairToken": "x"}, tls=True)
        assert app.pair().status == 404
        with pytest.raises(MeshError, match="opens no offers"):
            scan(host)
    finally:
        host.close()
