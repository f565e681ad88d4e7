"""Lockout and rate limit."""

from datetime import datetime, timedelta

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.lockout import Lockout, add_failure, check_unlocked, give_back
from meshnode.domain.rate_limit import Rate, RateLimiter, next_arrival
from tests.fakes.clock import START

MINUTE = timedelta(minutes=1)


def fail(lockout: Lockout, times: int, at: datetime, apart: timedelta = timedelta(seconds=1)) -> Lockout:
    for n in range(times):
        lockout = add_failure(lockout, at + n * apart)
    return lockout


def is_locked(lockout: Lockout, at: datetime) -> bool:
    try:
        check_unlocked(lockout, at)
    except MeshError as error:
        return error.code == "locked_out"
    return False


def test_nine_failures_lock_nothing() -> None:
    """There is room for clumsy fingers."""
    assert not is_locked(fail(Lockout(), 9, START), START + MINUTE)


def test_the_tenth_failure_in_an_hour_locks_for_fifteen_minutes() -> None:
    """To the second, and the refusal says how long."""
    locked = fail(Lockout(), 10, START)
    tenth = START + timedelta(seconds=9)
    with pytest.raises(MeshError) as caught:
        check_unlocked(locked, tenth)
    assert caught.value.retry_after_s == 900
    assert is_locked(locked, tenth + 15 * MINUTE - timedelta(microseconds=1))
    assert not is_locked(locked, tenth + 15 * MINUTE)


@pytest.mark.parametrize(("apart", "locks"), [(timedelta(seconds=400), True), (timedelta(seconds=401), False)])
def test_only_failures_within_one_hour_count_together(apart: timedelta, locks: bool) -> None:
    """Ten within 3600 s lock; ten spread wider never do."""
    lockout = fail(Lockout(), 10, START, apart)
    assert (lockout.locked_until is not None) is locks


def test_each_lock_in_a_row_is_twice_as_long_up_to_a_day() -> None:
    """15 min, 30, 60, … 24 h, and it stays there."""
    lockout, at, spans = Lockout(), START, []
    for _ in range(9):
        lockout = fail(lockout, 10, at, timedelta())
        assert lockout.locked_until is not None
        spans.append((lockout.locked_until - at) / MINUTE)
        at = lockout.locked_until
    assert spans == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]


def test_a_served_lock_gives_ten_fresh_failures() -> None:
    """The ten that caused it don't count again."""
    locked = fail(Lockout(), 10, START, timedelta())
    assert locked.locked_until is not None
    assert not is_locked(fail(locked, 9, locked.locked_until), locked.locked_until + MINUTE)


@pytest.mark.parametrize(("later", "minutes"), [(timedelta(days=1), 30), (timedelta(days=1, seconds=1), 15)])
def test_a_day_without_failure_forgives(later: timedelta, minutes: int) -> None:
    """Counted from the end of the lock; then the next lock is a first one again."""
    lockout = fail(Lockout(), 10, START, timedelta())
    assert lockout.locked_until is not None
    at = lockout.locked_until + later
    lockout = fail(lockout, 10, at, timedelta())
    assert lockout.locked_until == at + minutes * MINUTE


def test_a_success_takes_its_own_failure_back() -> None:
    """Pairing often locks nobody out."""
    lockout = fail(Lockout(), 9, START)
    for n in range(50):
        at = START + MINUTE + timedelta(seconds=n)
        check_unlocked(lockout, at)
        lockout = give_back(add_failure(lockout, at))
    assert len(lockout.failures) == 9
    assert lockout.locks == 0


def test_a_success_at_the_tenth_attempt_undoes_the_lock() -> None:
    """The lock, and its place in the doubling."""
    lockout = give_back(fail(Lockout(), 10, START))
    assert not is_locked(lockout, START + MINUTE)
    assert lockout.locks == 0
    again = add_failure(lockout, START + MINUTE)
    assert again.locked_until == START + MINUTE + 15 * MINUTE


def test_giving_back_nothing_changes_nothing() -> None:
    """There is no credit."""
    assert give_back(Lockout()) == Lockout()


