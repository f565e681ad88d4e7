"""Table `device_tokens`: what thin clients authenticate with, as SHA-256 digests."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import aiosqlite

from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import StoredToken


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _parse(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


class DeviceTokens:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def insert(self, token: StoredToken) -> None:
        """A new token."""
        await self._connection.execute(
            "INSERT INTO device_tokens (digest, node_id, kind, listener, created_at, expires_at, replaces) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                token.digest, token.node_id, token.kind, token.listener, format_time(token.created_at),
                _time(token.expires_at), token.replaces,
            ),
        )  # fmt: skip

    async def live(self, now: datetime) -> list[StoredToken]:
        """The tokens that still count, oldest first; the others are no use to anybody."""
        rows = await self._connection.execute_fetchall(
            "SELECT * FROM device_tokens WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?) "
            "ORDER BY created_at",
            (format_time(now),),
        )
        return [
            StoredToken(
                digest=row["digest"],
                node_id=row["node_id"],
                kind=row["kind"],
                listener=row["listener"],
                created_at=parse_time(row["created_at"]),
                last_used_at=_parse(row["last_used_at"]),
                expires_at=_parse(row["expires_at"]),
                replaces=row["replaces"],
            )
            for row in rows
        ]

    async def revoke_all(self, node_id: str, now: datetime) -> None:
        """Every token of a node ends."""
        await self._connection.execute(
            "UPDATE device_tokens SET revoked_at = ? WHERE node_id = ? AND revoked_at IS NULL",
            (format_time(now), node_id),
        )

    async def revoke(self, digests: Iterable[bytes], now: datetime) -> None:
        """These tokens end."""
        at = format_time(now)
        await self._connection.executemany(
            "UPDATE device_tokens SET revoked_at = ? WHERE digest = ? AND revoked_at IS NULL",
            [(at, digest) for digest in digests],
        )

    async def revoke_every(self, now: datetime) -> None:
        """All of them end."""
        await self._connection.execute(
            "UPDATE device_tokens SET revoked_at = ? WHERE revoked_at IS NULL", (format_time(now),)
        )

    async def delete_dead(self, node_id: str, now: datetime) -> None:
        """Housekeeping: what a node can't use any more."""
        await self._connection.execute(
            "DELETE FROM device_tokens WHERE node_id = ? AND (revoked_at IS NOT NULL OR expires_at <= ?)",
            (node_id, format_time(now)),
        )

    async def expire_at(self, digest: bytes, at: datetime) -> None:
        """A token ends at a time to come."""
        await self._connection.execute(
            "UPDATE device_tokens SET expires_at = ? WHERE digest = ?", (format_time(at), digest)
        )

    async def used(self, uses: Iterable[tuple[bytes, datetime, datetime | None]]) -> None:
        """Write when tokens were used and, for sessions, when they end now."""
        await self._connection.executemany(
            "UPDATE device_tokens SET last_used_at = ?, expires_at = ifnull(?, expires_at) "
            "WHERE digest = ? AND revoked_at IS NULL",
            [(format_time(used), _time(ends), digest) for digest, used, ends in uses],
        )
