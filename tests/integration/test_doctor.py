"""The running node's half of `doctor`, and the search for peers out of reach, between whole nodes."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshnode.config import load_config
from meshnode.daemon.offline_checks import check_database, check_identity, check_listeners, check_ports
from meshnode.domain.diagnosis import MulticastEvidence
from meshnode.domain.source_address import IPNetwork
from meshnode.node.diagnose_node import Interfaces
from meshnode.node.discover_peers import Sighting
from tests.fakes.local_node import LocalNode

NETWORK = {"interfaces", "multicast_out", "multicast_in", "network"}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[LocalNode, LocalNode]]:
    """Two paired nodes that exchange no heartbeats by themselves; mDNS is off."""
    with paired(*(LocalNode(tmp_path / name, **{"mdns.enabled": False}) for name in ("a", "b"))) as pair:
        yield pair


@contextmanager
def paired(*made: LocalNode) -> Iterator[tuple[LocalNode, LocalNode]]:
    """Two nodes, started and paired."""
    try:
        a, b = (node.start() for node in made)
        offer = b.offer()
        a.join(offer.url, offer.pin)
        yield a, b
    finally:
        for node in made:
            node.close()


def diagnose(node: LocalNode, query: str = "") -> dict[str, dict[str, Any]]:
    """The findings by stage."""
    answer = node.call("GET", f"/api/v1/doctor{query}")
    return {finding["stage"]: finding for finding in answer["findings"]}


def test_a_reachable_peer_is_well(pair: tuple[LocalNode, LocalNode]) -> None:
    """Address, certificate, session; and what is off is not held against anybody."""
    a, b = pair
    found = diagnose(a)
    assert found.keys() == NETWORK | {"clock", "certificate", "peer"}
    assert found["peer"]["verdict"] == "ok"
    assert f"127.0.0.1:{b.port}: right certificate, authenticated" in found["peer"]["detail"]
    assert found["clock"]["verdict"] == "ok"
    assert found["multicast_in"]["cause"] == "mdns_off"


def test_the_short_look_leaves_peers_out(pair: tuple[LocalNode, LocalNode]) -> None:
    """As `join` asks for it: nobody is called, or a wrong pin would be proven anew."""
    a, b = pair
    entry = a.graph.roster.get(b.id)
    assert entry is not None
    entry.set_row(dataclasses.replace(entry.node, tls_sha256=bytes(32)))
    assert diagnose(a, "?stages=network").keys() == NETWORK
    assert entry.node.tls_sha256 == bytes(32)


def test_a_peer_that_was_ended_is_told_from_one_that_removed_us(pair: tuple[LocalNode, LocalNode]) -> None:
    """`refused`: its machine is on; `removed_us`: it answers and knows us no more."""
    a, b = pair
    b.close()
    entry = a.graph.roster.get(b.id)
    assert entry is not None
    assert diagnose(a)["peer"]["cause"] == "one_way"
    entry.status = "offline"
    found = diagnose(a)["peer"]
    assert found["cause"] == "refused"
    assert f"127.0.0.1:{b.port} (Connection refused)" in found["detail"]
    b.start()
    b.call("POST", f"/api/v1/nodes/{a.id}/revoke")
    assert diagnose(a)["peer"]["cause"] == "removed_us"


def test_a_wrong_clock_is_seen_by_the_peers_answers(pair: tuple[LocalNode, LocalNode]) -> None:
    """A day off; the Date of an answer over the pinned certificate is the measure."""
    a, _ = pair
    a.clock.step_wall(86400)
    found = diagnose(a)["clock"]
    assert (found["verdict"], found["cause"]) == ("warning", "clock")
    assert "-86" in found["detail"]


def test_a_pin_that_went_wrong_is_proven_anew(pair: tuple[LocalNode, LocalNode]) -> None:
    """The peer's key vouches for the certificate that answers."""
    a, b = pair
    entry = a.graph.roster.get(b.id)
    assert entry is not None
    entry.set_row(dataclasses.replace(entry.node, tls_sha256=bytes(32)))
    assert diagnose(a)["peer"]["verdict"] == "ok"
    assert entry.node.tls_sha256 != bytes(32)


def test_another_node_at_the_address_is_named(pair: tuple[LocalNode, LocalNode], tmp_path: Path) -> None:
    """It has the port, and can't prove to be the peer."""
    a, b = pair
    b.close()
    stranger = LocalNode(tmp_path / "stranger")
    stranger.port = b.port
    try:
        stranger.start()
        found = diagnose(a)["peer"]
        assert found["cause"] == "wrong_node_at_address"
        assert stranger.id in found["detail"]
    finally:
        stranger.close()


