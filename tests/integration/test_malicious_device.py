"""What a paired device may not do to others: an operator's offers and approvals are its own deed and end with it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from meshnode.node.pair_device import Caller
from tests.dialects.asking import ask_once, bearer, get, open_socket, post
from tests.dialects.conformance import Device
from tests.dialects.drivers import DEVICES, Aisopod, Mylzip, Salita
from tests.fakes.joiner import Joiner, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

OFFERS = "/api/v1/pairing/offers"
REQUESTS = "/api/v1/pairing/requests"


def level(host: LocalNode, device: Device, value: int) -> None:
    host.call("PUT", f"/api/v1/nodes/id:{device.id}/trust", {"level": value})


def operator(host: LocalNode) -> tuple[Device, str]:
    """A level-2 device and its token."""
    device, done = Salita(host).paired()
    level(host, device, 2)
    return device, done.token


def revoke(host: LocalNode, node_id: str) -> dict[str, Any]:
    return host.call("POST", f"/api/v1/nodes/id:{node_id}/revoke")  # type: ignore[no-any-return]


# ── ways in that an operator can open ──────────────────────────────────────────────────────────────────────────────


def by_start(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    """Open a salita offer; what is returned redeems it."""
    return redeem_salita(host, post(host, "/auth/pair/start", {}, bearer(token)).json, node_id)


def by_salita_offer(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    return redeem_salita(host, post(host, OFFERS, {"dialect": "salita"}, bearer(token)).json, node_id)


def redeem_salita(host: LocalNode, offer: dict[str, Any], node_id: str) -> Callable[[], int]:
    body = {name: offer[name] for name in ("code", "pin", "linking_code")}
    body["node_identity"] = {"node_id": node_id, "name": node_id}
    return lambda: post(host, "/auth/pair/verify", body).status


def by_mylzip_offer(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    code = post(host, OFFERS, {"dialect": "mylzip"}, bearer(token)).json["code"]
    body = {"deviceId": node_id, "pairingCode": code, "encryptedTrustData": "x"}
    return lambda: post(host, f"{DEVICES}/pair", body).status


def by_approval(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    ticket = Aisopod(host).ask(Device(id=node_id))
    (request,) = [r for r in host.call("GET", REQUESTS)["requests"] if r["device_id"] == node_id]
    approved = post(host, f"{REQUESTS}/{request['id']}/approve", {}, bearer(token))
    if approved.status != 200:
        return lambda: approved.status
    return lambda: ask_once(host, "node.pair.confirm", ticket.secrets).status


def by_confirming(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    ticket = Aisopod(host).ask(Device(id=node_id))
    return lambda: ask_once(host, "node.pair.confirm", ticket.secrets, token).status


def by_abpa3_offer(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    pair_token = post(host, OFFERS, {"dialect": "abpa3"}, bearer(token)).json["qr"]["pairToken"]
    body = {"pairToken": pair_token, "deviceInfo": {"name": node_id}}
    return lambda: post(host, "/api/pair", body).status


def by_mesh_offer(host: LocalNode, token: str, node_id: str) -> Callable[[], int]:
    """By the PIN that the operator saw."""
    pin = post(host, OFFERS, {}, bearer(token)).json["pin"]
    joiner = Joiner(host.port, id=node_id)

    def redeem() -> int:
        for step in (joiner.begin, lambda: joiner.exchange(pin), joiner.finish, joiner.ack):
            if (status := step().status) != 200:
                return status
        return 200

    return redeem


WAYS_BY_ID = [by_start, by_salita_offer, by_mylzip_offer, by_approval, by_confirming, by_mesh_offer]
WAYS = [*WAYS_BY_ID, by_abpa3_offer]
Way = Callable[[LocalNode, str, str], Callable[[], int]]


def free_id(way: Way) -> str:
    return f"planted{secrets.token_hex(4)}" if way is by_abpa3_offer else str(uuid.uuid4())


@pytest.mark.parametrize("way", WAYS)
def test_whom_an_operator_let_in_is_revoked_with_it(host: LocalNode, way: Way) -> None:
    """Whatever it opened or approved; the audit names it as who opened."""
    evil, token = operator(host)
    planted = free_id(way)
    assert way(host, token, planted)() == 200
    row = host.row(planted)
    assert row is not None
    assert (row["trust"], row["introduced_by"]) == ("paired", evil.id)
    assert [n["id"] for n in revoke(host, evil.id)["introduced"]] == [planted]
    assert host.shown(planted)["trust"] == "revoked"


@pytest.mark.parametrize("way", WAYS_BY_ID)
def test_an_operator_takes_no_other_operators_id(host: LocalNode, way: Way) -> None:
    """By no offer or approval of its own: the victim keeps row, level and token."""
    driver = {by_mylzip_offer: Mylzip, by_approval: Aisopod, by_confirming: Aisopod}.get(way, Salita)(host)
    victim, done = driver.paired()
    level(host, victim, 2)
    _, token = operator(host)
    assert way(host, token, victim.id)() in (403, 409)
    assert host.shown(victim.id)["trust_level"] == 2
    assert get(host, "/readyz", done.token).status == 200


@pytest.mark.parametrize("end", ["revoked", "level 1", "paired again"])
@pytest.mark.parametrize("way", [w for w in WAYS if w is not by_confirming])
def test_what_an_operator_opened_ends_with_its_level(host: LocalNode, way: Way, end: str) -> None:
    """Nobody comes in by it any more, also when somebody else has paired as that id, at level 1."""
    evil, token = operator(host)
    planted = free_id(way)
    redeem = way(host, token, planted)
    if end == "revoked":
        revoke(host, evil.id)
    elif end == "level 1":
        level(host, evil, 1)
    else:
        offer = host.call("POST", "/auth/pair/start", {})
        if way in (by_start, by_salita_offer):  # that offer has just replaced the operator's
            assert redeem() == 410
        assert redeem_salita(host, offer, evil.id)() == 200
        assert host.shown(evil.id)["trust_level"] == 1
    assert redeem() in (404, 410)
    assert host.row(planted) is None


def test_a_device_that_gave_itself_up_shields_nobody(host: LocalNode) -> None:
    """The owner's revocation of it still takes along what it let in."""
    driver = Aisopod(host)
    evil, done = driver.paired()
    level(host, evil, 2)
    planted = str(uuid.uuid4())
    assert by_start(host, done.token, planted)() == 200
    assert ask_once(host, "node.pair.revoke", {"device_id": evil.id}, done.token).body == {"revoked": True}
    assert host.shown(planted)["trust"] == "paired"
    answer = revoke(host, evil.id)
    assert (answer["node"]["id"], [n["id"] for n in answer["introduced"]]) == (evil.id, [planted])
    assert host.shown(planted)["trust"] == "revoked"
    assert revoke(host, evil.id)["introduced"] == []


