"""Verdicts by the sweeper, over the real graph with a clock held by the test: silence, doubt, pauses."""

import asyncio
from typing import Any

import pytest

from meshnode.node.roster import Entry
from tests.fakes.bare_node import BareNode

I_S = 15.0  # what every peer here promised, and we
EPSILON_S = 0.05


class Sweep:
    """The sweeper of a bare node, ticked by hand."""

    def __init__(self, core: BareNode) -> None:
        self.core = core
        self.sweeper = core.graph.sweeper
        self.looks = 0
        self.wakings = 0
        self.sweeper.look = self._look
        self.sweeper.on_woken = self._woken

    def _look(self) -> None:
        self.looks += 1

    def _woken(self) -> None:
        self.wakings += 1

    def add(self, *names: str) -> list[Entry]:
        """Paired peers, heard just now."""
        entries = [self.put(name) for name in names]
        self.sweeper.tick()
        return entries

    def put(self, name: str, silent_s: float = 0.0) -> Entry:
        """A paired peer, judged at the next look."""
        entry = self.core.put_peer(name, silent_s=silent_s)
        self.sweeper.watch(name)
        return entry

    def hear(self, *entries: Entry) -> None:
        """They spoke."""
        for entry in entries:
            self.core.use.answering.heard(entry)

    def run(self, seconds: float) -> None:
        """Time passes, and every look comes when it is due."""
        until = self.core.clock.monotonic() + seconds
        while (wait := self.sweeper.tick()) <= until - self.core.clock.monotonic():
            self.core.clock.advance(wait)
        self.core.clock.advance(until - self.core.clock.monotonic())
        self.sweeper.tick()


@pytest.fixture
def sweep(core: BareNode) -> Sweep:
    return Sweep(core)


def status_of(*entries: Entry) -> list[str]:
    return [entry.status for entry in entries]


def test_a_silent_peer_is_stale_after_2_5_intervals_and_offline_after_6(sweep: Sweep) -> None:
    """To a few hundredths of a second, with the reason, and nobody suspects us for one peer."""
    (peer,) = sweep.add("a")
    sweep.run(2.5 * I_S - EPSILON_S)
    assert peer.status == "online"
    sweep.run(2 * EPSILON_S)
    assert (peer.status, peer.status_reason) == ("stale", "silent")
    sweep.run(3.5 * I_S - 2 * EPSILON_S)
    assert peer.status == "stale"
    sweep.run(2 * EPSILON_S)
    assert peer.status == "offline"
    assert sweep.looks == sweep.wakings == 0


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0])
def test_a_wall_clock_that_jumps_changes_no_verdict(sweep: Sweep, jump_s: float) -> None:
    """Neither hastens nor delays it, and wakes nobody."""
    (peer,) = sweep.add("a")
    sweep.core.clock.jump(jump_s)
    sweep.run(2.5 * I_S - EPSILON_S)
    assert peer.status == "online"
    sweep.core.clock.jump(-jump_s)
    sweep.run(2 * EPSILON_S)
    assert peer.status == "stale"
    assert sweep.wakings == 0


@pytest.mark.parametrize(("silent", "alive"), [(2, 1), (3, 0), (3, 2)])
def test_when_most_of_three_fall_silent_our_interfaces_are_looked_at_first(
    sweep: Sweep, silent: int, alive: int
) -> None:
    """The verdict comes one interval later, not sooner and not later; there is one look for all of them."""
    entries = sweep.add(*(f"n{n}" for n in range(silent + alive)))
    quiet, well = entries[:silent], entries[silent:]
    for _ in range(2):
        sweep.run(I_S)
        sweep.hear(*well)
    sweep.run(1.5 * I_S - EPSILON_S)
    assert set(status_of(*quiet)) == {"online"}
    assert sweep.looks == 1
    sweep.hear(*well)
    sweep.run(2 * EPSILON_S)
    assert set(status_of(*quiet)) == {"stale"}
    assert status_of(*well) == ["online"] * alive


def test_one_outage_is_one_look(sweep: Sweep) -> None:
    """The last heartbeats before it came at different times, so the verdicts are due one after the other."""
    entries = []
    for name in ("a", "b", "c", "d"):
        entries += sweep.add(name)
        sweep.run(3)
    sweep.run(3.5 * I_S - 12 - EPSILON_S)
    assert set(status_of(*entries)) == {"online"}
    assert sweep.looks == 1
    sweep.run(2 * EPSILON_S)
    assert status_of(*entries) == ["stale", "online", "online", "online"]
    sweep.run(9)
    assert set(status_of(*entries)) == {"stale"}


def test_a_doubt_never_delays_offline(sweep: Sweep) -> None:
    """That is due 6 intervals after the last word, as ever."""
    entries = sweep.add("a", "b", "c")
    sweep.run(6 * I_S - EPSILON_S)
    assert set(status_of(*entries)) == {"stale"}
    sweep.run(2 * EPSILON_S)
    assert set(status_of(*entries)) == {"offline"}


