"""Whose row a device may become, what it may be called, and from where it may ask: for every way to pair."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from meshnode.config import load_config
from meshnode.domain.errors import MeshError
from tests.dialects.asking import ask_once, bearer, get, post
from tests.dialects.conformance import Device, Driver, Mesh, RefusedError
from tests.dialects.drivers import ROWS, Mylzip, Salita
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

NEARBY, FAR = "192.168.7.9", "203.0.113.9"
FORGED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host", "X-Forwarded-Proto")
ANNOUNCE = "mutation A($input: AnnounceNodeInput!) { announceNode(input: $input) { success message node { name } } }"
NAMES = {
    "controls": "desk\x1b[2Jtop\x07\x00",
    "10 kB": "x" * 10_240,
    "1 kB": "x" * 1000,
    "HTML": "<script>alert('x')</script>",
    "right to left": "\u202egnp.exe\u2066\u200f",
    "lines": "a\r\nb\u2028c\u0085d",
    "nothing left": "\u200b\u202e\x00",
    "lone surrogate": "a\ud800b",
    "empty": "",
}


def elsewhere(driver: Driver) -> Driver:
    """A way to pair of another thin-client dialect, whose device names its own id."""
    return Mylzip(driver.node) if driver.dialect == "salita" else Salita(driver.node)


def announce(host: LocalNode, node_id: str, token: str | None = None) -> dict[str, Any]:
    """What announceNode says, to a device or (without a token) to the owner."""
    said = {"node_id": node_id, "name": "revived", "hostname": "10.0.0.9", "port": 6969, "capabilities": []}
    body = {"query": ANNOUNCE, "variables": {"input": said}}
    if token is not None:
        answer = post(host, "/graphql", body, bearer(token))
    else:
        headers = {"Content-Type": "application/json", **bearer(host.owner_token)}
        answer = ask_control(host.control_address, "POST", "/graphql", json.dumps(body).encode(), headers)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json["data"]["announceNode"]
    return found


def nodes(host: LocalNode) -> dict[str, dict[str, Any]]:
    """The rows by id."""
    return {row["id"]: row for row in host.rows()}


def revoke(host: LocalNode, node_id: str) -> None:
    host.call("POST", f"/api/v1/nodes/id:{node_id}/revoke")


def detail_of_last_pairing(host: LocalNode) -> str | None:
    entries = host.call("GET", "/api/v1/audit?limit=50")["entries"]
    found: str | None = next(e["detail"] for e in entries if e["event"] == "node.paired")
    return found


# ── whose row ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nobody_becomes_this_node(driver: Driver, host: LocalNode) -> None:
    """Our own id is refused, and nothing changes; a name that spells it makes another id."""
    before = host.dump("mesh_nodes")
    if not driver.picks_its_id:
        device, _ = driver.paired(Device(name=host.id))
        assert device.id not in (host.id, "")
        assert host.dump("mesh_nodes")["mesh_nodes"][:1] == before["mesh_nodes"]
        return
    assert driver.attempt(driver.fresh(id=host.id)).code == driver.own_id_code
    assert host.dump("mesh_nodes") == before


def test_nobody_becomes_a_peer(driver: Driver, host: LocalNode) -> None:
    """A row with a key belongs to who has the key, whatever secret somebody else was given; revoked, too."""
    peer, held = Mesh(host).paired(Mesh(host).fresh(id=Device().id))
    claim = driver.fresh(id=peer.id, name=peer.id)
    for _ in ("paired", "revoked"):
        before = nodes(host)
        outcome = driver.attempt(claim)
        if driver.picks_its_id:
            assert (outcome.code, outcome.status) == ("identity_mismatch", 409)
            assert nodes(host) == before
        else:
            assert outcome.node_id != peer.id
            assert nodes(host)[peer.id] == before[peer.id]
        revoke(host, peer.id)
    assert get(host, "/readyz", held.token).status == 401


def test_nobody_becomes_a_device_of_another_dialect(driver: Driver, host: LocalNode) -> None:
    """Paired or revoked there, it stays so here; a peer's key alone proves more than an id and takes the row over."""
    other = elsewhere(driver)
    device, held = other.paired()
    for trust in ("paired", "revoked"):
        before = nodes(host)
        outcome = driver.attempt(driver.fresh(id=device.id, name=device.id))
        if driver.takes_keyless:
            row = nodes(host)[device.id]
            assert (row["trust"], row["trust_level"], row["dialect"], row["metadata"]) == ("paired", 1, "mesh", "{}")
            assert get(host, "/readyz", held.token).status == 401
            host.restart()
            assert get(host, "/readyz", held.token).status == 401
            return
        if driver.picks_its_id:
            assert (trust, outcome.code, outcome.status) == (trust, "identity_mismatch", 409)
            assert nodes(host) == before
        else:
            assert nodes(host)[device.id] == before[device.id]
        revoke(host, device.id)


