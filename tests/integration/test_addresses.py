"""Where a peer is tried, and what it is told when we are somewhere else: docs/protocol.md, Heartbeat."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ifaddr
import pytest

from meshnode.daemon.follow_addresses import FollowAddresses
from meshnode.node.roster import Entry
from meshnode.transport.interfaces import OwnAddresses
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for
from tests.unit.transport.test_interfaces import Adapter, Ip

DEAD = ("127.0.0.8", "127.0.0.9")  # nobody listens there: refused at once
Make = Callable[..., LocalNode]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Running nodes; those that are `is_beating` send heartbeats."""
    made: list[LocalNode] = []

    def new(port: int = 0, **flags: Any) -> LocalNode:
        node = LocalNode(tmp_path / f"node{len(made)}", **flags)
        node.port = port
        made.append(node)
        return node.start()

    yield new
    for node in made:
        node.close()


def pair(one: LocalNode, other: LocalNode) -> Entry:
    """What `one` then knows of the other; a heartbeat has been exchanged."""
    offer = other.offer()
    one.join(offer.url, offer.pin)
    entry = one.graph.roster.get(other.id)
    assert entry is not None
    link = one.graph.use.heartbeats._links[other.id]
    wait_for("a heartbeat", lambda: link.sequence and not link.is_busy)
    return entry


def announce(node: LocalNode, *addresses: str) -> None:
    """Say that it is reached there, whatever is true."""
    node.graph.use.me._addresses = lambda: addresses
    assert node.run(node.graph.use.me.refresh())


def lose(entry: Entry, host: str, port: int | None = None) -> None:
    """Believe that it last worked there."""
    entry.hostname, entry.port, entry.has_moved = host, port or entry.port, False


def test_an_address_that_changes_is_announced_at_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One revision a change, and the peer holds it without waiting for the next heartbeat; no change, no revision."""
    node, peer = make(is_beating=True, **{"heartbeat.interval_s": 300}), make()
    pair(node, peer)
    adapters = [Adapter("eth0", [Ip("192.0.2.7", 24)])]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    addresses = OwnAddresses([("0.0.0.0", node.port)], node.clock.monotonic)
    me = node.graph.use.me
    me._addresses = addresses.reachable
    following = FollowAddresses(node.graph.use, addresses)
    node.run(following.look())

    def is_held() -> bool:
        held = peer.graph.roster.get(node.id)
        return held is not None and list(held.node.addresses) == addresses.reachable()

    wait_for("the first announcement", is_held)
    revision = me.revision
    assert node.run(following.look()) is False
    assert me.revision == revision
    adapters[:] = [Adapter("eth0", [Ip("192.0.2.8", 24), Ip(("2001:db8::8", 0, 0), 64)])]
    peer.clock.step(1.0)  # it takes one announcement a second
    assert node.run(following.look()) is True
    wait_for("the change", is_held)
    assert me.revision == revision + 1
    assert me.announcement.addresses == ["192.0.2.8"]


def test_where_a_peer_calls_from_is_tried_too(make: Make) -> None:
    """When neither what worked nor what it announces does."""
    node, peer = make(is_beating=True), make(is_beating=True)
    entry = pair(node, peer)
    announce(peer, DEAD[0])
    wait_for("the announcement", lambda: entry.node.addresses == (DEAD[0],))
    lose(entry, DEAD[1])
    wait_for("an answer", lambda: (entry.hostname, entry.port) == ("127.0.0.1", peer.port))


def test_a_proxys_address_is_nobodys(make: Make) -> None:
    """A request that came through a trusted proxy tells nothing about where its sender is."""
    node = make(**{"http.trusted_proxies": ["127.0.0.0/8"]})
    peer = Joiner(node.port)
    peer.pair(node.offer().pin)
    assert peer.open_session().status == 200
    link = node.graph.use.heartbeats._links[peer.id]
    direct = peer.request
    for headers, heard_from in (({"X-Forwarded-For": "192.0.2.9"}, None), ({}, "127.0.0.1")):
        peer.request = lambda method, path, body, own, more=headers: direct(method, path, body, own | more)  # type: ignore[assignment,method-assign,misc]
        assert peer.beat().status == 200
        assert link.heard_from == heard_from


def test_a_public_url_is_one_more_address(make: Make) -> None:
    """A name is resolved, and the same certificate must answer."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    node, peer = make(is_beating=True), make(port, **{"listen.public_url": f"https://localhost:{port}"})
    entry = pair(node, peer)
    announce(peer, DEAD[0])
    wait_for("the announcement", lambda: entry.node.addresses == (DEAD[0],))
    lose(entry, DEAD[1])
    wait_for("an answer", lambda: (entry.hostname, entry.port) == ("localhost", port))


