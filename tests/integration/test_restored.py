"""Restored databases, copied identities, clocks once in 2099: all recover by themselves (docs/protocol.md)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.domain.event import Event
from tests.fakes.host import RawHost
from tests.fakes.joiner import Joiner, b64, unb64
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

PIN = "402913"
YEARS_73_S = 73 * 365 * 86400.0

Make = Callable[..., LocalNode]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Nodes that send heartbeats, by the name of their folder; not started."""
    made: list[LocalNode] = []

    def new(name: str) -> LocalNode:
        made.append(LocalNode(tmp_path / name, is_beating=True))
        return made[-1]

    yield new
    for node in made:
        node.close()


def pair(make: Make) -> tuple[LocalNode, LocalNode, str]:
    """A node, a peer that is paired with it, and the node's id."""
    node, peer = make("node").start(), make("peer").start()
    offer = node.offer()
    peer.join(offer.url, offer.pin)
    wait_for("a heartbeat", lambda: beats(peer, node.id) >= 1)
    return node, peer, node.id


def beats(peer: LocalNode, node_id: str) -> int:
    """The last sequence that the peer took from that node."""
    entry = peer.graph.roster.get(node_id)
    return entry.sequence if entry is not None else 0


def held(peer: LocalNode, node_id: str) -> tuple[int, int]:
    """Epoch of the announcement and of the last heartbeat that the peer has taken."""
    entry = peer.graph.roster.get(node_id)
    assert entry is not None
    assert entry.announcement is not None
    return entry.announcement.epoch, entry.epoch


def is_heard_as(peer: LocalNode, node: LocalNode, node_id: str) -> bool:
    """Whether the peer holds this run's announcement, takes its heartbeats and shows it as online."""
    epoch = node.graph.use.me.epoch
    return held(peer, node_id) == (epoch, epoch) and beats(peer, node_id) >= 2 and peer.is_online(node_id)


def collect(node: LocalNode, topic: str) -> list[dict[str, Any]]:
    """What the node publishes on a topic from now on."""
    told: list[dict[str, Any]] = []

    def take(event: Event) -> None:
        if event.topic == topic:
            told.append(dict(event.data))

    node.graph.use.bus.react(take)
    return told


@pytest.mark.parametrize("is_whole", [True, False], ids=["directory", "database"])
def test_a_node_restored_after_a_clock_in_2099_is_heard_again(make: Make, tmp_path: Path, is_whole: bool) -> None:
    """Its peer holds a state of 2099; the restored node is told so, starts above it, and both lists agree."""
    node, peer, node_id = pair(make)
    node.close()
    shutil.copytree(node.data, tmp_path / "backup")
    node.clock.step_wall(YEARS_73_S)
    node.start()
    wait_for("the state of 2099", lambda: is_heard_as(peer, node, node_id))
    future = node.graph.use.me.epoch
    assert future > 4_000_000_000
    node.close()
    kept = (node.data / "epoch").read_bytes()
    shutil.rmtree(node.data)
    shutil.copytree(tmp_path / "backup", node.data)
    if not is_whole:
        (node.data / "epoch").write_bytes(kept)
    node.clock.step_wall(-YEARS_73_S)
    node.start()
    wait_for("the restored node", lambda: is_heard_as(peer, node, node_id))
    assert node.graph.use.me.epoch > future
    assert peer.row(node_id)["trust"] == "paired"  # type: ignore[index]
    assert int((node.data / "epoch").read_text()) == node.graph.use.me.epoch


def test_a_clock_that_is_set_right_needs_no_help(make: Make) -> None:
    """The counter goes on from where the wrong clock left it."""
    node, peer, node_id = pair(make)
    node.close()
    node.clock.step_wall(YEARS_73_S)
    node.start()
    future = node.graph.use.me.epoch
    node.close()
    node.clock.step_wall(-YEARS_73_S)
    node.start()
    assert node.graph.use.me.epoch == future + 1
    wait_for("the node", lambda: is_heard_as(peer, node, node_id))


