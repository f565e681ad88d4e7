"""Backoff and liveness: how long until what."""

import pytest

from meshnode.domain.backoff import CAP_S, retry_delay_s
from meshnode.domain.liveness import Status, judge, next_verdict_s


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
