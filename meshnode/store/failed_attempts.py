"""Table `failed_attempts`: budgets of wrong guesses, which a restart must not refill."""

from __future__ import annotations

import json

import aiosqlite

from meshnode.domain.lockout import Lockout
from meshnode.domain.timestamps import format_time, parse_time


class FailedAttempts:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def get(self, budget: str) -> Lockout:
        """The state of a budget; a fresh one if nothing ever failed."""
        rows = list(
            await self._connection.execute_fetchall("SELECT * FROM failed_attempts WHERE budget = ?", (budget,))
        )
        if not rows:
            return Lockout()
        row = rows[0]
        return Lockout(
            failures=tuple(parse_time(text) for text in json.loads(row["failures"])),
            locks=row["locks"],
            locked_until=None if row["locked_until"] is None else parse_time(row["locked_until"]),
        )

    async def put(self, budget: str, lockout: Lockout) -> None:
        """Write the state of a budget."""
        until = None if lockout.locked_until is None else format_time(lockout.locked_until)
        failures = json.dumps([format_time(at) for at in lockout.failures])
        await self._connection.execute(
            "INSERT OR REPLACE INTO failed_attempts (budget, failures, locks, locked_until) VALUES (?, ?, ?, ?)",
            (budget, failures, lockout.locks, until),
        )
