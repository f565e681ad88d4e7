"""Repeated and lost messages: the same bytes again, also after a restart; a row nobody acknowledges goes."""

from __future__ import annotations

from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Nodes


def finished(port: int, pin: str) -> tuple[Joiner, Answer]:
    """A joiner whose finish was answered and not acknowledged."""
    joiner = Joiner(port)
    assert joiner.begin().status == 200
    assert joiner.exchange(pin).status == 200
    answer = joiner.finish()
    assert answer.status == 200
    return joiner, answer


def test_an_identical_finish_gets_identical_bytes(host: LocalNode) -> None:
    """Repeated, and repeated after a restart; any other finish of that session is over."""
    joiner, first = finished(host.port, host.offer().pin)
    before = host.dump()
    assert joiner.post("pair/finish", joiner.finish_body).body == first.body
    host.restart()
    assert joiner.post("pair/finish", joiner.finish_body).body == first.body
    assert joiner.finish(announcement=joiner.announcement(name="other")).code == "session_over"
    assert joiner.post("pair/finish", joiner.finish_body | {"tag": first.json["tag"]}).code == "session_over"
    assert host.dump("pending_acks", "pairing_codes", "failed_attempts") == {
        table: before[table] for table in ("pending_acks", "pairing_codes", "failed_attempts")
    }
    assert joiner.ack().json == {}
    assert host.trust(joiner.id) == "paired"


def test_a_finish_survives_kill_9_with_the_same_bytes(nodes: Nodes) -> None:
    """The answer was committed before it left."""
    host = nodes.start()
    joiner, first = finished(host.port, host.offer().pin)
    host.kill()
    host.start()
    assert joiner.post("pair/finish", joiner.finish_body).body == first.body
    assert joiner.ack().json == {}
    host.kill()
    host.start()
    assert host.trust(joiner.id) == "paired"
    assert joiner.ack().json == {}


def test_a_confirmed_finish_is_over(host: LocalNode) -> None:
    """The sealed answer is forgotten with the acknowledge."""
    joiner, _ = finished(host.port, host.offer().pin)
    assert joiner.ack().status == 200
    assert joiner.post("pair/finish", joiner.finish_body).code == "session_over"
    assert [row["finish_answer"] for row in host.rows("pairing_codes")] == [None]


def test_a_repeated_ack_gets_the_same_answer(host: LocalNode) -> None:
    """Also after a restart, and it changes nothing any more."""
    joiner, _ = finished(host.port, host.offer().pin)
    assert joiner.ack().json == {}
    row = host.row(joiner.id)
    assert joiner.ack().json == {}
    host.restart()
    assert joiner.ack().json == {}
    after = host.row(joiner.id)
    assert row is not None
    assert after is not None
    assert after["paired_at"] == row["paired_at"]
    assert after["trust"] == "paired"


def test_opening_a_session_confirms_too(host: LocalNode) -> None:
    """A lost acknowledge is made good by the first session."""
    joiner, _ = finished(host.port, host.offer().pin)
    assert joiner.open_session().status == 200
    assert host.trust(joiner.id) == "paired"
    assert joiner.beat().status == 200


def test_an_unconfirmed_row_has_no_rights_and_goes_after_ten_minutes(host: LocalNode) -> None:
    """It is shown as unconfirmed, its level is worth nothing, and its acknowledge comes too late then."""
    joiner, _ = finished(host.port, host.offer().pin)
    shown = host.shown(joiner.id)
    assert shown["trust"] == "unconfirmed"
    host.clock.step(590)
    host.run(host.graph.use.confirmations.sweep())
    assert host.trust(joiner.id) == "unconfirmed"
    host.clock.step(20)
    host.run(host.graph.use.confirmations.sweep())
    assert host.trust(joiner.id) is None
    assert all(node["id"] != joiner.id for node in host.call("GET", "/api/v1/nodes")["nodes"])
    assert joiner.ack().code == "not_paired"
    assert joiner.open_session().code == "not_paired"
    assert joiner.post("pair/finish", joiner.finish_body).code == "session_over"
    assert host.trust(joiner.id) is None


def test_an_unconfirmed_row_goes_after_a_restart_too(host: LocalNode) -> None:
    """The ten minutes are counted from what is stored."""
    joiner, _ = finished(host.port, host.offer().pin)
    host.restart()
    host.clock.step(610)
    host.run(host.graph.use.confirmations.sweep())
    assert host.trust(joiner.id) is None


def test_a_paired_row_stands_until_the_new_ceremony_is_acknowledged(host: LocalNode) -> None:
    """An unacknowledged pairing leaves the row, its level and its sessions as they were, and ten minutes later too."""
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    host.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
    before = host.row(joiner.id)
    joiner.name = "another name"
    offer = host.offer()
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.pin).status == 200
    assert joiner.finish().status == 200
    assert host.row(joiner.id) == before
    host.clock.step(610)
    host.run(host.graph.use.confirmations.sweep())
    assert host.row(joiner.id) == before
    assert joiner.open_session().status == 200


def test_joining_again_replaces_an_unacknowledged_ceremony(host: LocalNode) -> None:
    """Only the last one can be acknowledged."""
    joiner, _ = finished(host.port, host.offer().pin)
    old = joiner.ack_body()
    joiner.pair(host.offer().pin)
    assert host.trust(joiner.id) == "paired"
    row = host.row(joiner.id)
    joiner.post("pair/ack", old)
    assert host.row(joiner.id) == row
