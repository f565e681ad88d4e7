"""Backoff and liveness: how long until what."""

from pathlib import Path

import pytest

from meshnode.domain.backoff import CAP_S, retry_delay_s
from meshnode.domain.liveness import (
    DEFAULT_INTERVAL_S,
    DOUBT_INTERVALS,
    OFFLINE_INTERVALS,
    PHONE_INTERVAL_S,
    STALE_INTERVALS,
    Pause,
    Status,
    doubt_ends_s,
    doubts_self,
    judge,
    judge_pause,
    next_verdict_s,
)


@pytest.mark.parametrize(
    ("failures", "delay"),
    [
        (0, 1.0),
        (1, 1.0),
        (2, 1.8),
        (3, 3.24),
        (4, 5.832),
        (5, 10.4976),
        (7, 34.012224),
        (8, 60.0),
        (9, 60.0),
        (10**9, 60.0),
    ],
)
def test_the_delay_grows_by_1_8_to_a_minute(failures: int, delay: float) -> None:
    """Without jitter (half way), and without overflow."""
    assert retry_delay_s(failures, 0.5) == pytest.approx(delay)


def test_jitter_spreads_by_a_fifth_each_way() -> None:
    """From 80 % to just below 120 %."""
    assert retry_delay_s(1, 0.0) == pytest.approx(0.8)
    assert retry_delay_s(1, 0.999999) == pytest.approx(1.2, abs=1e-5)
    assert retry_delay_s(99, 0.0) == pytest.approx(0.8 * CAP_S)


@pytest.mark.parametrize(
    ("silent_s", "interval_s", "status"),
    [
        (0, 15, "online"),
        (15, 15, "online"),
        (37.5, 15, "online"),
        (37.501, 15, "stale"),
        (90, 15, "stale"),
        (90.001, 15, "offline"),
        (1e9, 15, "offline"),
        (150, 60, "online"),
        (150.1, 60, "stale"),
        (360, 60, "stale"),
        (360.1, 60, "offline"),
        (1.25, 0.5, "online"),
        (1.26, 0.5, "stale"),
        (3.01, 0.5, "offline"),
        (0.5, 0.2, "online"),
        (750, 300, "online"),
        (1800.1, 300, "offline"),
    ],
)
def test_silence_is_judged_by_the_senders_own_interval(silent_s: float, interval_s: float, status: Status) -> None:
    """Stale after 2.5 intervals, offline after 6."""
    assert judge(silent_s, interval_s) == status


@pytest.mark.parametrize(
    ("silent_s", "wait"), [(0, 37.5), (30, 7.5), (37.5, 0), (37.6, 52.4), (90, 0), (90.1, None), (1e9, None)]
)
def test_the_next_look_is_when_the_verdict_can_change(silent_s: float, wait: float | None) -> None:
    """With an interval of 15 s; never again once offline."""
    assert next_verdict_s(silent_s, 15.0) == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    ("overdue", "peers", "doubts"),
    [
        (0, 0, False),
        (1, 1, False),
        (2, 2, False),
        (1, 3, False),
        (2, 3, True),
        (3, 3, True),
        (2, 4, False),
        (3, 4, True),
        (2, 5, False),
        (3, 5, True),
        (50, 100, False),
        (51, 100, True),
    ],
)
def test_more_than_half_of_three_or_more_at_once_may_be_us(overdue: int, peers: int, doubts: bool) -> None:
    """Of two nobody can tell; half is not more than half."""
    silent = [(19.0, 15.0)] * overdue + [(18.5, 15.0)] * (peers - overdue)
    assert doubts_self(silent) is doubts


def test_each_peer_is_overdue_by_its_own_interval() -> None:
    """Phones that promised less are not missed yet, and don't count as silent; they do count as peers."""
    desktops, phones = [(30.0, 15.0)] * 2, [(30.0, 60.0)] * 2
    assert not doubts_self(desktops + phones)
    assert doubts_self(desktops + phones[:1])


@pytest.mark.parametrize(("silent_s", "left_s"), [(37.5, 15.0), (45.0, 7.5), (52.5, 0.0), (60.0, -7.5)])
def test_a_doubt_delays_by_one_interval_at_most(silent_s: float, left_s: float) -> None:
    """Counted from where the verdict would have been due, however often the doubt arises."""
    assert doubt_ends_s(silent_s, 15.0) == pytest.approx(left_s)


@pytest.mark.parametrize(
    ("planned_s", "monotonic_s", "boot_s", "pause"),
    [
        (1.0, 1.0, 1.0, Pause(0.0, False)),
        (1.0, 2.75, 2.75, Pause(0.0, False)),  # a busy machine: an eighth of the interval, again and again
        (1.0, 3.0, 3.0, Pause(2.0, False)),
        (1.0, 16.0, 16.0, Pause(15.0, False)),  # stopped, for no longer than the others wait anyhow
        (1.0, 16.5, 16.5, Pause(15.5, True)),  # stopped
        (1.0, 3601.0, 3601.0, Pause(3600.0, True)),
        (1.0, 1.0, 2.0, Pause(0.0, False)),
        (1.0, 1.0, 2.5, Pause(0.0, True)),  # asleep: monotonic time stood still
        (1.0, 1.0, 86401.0, Pause(0.0, True)),
        (1.0, 21.0, 121.0, Pause(20.0, True)),
        (0.0, 0.0, 0.0, Pause(0.0, False)),
        (1.0, 0.4, 0.4, Pause(0.0, False)),
    ],
)
def test_a_late_look_or_a_jump_between_the_clocks_tells_of_a_pause(
    planned_s: float, monotonic_s: float, boot_s: float, pause: Pause
) -> None:
    """With an interval of 15 s."""
    assert judge_pause(planned_s, monotonic_s, boot_s, 15.0) == pause


@pytest.mark.parametrize(("late_s", "is_waking"), [(1.9, False), (2.1, True)])
def test_a_busy_machine_with_short_intervals_was_not_asleep(late_s: float, is_waking: bool) -> None:
    """Under two seconds nobody is called for it; what was lost counts all the same, from a quarter of a second on."""
    assert judge_pause(0.5, 0.5 + late_s, 0.5 + late_s, 0.5) == Pause(pytest.approx(late_s), is_waking)
    assert judge_pause(0.5, 0.75, 0.75, 0.5).lost_s == 0.0


def test_the_documented_seconds_are_those_of_the_constants() -> None:
    """docs/protocol.md, Heartbeat: each row that is a formula, for intervals of 15 and 60 s."""
    page = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text("utf-8")
    rows = {
        cells[1]: cells[4:6] for line in page.splitlines() if len(cells := [c.strip() for c in line.split("|")]) == 7
    }

    def spans(first: float, last: float) -> list[str]:
        return [f"{first * interval:g} to {last * interval:g} s" for interval in (DEFAULT_INTERVAL_S, PHONE_INTERVAL_S)]

    stale, offline, doubt = STALE_INTERVALS, OFFLINE_INTERVALS, DOUBT_INTERVALS
    assert rows["a node crashes, or its network goes"] == spans(stale - 1, stale)
    assert rows["it stays away"] == spans(offline - 1, offline)
    assert rows["most fall silent at once"] == spans(stale - 1 + doubt, stale + doubt)
    ends = [f"{stale * i:g}, {offline * i:g} s" for i in (DEFAULT_INTERVAL_S, PHONE_INTERVAL_S)]
    assert rows["what happened while it slept"] == ends
    assert rows["the network heals"] == [f"{1.2 * CAP_S + 1:g} s"] * 2
