"""What each side is shown, and how soon: the table of docs/protocol.md, Heartbeat, held by real processes.

Intervals of half a second; `MARGIN_S` is for a busy machine. tests/integration/test_liveness_long.py has real ones.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.node.sweep_liveness import FLUSH_S
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Asked, Node, Nodes, wait_for

I_S = 0.5  # the interval of every process here
MARGIN_S = 1.5
EARLY_S = 0.15  # a heartbeat comes on the grid second before
DAY_S = 86400.0

Shown = tuple[str, str | None]


def shown(at: Asked, of: str) -> Shown:
    """Status and reason, as the owner of `at` sees that node."""
    node = at.call("GET", f"/api/v1/nodes/{of}")["node"]
    return node["status"], node["status_reason"]


def stored(at: Asked, of: str) -> Shown:
    """The same, by the table."""
    row = at.row(of)
    assert row is not None
    return row["status"], row["status_reason"]


def seen_within(at: Asked, of: str, what: Shown, since: float, earliest_s: float, latest_s: float) -> None:
    """Wait until `at` shows that; by its table too, a second later."""
    wait_for(f"{what}", lambda: shown(at, of) == what, since + latest_s + MARGIN_S - time.monotonic())
    took = time.monotonic() - since
    assert took >= earliest_s - EARLY_S, f"{what} after {took:.2f} s, due after {earliest_s:.2f}"
    wait_for(f"{what} in the table", lambda: stored(at, of) == what, 1 + MARGIN_S)


def pair(host: Asked, joiner: Asked) -> None:
    """Pair the two, and wait until both show it."""
    offer = host.offer()
    joiner.join(offer.url, offer.pin)
    for at, of in ((host, joiner), (joiner, host)):
        wait_for("a peer online", lambda at=at, of=of: at.is_online(of.id))  # type: ignore[misc]


def hear_afresh(at: Asked, of: str) -> None:
    """Wait for a heartbeat: silence is counted from here."""
    before = at.shown(of)["last_seen"]
    wait_for("a fresh heartbeat", lambda: at.shown(of)["last_seen"] != before)


def pause(node: Node) -> None:
    """SIGSTOP."""
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)


def resume(node: Node) -> float:
    """SIGCONT; when."""
    assert node.process is not None
    node.process.send_signal(signal.SIGCONT)
    return time.monotonic()


def holds(what: str, at: Asked, of: str, expected: Shown, for_s: float) -> None:
    """`at` shows that all the time."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        seen = shown(at, of)
        assert seen == expected, f"{what}: {seen} with {until - time.monotonic():.2f} s to go"
        time.sleep(0.02)


@pytest.fixture
def two(nodes: Nodes) -> tuple[Node, Node]:
    """Two paired processes, both online to each other."""
    a, b = nodes.start(), nodes.start()
    pair(a, b)
    return a, b


def test_kill_9_is_seen_as_stale_then_offline_and_the_return_at_once(two: tuple[Node, Node]) -> None:
    """Within the bounds of the table; who comes back finds the other online, and is found."""
    a, b = two
    b_id, a_id = b.id, a.id
    hear_afresh(a, b_id)
    since = time.monotonic()
    b.kill()
    seen_within(a, b_id, ("stale", "silent"), since, 1.5 * I_S, 2.5 * I_S)
    seen_within(a, b_id, ("offline", "silent"), since, 5 * I_S, 6 * I_S)
    b.start()
    since = time.monotonic()
    seen_within(a, b_id, ("online", None), since, 0, 0)
    seen_within(b, a_id, ("online", None), since, 0, 0)


def test_a_clean_stop_is_seen_at_once(two: tuple[Node, Node]) -> None:
    """As "left", for good until it returns, whoever's heartbeat was under way."""
    a, b = two
    b_id, a_id = b.id, a.id
    for _ in range(3):
        assert b.stop() == 0
        assert shown(a, b_id) == ("offline", "left")
        holds("it left", a, b_id, ("offline", "left"), 3 * I_S)
        b.start()
        seen_within(a, b_id, ("online", None), time.monotonic(), 0, 0)
        seen_within(b, a_id, ("online", None), time.monotonic(), 0, 0)


def test_a_stopped_process_is_offline_and_itself_blames_nobody_when_it_wakes(two: tuple[Node, Node]) -> None:
    """SIGSTOP for ten intervals: the other side sees a crash, and the waking at once; the sleeper sees no change."""
    a, b = two
    a_id, b_id = a.id, b.id
    hear_afresh(a, b_id)
    pause(b)
    since = time.monotonic()
    seen_within(a, b_id, ("stale", "silent"), since, 1.5 * I_S, 2.5 * I_S)
    seen_within(a, b_id, ("offline", "silent"), since, 5 * I_S, 6 * I_S)
    wait_for("five seconds to pass", lambda: time.monotonic() > since + 5)
    woken = resume(b)
    holds("the sleeper", b, a_id, ("online", None), I_S)
    seen_within(a, b_id, ("online", None), woken, 0, 1)
    holds("the sleeper", b, a_id, ("online", None), 7 * I_S)
    assert "nothing heard" not in b.log()
    assert "awake again" in b.log()