# ── the ladder ─────────────────────────────────────────────────────────────────────────────────────────────────────


def climb(node: LocalNode, *missing: LocalNode) -> dict[str, dict[str, str]]:
    """Verdicts by peer and stage, after one climb."""
    ladder = node.graph.use.diagnosing.ladder
    entries = [entry for entry in node.graph.roster if entry.node.id in {peer.id for peer in missing}]
    for entry in entries:
        entry.status = "offline"
    node.run(ladder.climb(entries))
    return {node_id: {rung.stage: rung.verdict for rung in rungs} for node_id, rungs in ladder.records.items()}


def test_peers_that_exchanged_addresses_find_each_other(tmp_path: Path) -> None:
    """The unicast probe of all saved hosts sees who is where; the heartbeats are told."""
    made = {name: LocalNode(tmp_path / name, **{"mdns.enabled": False}) for name in ("a", "b", "c")}
    try:
        a, b, c = (node.start() for node in made.values())
        for peer in (b, c):
            offer = peer.offer()
            a.join(offer.url, offer.pin)
        found: dict[str, tuple[tuple[str, int], ...]] = {}
        a.graph.use.diagnosing.ladder.on_found = found.__setitem__
        b.close(), c.close()
        b.port, c.port = c.port, b.port
        b.start(), c.start()
        verdicts = climb(a, b, c)
        for peer in (b, c):
            assert found[peer.id] == (("127.0.0.1", peer.port),)
            assert verdicts[peer.id] == {
                "saved_addresses": "nothing", "mdns": "off", "unicast_probe": "found", "typed_address": "unneeded"
            }  # fmt: skip
    finally:
        for node in made.values():
            node.close()


def test_a_peer_that_is_nowhere_needs_a_person(pair: tuple[LocalNode, LocalNode]) -> None:
    """Every rung is on record, the last one asks; `doctor` shows it, and it goes when the peer is back."""
    a, b = pair
    b.close()
    verdicts = climb(a, b)[b.id]
    assert list(verdicts.values()) == ["nothing", "off", "nothing", "ask"]
    shown = a.call("GET", "/api/v1/doctor")["ladder"][b.id]
    assert [rung["stage"] for rung in shown] == ["saved_addresses", "mdns", "unicast_probe", "typed_address"]
    assert "meshnode join" in shown[-1]["detail"]
    entry = a.graph.roster.get(b.id)
    assert entry is not None
    entry.status = "online"
    a.run(a.graph.use.diagnosing.ladder.step())
    assert a.call("GET", "/api/v1/doctor")["ladder"] == {}


def test_the_search_starts_late_and_slows_down(pair: tuple[LocalNode, LocalNode]) -> None:
    """Ten seconds after the peer went, then after twice as long each time."""
    a, b = pair
    b.close()
    entry = a.graph.roster.get(b.id)
    assert entry is not None
    entry.status = "offline"
    ladder = a.graph.use.diagnosing.ladder
    climbed: list[float] = []
    began = a.clock.monotonic()
    for _ in range(24):
        ladder.records.clear()
        a.run(ladder.step())
        if ladder.records:
            climbed.append(round(a.clock.monotonic() - began, -1))
        a.clock.step(5)
    assert climbed == [10, 30, 70]


def test_deaf_to_peers_that_answer_is_degraded(tmp_path: Path) -> None:
    """A peer answers on our network and mDNS never shows it: `no_multicast` and why, until it does."""
    with paired(LocalNode(tmp_path / "a"), LocalNode(tmp_path / "b")) as (a, b):
        ladder, status = a.graph.use.diagnosing.ladder, a.graph.use.status
        ladder._networks = lambda: [ipaddress.ip_network("127.0.0.0/8")]
        a.graph.use.discovery.has_heard_itself = True
        a.run(ladder.step())
        assert status.degraded() == []
        a.clock.step(11)
        a.run(ladder.step())
        (trouble,) = status.degraded()
        assert trouble["code"] == "no_multicast"
        assert "answers at 127.0.0.1" in trouble["detail"]
        assert diagnose(a)["degraded"]["cause"] == "no_multicast"
        entry = a.graph.roster.get(b.id)
        assert entry is not None
        entry.status = "offline"
        a.run(ladder.step())
        assert status.degraded() == []


