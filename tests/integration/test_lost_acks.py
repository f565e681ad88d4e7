"""An acknowledge that got no answer is repeated with the heartbeats until it gets one, whichever that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.host import RawHost
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

PIN = "402913"
BROKEN = (503, {"code": "database_error", "detail": "x"})
NOT_PAIRED = (401, {"code": "not_paired", "detail": "x"})


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[RawHost]:
    """A raw host that shows PIN, and opens no sessions."""
    with RawHost(tmp_path, PIN) as made:
        made.deviate["nonce"] = lambda _: BROKEN
        yield made


@pytest.fixture
def joiner(tmp_path: Path) -> Iterator[LocalNode]:
    """A node that sends heartbeats."""
    node = LocalNode(tmp_path / "joiner", is_beating=True)
    try:
        yield node.start()
    finally:
        node.close()


def join(joiner: LocalNode, host: RawHost) -> None:
    joiner.join(f"127.0.0.1:{host.port}", PIN)


def test_it_is_repeated_with_the_same_bytes(joiner: LocalNode, liar: RawHost) -> None:
    """Until the host answers; then nothing is pending."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(joiner, liar)
    wait_for("three acks", lambda: liar.calls.count("ack") >= 3)
    assert joiner.rows("pending_acks")
    del liar.deviate["ack"]
    wait_for("nothing pending", lambda: joiner.rows("pending_acks") == [])
    acks = [body for call, body in zip(liar.calls, liar.bodies, strict=False) if call == "ack"]
    assert all(ack == acks[0] for ack in acks)
    assert joiner.trust(liar.id) == "paired"


def test_it_is_repeated_after_a_restart(joiner: LocalNode, liar: RawHost) -> None:
    """What is pending is stored."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(joiner, liar)
    joiner.close()
    del liar.deviate["ack"]
    joiner.start()
    wait_for("nothing pending", lambda: joiner.rows("pending_acks") == [])
    assert joiner.trust(liar.id) == "paired"


def test_a_late_not_paired_takes_the_row_back(joiner: LocalNode, liar: RawHost) -> None:
    """A host that lost the pairing is not trusted alone."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(joiner, liar)
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    wait_for("the row to go", lambda: joiner.trust(liar.id) is None)
    assert joiner.rows("pending_acks") == []
    assert all(node["id"] != liar.id for node in joiner.call("GET", "/api/v1/nodes")["nodes"])


def test_a_session_refused_as_not_paired_takes_the_row_back_too(joiner: LocalNode, liar: RawHost) -> None:
    """Whatever becomes of the acknowledge: the session tells who is paired."""
    liar.deviate["ack"] = lambda _: BROKEN
    join(joiner, liar)
    liar.deviate["nonce"] = lambda _: NOT_PAIRED
    wait_for("the row to go", lambda: joiner.trust(liar.id) is None)
    assert joiner.rows("pending_acks") == []


def test_a_late_not_paired_restores_the_row_from_before_and_goes_on_calling(joiner: LocalNode, liar: RawHost) -> None:
    """The restored peer is a peer as before: it is called, and shown as having removed us."""
    join(joiner, liar)
    joiner.call("PUT", f"/api/v1/nodes/{liar.id}/trust", {"level": 2})
    liar.deviate["ack"] = lambda _: BROKEN
    join(joiner, liar)
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    wait_for("nothing pending", lambda: joiner.rows("pending_acks") == [])
    row = joiner.row(liar.id)
    assert row is not None
    assert (row["trust"], row["trust_level"]) == ("paired", 2)
    calls = liar.calls.count("nonce")
    wait_for("another call", lambda: liar.calls.count("nonce") > calls)
    wait_for("the reason", lambda: joiner.shown(liar.id)["status_reason"] == "removed_us")
