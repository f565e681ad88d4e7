"""End what has to end when its time comes; asleep while there is nothing of the kind."""

from __future__ import annotations

import asyncio
from typing import Final

from meshnode.domain.errors import MeshError
from meshnode.node.sweep_liveness import SweepLiveness
from meshnode.node.use_cases import UseCases
from meshnode.store.database import Database

EVERY_S: Final = 5.0


class KeepHouse:
    """Closes what has run out, writes when tokens were used, and sees whether the disk has come back."""

    def __init__(self, use: UseCases, sweeper: SweepLiveness, database: Database) -> None:
        self._use = use
        self._sweeper = sweeper
        self._begun = asyncio.Event()
        # whatever can run out begins with a write, or with the use of a token
        database.on_used = use.tokens.on_used = use.browsers.on_used = self._begun.set

    async def run(self) -> None:
        """Look every few seconds until cancelled, for as long as there is something to look after."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.step()
            if not self.is_needed:
                self._begun.clear()
                await self._begun.wait()

    async def step(self) -> None:
        """One look; a database that refuses is on record."""
        use = self._use
        try:
            if use.status.store_trouble is not None:
                async with use.store.write():  # mends it, if the disk has come back
                    pass
            await use.offers.expire()
            await use.codes.expire("offer")
            await use.tokens.flush()
            await use.browsers.flush()
            await use.confirmations.sweep()
            if self._sweeper.is_failing:
                raise MeshError("database_error", "heartbeats can't be written; they are kept in memory")
            use.status.store_accepts()
        except MeshError as error:
            use.status.store_refuses(error)

    @property
    def is_needed(self) -> bool:
        """Whether something may run out, is still to be written, or is in trouble."""
        use = self._use
        return (
            use.status.store_trouble is not None
            or self._sweeper.is_failing
            or use.offers.has_open
            or bool(use.codes.open_offers())
            or use.tokens.has_unwritten
            or use.browsers.has_unwritten
            or use.confirmations.is_waiting
        )