def test_a_peer_without_mdns_is_not_missed_there(tmp_path: Path) -> None:
    """`--no-mdns` there: it says so in its announcement, and silence by mDNS is neither degraded nor blocked."""
    with paired(LocalNode(tmp_path / "a"), LocalNode(tmp_path / "b", **{"mdns.enabled": False})) as (a, _):
        a.graph.use.discovery.has_heard_itself = True
        diagnosing, status = a.graph.use.diagnosing, a.graph.use.status
        diagnosing.ladder._networks = lambda: [ipaddress.ip_network("127.0.0.0/8")]
        for _ in range(2):
            a.run(diagnosing.ladder.step())
            a.clock.step(60)
        assert status.degraded() == []
        diagnosing._link = QuietLink()
        found = diagnose(a)
        for stage in ("multicast_out", "multicast_in"):
            assert (found[stage]["verdict"], "switched off there" in found[stage]["detail"]) == ("ok", True), found
        assert found["network"]["verdict"] == "ok"


def test_a_peer_on_this_machine_says_nothing_of_the_network(tmp_path: Path) -> None:
    """Multicast that only we answer is no failure because of a second node here; because of one elsewhere it is."""
    with paired(LocalNode(tmp_path / "a"), LocalNode(tmp_path / "b")) as (a, _):
        for own, multicast, network in (("127.0.0.1", "ok", "none"), ("127.0.0.9", "failure", "ok")):
            a.graph.use.diagnosing._link = QuietLink(own)
            found = diagnose(a)
            verdicts = [found[stage]["verdict"] for stage in ("multicast_out", "multicast_in", "network")]
            assert verdicts == [multicast, multicast, network], own
            assert found["peer"]["verdict"] == "ok"


class QuietLink:
    """127.0.0.0/8 as a network where multicast works and nobody answers it; we are `own` there."""

    def __init__(self, own: str = "127.0.0.9") -> None:
        self.own = own

    def interfaces(self) -> Interfaces:
        return Interfaces(used=(("lo", self.own),))

    def networks(self) -> list[IPNetwork]:
        return [ipaddress.ip_network("127.0.0.0/8")]

    async def multicast(self) -> MulticastEvidence:
        return MulticastEvidence(sent_from=(self.own,), heard_self=True)

    async def router(self) -> tuple[str | None, bool | None]:
        return None, None


def test_deaf_to_ourselves_is_degraded(host: LocalNode) -> None:
    """Nobody needs to be there: our own announcement should come back."""
    ladder, status = host.graph.use.diagnosing.ladder, host.graph.use.status
    host.run(ladder.step())
    host.clock.step(11)
    host.run(ladder.step())
    assert ["not even our own announcement" in trouble["detail"] for trouble in status.degraded()] == [True]
    own = Sighting(instance="x", id=host.id, name="x", host="127.0.0.1", port=1, addresses=(), pairing_open=False)
    host.graph.use.discovery.seen(own)
    host.run(ladder.step())
    assert status.degraded() == []


# ── without a node ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_identity_and_database_are_judged_on_disk(host: LocalNode) -> None:
    """Whole, then one after the other spoilt."""
    assert check_identity(host.data).verdict == check_database(host.data).verdict == "ok"
    assert host.id in check_identity(host.data).detail
    host.close()
    identity, database = host.data / "node_identity.json", host.data / "meshnode.db"
    kept = identity.read_bytes()
    identity.unlink()
    assert "is missing, but the database beside it belongs to" in check_identity(host.data).detail
    identity.write_bytes(kept[:-20])
    assert check_identity(host.data).cause == "bad_identity"
    identity.write_bytes(kept)
    with database.open("r+b") as file:
        file.seek(36)  # how many pages are free
        file.write(b"\0\0\0\5")
    assert "is damaged" in check_database(host.data).detail
    with database.open("r+b") as file:
        os.ftruncate(file.fileno(), database.stat().st_size // 2)
    assert check_database(host.data).cause == "bad_database"
    database.write_bytes(b"not a database at all, but long enough to be one" * 100)
    assert check_database(host.data).verdict == "failure"


def test_ports_are_judged_by_trying(host: LocalNode) -> None:
    """Taken by a running node for the next one; accepting for itself, until it ends."""
    address = f"127.0.0.1:{host.port}"
    config = load_config({"listen.public": [address]}, {"MESHNODE_CONFIG": "/dev/null"}).config
    assert check_ports(config).cause == "port_in_use"
    assert check_listeners([f"https://{address}"]).verdict == "ok"
    host.close()
    assert check_ports(config).verdict == "ok"
    assert check_listeners([f"https://{address}"]).cause == "not_accepting"
