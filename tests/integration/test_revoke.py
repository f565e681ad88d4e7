"""Revoking ends trust at once, the other side learns it, and only a new ceremony brings a node back, at level 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from tests.fakes.joiner import Joiner, sign
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Nodes, wait_for

TO_2099_S = 73 * 365 * 86400.0


@pytest.fixture
def joiner(host: LocalNode) -> Joiner:
    """A paired raw joiner with a session."""
    made = Joiner(host.port)
    made.pair(host.offer().pin)
    assert made.open_session().status == 200
    assert made.beat().status == 200
    return made


def revoke(host: LocalNode, joiner: Joiner) -> None:
    assert host.call("POST", f"/api/v1/nodes/{joiner.id}/revoke")["node"]["trust"] == "revoked"


def test_a_revoked_nodes_tokens_die_at_once(host: LocalNode, joiner: Joiner) -> None:
    """All of its sessions: 401 from the next request on, and no other can be opened."""
    tokens = [joiner.token]
    for _ in range(2):
        joiner.open_session()
        tokens.append(joiner.token)
    revoke(host, joiner)
    before = host.dump()
    for token in tokens:
        joiner.token = token
        assert joiner.beat().status == 401
    answer = joiner.open_session()
    assert (answer.status, answer.code) == (401, "not_paired")
    assert host.dump() == before
    row = host.row(joiner.id)
    assert row is not None
    assert (row["trust"], row["trust_level"], row["status"], row["revoked_by"]) == ("revoked", 0, "offline", "owner")


def test_nothing_but_a_new_ceremony_revives_a_revoked_node(host: LocalNode, joiner: Joiner) -> None:
    """Neither a heartbeat with an announcement, nor a repeated ack or finish, nor an offer opened before."""
    old = host.offer()
    ack, finish = joiner.ack_body(), dict(joiner.finish_body)
    running = Joiner(host.port, id=joiner.id, key=joiner.key)
    assert running.begin().status == 200
    assert running.exchange(old.pin).status == 200
    revoke(host, joiner)
    before = host.dump("mesh_nodes")
    joiner.revision += 1
    assert joiner.beat(announcement=joiner.announcement()).status == 401
    joiner.post("pair/ack", ack)
    assert joiner.post("pair/finish", finish).code == "session_over"
    refused = running.finish()
    assert (refused.status, refused.code) == (410, "offer_closed")
    again = Joiner(host.port, id=joiner.id, key=joiner.key)
    assert again.begin(old.code).status == 200
    assert again.exchange(old.pin).status == 200
    assert again.finish().status == 410
    assert joiner.open_session().code == "not_paired"
    assert host.dump("mesh_nodes") == before


def test_a_new_ceremony_revives_at_level_1(host: LocalNode, joiner: Joiner) -> None:
    """An operator that was revoked comes back without its level; the old token stays dead; the owner is told."""
    host.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
    old_token = joiner.token
    revoke(host, joiner)
    offer = host.offer()
    joiner.pair(offer.pin)
    row = host.row(joiner.id)
    assert row is not None
    assert (row["trust"], row["trust_level"], row["revoked_at"]) == ("paired", 1, None)
    joiner.token = old_token
    assert joiner.beat().status == 401
    assert joiner.open_session().status == 200
    assert joiner.beat().status == 200
    assert host.call("GET", f"/api/v1/pairing/offers/{offer.id}")["activity"]["was"] == "revoked"


@pytest.mark.parametrize("wrong_s", [TO_2099_S, -TO_2099_S], ids=["2099", "long ago"])
def test_a_wrong_clock_neither_keeps_out_nor_lets_in(host: LocalNode, joiner: Joiner, wrong_s: float) -> None:
    """Revoked while the clock was wrong: the offer from before revives nobody, the next one does, at any time."""
    old = host.offer()
    host.clock.step_wall(wrong_s)
    revoke(host, joiner)
    host.clock.step_wall(-wrong_s)
    again = Joiner(host.port, id=joiner.id, key=joiner.key)
    assert again.begin(old.code).status == 200
    assert again.exchange(old.pin).status == 200
    assert (again.finish().code, host.trust(joiner.id)) == ("offer_closed", "revoked")
    joiner.pair(host.offer().pin)
    assert host.trust(joiner.id) == "paired"


def test_an_offer_from_before_a_restart_revives_nobody(host: LocalNode, joiner: Joiner) -> None:
    """Whichever came first: the owner opens another; whoever is not revoked pairs by it all the same."""
    host.clock.step_wall(-TO_2099_S)  # so that the revocation seems to be the older
    revoke(host, joiner)
    host.clock.step_wall(TO_2099_S)
    offer = host.offer()
    host.restart()
    again = Joiner(host.port, id=joiner.id, key=joiner.key)
    assert again.begin(offer.code).status == 200
    assert again.exchange(offer.pin).status == 200
    assert again.finish().code == "offer_closed"
    Joiner(host.port).pair(offer.pin)
    joiner.port = host.port
    joiner.pair(host.offer().pin)
    assert host.trust(joiner.id) == "paired"


@pytest.mark.parametrize("wrong_s", [TO_2099_S, -TO_2099_S], ids=["2099", "long ago"])
def test_a_joiner_comes_back_to_whom_it_revoked(host: LocalNode, tmp_path: Path, wrong_s: float) -> None:
    """The same on the joiner's side."""
    guest = LocalNode(tmp_path / "guest").start()
    try:
        offer = host.offer()
        guest.join(offer.url, offer.pin)
        guest.clock.step_wall(wrong_s)
        guest.call("POST", f"/api/v1/nodes/{host.id}/revoke")
        guest.clock.step_wall(-wrong_s)
        assert guest.trust(host.id) == "revoked"
        offer = host.offer()
        guest.join(offer.url, offer.pin)
        assert guest.trust(host.id) == "paired"
    finally:
        guest.close()