def test_a_clock_set_back_neither_forgets_failures_nor_keeps_them_for_ever() -> None:
    """Failures from the future count as of now."""
    earlier = START - timedelta(days=30)
    lockout = add_failure(fail(Lockout(), 9, START), earlier)
    assert lockout.locked_until == earlier + timedelta(minutes=15)
    assert max(lockout.failures) == earlier


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(hours=2), timedelta(days=30)])
def test_the_tenth_failure_locks_however_far_the_clock_was_set_back(back: timedelta) -> None:
    """Setting the clock back buys nobody more guesses; the lock is as long as ever."""
    at = START + timedelta(seconds=8) - back
    lockout = add_failure(fail(Lockout(), 9, START), at)
    assert is_locked(lockout, at + 15 * MINUTE - timedelta(microseconds=1))
    assert not is_locked(lockout, at + 15 * MINUTE)


def test_failures_from_before_a_clock_was_set_back_end_within_its_next_hour() -> None:
    """Five of the later clock and one of the earlier; an hour on, nine more lock nothing."""
    earlier = START - timedelta(days=30)
    lockout = add_failure(fail(Lockout(), 5, START), earlier)
    assert len(lockout.failures) == 6
    lockout = fail(lockout, 9, earlier + 61 * MINUTE, timedelta())
    assert lockout.locked_until is None
    assert len(lockout.failures) == 9


RATE = Rate(count=60, period_s=60.0, burst=3)


def test_a_burst_passes_and_then_one_per_spacing() -> None:
    """Three at once, the fourth a second later."""
    limiter = RateLimiter(RATE)
    assert [limiter.wait_s("a", 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert limiter.wait_s("a", 0.0) == pytest.approx(1.0)
    assert limiter.wait_s("a", 0.4) == pytest.approx(0.6)
    assert limiter.wait_s("a", 1.0) == 0.0
    assert limiter.wait_s("a", 1.0) == pytest.approx(1.0)


def test_a_refused_event_costs_nothing() -> None:
    """Asking again and again does not push the time away."""
    limiter = RateLimiter(RATE)
    for _ in range(1000):
        limiter.wait_s("a", 0.0)
    assert limiter.wait_s("a", 1.0) == 0.0


def test_after_a_pause_the_whole_burst_is_back_and_no_more() -> None:
    """Idle time is not saved up."""
    limiter = RateLimiter(RATE)
    allowed = [limiter.wait_s("a", 1e6) == 0.0 for _ in range(5)]
    assert allowed == [True, True, True, False, False]


def test_the_long_run_rate_holds() -> None:
    """Ten minutes of knocking ten times a second let 60 a minute and one burst through."""
    limiter = RateLimiter(RATE)
    passed = sum(limiter.wait_s("a", n / 10) == 0.0 for n in range(6000))
    assert 600 <= passed <= 602


def test_keys_are_counted_apart() -> None:
    """One source does not use up another's."""
    limiter = RateLimiter(Rate(1, 60.0, 1))
    assert limiter.wait_s("a", 0.0) == 0.0
    assert limiter.wait_s("b", 0.0) == 0.0
    assert limiter.wait_s("a", 0.0) == pytest.approx(60.0)


def test_a_flood_of_new_keys_never_frees_a_blocked_one() -> None:
    """When the table is full of live keys, unknown ones are refused instead."""
    limiter = RateLimiter(Rate(1, 60.0, 1), capacity=16)
    assert limiter.wait_s("blocked", 0.0) == 0.0
    flood = [limiter.wait_s(f"flood {n}", 1.0) for n in range(1000)]
    assert flood.count(0.0) == 15
    assert limiter.wait_s("blocked", 2.0) == pytest.approx(58.0)


def test_keys_at_rest_make_room() -> None:
    """A table full of keys that owe nothing lets new ones in."""
    limiter = RateLimiter(Rate(1, 60.0, 1), capacity=2)
    limiter.wait_s("a", 0.0)
    limiter.wait_s("b", 0.0)
    assert limiter.wait_s("c", 59.0) > 0
    assert limiter.wait_s("c", 60.0) == 0.0


def test_the_pure_step_leaves_a_refused_arrival_alone() -> None:
    """The theoretical arrival moves only with an allowed event."""
    assert next_arrival(Rate(1, 10.0, 1), None, 5.0) == (15.0, 0.0)
    assert next_arrival(Rate(1, 10.0, 1), 15.0, 6.0) == (15.0, 9.0)
