"""Table `audit_log`: append-only, in the transaction of the change it tells of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import aiosqlite
import msgspec

from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import AuditEntry

ROWS_MAX: Final = 10_000  # of what strangers can cause, and of all else: the one pushes nothing of the other out
TRIM_EVERY: Final = 64  # rows; trimming at each one would cost every pairing two trips to the database
_FAILED: Final = "event IN ('pairing.attempt', 'pairing.bad_pin', 'pairing.refused', 'pairing.requested')"


class AuditLog:
    """The table, within one transaction."""

    __slots__ = ("_connection", "appended")

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.appended: list[AuditEntry] = []  # the new rows of this transaction

    async def append(self, entry: AuditEntry) -> None:
        """Add a row. A repeated failure from the same source in the same minute counts up the row it has."""
        at = format_time(entry.at)
        if entry.is_failure:
            rows = await self._connection.execute_fetchall(
                "UPDATE audit_log SET times = times + 1 "
                "WHERE event = ? AND address IS ? AND at > ? AND dialect = ? RETURNING id",
                (entry.event, entry.address, at[:17], entry.dialect),
            )
            if list(rows):
                return
        cursor = await self._connection.execute(
            "INSERT INTO audit_log (at, event, node_id, node_name, address, dialect, detail) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (at, entry.event, entry.node_id, entry.node_name, entry.address, entry.dialect, entry.detail),
        )
        self.appended.append(msgspec.structs.replace(entry, id=cursor.lastrowid or 0))
        if cursor.lastrowid is not None and cursor.lastrowid % TRIM_EVERY == 0:
            for kind in (_FAILED, f"NOT {_FAILED}"):
                await self._connection.execute(
                    f"DELETE FROM audit_log WHERE {kind} AND id <= "
                    f"(SELECT id FROM audit_log WHERE {kind} ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (ROWS_MAX,),
                )

    async def latest(self, limit: int, events: Sequence[str] | None = None) -> list[AuditEntry]:
        """The newest entries, newest first; of some events only, if named."""
        where = "" if events is None else f"WHERE event IN ({', '.join('?' * len(events))})"
        rows = await self._connection.execute_fetchall(
            f"SELECT * FROM audit_log {where} ORDER BY id DESC LIMIT ?", (*(events or ()), limit)
        )
        return [
            AuditEntry(
                at=parse_time(row["at"]),
                event=row["event"],
                node_id=row["node_id"],
                node_name=row["node_name"],
                address=row["address"],
                dialect=row["dialect"],
                detail=row["detail"],
                times=row["times"],
                id=row["id"],
            )
            for row in rows
        ]
