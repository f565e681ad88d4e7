"""The code-less budget: one counter for every way in that needs no code, kept over restarts."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from meshnode.domain.expiry import Expiry
from meshnode.domain.lockout import Lockout, add_failure, check_unlocked, end_served, give_back, lock_expiry
from meshnode.domain.notice import UNLOCKED
from meshnode.node.ports import Clock
from meshnode.node.tables import AuditEntry, Store, Transaction

BUDGET: Final = "code-less"


class AttemptBudget:
    """Ten code-less failures in an hour lock for 15 minutes, doubling."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ends: Expiry | None = None  # of the lock last looked at
        self._seen = Lockout()  # a copy to refuse from before SQLite is touched

    async def load(self) -> None:
        """Read the stored state."""
        async with self._store.read() as tx:
            self._seen = await tx.attempts.get(BUDGET)
        self._as_of(self._seen)

    def check(self) -> None:
        """Raise `locked_out` from memory."""
        check_unlocked(self._seen, self._as_of(self._seen))

    async def spend(self, tx: Transaction) -> Lockout:
        """Count a failure until proven otherwise; to be `committed`. Raises `locked_out`."""
        lockout = await tx.attempts.get(BUDGET)
        as_of, now = self._as_of(lockout), self._clock.now()
        check_unlocked(lockout, as_of)
        counted = add_failure(end_served(lockout, as_of, now), now)
        if counted.locked_until is not None:
            await _note(tx, now, "pairing.locked", f"until {counted.locked_until:%Y-%m-%d %H:%M} UTC")
        return await self._put(tx, counted)

    def _as_of(self, lockout: Lockout) -> datetime:
        """The time by which its lock is to be judged; see `Expiry`."""
        now, mono = self._clock.now(), self._clock.monotonic()
        if self._ends is None or self._ends.at != lockout.locked_until:
            self._ends = lock_expiry(lockout, now, mono)
        return now if self._ends is None else self._ends.as_of(now, mono)

    async def give_back(self, tx: Transaction) -> Lockout:
        """That attempt succeeded; to be `committed`."""
        lockout = await tx.attempts.get(BUDGET)
        given_back = give_back(lockout)
        if lockout.locked_until is not None and given_back.locked_until is None:  # the tenth was the right one
            await _note(tx, self._clock.now(), UNLOCKED)
        return await self._put(tx, given_back)

    async def _put(self, tx: Transaction, lockout: Lockout) -> Lockout:
        await tx.attempts.put(BUDGET, lockout)
        return lockout

    def committed(self, lockout: Lockout | None) -> None:
        """Refuse from memory by what was committed; None changes nothing."""
        if lockout is not None:
            self._seen = lockout
            self._as_of(lockout)

    async def unlock(self) -> None:
        """The owner ends a lock and forgets the failures."""
        async with self._store.write() as tx:
            await tx.attempts.put(BUDGET, Lockout())
            await _note(tx, self._clock.now(), UNLOCKED)
        self._seen = Lockout()


async def _note(tx: Transaction, at: datetime, event: str, detail: str | None = None) -> None:
    await tx.audit.append(AuditEntry(at=at, event=event, dialect="mesh", detail=detail))
