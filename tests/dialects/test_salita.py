"""salita beyond its reference's text: the offer, what verify takes and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.salita_phone import NODE_IDENTITY, Phone, owner, start
from tests.fakes.local_node import LocalNode

HOURS_720_S = 720 * 3600


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
    shown = node.shown("phone-abc-123")
    for text in (shown["name"], shown["hostname"], shown["metadata"]["platform"]):
        assert not set("\x1b\u202e\u200b") & set(text)


def test_both_sides_learn_who_the_other_is(node: LocalNode) -> None:
    """`node` beside `desktop_node`, the same node in both."""
    phone = Phone(node).pair()
    own, desktop = phone.paired["node"], phone.paired["desktop_node"]
    assert own["id"] == desktop["node_id"] == node.id
    assert {"name", "kind", "version", "hostname", "port", "capabilities", "fingerprint"} <= set(own)


def test_through_a_proxy_the_phone_learns_our_public_url(tmp_path: Path) -> None:
    """Our end of the proxy's connection would be `localhost`; the row has the phone's own address and is `remote`."""
    flags = {"http.trusted_proxies": ["127.0.0.0/8"], "listen.public_url": "https://home.example"}
    node = LocalNode(tmp_path / "behind", **flags)
    try:
        node.start()
        phone = Phone(node)
        offer = start(node)
        body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {"node_identity": phone.identity}
        answer = phone.ask("POST", "/auth/pair/verify", body, X_Forwarded_For="192.168.1.2")
        assert answer.status == 200, answer
        desktop = answer.json["desktop_node"]
        assert (desktop["hostname"], desktop["port"]) == ("home.example", 443)
        shown = node.shown("phone-abc-123")
        assert (shown["hostname"], shown["metadata"]["remote"]) == ("192.168.1.2", True)
        token = {"Authorization": f"Bearer {answer.json['session_token']}"}
        update = {"metadata": {"remote": False, "battery": 80}}
        assert phone.ask("POST", "/api/node/heartbeat", update, X_Forwarded_For="192.168.1.2", **token).status == 200
        assert node.shown("phone-abc-123")["metadata"] == {"remote": True, "battery": 80}, "the mark is ours"
    finally:
        node.close()
