"""salita beyond its reference's text: sessions and cookies, refusals, heartbeats of phones, offers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.salita_phone import NODE_IDENTITY, Phone, owner, start
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

HOURS_720_S = 720 * 3600


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """A node whose clock can be stepped."""
    made = LocalNode(tmp_path / "node")
    try:
        yield made.start()
    finally:
        made.close()


# ── the offer ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_offer_is_the_owners(node: LocalNode) -> None:
    """Strangers and level 1 may not open one, level 2 may; the QR picture carries the URL, the URL the secrets."""
    phone = Phone(node)
    assert phone.ask("POST", "/auth/pair/start").status == 401
    phone.pair()
    refused = phone.ask("POST", "/auth/pair/start")
    assert (refused.code, refused.json["ok"]) == ("not_permitted", False)
    node.call("PUT", "/api/v1/nodes/phone-abc-123/trust", {"level": 2})
    offer = phone.ask("POST", "/auth/pair/start").json
    assert set(offer) == {"offer_id", "code", "pin", "linking_code", "url", "qr_svg", "expires_at"}
    assert offer["url"].endswith("." + offer["linking_code"].replace("-", ""))
    assert offer["qr_svg"].startswith("<svg ")


def test_the_cli_opens_the_same_offer(node: LocalNode) -> None:
    """`meshnode pair --phone`: the same members but for the picture, and a phone can pair by it."""
    offer = owner(node, "POST", "/api/v1/pairing/offers", {"dialect": "salita"}).json
    assert set(offer) == {"offer_id", "code", "pin", "linking_code", "url", "expires_at"}
    assert Phone(node).verify(offer).status == 200


def test_a_new_offer_ends_the_one_before(node: LocalNode) -> None:
    """One salita offer is open at a time."""
    old, new = start(node), start(node)
    assert Phone(node).verify(old).code == "offer_replaced"
    assert Phone(node).verify(new).status == 200


def test_an_offer_ends(node: LocalNode) -> None:
    """After its time it is 410, and used once it is 409."""
    offer = start(node)
    node.clock.step(601)
    assert Phone(node).verify(offer).code == "code_expired"
    offer = start(node)
    assert Phone(node).verify(offer).status == 200
    assert Phone(node, "another").verify(offer).code == "code_used"


# ── verify ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_spelling_does_not_matter(node: LocalNode) -> None:
    """The code in capitals and braces, the PIN with a blank, the linking code in small letters without its dash."""
    offer = start(node)
    answer = Phone(node).verify(
        offer,
        code="{" + offer["code"].upper() + "}",
        pin=f" {offer['pin'][:3]} {offer['pin'][3:]} ",
        linking_code=offer["linking_code"].lower().replace("-", ""),
    )
    assert answer.status == 200, answer


def test_three_wrong_secrets_burn_the_offer(node: LocalNode) -> None:
    """A wrong PIN and a wrong linking code cost the same, look the same, and the third ends the offer."""
    offer = start(node)
    phone = Phone(node)
    wrong_pin = f"{(int(offer['pin']) + 1) % 1_000_000:06d}"
    wrong_link = "AAAA-0000" if offer["linking_code"] != "AAAA-0000" else "BBBB-1111"
    answers = [phone.verify(offer, pin=wrong_pin), phone.verify(offer, linking_code=wrong_link)]
    assert [(a.code, a.json["attempts_left"], a.json["ok"]) for a in answers] == [
        ("bad_pin", 2, False),
        ("bad_pin", 1, False),
    ]
    assert answers[0].json["title"] == answers[1].json["title"]
    assert phone.verify(offer, pin=wrong_pin).json["attempts_left"] == 0
    assert phone.verify(offer).code == "offer_burned"
    assert node.row("phone-abc-123") is None


def test_an_unknown_code_is_404(node: LocalNode) -> None:
    """Right secrets beside another code are worth nothing."""
    offer = start(node)
    answer = Phone(node).verify(offer, code="550e8400-e29b-41d4-a716-446655440000")
    assert (answer.status, answer.code) == (404, "code_unknown")


IDENTITY = "node_identity"


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("pin", {"pin": 123456}),
        ("pin", {"pin": "12345"}),
        ("pin", {"pin": "\u0661\u0662\u0663\u0664\u0665\u0666"}),
        ("code", {"code": "550e8400-..."}),
        ("code", {"code": "123456"}),
        ("linking_code", {"linking_code": "ABC-1234"}),
        ("linking_code", {"linking_code": None}),
        (IDENTITY, {IDENTITY: None}),
        (f"{IDENTITY}.node_id", {IDENTITY: {"name": "x"}}),
        (f"{IDENTITY}.node_id", {IDENTITY: NODE_IDENTITY | {"node_id": None}}),
        (f"{IDENTITY}.node_id", {IDENTITY: NODE_IDENTITY | {"node_id": "../x"}}),
        (f"{IDENTITY}.node_id", {IDENTITY: NODE_IDENTITY | {"node_id": "a" * 129}}),
        (f"{IDENTITY}.name", {IDENTITY: {"node_id": "x"}}),
        (f"{IDENTITY}.capabilities", {IDENTITY: NODE_IDENTITY | {"capabilities": ["A B"]}}),
        (f"{IDENTITY}.capabilities", {IDENTITY: NODE_IDENTITY | {"capabilities": [f"c{i}" for i in range(129)]}}),
        (f"{IDENTITY}.capabilities", {IDENTITY: NODE_IDENTITY | {"capabilities": "posting"}}),
        (f"{IDENTITY}.device_info", {IDENTITY: NODE_IDENTITY | {"device_info": ["x"]}}),
        (f"{IDENTITY}.device_info", {IDENTITY: NODE_IDENTITY | {"device_info": {"x": "y" * 5000}}}),
        (f"{IDENTITY}.device_info", {IDENTITY: NODE_IDENTITY | {"device_info": {"x": 10**30}}}),
        (f"{IDENTITY}.port", {IDENTITY: NODE_IDENTITY | {"port": 0}}),
        (f"{IDENTITY}.addresses", {IDENTITY: NODE_IDENTITY | {"addresses": ["nowhere"]}}),
        (f"{IDENTITY}.public_url", {IDENTITY: NODE_IDENTITY | {"public_url": "javascript:x"}}),
    ],
)
def test_a_malformed_body_names_its_field_and_costs_nothing(node: LocalNode, field: str, said: dict[str, Any]) -> None:
    """400 with the field, four times over; the offer is as good as before."""
    offer = start(node)
    for _ in range(4):
        answer = Phone(node).verify(offer, **said)
        assert (answer.status, answer.code, answer.json["ok"]) == (400, "invalid_params", False)
        assert answer.json["field"].startswith(field), answer.json
    assert Phone(node).verify(offer).status == 200


def test_a_body_without_identity_is_refused(node: LocalNode) -> None:
    """The reference's incomplete flow of before: code, PIN and linking code alone."""
    offer = start(node)
    body = {name: offer[name] for name in ("code", "pin", "linking_code")}
    answer = Phone(node).ask("POST", "/auth/pair/verify", body)
    assert (answer.code, answer.json["field"]) == ("invalid_params", "node_identity")