def test_an_announced_row_is_anybodys_to_take_up(driver: Driver, host: LocalNode) -> None:
    """It had no rights: the ceremony gives them, and whoever announced it says nothing about it any more."""
    _, announcer = Salita(host).paired()
    device = driver.fresh(name="device")
    assert announce(host, device.id, announcer.token)["success"] is True
    assert host.trust(device.id) == "announced"
    paired, _ = driver.paired(device)
    assert (paired.id == device.id) == driver.picks_its_id
    row = nodes(host)[paired.id]
    assert (row["trust"], row["dialect"]) == ("paired", driver.dialect)
    assert announce(host, paired.id, announcer.token)["success"] is False
    assert nodes(host)[paired.id]["name"] == row["name"]


def test_a_revoked_device_comes_back_by_a_new_offer_only(driver: Driver, host: LocalNode) -> None:
    """What was opened before is worth nothing to it; afterwards it is at level 1, and the owner told "was revoked"."""
    device, old = driver.paired()
    host.call("PUT", f"/api/v1/nodes/id:{device.id}/trust", {"level": 2})
    again = driver.fresh(id=device.id) if device.joiner is None else device
    ticket = driver.open(again)
    revoke(host, device.id)
    before = nodes(host)
    outcome = driver.pair(ticket, again)
    if driver.picks_its_id:
        assert outcome.code in ("identity_mismatch", "offer_closed"), outcome
        assert nodes(host) == before
        revived, _ = driver.paired(again)
        assert revived.id == device.id
        row = nodes(host)[device.id]
        assert (row["trust"], row["trust_level"]) == ("paired", 1)
        assert detail_of_last_pairing(host) == "was revoked"
    else:
        assert (outcome.is_ok, outcome.node_id == device.id) == (True, False)
        assert nodes(host)[device.id] == before[device.id]
    assert get(host, "/readyz", old.token).status == 401


@pytest.mark.parametrize("wrong_s", [73 * 365 * 86400.0, -73 * 365 * 86400.0], ids=["2099", "long ago"])
def test_a_wrong_clock_neither_keeps_out_nor_lets_in(driver: Driver, host: LocalNode, wrong_s: float) -> None:
    """Revoked while the clock was wrong, it comes back by the next offer, and not by the one from before."""
    if not driver.picks_its_id:
        pytest.skip("its ids are the node's")
    device, _ = driver.paired()
    again = driver.fresh(id=device.id) if device.joiner is None else device
    ticket = driver.open(again)
    host.clock.step_wall(wrong_s)
    revoke(host, device.id)
    host.clock.step_wall(-wrong_s)
    assert driver.pair(ticket, again).code in ("identity_mismatch", "offer_closed")
    assert host.trust(device.id) == "revoked"
    assert driver.paired(again)[0].id == device.id
    assert host.trust(device.id) == "paired"


def test_nothing_but_a_ceremony_revives_a_revoked_row(driver: Driver, host: LocalNode) -> None:
    """No heartbeat, no announcement, by itself, by another device or by hand."""
    device, old = driver.paired()
    _, other = Salita(host).paired()
    revoke(host, device.id)
    before = nodes(host)[device.id]
    assert post(host, "/api/node/heartbeat", {"name": "revived"}, bearer(old.token)).status == 401
    assert post(host, "/graphql", {"query": "{ nodes { id } }"}, bearer(old.token)).status == 401
    assert ask_once(host, "event.publish", {"topic": "app.x", "data": 1}, old.token).status == 401
    assert announce(host, device.id, other.token)["success"] is False
    assert announce(host, device.id)["success"] is False
    if device.joiner is not None:
        assert device.joiner.beat().status == 401
        assert device.joiner.open_session().code == "not_paired"
    assert nodes(host)[device.id] == before


# ── what it is called ──────────────────────────────────────────────────────────────────────────────────────────────


def texts(value: Any) -> list[str]:
    """Every text in it, keys too."""
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_hostile_name_is_cleaned_or_refused(driver: Driver, host: LocalNode, name: str) -> None:
    """Stored without what deceives a reader or a terminal, or refused as the caller's fault; never a 5xx."""
    device = driver.fresh(name=name)
    try:
        outcome = driver.pair(driver.open(device), device)
    except RefusedError as refused:
        outcome = refused.outcome
    if not outcome.is_ok:
        assert (outcome.code, outcome.status) in (
            ("invalid_params", 400), ("body_too_large", 413), ("closed", 1009), ("-32700", 400),
        ), outcome  # fmt: skip
        assert len(host.rows()) == 1
        return
    node = host.call("GET", f"/api/v1/nodes/id:{outcome.node_id}")["node"]
    assert 1 <= len(node["name"]) <= 64
    for text in texts(node):
        assert text.isprintable(), text
        assert len(text) <= 1024
    for entry in host.call("GET", "/api/v1/audit?limit=50")["entries"]:
        assert all(text.isprintable() for text in texts(entry))


