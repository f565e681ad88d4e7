"""The ceremony between real processes, and between one and a client written from the protocol's text alone."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import pytest

from tests.fakes.joiner import Joiner, b64
from tests.fakes.nodes import Node, Nodes, wait_for


def join_by(way: str, host: Node, joiner: Node) -> Any:
    offer = host.offer()
    return joiner.join(offer.url if way == "invite" else host.address, offer.pin)


def row_beyond(node: Node, peer_id: str, sequence: int) -> dict[str, Any] | None:
    row = node.row(peer_id)
    return row if row is not None and row["sequence"] > sequence else None


@pytest.mark.parametrize("way", ["invite", "pin"])
def test_two_nodes_pair_and_each_stands_in_the_others_table(nodes: Nodes, way: str) -> None:
    """Both SQLite files hold both nodes, with the keys, certificate hashes and announcements of the other side."""
    host, joiner = nodes.start(), nodes.start()
    answer = join_by(way, host, joiner)
    assert answer["node"]["id"] == host.id
    for one, other in ((host, joiner), (joiner, host)):
        assert len(one.rows()) == 2
        row, own = one.row(other.id), other.row(other.id)
        assert row is not None
        assert own is not None
        assert (row["trust"], row["trust_level"], row["dialect"]) == ("paired", 1, "mesh")
        same = ("name", "kind", "public_key", "tls_sha256", "port", "announcement", "epoch", "revision", "capabilities")
        assert {key: row[key] for key in same} == {key: own[key] for key in same}
        wait_for("both online", lambda one=one, other=other: one.is_online(other.id))
    assert joiner.rows("pending_acks") == []


def test_heartbeats_keep_both_online_and_move_last_seen(nodes: Nodes) -> None:
    """Beyond six intervals both rows are still online, and last_seen in the file grows."""
    host, joiner = nodes.start(), nodes.start()
    join_by("invite", host, joiner)
    pairs = ((host, joiner), (joiner, host))
    firsts = [one.row(other.id) for one, other in pairs]
    for (one, other), first in zip(pairs, firsts, strict=True):
        assert first is not None
        row = wait_for("eight heartbeats", partial(row_beyond, one, other.id, first["sequence"] + 7))
        assert row["status"] == "online"
        assert row["last_seen"] > first["last_seen"]


def test_pairing_again_keeps_level_and_first_time(nodes: Nodes) -> None:
    """A paired node that pairs again with its own key is refreshed; its level and paired_at stay."""
    host, joiner = nodes.start(), nodes.start()
    join_by("invite", host, joiner)
    host.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
    first = host.row(joiner.id)
    join_by("pin", host, joiner)
    again = host.row(joiner.id)
    assert first is not None
    assert again is not None
    assert (again["trust"], again["trust_level"]) == ("paired", 2)
    assert again["paired_at"] == first["paired_at"]
    assert len(host.rows()) == len(joiner.rows()) == 2


def test_a_clean_stop_shows_left_and_a_restart_returns(nodes: Nodes) -> None:
    """SIGTERM ends with 0 and tells the peer at once; the node comes back by itself."""
    host, joiner = nodes.start(), nodes.start()
    join_by("invite", host, joiner)
    wait_for("both online", lambda: host.is_online(joiner.id) and joiner.is_online(host.id))
    joiner_id, host_id = joiner.id, host.id
    assert joiner.stop() == 0
    wait_for("left", lambda: host.shown(joiner_id)["status_reason"] == "left", 3)
    assert host.shown(joiner_id)["status"] == "offline"
    joiner.restart()
    wait_for("online again", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))


@pytest.mark.long  # the short run kills in test_liveness.py
def test_a_killed_node_becomes_stale_then_offline_and_returns(nodes: Nodes) -> None:
    """Silence is noticed from our own clock; kill -9 says no goodbye."""
    host, joiner = nodes.start(), nodes.start()
    join_by("invite", host, joiner)
    joiner_id, host_id = joiner.id, host.id
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    joiner.kill()
    wait_for("stale", lambda: host.shown(joiner_id)["status"] == "stale")
    wait_for("offline", lambda: host.shown(joiner_id)["status"] == "offline")
    assert host.shown(joiner_id)["status_reason"] == "silent"
    joiner.restart()
    wait_for("online again", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))


@pytest.mark.parametrize("way", ["invite", "pin"])
def test_a_client_written_from_the_text_alone_pairs(nodes: Nodes, way: str) -> None:
    """The wire is what the protocol says, step by step."""
    host = nodes.start()
    offer = host.offer()
    joiner = Joiner(host.port)
    assert joiner.begin(offer.code if way == "invite" else None).status == 200
    assert joiner.certificate_hash[:16] == offer.cert
    assert joiner.host_id == host.id
    assert host.trust(joiner.id) is None
    assert joiner.exchange(offer.pin).status == 200
    assert joiner.finish().status == 200
    assert host.trust(joiner.id) == "unconfirmed"
    assert joiner.ack().json == {}
    row = host.row(joiner.id)
    assert row is not None
    assert (row["trust"], row["trust_level"], row["public_key"]) == ("paired", 1, joiner.public)
    assert row["announcement"] == joiner.announcement()
    opened = joiner.open_session()
    assert opened.status == 200
    assert (opened.json["epoch_held"], opened.json["revision_held"]) == (joiner.epoch, joiner.revision)
    assert opened.json["known_sha256"] == b64(hashlib.sha256(joiner.announcement().encode()).digest())


def test_heartbeats_carry_hashes_and_an_announcement_only_when_it_changed(nodes: Nodes) -> None:
    """Equal hashes: no announcement travels. A changed one is learned, and the new hash comes back."""
    host = nodes.start()
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    joiner.open_session()
    quiet = joiner.beat().json
    assert "announcement" not in quiet
    assert quiet["announcement_sha256"] == b64(hashlib.sha256(joiner.host_announcement.encode()).digest())
    ignorant = joiner.beat(known_sha256=None).json
    assert ignorant["announcement"] == joiner.host_announcement
    joiner.revision, joiner.name = 2, "renamed"
    changed = joiner.beat(announcement=joiner.announcement()).json
    assert changed["known_sha256"] == b64(hashlib.sha256(joiner.announcement().encode()).digest())
    row = host.row(joiner.id)
    assert row is not None
    assert (row["name"], row["revision"]) == ("renamed", 2)
    host.call("PATCH", "/api/v1/node", {"name": "another name"})
    told = joiner.beat().json
    assert joiner.verify(told["announcement"], "announcement")["name"] == "another name"


def test_an_old_or_repeated_heartbeat_changes_nothing(nodes: Nodes) -> None:
    """A sequence not above the last is answered and ignored: a replayed `leaving` takes nobody offline."""
    host = nodes.start()
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    joiner.open_session()
    for _ in range(3):
        assert joiner.beat().status == 200
    assert joiner.beat(sequence=2, leaving=True).status == 200
    assert host.is_online(joiner.id)
    assert joiner.beat(epoch=joiner.epoch + 1).code == "token_expired"
    assert joiner.beat(sequence=joiner.sequence + 10, leaving=True).status == 200
    assert host.shown(joiner.id)["status_reason"] == "left"
