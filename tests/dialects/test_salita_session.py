"""salita after the pairing: session and cookie, identity, heartbeat, and the key that comes later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.salita_phone import NODE_IDENTITY, Phone, start
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for
from tests.fakes.plain_http import ask_control

HOURS_720_S = 720 * 3600


# ── session and cookie ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cookie_is_for_our_own_pages_only(node: LocalNode) -> None:
    """Every attribute that keeps it so."""
    answer = Phone(node).verify(start(node))
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name == f"__Host-meshnode={answer.json['session_token']}"
    assert set(attributes) == {f"Max-Age={HOURS_720_S}", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("scheme", ["Bearer", "Device"])
def test_the_session_token_is_a_header_too(node: LocalNode, scheme: str) -> None:
    """`Bearer T` and `Device T` alike; no cookie is renewed then."""
    phone = Phone(node).pair()
    answer = phone.ask("POST", "/api/node/heartbeat", {}, Authorization=f"{scheme} {phone.token}")
    assert answer.status == 200
    assert "set-cookie" not in answer.headers


def test_a_session_slides(node: LocalNode) -> None:
    """Each use starts the 720 hours anew, in the cookie too; unused, it ends."""
    phone = Phone(node).pair()
    for _ in range(3):
        node.clock.step(HOURS_720_S - 60)
        answer = phone.ask("POST", "/api/node/heartbeat", {}, **phone.page())
        assert answer.status == 200
        assert f"Max-Age={HOURS_720_S};" in answer.headers["set-cookie"]
    node.clock.step(HOURS_720_S + 1)
    assert phone.ask("POST", "/api/node/heartbeat", {}, **phone.page()).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Host": "evil.example", "Origin": "https://evil.example"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_another_sites_page_cannot_use_the_cookie(node: LocalNode, headers: dict[str, str]) -> None:
    """403 `bad_origin`, and nothing is changed."""
    phone = Phone(node).pair()
    sent = {name.replace("-", "_"): value for name, value in (phone.page() | headers).items()}
    answer = phone.ask("POST", "/api/node/heartbeat", {"name": "changed"}, **sent)
    assert (answer.status, answer.code) == (403, "bad_origin")
    row = node.row("phone-abc-123")
    assert row is not None
    assert row["name"] == "Felix's iPhone"


def test_a_browser_with_a_dead_cookie_can_pair_again(node: LocalNode) -> None:
    """It counts as nobody where anybody may call; elsewhere, and as a header, a dead token is 401."""
    phone = Phone(node).pair()
    node.call("POST", "/api/v1/nodes/phone-abc-123/revoke")
    assert phone.ask("POST", "/api/node/heartbeat", {}, **phone.page()).status == 401
    assert phone.ask("GET", "/api/node/identity", **phone.page()).status == 200
    assert phone.ask("GET", "/api/node/identity").status == 401
    offer = start(node)
    body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {"node_identity": phone.identity}
    assert phone.ask("POST", "/auth/pair/verify", body).status == 401
    assert phone.ask("POST", "/auth/pair/verify", body, **phone.page()).status == 200


@pytest.mark.parametrize(("presented", "level"), [(True, 2), (False, 1)])
def test_only_a_live_token_keeps_the_level(node: LocalNode, presented: bool, level: int) -> None:
    """By cookie, from our page; the older token dies either way."""
    phone = Phone(node).pair()
    node.call("PUT", "/api/v1/nodes/phone-abc-123/trust", {"level": 2})
    old, offer = phone.token, start(node)
    headers = phone.page() if presented else {}
    phone.token = None
    body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {"node_identity": phone.identity}
    answer = phone.ask("POST", "/auth/pair/verify", body, **headers)
    assert answer.status == 200
    assert node.shown("phone-abc-123")["trust_level"] == level
    phone.token = old
    assert phone.ask("POST", "/api/node/heartbeat", {}).status == 401


def test_a_session_survives_a_restart(node: LocalNode) -> None:
    """Only its digest is stored, and that is enough; the token is nowhere on the disk."""
    phone = Phone(node).pair()
    node.restart()
    assert phone.ask("POST", "/api/node/heartbeat", {}).status == 200
    assert phone.token is not None
    for file in node.data.iterdir():
        assert phone.token.encode() not in file.read_bytes()


def test_a_plain_listener_sets_no_cookie(tmp_path: Path) -> None:
    """Where salita is allowed without TLS at all; the token counts there alone."""
    node = LocalNode(tmp_path / "node", **{"listen.plain": "127.0.0.1:0", "listen.plain_dialects": ["salita"]})
    try:
        node.start()
        offer = start(node)
        body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {"node_identity": NODE_IDENTITY}
        plain = f"127.0.0.1:{node.plain_port}"
        answer = ask_control(
            plain, "POST", "/auth/pair/verify", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        assert answer.status == 200, answer
        assert "set-cookie" not in answer.headers
        assert answer.json["desktop_node"]["port"] == node.plain_port
        phone = Phone(node)
        phone.token = answer.json["session_token"]
        assert phone.ask("GET", "/api/node/identity").status == 401
        assert ask_control(plain, "POST", "/auth/pair/start").status == 404
    finally:
        node.close()


def test_switched_off_it_is_not_there(tmp_path: Path) -> None:
    """404 at every route."""
    node = LocalNode(tmp_path / "node", **{"salita.enabled": False})
    try:
        node.start()
        phone = Phone(node)
        for path in ("/auth/pair/start", "/auth/pair/verify", "/api/node/heartbeat", "/graphql"):
            assert phone.ask("POST", path, {}).status == 404
        assert phone.ask("GET", "/api/node/identity").status == 404
    finally:
        node.close()


# ── identity and heartbeat ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_identity_tells_capabilities_to_the_paired_only(node: LocalNode) -> None:
    """Everybody else gets what is needed to recognise this node."""
    phone = Phone(node)
    answer = phone.ask("GET", "/api/node/identity")
    members = {"node_id", "name", "fingerprint", "public_key", "protocol", "tls_sha256"}
    assert set(answer.json) == members
    joiner = Joiner(node.port)
    assert answer.json["tls_sha256"] == joiner.request("GET", "/mesh/v1/identity").json["tls_sha256"]
    phone.pair()
    assert set(phone.ask("GET", "/api/node/identity").json) == members | {"capabilities"}


def test_a_heartbeat_changes_what_it_says_and_its_own_row_only(node: LocalNode) -> None:
    """Each member alone; ids in it are ignored; nothing said, nothing changed."""
    other = Phone(node, "other").pair()
    phone = Phone(node).pair()
    for said in (
        {"name": "New"}, {"hostname": "h"}, {"port": 1}, {"addresses": ["10.0.0.1"]}, {"capabilities": ["a.b"]},
        {"metadata": {"battery": 0.5}},
    ):  # fmt: skip
        answer = phone.ask("POST", "/api/node/heartbeat", said | {"node_id": "other", "id": "other"})
        assert (answer.status, answer.json["ok"], answer.json["status"]) == (200, True, "online")
        assert answer.json["node"]["id"] == node.id
    shown = node.shown("phone-abc-123")
    assert (shown["name"], shown["hostname"], shown["port"], shown["addresses"]) == ("New", "h", 1, ["10.0.0.1"])
    assert ([c["name"] for c in shown["capabilities"]], shown["metadata"]) == (["a.b"], {"battery": 0.5})
    assert node.shown("other")["name"] == "Felix's iPhone"
    rows = node.rows()
    assert phone.ask("POST", "/api/node/heartbeat", {}).status == 200
    assert [{**r, "last_seen": 0} for r in node.rows()] == [{**r, "last_seen": 0} for r in rows]
    assert other.ask("POST", "/api/node/heartbeat", {"metadata": None}).status == 200


@pytest.mark.parametrize(
    ("field", "said"),
    [("port", {"port": 65536}), ("metadata", {"metadata": {"x": 2**60}}), ("addresses", {"addresses": ["x"]}),
     ("hostname", {"hostname": "\u202e"}), ("capabilities", {"capabilities": ["\u202e"]}), ("name", {"name": 1})],
)  # fmt: skip
def test_a_malformed_heartbeat_changes_nothing(node: LocalNode, field: str, said: dict[str, Any]) -> None:
    """Not even its good members."""
    phone = Phone(node).pair()
    answer = phone.ask("POST", "/api/node/heartbeat", {"name": "New"} | said)
    assert (answer.code, answer.json["field"]) == ("invalid_params", field)
    assert node.shown("phone-abc-123")["name"] == "Felix's iPhone"


def test_a_heartbeat_is_evidence_of_life(node: LocalNode) -> None:
    """Silent for 150 s it is stale, for 360 s offline; then a heartbeat makes it online."""
    phone = Phone(node).pair()
    for ahead_s, status in ((140, "online"), (30, "stale"), (200, "offline")):
        node.clock.step(ahead_s)
        node.graph.sweeper.judge_due()
        assert node.shown("phone-abc-123")["status"] == status
    assert phone.ask("POST", "/api/node/heartbeat", {}).json["status"] == "online"
    assert node.is_online("phone-abc-123")


def test_a_peer_is_sent_to_its_own_heartbeat(node: LocalNode) -> None:
    """409 `use_mesh_heartbeat`; its row is as it was."""
    joiner = Joiner(node.port)
    joiner.pair(node.offer().pin)
    joiner.open_session()
    before = node.shown(joiner.id)["name"]
    phone = Phone(node)
    phone.token = joiner.token
    answer = phone.ask("POST", "/api/node/heartbeat", {"name": "other"})
    assert (answer.status, answer.code) == (409, "use_mesh_heartbeat")
    assert node.shown(joiner.id)["name"] == before


def test_a_changed_row_is_an_event_an_unchanged_none(node: LocalNode) -> None:
    """`mesh.node.updated` for subscribers, once."""
    seen: list[str] = []
    node.graph.use.bus.react(lambda event: seen.append(event.topic))
    phone = Phone(node).pair()
    seen.clear()
    for _ in range(2):
        phone.ask("POST", "/api/node/heartbeat", {"name": "New"})
    assert seen == ["mesh.node.updated"]


# ── the key that comes later ───────────────────────────────────────────────────────────────────────────────────────


def test_a_node_that_proves_its_key_takes_the_id_from_a_phone(node: LocalNode) -> None:
    """Native pairing over a keyless row ends that row's tokens, now and after a restart, and drops its metadata."""
    joiner = Joiner(node.port)
    phone = Phone(node, joiner.id).pair()
    assert phone.ask("POST", "/api/node/heartbeat", {}).status == 200
    joiner.pair(node.offer().pin)
    assert phone.ask("POST", "/api/node/heartbeat", {}).status == 401
    row = node.row(joiner.id)
    assert row is not None
    assert (row["metadata"], row["dialect"]) == ("{}", "mesh")
    assert all(token["revoked_at"] for token in node.rows("device_tokens"))
    node.restart()
    assert phone.ask("POST", "/api/node/heartbeat", {}).status == 401
    offer = start(node)
    phone.token = None
    assert phone.verify(offer).code == "identity_mismatch"


def test_joining_a_node_takes_its_id_from_a_phone(node: LocalNode, tmp_path: Path) -> None:
    """The same when it is we who join."""
    host = LocalNode(tmp_path / "other")
    try:
        host.start()
        phone = Phone(node, host.id).pair()
        node.join(host.address, host.offer().pin)
        assert phone.ask("POST", "/api/node/heartbeat", {}).status == 401
        assert wait_for("the revoked token", lambda: [t for t in node.rows("device_tokens") if t["revoked_at"]])
        node.restart()
        assert phone.ask("POST", "/api/node/heartbeat", {}).status == 401
    finally:
        host.close()
