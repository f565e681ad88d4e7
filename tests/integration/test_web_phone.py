"""What the phone page asks: how its offer stands, who is in the mesh, the way out; and what the owner sees of it."""

from __future__ import annotations

import io
import json
import uuid
from typing import Any

import pytest
import segno
from websockets.exceptions import ConnectionClosed

from tests.dialects.asking import RpcClient, bearer
from tests.dialects.conformance import other_digits
from tests.dialects.salita_phone import Phone, owner, start
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode

OFFERS = "/api/v1/pairing/offers"


def opened(node: LocalNode, code: str, **more: Any) -> Answer:
    """What the page posts when it stands before somebody."""
    body = json.dumps({"code": code, **more}).encode()
    return Joiner(node.port).request("POST", "/p/opened", body, {"Content-Type": "application/json"})


def activity(node: LocalNode, offer: dict[str, Any]) -> dict[str, Any]:
    """What the owner sees happen to an offer."""
    seen: dict[str, Any] = node.call("GET", f"{OFFERS}/{offer['offer_id']}")["activity"]
    return seen


def drain(socket: RpcClient) -> None:
    """Read until it ends."""
    while True:
        socket._ws.recv(5)


# ── an invite that was opened ──────────────────────────────────────────────────────────────────────────────────────


def test_the_page_learns_how_its_offer_stands_and_spends_nothing(host: LocalNode) -> None:
    """As often as it asks; getting the page itself tells nobody anything."""
    offer = start(host)
    Joiner(host.port).request("GET", "/p")
    assert activity(host, offer) == {}
    before = host.dump()
    for _ in range(5):
        answer = opened(host, offer["code"], name="Pixel 7")
        assert answer.status == 200
        assert answer.json.keys() == {"state", "expires_at", "expires_in", "attempts_left"}
        assert (answer.json["state"], answer.json["attempts_left"]) == ("open", 3)
        assert 590 < answer.json["expires_in"] <= 600
    assert host.dump() == before
    assert activity(host, offer) == {"visitor": "Pixel 7", "joiner": "127.0.0.1", "attempts_left": 3}
    assert Phone(host).verify(offer).status == 200


def test_a_name_from_outside_is_cleaned(host: LocalNode) -> None:
    """No control or bidi characters, and not without end."""
    offer = start(host)
    opened(host, offer["code"], name="a\u202eb\x1b[2J" + "x" * 200)
    shown = activity(host, offer)["visitor"]
    assert shown.startswith("ab[2Jx")
    assert len(shown) < 100


@pytest.mark.parametrize("ends", ["used", "burned", "expired", "replaced", "cancelled"])
def test_an_offer_that_is_over_says_why(host: LocalNode, ends: str) -> None:
    """As the attempt to use it would."""
    offer = start(host)
    if ends == "used":
        Phone(host).verify(offer)
    elif ends == "burned":
        for _ in range(3):
            Phone(host).verify(offer, pin=other_digits(offer["pin"]))
    elif ends == "expired":
        host.clock.step(601)
    elif ends == "replaced":
        start(host)
    else:
        host.call("DELETE", f"{OFFERS}/{offer['offer_id']}")
    answer = opened(host, offer["code"])
    code = {"used": "code_used", "burned": "offer_burned", "expired": "code_expired",
            "replaced": "offer_replaced", "cancelled": "offer_closed"}[ends]  # fmt: skip
    assert answer.code == code
    assert Phone(host).verify(offer).code == code


def test_other_codes_are_unknown(host: LocalNode) -> None:
    """Made up, or of another dialect."""
    mesh = host.call("POST", OFFERS, {})
    for code in (str(uuid.uuid4()), mesh["code"]):
        assert opened(host, code).code == "code_unknown"
    assert opened(host, "nothing like a code").code == "invalid_params"
    assert host.call("GET", f"{OFFERS}/{mesh['offer_id']}")["activity"] == {}


def test_a_page_of_another_site_opens_nothing(host: LocalNode) -> None:
    """Its browser is on the local network; the page is not."""
    offer = start(host)
    headers = {"Content-Type": "application/json", "Origin": "https://evil.example"}
    answer = Joiner(host.port).request("POST", "/p/opened", json.dumps({"code": offer["code"]}).encode(), headers)
    assert answer.code == "bad_origin"
    assert activity(host, offer) == {}


