"""Code-less failures: ten in an hour lock the ways in that need no code. Source: docs/protocol.md, Budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from meshnode.domain.errors import MeshError
from meshnode.domain.expiry import Expiry, expiry_of

FAILURES: Final = 10
WINDOW: Final = timedelta(hours=1)
FIRST_LOCK: Final = timedelta(minutes=15)
LONGEST_LOCK: Final = timedelta(hours=24)
FORGIVEN_AFTER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lockout:
    """The counter of one budget: when failures came, how often it locked, until when it is locked."""

    failures: tuple[datetime, ...] = ()  # oldest first, at most FAILURES
    locks: int = 0  # in a row; each doubles the next
    locked_until: datetime | None = None


def lock_span(locks: int) -> timedelta:
    """How long a lock lasts after so many in a row."""
    return min(FIRST_LOCK * (1 << locks), LONGEST_LOCK)


def lock_expiry(lockout: Lockout, now: datetime, mono: float) -> Expiry | None:
    """The end of a lock that was just made or read; None if there is none."""
    if lockout.locked_until is None:
        return None
    return expiry_of(lockout.locked_until - lock_span(lockout.locks - 1), lockout.locked_until, now, mono)


def end_served(lockout: Lockout, as_of: datetime, now: datetime) -> Lockout:
    """The counter with a lock that was served until `as_of` ended by `now`, which may be set back behind it."""
    if lockout.locked_until is None or as_of < lockout.locked_until:
        return lockout
    return replace(lockout, locked_until=min(lockout.locked_until, now))


def check_unlocked(lockout: Lockout, as_of: datetime) -> None:
    """Raise `locked_out` with the seconds left."""
    if lockout.locked_until is not None and as_of < lockout.locked_until:
        left_s = (lockout.locked_until - as_of).total_seconds()
        raise MeshError("locked_out", "too many wrong PINs; pairing by PIN alone is locked", retry_after_s=left_s)


def add_failure(lockout: Lockout, now: datetime) -> Lockout:
    """One failure more; the tenth in an hour locks, twice as long as the time before."""
    failures, locks = lockout.failures, lockout.locks
    if lockout.locked_until is not None and now >= lockout.locked_until:
        failures = ()  # that lock has been served
    last = max((*lockout.failures[-1:], *([lockout.locked_until] if lockout.locked_until else [])), default=now)
    if now - last > FORGIVEN_AFTER:
        locks = 0
    failures = (*(min(at, now) for at in failures if now - at <= WINDOW), now)[-FAILURES:]
    if len(failures) < FAILURES:
        return Lockout(failures=failures, locks=locks)
    return Lockout(failures=failures, locks=min(locks + 1, 16), locked_until=now + lock_span(locks))


def give_back(lockout: Lockout) -> Lockout:
    """A success takes its own failure back, with the lock it caused: pairing often locks nobody out."""
    left = lockout.failures[:-1]
    if len(lockout.failures) < FAILURES:
        return replace(lockout, failures=left)
    return Lockout(failures=left, locks=max(0, lockout.locks - 1))