@pytest.mark.parametrize("node_id", ["", "a" * 129, "../etc", "a b", "<x>", "\u202ea", "-a", "a\n", "é"])
def test_a_malformed_id_is_refused(driver: Driver, host: LocalNode, node_id: str) -> None:
    """400, and nothing stored; who can't choose its id can't send one."""
    if not driver.picks_its_id:
        assert driver.paired(Device(id=node_id))[0].id == "pixel7"
        return
    assert driver.attempt(driver.fresh(id=node_id)).code == "invalid_params"
    assert len(host.rows()) == 1


# ── from where ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("header", FORGED)
def test_forged_forwarding_headers_end_the_pairing(driver: Driver, host: LocalNode, header: str) -> None:
    """Nobody says to be near by a header, and a forgotten proxy opens pairing to nobody; the code stays good."""
    forged = {header: NEARBY}
    assert driver.attempt(driver.fresh(), headers=forged).code == "proxy_not_configured"
    device = driver.fresh()
    ticket = driver.open(device)
    refused = driver.pair(ticket, device, headers=forged)
    assert (refused.code, refused.status) == ("proxy_not_configured", 403)
    assert len(host.rows()) == 1
    assert driver.pair(ticket, device).is_ok


def test_through_a_trusted_proxy_the_caller_behind_it_counts(
    row: type[Driver], make_host: Callable[..., LocalNode]
) -> None:
    """From afar 403, also where it writes a near address in front; from near it pairs, and the row says how."""
    host = make_host(**{"http.trusted_proxies": ["127.0.0.0/8"]})
    driver = row(host)
    device = driver.fresh()
    ticket = driver.open(device)
    for hops in (FAR, f"{NEARBY}, {FAR}", f"{NEARBY}, {FAR}, 127.0.0.1", "2001:db8::1"):
        outcome = driver.pair(ticket, device, headers={"X-Forwarded-For": hops})
        assert (hops, outcome.code, outcome.status) == (hops, "not_local", 403)
    for hops in ("garbage", "", "127.0.0.1"):
        assert driver.pair(ticket, device, headers={"X-Forwarded-For": hops}).status == 403
    assert len(host.rows()) == 1
    done = driver.attempt(driver.fresh(), headers={"X-Forwarded-For": f"{FAR}, {NEARBY}"})
    assert done.is_ok, done
    node = host.call("GET", f"/api/v1/nodes/id:{done.node_id}")["node"]
    assert (node["hostname"], node["metadata"].get("remote")) == (NEARBY, True)


def test_from_afar_only_where_the_owner_allows_it(row: type[Driver], make_host: Callable[..., LocalNode]) -> None:
    """`pairing.lan_only = false`, through a proxy that is trusted: marked as remote, counted by its own address."""
    host = make_host(**{"http.trusted_proxies": ["127.0.0.0/8"], "pairing.lan_only": False})
    driver = row(host)
    done = driver.attempt(driver.fresh(), headers={"X-Forwarded-For": FAR})
    assert done.is_ok, done
    node = host.call("GET", f"/api/v1/nodes/id:{done.node_id}")["node"]
    assert (node["hostname"], node["metadata"].get("remote")) == (FAR, True)


# ── switched off ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dialect_that_is_off_is_not_there(row: type[Driver], make_host: Callable[..., LocalNode]) -> None:
    """404, or no such method; it can't be opened; the others go on. mesh has no switch: nodes pair by it."""
    flags = {f"{row.dialect}.enabled": False}
    if not row.can_be_off:
        with pytest.raises(MeshError, match=row.dialect):
            load_config(flags, {"MESHNODE_CONFIG": "/dev/null"})
        return
    host = make_host(**flags)
    driver = row(host)
    outcome = driver.pair(driver.unknown(), driver.fresh())
    assert outcome.code in ("not_found", "-32601")
    try:
        driver.open(driver.fresh())
    except RefusedError as error:
        code = error.outcome.code
    except MeshError as error:
        code = error.code
    else:
        code = "opened"
    assert code in ("not_found", "invalid_params", "-32601")
    others = [other for other in ROWS if other.dialect != row.dialect]
    assert all(other(host).paired()[1].is_ok for other in others)