def test_the_owner_is_told_live(host: LocalNode) -> None:
    """Somebody is entering the PIN; a wrong one; paired: each as an event that carries all there is to show."""
    offer = start(host)
    url = f"ws://{host.control_address}/ws"
    with RpcClient(url, bearer(host.owner_token)) as socket:
        assert socket.ask("event.subscribe", {"topics": ["mesh.pairing.*"]}).is_ok
        phone = Phone(host, name="Pixel 7")
        opened(host, offer["code"], name="Pixel 7")
        phone.verify(offer, pin=other_digits(offer["pin"]))
        phone.verify(offer)
        told = [json.loads(socket._ws.recv(5))["params"] for _ in range(3)]
    assert {event["topic"] for event in told} == {"mesh.pairing.changed"}
    assert {event["data"]["offer_id"] for event in told} == {offer["offer_id"]}
    entering, wrong, paired = (event["data"]["activity"] for event in told)
    assert entering == {"visitor": "Pixel 7", "joiner": "127.0.0.1", "attempts_left": 3}
    assert (wrong["visitor"], wrong["wrong"], wrong["attempts_left"]) == ("Pixel 7", True, 2)
    assert (paired["name"], paired["paired"], paired["was"]) == ("Pixel 7", phone.identity["node_id"], None)
    assert [event["data"]["state"] for event in told] == ["open", "open", "used"]
    assert offer["pin"] not in json.dumps(told)
    assert offer["code"] not in json.dumps(told)


# ── what the owner's page asks of offers ───────────────────────────────────────────────────────────────────────────


def test_an_offer_comes_with_its_picture(host: LocalNode) -> None:
    """The QR code of the URL, or of what the app scans; none where a code is only typed, nor unasked."""
    for dialect in ("mesh", "salita", "abpa3"):
        offer = host.call("POST", OFFERS, {"dialect": dialect, "qr_svg": True})
        text = offer["url"] if "url" in offer else json.dumps(offer["qr"], separators=(",", ":"))
        picture = io.BytesIO()
        segno.make_qr(text, error="m").save(picture, kind="svg", scale=4, light="#fff", xmldecl=False, nl=False)
        assert offer["qr_svg"] == picture.getvalue().decode()
        assert offer["expires_in"] > 100
    assert host.call("POST", OFFERS, {"dialect": "mylzip", "qr_svg": True})["qr_svg"] is None
    assert not {"qr_svg", "expires_in"} & host.call("POST", OFFERS, {}).keys()


def test_open_offers_are_listed_without_their_secrets(host: LocalNode) -> None:
    """Each dialect's, and no PIN or code of them; those that are over are not."""
    made = {dialect: host.call("POST", OFFERS, {"dialect": dialect}) for dialect in ("mesh", "salita", "mylzip")}
    start(host)
    listed = host.call("GET", OFFERS)["offers"]
    assert {offer["dialect"] for offer in listed} == {"mesh", "salita", "mylzip"}
    assert made["salita"]["offer_id"] not in {offer["offer_id"] for offer in listed}
    for offer in made.values():
        assert offer["code"] not in json.dumps(listed)
    assert {frozenset(offer) >= {"offer_id", "state", "expires_at", "expires_in", "activity"} for offer in listed} == {
        True
    }
    host.clock.step(3601)
    assert host.call("GET", OFFERS)["offers"] == []


# ── a phone that is paired ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_phone_sees_who_is_in_the_mesh_and_no_more(host: LocalNode) -> None:
    """Name, kind, status; neither addresses nor keys, the owner's names for nodes, nor who is not in it."""
    phone, other = Phone(host, "phone-1").pair(), Phone(host, "phone-2").pair()
    gone = Phone(host, "phone-3").pair()
    host.call("POST", f"/api/v1/nodes/id:{gone.identity['node_id']}/revoke")
    host.call("PATCH", "/api/v1/nodes/id:phone-2", {"alias": "secret alias"})
    phone.announce(node_id="tv-1")
    answer = phone.ask("GET", "/api/v1/mesh")
    assert answer.status == 200
    nodes = {node["id"]: node for node in answer.json["nodes"]}
    assert nodes.keys() == {host.id, "phone-1", "phone-2"}
    assert all(
        node.keys() == {"id", "name", "kind", "status", "status_reason", "last_seen", "is_current", "is_you"}
        for node in nodes.values()
    )
    assert (nodes["phone-1"]["is_you"], nodes["phone-2"]["is_you"], nodes[host.id]["is_current"]) == (True, False, True)
    assert "secret alias" not in answer.body.decode()
    assert other.ask("GET", "/api/v1/nodes").code == "not_permitted"


