"""Ends by two clocks: the sooner wins."""

from datetime import timedelta

import pytest

from meshnode.domain.expiry import Expiry, expiry_after, expiry_of
from tests.fakes.clock import START

DAY_S = 86400.0


@pytest.mark.parametrize(
    ("wall_s", "mono_s", "left_s"),
    [
        (0, 0, 600),
        (599, 599, 1),
        (600, 600, 0),
        (700, 700, -100),
        (DAY_S, 5, 600 - DAY_S),  # set ahead, or asleep
        (5 - DAY_S, 5, 595),  # set back
        (700 - DAY_S, 700, -100),
        (601, 5, -1),
    ],
)
def test_the_sooner_of_both_ends_counts(wall_s: float, mono_s: float, left_s: float) -> None:
    """Ten minutes, after so many seconds by the wall clock and by the monotonic one."""
    expiry = expiry_after(600, START, 1000.0)
    now, mono = START + timedelta(seconds=wall_s), 1000.0 + mono_s
    assert expiry.left_s(now, mono) == pytest.approx(left_s)
    assert (expiry.as_of(now, mono) >= expiry.at) is (left_s <= 0)
    assert expiry.as_of(now, mono) >= now


@pytest.mark.parametrize(
    ("wall_s", "left_s"),
    [(0, 600), (250, 350), (599, 1), (600, 0), (700, 0), (10 * DAY_S, 0), (-1, 600), (-3600, 600), (-99 * DAY_S, 600)],
)
def test_what_is_read_from_the_table_is_no_further_off_than_it_ever_was(wall_s: float, left_s: float) -> None:
    """Made for ten minutes, read so many seconds later by the wall clock, which may have been set back."""
    at = START + timedelta(seconds=600)
    expiry = expiry_of(START, at, START + timedelta(seconds=wall_s), 50.0)
    assert expiry == Expiry(at, 50.0 + left_s)


def test_the_time_it_is_judged_by_runs_with_the_sooner_clock() -> None:
    """With the wall clock set back a day, the monotonic one; else the wall clock itself."""
    expiry = expiry_after(600, START, 0.0)
    back = START - timedelta(days=1)
    assert expiry.as_of(back, 100.0) == START + timedelta(seconds=100)
    assert expiry.as_of(START + timedelta(seconds=100), 100.0) == START + timedelta(seconds=100)
    assert expiry.as_of(START + timedelta(seconds=300), 100.0) == START + timedelta(seconds=300)
