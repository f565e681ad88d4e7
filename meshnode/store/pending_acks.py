"""Table `pending_acks`: our joins whose acknowledge the host has not answered yet."""

from __future__ import annotations

import json
from typing import Any, Final

import aiosqlite

from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.peer import MeshNode
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import PendingAck
from meshnode.store.mesh_nodes import COLUMNS, decode_row, encode_row

_BINARY: Final = ("public_key", "tls_sha256")


def _encode_before(node: MeshNode) -> str:
    columns = dict(zip(COLUMNS, encode_row(node), strict=True))
    for column in _BINARY:
        if columns[column] is not None:
            columns[column] = encode_base64url(columns[column])
    return json.dumps(columns)


def _decode_before(text: str) -> MeshNode:
    columns: dict[str, Any] = json.loads(text)
    for column in _BINARY:
        if columns[column] is not None:
            columns[column] = decode_base64url(columns[column])
    return decode_row(columns)


class PendingAcks:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def put(self, ack: PendingAck) -> None:
        """Remember an acknowledge to be sent until it is answered; one per peer, the newest counts."""
        before = None if ack.before is None else _encode_before(ack.before)
        await self._connection.execute(
            "INSERT OR REPLACE INTO pending_acks (peer_id, sid, jws, before, created_at) VALUES (?, ?, ?, ?, ?)",
            (ack.peer_id, ack.sid, ack.jws, before, format_time(ack.created_at)),
        )

    async def get(self, peer_id: str) -> PendingAck | None:
        """The pending acknowledge to a peer."""
        return next((ack for ack in await self.all() if ack.peer_id == peer_id), None)

    async def all(self) -> list[PendingAck]:
        """Every pending acknowledge."""
        rows = await self._connection.execute_fetchall("SELECT * FROM pending_acks")
        return [
            PendingAck(
                peer_id=row["peer_id"],
                sid=row["sid"],
                jws=row["jws"],
                before=None if row["before"] is None else _decode_before(row["before"]),
                created_at=parse_time(row["created_at"]),
            )
            for row in rows
        ]

    async def delete(self, peer_id: str) -> None:
        """Answered, or given up."""
        await self._connection.execute("DELETE FROM pending_acks WHERE peer_id = ?", (peer_id,))
