"""Limits hold for any timing."""

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.domain.backoff import CAP_S, retry_delay_s
from meshnode.domain.errors import MeshError
from meshnode.domain.liveness import judge, next_verdict_s
from meshnode.domain.lockout import (
    FAILURES,
    FIRST_LOCK,
    LONGEST_LOCK,
    WINDOW,
    Lockout,
    add_failure,
    check_unlocked,
    give_back,
)
from meshnode.domain.rate_limit import Rate, RateLimiter
from tests.fakes.clock import START

RANK = {"online": 0, "stale": 1, "offline": 2}
GAPS = st.lists(
    st.one_of(st.integers(0, 10), st.integers(0, 1000), st.sampled_from([899, 900, 901, 3600, 86_400, 90_000])),
    max_size=120,
)


@settings(max_examples=80)
@given(GAPS)
def test_never_more_than_ten_failures_in_an_hour(gaps: list[int]) -> None:
    """A guesser who waits out every lock still gets ten per window, and each lock lasts 15 min to 24 h."""
    lockout, now, served = Lockout(), START, START
    counted: list[datetime] = []
    for gap in gaps:
        now += timedelta(seconds=gap)
        try:
            check_unlocked(lockout, now)
        except MeshError:
            continue
        lockout = add_failure(lockout, now)
        counted.append(now)
        recent = [at for at in counted if at >= served and now - at <= WINDOW]
        assert len(recent) <= FAILURES
        assert (lockout.locked_until is not None) is (len(recent) == FAILURES)
        if lockout.locked_until is not None:
            assert FIRST_LOCK <= lockout.locked_until - now <= LONGEST_LOCK
            served = lockout.locked_until
        assert len(lockout.failures) <= FAILURES


@settings(max_examples=80)
@given(st.lists(st.booleans(), max_size=60), st.integers(0, 100))
def test_a_guesser_who_never_stops_gets_ten_per_lock(succeeds: list[bool], pause: int) -> None:
    """Successes in between give nothing extra: wrong guesses between two locks are ten at most."""
    lockout, now = Lockout(), START
    wrong = 0
    for success in succeeds:
        now += timedelta(seconds=pause)
        try:
            check_unlocked(lockout, now)
        except MeshError:
            assert wrong <= FAILURES
            continue
        if lockout.locked_until is not None and now >= lockout.locked_until:
            wrong = 0
        lockout = add_failure(lockout, now)
        if success:
            lockout = give_back(lockout)
        else:
            wrong += 1
        assert wrong <= FAILURES


@given(st.integers(1, 300))
def test_pairing_often_never_locks(times: int) -> None:
    """Successes alone, however fast."""
    lockout = Lockout()
    for n in range(times):
        at = START + timedelta(milliseconds=n)
        check_unlocked(lockout, at)
        lockout = give_back(add_failure(lockout, at))
    assert lockout == Lockout()


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.2, 300))
def test_liveness_only_worsens_with_silence(one: float, other: float, interval_s: float) -> None:
    """And the next look comes no later than the verdict can change."""
    shorter, longer = sorted((one, other))
    assert RANK[judge(shorter, interval_s)] <= RANK[judge(longer, interval_s)]
    wait = next_verdict_s(shorter, interval_s)
    if wait is None:
        assert judge(shorter, interval_s) == "offline"
    else:
        assert wait >= 0
        assert RANK[judge(shorter + wait * 1.001 + 1e-3, interval_s)] > RANK[judge(shorter, interval_s)]
        assert judge(shorter + wait * 0.999, interval_s) == judge(shorter, interval_s)


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_within_bounds_and_grows(failures: int, jitter: float) -> None:
    """Never less than 0.8 s, never more than 72."""
    delay = retry_delay_s(failures, jitter)
    assert 0.8 <= delay <= CAP_S * 1.2
    assert retry_delay_s(failures + 1, jitter) >= delay


@settings(max_examples=80)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 3)), max_size=150),
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(1, 6),
)
def test_no_source_passes_more_than_its_rate(
    events: list[tuple[str, float]], count: int, burst: int, capacity: int
) -> None:
    """In any span: the burst and one per spacing, also in a table that is too small."""
    rate = Rate(count, 30.0, burst)
    limiter = RateLimiter(rate, capacity)
    now, passed = 0.0, {key: list[float]() for key in "abcdef"}
    for key, gap in events:
        now += gap
        wait = limiter.wait_s(key, now)
        assert wait >= 0
        if wait == 0:
            passed[key].append(now)
    for times in passed.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                span = times[last] - times[first]
                assert last - first + 1 <= burst + span / rate.spacing_s + 1e-6