def test_a_revoked_row_waits_for_the_acknowledge(host: LocalNode, joiner: Joiner) -> None:
    """Until then it stays revoked, with no rights; without an acknowledge it stays so for good."""
    revoke(host, joiner)
    joiner.begin()
    offer = host.offer()
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.pin).status == 200
    assert joiner.finish().status == 200
    assert host.trust(joiner.id) == "revoked"
    assert joiner.beat().status == 401
    host.clock.step(610)
    host.run(host.graph.use.confirmations.sweep())
    assert host.trust(joiner.id) == "revoked"
    assert joiner.ack().code == "not_paired"


def test_revoking_drops_an_unacknowledged_ceremony(host: LocalNode) -> None:
    """A joiner revoked between finish and ack stays out, whichever of the two ways it confirms by."""
    joiner = Joiner(host.port)
    offer = host.offer()
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.pin).status == 200
    assert joiner.finish().status == 200
    revoke(host, joiner)
    assert joiner.ack().code == "not_paired"
    assert joiner.open_session().code == "not_paired"
    assert host.trust(joiner.id) == "revoked"


def test_a_revoked_node_is_refused_as_a_stranger_is(host: LocalNode, joiner: Joiner) -> None:
    """The same status, code and sentence, whether the id is revoked or was never known."""
    revoke(host, joiner)
    stranger = Joiner(host.port, host_id=host.id)
    known, unknown = joiner.open_session(), stranger.open_session()
    assert known.status == unknown.status == 401
    assert known.body == unknown.body
    forged = joiner.post("session", {"caller": joiner.id, "jws": sign(stranger.key, "session", joiner.statement())})
    assert forged.body == unknown.body


def test_the_other_side_shows_removed_and_comes_back_by_a_new_join(nodes: Nodes) -> None:
    """Between real nodes: `removed_us` within a beat, the trust there unchanged; both online after a new ceremony."""
    host, joiner = nodes.start(), nodes.start()
    offer = host.offer()
    joiner.join(offer.url, offer.pin)
    host_id, joiner_id = host.id, joiner.id
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    host.call("POST", f"/api/v1/nodes/{joiner_id}/revoke")
    wait_for("removed_us", lambda: joiner.shown(host_id)["status_reason"] == "removed_us")
    shown = joiner.shown(host_id)
    assert (shown["status"], shown["trust"]) == ("offline", "paired")
    wait_for("the flush", lambda: joiner.row(host_id)["status_reason"] == "removed_us")
    assert host.trust(joiner_id) == "revoked"
    with pytest.raises(MeshError) as refusal:
        joiner.join(host.address, offer.pin)
    assert refusal.value.code == "no_open_offer"
    offer = host.offer()
    joiner.join(host.address, offer.pin)
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    assert host.shown(joiner_id)["trust_level"] == 1