def test_who_died_while_we_were_stopped_is_seen_within_the_bounds_from_our_waking(two: tuple[Node, Node]) -> None:
    """Not at once, as what we missed proves nothing; and no later than if it had died at our waking."""
    a, b = two
    a_id = a.id
    hear_afresh(b, a_id)
    pause(b)
    a.kill()
    since = time.monotonic()
    wait_for("five seconds to pass", lambda: time.monotonic() > since + 5)
    woken = resume(b)
    assert shown(b, a_id) == ("online", None)
    # the look that was planned when it stopped counts as silence to its end: nobody can say when in it that was
    seen_within(b, a_id, ("stale", "silent"), woken, 2.5 * I_S - FLUSH_S, 2.5 * I_S)
    seen_within(b, a_id, ("offline", "silent"), woken, 6 * I_S - FLUSH_S, 6 * I_S)


def test_three_that_die_at_once_are_stale_one_interval_later(nodes: Nodes) -> None:
    """Our own interfaces are looked at first; offline comes as ever."""
    a, *others = (nodes.start() for _ in range(4))
    ids = []
    for other in others:
        pair(a, other)
        ids.append(other.id)
    since = time.monotonic()
    for other in others:
        other.kill()
    for node_id in ids:
        seen_within(a, node_id, ("stale", "silent"), since, 2.5 * I_S, 3.5 * I_S)
    for node_id in ids:
        seen_within(a, node_id, ("offline", "silent"), since, 5 * I_S, 6 * I_S)
    assert a.log().count("looking at our own interfaces first") >= 1


# ── clocks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def locals_(tmp_path: Path) -> Iterator[tuple[LocalNode, LocalNode]]:
    """Two paired nodes within this process, whose clocks can be stepped."""
    made = [LocalNode(tmp_path / name, is_beating=True, is_judging=True) for name in ("a", "b")]
    try:
        for node in made:
            node.start()
        pair(*made)
        yield made[0], made[1]
    finally:
        for node in made:
            node.close()


@pytest.mark.long  # the short run steps a real process's in test_wall_clock.py
@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
def test_a_stepped_wall_clock_changes_nothing_about_liveness(
    locals_: tuple[LocalNode, LocalNode], step_s: float
) -> None:
    """A day ahead or back: both stay online to each other, and a death is seen within the bounds, also back again."""
    a, b = locals_
    b_id = b.id
    a.clock.step_wall(step_s)
    for at, of in ((a, b), (b, a)):
        holds("stepped", at, of.id, ("online", None), 4 * I_S)
    hear_afresh(a, b_id)
    since = time.monotonic()
    b.close()
    a.clock.step_wall(-step_s)
    seen_within(a, b_id, ("stale", "silent"), since, I_S, 2.5 * I_S)
    a.clock.step_wall(step_s)
    seen_within(a, b_id, ("offline", "silent"), since, 4.5 * I_S, 6 * I_S)
    b.start()
    seen_within(a, b_id, ("online", None), time.monotonic(), 0, 0)


def test_a_machine_that_wakes_calls_every_peer_at_once(tmp_path: Path) -> None:
    """With an interval of five minutes nothing else would: monotonic time stood still, boot time has moved."""
    a, b = (
        LocalNode(tmp_path / name, is_beating=True, is_judging=True, **{"heartbeat.interval_s": 300.0})
        for name in ("a", "b")
    )
    try:
        a.start()
        b.start()
        pair(a, b)

        def heard() -> str:
            return str(b.shown(a.id)["last_seen"])

        last = heard()
        holds("nothing due", b, a.id, ("online", None), 1.2)
        last = heard()
        a.clock.sleep(3600)
        wait_for("a heartbeat of the woken machine", lambda: heard() != last, 1 + MARGIN_S)
        assert shown(a, b.id) == shown(b, a.id) == ("online", None)
    finally:
        a.close()
        b.close()


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
def test_an_unacknowledged_pairing_ends_after_ten_minutes_by_either_clock(host: LocalNode, step_s: float) -> None:
    """Set back, the wall clock keeps it no longer; set ahead, it ends it."""
    joiner, offer = Joiner(host.port), host.offer()
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.pin).status == 200
    assert joiner.finish().status == 200
    sweep = host.graph.use.confirmations.sweep
    host.clock.step_wall(step_s)
    host.clock.step(590)
    host.run(sweep())
    assert host.trust(joiner.id) == ("unconfirmed" if step_s < 0 else None)
    host.clock.step(11)
    host.run(sweep())
    assert host.trust(joiner.id) is None
