"""Table `pairing_codes` as thin clients use it: the codes we show them and the requests they make."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, Final

import aiosqlite

from meshnode.domain.device_code import DeviceCode
from meshnode.domain.pairing import OfferState
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import StoredCode

_SELECT: Final = (
    "SELECT id, dialect, kind, format, state, code_digest, sealed, device_id, invite_attempts, expires_at, created_at, "
    "approved_at, details FROM pairing_codes WHERE dialect <> 'mesh'"
)


def _decode(row: sqlite3.Row) -> StoredCode:
    approved = row["approved_at"]
    code = DeviceCode(
        id=row["id"],
        dialect=row["dialect"],
        kind=row["kind"],
        format=row["format"],
        created_at=parse_time(row["created_at"]),
        expires_at=parse_time(row["expires_at"]),
        state=OfferState(row["state"]),
        attempts=row["invite_attempts"],
        device_id=row["device_id"],
        approved_at=None if approved is None else parse_time(approved),
        details=json.loads(row["details"]),
    )
    return StoredCode(code, row["code_digest"], row["sealed"])


class DeviceCodes:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(sql, values))

    async def insert(self, code: DeviceCode, digest: bytes, sealed: bytes | None) -> None:
        """A new open code."""
        await self._connection.execute(
            "INSERT INTO pairing_codes (id, dialect, kind, format, state, code_digest, sealed, device_id, "
            "pin_attempts, invite_attempts, expires_at, created_at, details) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)",
            (
                code.id, code.dialect, code.kind, code.format, code.state.value, digest, sealed, code.device_id,
                code.attempts, format_time(code.expires_at), format_time(code.created_at),
                json.dumps(dict(code.details)),
            ),
        )  # fmt: skip

    async def get(self, code_id: str) -> StoredCode | None:
        """A code by its id, in any state."""
        rows = await self._rows(f"{_SELECT} AND id = ?", code_id)
        return _decode(rows[0]) if rows else None

    async def by_digest(self, dialect: str, digest: bytes) -> StoredCode | None:
        """The open code of a dialect with this digest; those that are over have none any more."""
        rows = await self._rows(f"{_SELECT} AND dialect = ? AND code_digest = ?", dialect, digest)
        return _decode(rows[0]) if rows else None

    async def open(self, dialect: str | None = None, kind: str | None = None) -> list[StoredCode]:
        """The open codes (they may have expired meanwhile), oldest first; of one dialect or kind, if given."""
        rows = await self._rows(
            f"{_SELECT} AND state = 'open' AND dialect = ifnull(?, dialect) AND kind = ifnull(?, kind) "
            "ORDER BY created_at, id",
            dialect,
            kind,
        )
        return [_decode(row) for row in rows]

    async def save(self, code: DeviceCode) -> None:
        """Write state, attempts, approval and details; the secrets of a code that is no longer open are wiped."""
        approved = None if code.approved_at is None else format_time(code.approved_at)
        wipe = "" if code.state is OfferState.OPEN else ", code_digest = NULL, sealed = NULL"
        await self._connection.execute(
            f"UPDATE pairing_codes SET state = ?, invite_attempts = ?, approved_at = ?, details = ?{wipe} WHERE id = ?",
            (code.state.value, code.attempts, approved, json.dumps(dict(code.details)), code.id),
        )

    async def consume(self, code: DeviceCode) -> bool:
        """Mark a code used; False if somebody else was faster. Exactly one caller wins."""
        rows = await self._rows(
            "UPDATE pairing_codes SET is_used = 1, state = 'used', code_digest = NULL, sealed = NULL "
            "WHERE id = ? AND is_used = 0 AND state = 'open' RETURNING id",
            code.id,
        )
        return bool(rows)