# ── what is others' ────────────────────────────────────────────────────────────────────────────────────────────────


def test_trust_data_is_not_left_for_who_takes_up_the_id(host: LocalNode) -> None:
    """With the old token it stays; without one the new holder reads nothing that was left for the former."""
    driver = Mylzip(host)
    maker, done = driver.paired()
    level(host, maker, 2)
    made = post(host, f"{DEVICES}/pairing-code", {"deviceId": maker.id}, bearer(done.token)).json
    friend = {"deviceId": "friend", "pairingCode": made["pairingCode"], "encryptedTrustData": "for the maker"}
    assert post(host, f"{DEVICES}/pair", friend).status == 200

    def left(token: str) -> list[str]:
        found = get(host, f"{DEVICES}/trust", token).json["trustRelationships"]
        return [trust["encryptedTrustData"] for trust in found]

    again = driver.pair(driver.open(maker), maker, done.token)
    assert left(again.token) == ["for the maker"]
    stranger = driver.pair(driver.open(maker), maker)
    assert stranger.is_ok
    assert left(stranger.token) == []


def test_a_revoked_device_hears_nothing_while_another_one_dawdles(host: LocalNode) -> None:
    """All sockets of a revocation end at the same moment, though the first never answers its close frame."""
    evil, token = operator(host)
    planted = Device()
    offer = post(host, "/auth/pair/start", {}, bearer(token)).json
    body = {name: offer[name] for name in ("code", "pin", "linking_code")}
    body["node_identity"] = {"node_id": planted.id, "name": "planted"}
    planted_token = post(host, "/auth/pair/verify", body).json["session_token"]
    upgrade = (
        f"GET /ws HTTP/1.1\r\nHost: {host.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    raw = socket.create_connection(("127.0.0.1", host.port), timeout=10)
    with tls_context().wrap_socket(raw) as dawdler, open_socket(host, planted_token) as other:
        dawdler.sendall(upgrade.encode())
        assert b" 101 " in dawdler.recv(4096)
        assert other.ask("event.subscribe", {"topics": ["app.*"]}).is_ok
        revoking = threading.Thread(target=revoke, args=(host, evil.id))
        began = time.monotonic()
        revoking.start()
        try:
            closed = other.closing(5.0)
            told_s = time.monotonic() - began
        finally:
            revoking.join()
        held_up_s = time.monotonic() - began  # by the dawdler
    assert closed is not None
    assert closed[0] == 4001
    assert told_s < held_up_s / 2


# ── guesses ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_guesses_at_a_request_that_wait_together_get_no_further(host: LocalNode) -> None:
    """Sixty at once, the last of them right: ten are judged, and the rest find the way locked."""
    driver = Aisopod(host)
    device = driver.fresh()
    ticket = driver.open(device)
    wrong = [f"{(int(ticket['pairing_code']) + n) % 1_000_000:06d}" for n in range(1, 60)]
    guesser = Caller(address="192.168.9.9", source="192.168.9.9")

    async def guess(code: str) -> str:
        try:
            await host.graph.use.requests.confirm("aisopod", code, device.id, guesser, by_owner=None)
        except MeshError as error:
            return error.code
        return "token"

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*map(guess, [*wrong, ticket["pairing_code"]]))

    assert Counter(host.run(all_at_once())) == {"code_unknown": 10, "locked_out": 50}
    assert host.row(device.id) is None