def test_two_machines_with_one_identity_are_noticed_on_both_sides(make: Make, tmp_path: Path) -> None:
    """The peer sees epochs alternate; each copy sees itself overtaken as soon as it has started above the other."""
    node, peer, node_id = pair(make)
    node.close()
    shutil.copytree(node.data, tmp_path / "copy")
    node.start()
    copy = make("copy").start()
    told = [collect(one, "mesh.node.identity_cloned") for one in (peer, node, copy)]

    def all_are_told() -> bool:
        for one in (node, copy):
            one.clock.step(1.0)  # epochs are raised at most once in ten seconds
        return all(told)

    wait_for("every owner to be told", all_are_told, 20)
    assert [[data["id"] for data in one[:1]] for one in told] == [[node_id]] * 3
    assert peer.trust(node_id) == "paired"
    for one in (peer, node, copy):  # every owner sees it until it was seen
        wait_for("the notice", lambda one=one: "identity_cloned" in notices_of(one))  # type: ignore[misc]
    for one in (peer, node, copy):
        one.call("POST", "/api/v1/notices/seen", {"up_to": 10**6})
        assert "identity_cloned" not in notices_of(one)


def notices_of(node: LocalNode) -> list[str]:
    """The codes of the notices that `status` shows."""
    return [notice["code"] for notice in node.call("GET", "/api/v1/node")["notices"]]


def test_the_run_before_is_not_listened_to(host: LocalNode) -> None:
    """Whoever still speaks in its epoch must open a session, and is told there that a later run has spoken."""
    peer = Joiner(host.port)
    peer.pair(host.offer().pin)
    assert peer.open_session().status == 200
    assert peer.beat().status == 200
    old = peer.token
    assert peer.open_session(epoch=peer.epoch + 1).status == 200
    assert peer.beat(epoch=peer.epoch + 1).status == 200
    peer.token = old
    assert peer.beat().code == "token_expired"
    answer = peer.open_session()
    assert (answer.json["epoch_held"], answer.json["revision_held"]) == (peer.epoch + 1, 0)
    assert peer.beat().code == "token_expired"


def test_a_raise_that_came_too_soon_is_made_up_for(make: Make, tmp_path: Path) -> None:
    """Two peers hold later states, the second a later one still: it is not left waiting until its token ends."""
    node = make("node").start()
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with RawHost(folders[0], PIN) as first, RawHost(folders[1], PIN) as second:
        ahead = node.graph.use.me.epoch + 100
        for peer, epoch in ((first, ahead), (second, ahead + 100)):
            hold(peer, epoch)
            node.join(f"127.0.0.1:{peer.port}", PIN)
            wait_for("a heartbeat", lambda peer=peer: peer.calls.count("heartbeat") >= 2)
        assert node.graph.use.me.epoch == ahead + 1
        node.clock.step(10)
        wait_for("the second raise", lambda: node.graph.use.me.epoch == ahead + 101)
        last = len(second.bodies)
        wait_for("a heartbeat in the new epoch", lambda: ahead + 101 in [b.get("epoch") for b in second.bodies[last:]])


def hold(peer: RawHost, epoch: int) -> None:
    """Open lasting sessions, and claim to hold an announcement of that epoch until a later one is stated."""

    def session(_: Any) -> dict[str, Any]:
        stated = json.loads(unb64(peer.bodies[-1]["jws"].split(".")[1]))["epoch"]
        epoch_held = max(epoch, stated - 1)
        return {"token": "t", "expires_in": 3600, "epoch_held": epoch_held, "revision_held": 0, "known_sha256": None}

    def heartbeat(_: Any) -> dict[str, Any]:
        told = {"epoch": 1, "sequence": peer.bodies[-1]["sequence"], "announcement_sha256": "A" * 43}
        return told | {"known_sha256": None}

    peer.deviate |= {"nonce": lambda _: {"nonce": b64(bytes(32))}, "session": session, "heartbeat": heartbeat}
