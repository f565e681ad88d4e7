"""The code-less budget: one counter for every way in that needs no code, kept over restarts."""

from __future__ import annotations

from typing import Final

from meshnode.domain.lockout import Lockout, add_failure, check_unlocked, give_back
from meshnode.node.ports import Clock
from meshnode.node.tables import Store, Transaction

BUDGET: Final = "code-less"


class AttemptBudget:
    """Ten code-less failures in an hour lock for 15 minutes, doubling."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._seen = Lockout()  # a copy to refuse from before SQLite is touched

    async def load(self) -> None:
        """Read the stored state."""
        async with self._store.read() as tx:
            self._seen = await tx.attempts.get(BUDGET)

    def check(self) -> None:
        """Raise `locked_out` from memory."""
        check_unlocked(self._seen, self._clock.now())

    async def spend(self, tx: Transaction) -> Lockout:
        """Count a failure until proven otherwise; to be `committed`. Raises `locked_out`."""
        lockout = await tx.attempts.get(BUDGET)
        check_unlocked(lockout, self._clock.now())
        return await self._put(tx, add_failure(lockout, self._clock.now()))

    async def give_back(self, tx: Transaction) -> Lockout:
        """That attempt succeeded; to be `committed`."""
        return await self._put(tx, give_back(await tx.attempts.get(BUDGET)))

    async def _put(self, tx: Transaction, lockout: Lockout) -> Lockout:
        await tx.attempts.put(BUDGET, lockout)
        return lockout

    def committed(self, lockout: Lockout | None) -> None:
        """Refuse from memory by what was committed; None changes nothing."""
        if lockout is not None:
            self._seen = lockout

    async def unlock(self) -> None:
        """The owner ends a lock and forgets the failures."""
        async with self._store.write() as tx:
            await tx.attempts.put(BUDGET, Lockout())
        self._seen = Lockout()
