"""The table of docs/protocol.md, Heartbeat, with the interval of a real node, fifteen seconds; minutes each."""

from __future__ import annotations

import time

import pytest

from tests.fakes.nodes import Node, Nodes, wait_for
from tests.integration.test_liveness import Shown, pair, pause, resume, shown, stored

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

I_S = 15.0
MARGIN_S = 3.0
EARLY_S = 1.2  # a heartbeat comes on the grid second before


@pytest.fixture
def two(nodes: Nodes) -> tuple[Node, Node]:
    """Two paired processes with real intervals."""
    a, b = (nodes.start(MESHNODE_HEARTBEAT__INTERVAL_S=str(I_S)) for _ in range(2))
    pair(a, b)
    return a, b


def seen_between(at: Node, of: str, what: Shown, since: float, earliest_s: float, latest_s: float) -> None:
    """`at` shows that within the bounds; the table a second later."""
    wait_for(f"{what}", lambda: shown(at, of) == what, since + latest_s + MARGIN_S - time.monotonic())
    assert time.monotonic() - since >= earliest_s - EARLY_S
    wait_for(f"{what} in the table", lambda: stored(at, of) == what, 1 + MARGIN_S)


def test_a_crash_a_clean_stop_and_both_returns(two: tuple[Node, Node]) -> None:
    """Each within the seconds that the table names for 15."""
    a, b = two
    a_id, b_id = a.id, b.id
    b.kill()
    since = time.monotonic()
    seen_between(a, b_id, ("stale", "silent"), since, 22.5, 37.5)
    seen_between(a, b_id, ("offline", "silent"), since, 75, 90)
    b.start()
    seen_between(a, b_id, ("online", None), time.monotonic(), 0, 1)
    seen_between(b, a_id, ("online", None), time.monotonic(), 0, 1)
    assert b.stop() == 0
    seen_between(a, b_id, ("offline", "left"), time.monotonic(), 0, 0)
    b.start()
    seen_between(a, b_id, ("online", None), time.monotonic(), 0, 1)


@pytest.mark.parametrize("stopped_s", [150.0, 400.0])
def test_minutes_of_sigstop(two: tuple[Node, Node], stopped_s: float) -> None:
    """The other side sees a crash, and the waking within two seconds; the sleeper blames nobody."""
    a, b = two
    a_id, b_id = a.id, b.id
    pause(b)
    since = time.monotonic()
    seen_between(a, b_id, ("stale", "silent"), since, 22.5, 37.5)
    seen_between(a, b_id, ("offline", "silent"), since, 75, 90)
    wait_for("the stop to last", lambda: time.monotonic() > since + stopped_s, stopped_s)
    woken = resume(b)
    assert shown(b, a_id) == ("online", None)
    seen_between(a, b_id, ("online", None), woken, 0, 2)
    until = time.monotonic() + 4 * I_S
    wait_for("four intervals", lambda: shown(b, a_id) != ("online", None) or time.monotonic() > until, 5 * I_S)
    assert shown(b, a_id) == ("online", None)
    assert "nothing heard" not in b.log()


def test_a_peer_that_died_during_minutes_of_sigstop(two: tuple[Node, Node]) -> None:
    """It is online when we wake, stale within 37.5 s of that, offline within 90."""
    a, b = two
    a_id = a.id
    pause(b)
    a.kill()
    since = time.monotonic()
    wait_for("the stop to last", lambda: time.monotonic() > since + 150, 160)
    woken = resume(b)
    assert shown(b, a_id) == ("online", None)
    seen_between(b, a_id, ("stale", "silent"), woken, I_S, 37.5)
    seen_between(b, a_id, ("offline", "silent"), woken, 60, 90)
