"""Table `mesh_nodes`: row ↔ `MeshNode`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, Protocol

import aiosqlite
import msgspec

from meshnode.domain.capability import Capability
from meshnode.domain.peer import MeshNode
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import Beat

COLUMNS: Final = (
    "id", "name", "hostname", "port", "status", "capabilities", "last_seen", "created_at", "metadata", "is_current",
    "alias", "kind", "public_key", "tls_sha256", "addresses", "trust", "trust_level", "status_reason", "dialect",
    "introduced_by", "paired_at", "revoked_at", "revoked_by", "epoch", "revision", "sequence", "announcement",
)  # fmt: skip
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM mesh_nodes"
_UPSERT: Final = (
    f"INSERT INTO mesh_nodes ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "
    f"ON CONFLICT(id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in COLUMNS if c != 'id')}"
)
_BEAT_COLUMNS: Final = [f"json_extract(value, '$[{at}]') AS {field}" for at, field in enumerate(Beat._fields)]
# never an insert, and never for a row that is not paired: a beat can't revive anybody. One statement for all: for each
# of its own this thread would have to wait until the event loop's lets it have the interpreter, up to 5 ms
_BEATS: Final = (
    f"UPDATE mesh_nodes SET {', '.join(f'{field} = beat.{field}' for field in Beat._fields if field != 'id')} "
    f"FROM (SELECT {', '.join(_BEAT_COLUMNS)} FROM json_each(?)) AS beat "
    "WHERE mesh_nodes.id = beat.id AND mesh_nodes.trust = 'paired'"
)
_CAPABILITIES: Final = msgspec.json.Decoder(tuple[Capability, ...])


def _optional_time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)


def _parse_optional(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def encode_row(node: MeshNode) -> tuple[Any, ...]:
    """The columns of a node, in table order."""
    return (
        node.id, node.name, node.hostname, node.port, node.status, msgspec.json.encode(node.capabilities).decode(),
        _optional_time(node.last_seen), format_time(node.created_at), json.dumps(dict(node.metadata)),
        int(node.is_current), node.alias, node.kind, node.public_key, node.tls_sha256, json.dumps(node.addresses),
        node.trust, node.trust_level, node.status_reason, node.dialect, node.introduced_by,
        _optional_time(node.paired_at), _optional_time(node.revoked_at), node.revoked_by,
        node.epoch, node.revision, node.sequence, node.announcement,
    )  # fmt: skip


class Row(Protocol):
    """Columns by name: a sqlite3.Row or a dict."""

    def __getitem__(self, column: str, /) -> Any:
        """The value of a column."""


def decode_row(row: Row) -> MeshNode:
    """The node of a row."""
    return MeshNode(
        id=row["id"],
        name=row["name"],
        hostname=row["hostname"],
        port=row["port"],
        status=row["status"],
        status_reason=row["status_reason"],
        capabilities=_CAPABILITIES.decode(row["capabilities"]),
        last_seen=_parse_optional(row["last_seen"]),
        created_at=parse_time(row["created_at"]),
        metadata=json.loads(row["metadata"]),
        is_current=bool(row["is_current"]),
        alias=row["alias"],
        kind=row["kind"],
        public_key=row["public_key"],
        tls_sha256=row["tls_sha256"],
        addresses=tuple(json.loads(row["addresses"])),
        trust=row["trust"],
        trust_level=row["trust_level"],
        dialect=row["dialect"],
        introduced_by=row["introduced_by"],
        paired_at=_parse_optional(row["paired_at"]),
        revoked_at=_parse_optional(row["revoked_at"]),
        revoked_by=row["revoked_by"],
        epoch=row["epoch"],
        revision=row["revision"],
        sequence=row["sequence"],
        announcement=row["announcement"],
    )


class MeshNodes:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def _one(self, where: str, *values: Any) -> MeshNode | None:
        rows = list(await self._connection.execute_fetchall(f"{_SELECT} WHERE {where}", values))
        return decode_row(rows[0]) if rows else None

    async def get(self, node_id: str) -> MeshNode | None:
        """The row of an id."""
        return await self._one("id = ?", node_id)

    async def by_key(self, public_key: bytes) -> MeshNode | None:
        """The row of an identity key."""
        return await self._one("public_key = ?", public_key)

    async def all(self) -> list[MeshNode]:
        """Every row, ourselves first, then in order of arrival."""
        rows = await self._connection.execute_fetchall(f"{_SELECT} ORDER BY is_current DESC, created_at, id")
        return [decode_row(row) for row in rows]

    async def upsert(self, node: MeshNode) -> None:
        """Insert or replace the row of `node.id`."""
        await self._connection.execute(_UPSERT, encode_row(node))

    async def delete(self, node_id: str) -> None:
        """Remove a row; ours can't be."""
        await self._connection.execute("DELETE FROM mesh_nodes WHERE id = ? AND is_current = 0", (node_id,))

    async def drop_other_selves(self, node_id: str) -> None:
        """Remove a former own row."""
        await self._connection.execute("DELETE FROM mesh_nodes WHERE is_current = 1 AND id <> ?", (node_id,))

    async def flush(self, beats: Iterable[Beat]) -> None:
        """Write what heartbeats changed, paired rows only."""
        in_order = sorted(beats)  # by id, as they were inserted: neighbours share a page
        rows = [(*beat[:3], _optional_time(beat.last_seen), *beat[4:]) for beat in in_order]
        await self._connection.execute(_BEATS, (msgspec.json.encode(rows).decode(),))
