"""An acknowledge that got no answer is repeated with the heartbeats until it gets one, whichever that is."""

from __future__ import annotations

from tests.fakes.host import BROKEN, NOT_PAIRED, PIN, RawHost
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for


def join(beating: LocalNode, host: RawHost) -> None:
    beating.join(f"127.0.0.1:{host.port}", PIN)


def test_it_is_repeated_with_the_same_bytes(beating: LocalNode, liar: RawHost) -> None:
    """Until the host answers; then nothing is pending."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(beating, liar)
    wait_for("three acks", lambda: liar.calls.count("ack") >= 3)
    assert beating.rows("pending_acks")
    del liar.deviate["ack"]
    wait_for("nothing pending", lambda: beating.rows("pending_acks") == [])
    acks = [body for call, body in zip(liar.calls, liar.bodies, strict=False) if call == "ack"]
    assert all(ack == acks[0] for ack in acks)
    assert beating.trust(liar.id) == "paired"


def test_it_is_repeated_after_a_restart(beating: LocalNode, liar: RawHost) -> None:
    """What is pending is stored."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(beating, liar)
    beating.close()
    del liar.deviate["ack"]
    beating.start()
    wait_for("nothing pending", lambda: beating.rows("pending_acks") == [])
    assert beating.trust(liar.id) == "paired"


def test_a_late_not_paired_takes_the_row_back(beating: LocalNode, liar: RawHost) -> None:
    """A host that lost the pairing is not trusted alone."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(beating, liar)
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    wait_for("the row to go", lambda: beating.trust(liar.id) is None)
    assert beating.rows("pending_acks") == []
    assert all(node["id"] != liar.id for node in beating.call("GET", "/api/v1/nodes")["nodes"])


def test_a_session_refused_as_not_paired_takes_the_row_back_too(beating: LocalNode, liar: RawHost) -> None:
    """Whatever becomes of the acknowledge: the session tells who is paired."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(beating, liar)
    liar.deviate["nonce"] = lambda _: NOT_PAIRED
    wait_for("the row to go", lambda: beating.trust(liar.id) is None)
    assert beating.rows("pending_acks") == []


def test_a_late_not_paired_restores_the_row_from_before_and_goes_on_calling(beating: LocalNode, liar: RawHost) -> None:
    """The restored peer is a peer as before: it is called, and shown as having removed us."""
    join(beating, liar)
    beating.call("PUT", f"/api/v1/nodes/{liar.id}/trust", {"level": 2})
    liar.deviate["ack"] = lambda _: BROKEN
    join(beating, liar)
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    wait_for("nothing pending", lambda: beating.rows("pending_acks") == [])
    row = beating.row(liar.id)
    assert row is not None
    assert (row["trust"], row["trust_level"]) == ("paired", 2)
    calls = liar.calls.count("nonce")
    wait_for("another call", lambda: liar.calls.count("nonce") > calls)
    wait_for("the reason", lambda: beating.shown(liar.id)["status_reason"] == "removed_us")