def test_what_a_phone_may_leave_out_and_add(node: LocalNode) -> None:
    """Capabilities and device_info have defaults; where it says it can be reached is believed."""
    phone = Phone(node)
    phone.identity = {"node_id": "bare", "name": "Bare"}
    assert phone.verify(start(node)).status == 200
    row = node.row("bare")
    assert row is not None
    assert (row["capabilities"], row["metadata"], row["kind"], row["port"]) == ("[]", "{}", "other", 6969)
    more = {"hostname": "phone.lan", "port": 7001, "addresses": ["192.168.1.7", "fe80::1"], "kind": "android"}
    assert Phone(node, "rich", public_url="https://me.example/", **more).verify(start(node)).status == 200
    row = node.row("rich")
    assert row is not None
    assert (row["hostname"], row["port"], row["kind"]) == ("phone.lan", 7001, "phone")
    assert json.loads(row["addresses"]) == ["192.168.1.7", "fe80::1"]
    assert json.loads(row["metadata"])["public_url"] == "https://me.example/"


@pytest.mark.parametrize("name", ["\x1b[2Jx", "a" * 10_000, "<script>alert(1)</script>", "\u202egnp.exe", "\u200b"])
def test_hostile_names_are_cleaned_not_refused(node: LocalNode, name: str) -> None:
    """The row's text has no control or bidi characters, and ends."""
    device_info = {"platform": f"ios{name[:500]}"}
    assert Phone(node, name=name, device_info=device_info, hostname=name).verify(start(node)).status == 200
    row = node.row("phone-abc-123")
    assert row is not None
    assert 1 <= len(row["name"]) <= 64
    assert 1 <= len(row["hostname"]) <= 253
    for text in (row["name"], row["hostname"], row["metadata"]):
        assert not set("\x1b\u202e\u200b") & set(json.loads(f'"{text}"') if text.isalnum() else text)
    assert "u202e" not in row["metadata"]


def test_both_sides_learn_who_the_other_is(node: LocalNode) -> None:
    """`node` beside `desktop_node`, the same node in both."""
    phone = Phone(node).pair()
    own, desktop = phone.paired["node"], phone.paired["desktop_node"]
    assert own["id"] == desktop["node_id"] == node.id
    assert {"name", "kind", "version", "hostname", "port", "capabilities", "fingerprint"} <= set(own)


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
        from tests.fakes.plain_http import ask_control

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
    [("port", {"port": 65536}), ("metadata", {"metadata": {"x": 2**60}}), ("addresses", {"addresses": ["x"]})]
    + [("hostname", {"hostname": "\u202e"}), ("capabilities", {"capabilities": ["\u202e"]}), ("name", {"name": 1})],
)
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
    host = LocalNode(tmp_path / "host")
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