def test_a_heartbeat_tells_a_browser_who_it_is(host: LocalNode) -> None:
    """It may have lost all but its cookie; and its rights may have grown."""
    phone = Phone(host, "phone-1", name="Pixel 7").pair()
    assert phone.ask("POST", "/api/node/heartbeat", {}).json["device"] == {
        "id": "phone-1", "name": "Pixel 7", "trust_level": 1
    }  # fmt: skip
    host.call("PUT", "/api/v1/nodes/id:phone-1/trust", {"level": 2})
    assert phone.ask("POST", "/api/node/heartbeat", {}).json["device"]["trust_level"] == 2


def test_a_phone_leaves_by_itself(host: LocalNode) -> None:
    """Its own row alone: cookie cleared, sockets closed as revoked, audited as its own doing."""
    phone, other = Phone(host, "phone-1").pair(), Phone(host, "phone-2").pair()
    with RpcClient(f"wss://{host.address}/ws", bearer(phone.token)) as socket:
        assert socket.ask("event.subscribe", {"topics": ["mesh.node.*"]}).is_ok
        answer = phone.ask("DELETE", "/api/v1/session", {}, **phone.page())
        assert (answer.status, answer.json) == (200, {})
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-meshnode=")
        assert {"Max-Age=0", "Secure", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        with pytest.raises(ConnectionClosed) as ended:
            drain(socket)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (4001, "revoked")
    assert host.shown("phone-1")["trust"] == "revoked"
    assert host.shown("phone-1")["revoked_by"] == "phone-1"
    assert host.shown("phone-2")["trust"] == "paired"
    assert phone.ask("GET", "/api/v1/mesh").status == 401
    assert other.ask("GET", "/api/v1/mesh").status == 200
    entries = host.call("GET", "/api/v1/audit")["entries"]
    assert [e["detail"] for e in entries if e["event"] == "node.revoked"] == ["left by itself"]


def test_who_the_owner_revokes_has_not_left(host: LocalNode) -> None:
    """The audit tells them apart."""
    Phone(host, "phone-1").pair()
    host.call("POST", "/api/v1/nodes/id:phone-1/revoke")
    entries = host.call("GET", "/api/v1/audit")["entries"]
    assert [e["detail"] for e in entries if e["event"] == "node.revoked"] == [None]


def test_another_page_cannot_make_a_phone_leave(host: LocalNode) -> None:
    """The cookie comes by itself; Origin and content type do not."""
    phone = Phone(host, "phone-1").pair()
    for wrong in ({"Origin": "https://evil.example"}, {"Content_Type": "text/plain"}):
        answer = phone.ask("DELETE", "/api/v1/session", b"{}", **(phone.page() | wrong))
        assert answer.code == "bad_origin"
    assert host.shown("phone-1")["trust"] == "paired"


def test_a_level_2_phone_has_the_dashboards_api(host: LocalNode) -> None:
    """By its cookie, but for what is the owner's alone; it is told its level."""
    phone = Phone(host, "phone-1").pair()
    assert phone.ask("GET", "/api/v1/node", **phone.page()).code == "not_permitted"
    host.call("PUT", "/api/v1/nodes/id:phone-1/trust", {"level": 2})
    seen = phone.ask("GET", "/api/v1/node", **phone.page())
    assert seen.json["caller"] == {"role": "device", "node_id": "phone-1", "level": 2}
    for path in ("/api/v1/nodes", "/api/v1/audit", "/api/v1/discovered", "/api/v1/pairing/requests", OFFERS):
        assert phone.ask("GET", path, **phone.page()).status == 200
    assert (
        phone.ask("POST", OFFERS, {"dialect": "salita", "qr_svg": True}, **phone.page())
        .json["qr_svg"]
        .startswith("<svg")
    )
    assert phone.ask("GET", "/api/v1/doctor", **phone.page()).status == 404


def test_the_certificate_is_shown_as_browsers_show_it(host: LocalNode) -> None:
    """Pairs of hex digits, to be compared by eye with the warning of a phone's browser."""
    shown = owner(host, "GET", "/api/v1/node").json["certificate"]["sha256"]
    client = Joiner(host.port)
    client.request("GET", "/healthz")
    assert shown == ":".join(f"{byte:02X}" for byte in client.certificate_hash)