def test_peers_that_are_heard_during_the_doubt_stay_online(sweep: Sweep) -> None:
    """It was us, and the look mended it."""
    entries = sweep.add("a", "b", "c")
    sweep.run(3 * I_S)
    sweep.hear(*entries)
    sweep.run(2.4 * I_S)
    assert set(status_of(*entries)) == {"online"}
    assert sweep.looks == 1


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_nobody_doubts_itself_for_one_or_two_peers(sweep: Sweep, names: tuple[str, ...]) -> None:
    """Their verdict is due at 2.5 intervals."""
    entries = sweep.add(*names)
    sweep.run(2.5 * I_S + EPSILON_S)
    assert set(status_of(*entries)) == {"stale"}
    assert sweep.looks == 0


def test_half_of_the_peers_are_no_reason_to_doubt_ourselves(sweep: Sweep) -> None:
    """Two of four went; those that are offline anyway don't count."""
    gone = sweep.add("x", "y", "z")
    sweep.run(6.1 * I_S)
    looks = sweep.looks
    entries = sweep.add("a", "b", "c", "d")
    for _ in range(2):
        sweep.run(I_S)
        sweep.hear(*entries[2:])
    sweep.run(0.5 * I_S + EPSILON_S)
    assert status_of(*entries) == ["stale", "stale", "online", "online"]
    assert (status_of(*gone), sweep.looks) == (["offline"] * 3, looks)


def test_the_time_we_were_stopped_is_no_silence_of_the_others(sweep: Sweep) -> None:
    """After an hour of SIGSTOP nobody is dead, every peer is called once, and who died meanwhile is seen in time."""
    entries = sweep.add("a", "b", "c", "d")
    sweep.run(0.9 * I_S)
    sweep.core.clock.advance(3600)
    sweep.sweeper.tick()
    assert set(status_of(*entries)) == {"online"}
    assert sweep.wakings == 1
    sweep.hear(*entries[:3])
    sweep.run(1.4 * I_S)
    assert set(status_of(*entries)) == {"online"}
    sweep.hear(*entries[:3])
    sweep.run(1.0 * I_S)
    assert status_of(*entries) == ["online", "online", "online", "stale"]
    sweep.hear(*entries[:3])
    sweep.run(3.5 * I_S)
    assert entries[3].status == "offline"
    assert sweep.wakings == 1


def test_an_answer_that_is_read_before_the_first_look_after_a_stop_counts_from_then(sweep: Sweep) -> None:
    """Nobody is heard in the future, so that its verdict comes in time."""
    (peer,) = sweep.add("a")
    sweep.core.clock.advance(1000)
    sweep.hear(peer)
    sweep.sweeper.tick()
    sweep.run(2.5 * I_S + EPSILON_S)
    assert peer.status == "stale"


def test_a_sleep_in_which_monotonic_time_stands_still_wakes_us(sweep: Sweep) -> None:
    """A minute of it or a night: every peer is called at the next look, nobody is judged for it."""
    (peer,) = sweep.add("a")
    for asleep_s in (60.0, 8 * 3600.0):
        before = sweep.wakings
        sweep.run(1.0)
        sweep.core.clock.sleep(asleep_s)
        sweep.run(1.0)
        assert sweep.wakings == before + 1
        sweep.run(5.0)
        assert sweep.wakings == before + 1
    assert peer.status == "online"


def test_many_short_stops_keep_no_dead_peer_alive(sweep: Sweep) -> None:
    """A phone that dozes all the time: what it is awake for adds up."""
    (peer,) = sweep.add("a")
    for _ in range(4):
        sweep.run(0.6 * I_S)
        sweep.core.clock.advance(40)
    sweep.run(0.2 * I_S)
    assert peer.status == "stale"


async def test_a_database_that_hangs_holds_up_no_verdict(
    core: BareNode, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on looking while the flush waits for the writer."""
    (peer,) = sweep.add("a")
    async with core.database.write():
        core.graph.roster.touch(peer)
        sweeping = asyncio.create_task(core.graph.sweeper.run())
        await asyncio.sleep(0.05)
        late = sweep.put("b", silent_s=2.6 * I_S)
        async with asyncio.timeout(5):
            while late.status != "stale":
                await asyncio.sleep(0.02)
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def test_with_nobody_to_judge_there_are_no_ticks_until_somebody_comes(sweep: Sweep) -> None:
    """An idle node sleeps; who is paired then is judged at once, and the wait was nobody's silence."""
    ticks = 0
    tick = sweep.sweeper.tick
    has_ticked = asyncio.Event()

    def count() -> float:
        nonlocal ticks
        ticks += 1
        has_ticked.set()
        return tick()

    sweep.sweeper.tick = count  # type: ignore[method-assign]
    running = asyncio.create_task(sweep.sweeper.run())
    try:
        await has_ticked.wait()
        loop: Any = asyncio.get_running_loop()
        await asyncio.sleep(0)
        assert ticks == 1
        assert [timer for timer in loop._scheduled if not timer.cancelled()] == []
        has_ticked.clear()
        sweep.core.clock.advance(3600)
        entry = sweep.put("a", silent_s=100.0)
        async with asyncio.timeout(5):
            await has_ticked.wait()
        assert entry.status == "offline"
        assert sweep.wakings == 0
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