# ── held back ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("end", "status"), [("level 1", b" 403 "), ("paired again", b" 401 ")])
def test_a_body_held_back_keeps_no_rights(host: LocalNode, end: str, status: bytes) -> None:
    """Who is judged when its body has come, not when its header did."""
    driver = Salita(host)
    device, done = driver.paired()
    level(host, device, 2)
    body = b'{"dialect": "mylzip"}'
    head = (
        f"POST {OFFERS} HTTP/1.1\r\nHost: {host.address}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {done.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    raw = socket.create_connection(("127.0.0.1", host.port), timeout=10)
    with tls_context().wrap_socket(raw) as slow:
        slow.sendall(head.encode() + body[:1])
        wait_for("the header to be judged", lambda: device.id in host.graph.connections._of_node)
        if end == "level 1":
            level(host, device, 1)
        else:
            assert driver.paired(device)[1].is_ok
        slow.sendall(body[1:])
        assert status in slow.recv(4096)[:16]
    assert [row for row in host.rows("pairing_codes") if row["dialect"] == "mylzip"] == []


def test_forgetting_an_operator_forgets_nobody_it_let_in(host: LocalNode) -> None:
    """They are revoked: later nobody would know who brought them."""
    evil, token = operator(host)
    planted = str(uuid.uuid4())
    assert by_start(host, token, planted)() == 200
    host.call("DELETE", f"/api/v1/nodes/id:{evil.id}")
    assert host.row(evil.id) is None
    assert host.shown(planted)["trust"] == "revoked"


def test_a_joiner_that_has_not_acknowledged_falls_with_who_let_it_in(host: LocalNode) -> None:
    """Between finish and ack the operator is revoked: the ack makes nobody paired."""
    evil, token = operator(host)
    joiner = Joiner(host.port)
    pin = post(host, OFFERS, {}, bearer(token)).json["pin"]
    assert joiner.begin().status == joiner.exchange(pin).status == joiner.finish().status == 200
    ack = joiner.ack_body()
    revoke(host, evil.id)
    joiner.post("pair/ack", ack)
    assert joiner.open_session().status == 401
    assert host.shown(joiner.id)["trust"] == "revoked"