def test_another_node_at_an_address_is_passed_over(make: Make) -> None:
    """The address is dropped and the next tried in the same go; the peer stays what it was, and online."""
    node, peer, stranger = make(is_beating=True), make(), make()
    entry = pair(node, peer)
    before = node.row(peer.id)
    lose(entry, "127.0.0.1", stranger.port)
    wait_for("an answer", lambda: (entry.hostname, entry.port) == ("127.0.0.1", peer.port))
    assert node.graph.use.heartbeats._links[peer.id].dropped == {("127.0.0.1", stranger.port)}
    assert entry.status == "online"
    same = ("trust", "trust_level", "public_key", "tls_sha256", "announcement")
    row = node.row(peer.id)
    assert before is not None
    assert row is not None
    assert {key: row[key] for key in same} == {key: before[key] for key in same}


def test_an_address_a_peer_has_left_is_not_waited_for(make: Make) -> None:
    """What it announced once and does not any more is tried last; what was never announced stays first."""
    node, peer = make(), make(is_beating=True)
    offer = node.offer()
    peer.join(offer.url, offer.pin)
    entry = node.graph.roster.get(peer.id)
    assert entry is not None
    link = node.graph.use.heartbeats._links[peer.id]
    announce(peer, DEAD[0], "127.0.0.1")
    wait_for("the announcement", lambda: entry.node.addresses == (DEAD[0], "127.0.0.1"))
    assert next(link.places(entry, (), tuple)) == ("127.0.0.1", entry.port)
    node.clock.step(1.0)  # one announcement a second
    announce(peer, DEAD[0])
    wait_for("the announcement", lambda: entry.node.addresses == (DEAD[0],))
    assert next(link.places(entry, (), tuple)) == (DEAD[0], peer.port)
    assert ("127.0.0.1", peer.port) in list(link.places(entry, (), tuple))
    assert (DEAD[0], peer.port) not in list(link.places(entry, {(DEAD[0], peer.port)}, tuple))
    lose(entry, DEAD[1])
    node.clock.step(1.0)
    announce(peer, "127.0.0.1")
    wait_for("the announcement", lambda: entry.node.addresses == ("127.0.0.1",))
    assert next(link.places(entry, (), tuple)) == (DEAD[1], entry.port)


def test_a_second_sighting_soon_after_the_first_is_not_lost(make: Make) -> None:
    """It says where the peer is now: it is tried five seconds after the first at the latest."""
    node, peer = make(is_beating=True), make()
    entry = pair(node, peer)
    announce(peer, DEAD[0])
    wait_for("the announcement", lambda: entry.node.addresses == (DEAD[0],))
    lose(entry, DEAD[1])
    link = node.graph.use.heartbeats._links[peer.id]
    wait_for("a failure", lambda: link.failures)
    for host in (DEAD[0], "127.0.0.1"):
        node.run(sight(node, peer.id, host, peer.port))
    node.clock.step(5.0)
    wait_for("an answer", lambda: (entry.hostname, entry.port) == ("127.0.0.1", peer.port))


async def sight(node: LocalNode, node_id: str, host: str, port: int) -> None:
    node.graph.use.heartbeats.sighted(node_id, ((host, port),))
