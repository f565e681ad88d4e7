"""Table `trust_relationships`: what devices left for the makers of the codes they paired by."""

from __future__ import annotations

import aiosqlite

from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import TrustRelationship


class TrustRelationships:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def insert(self, relationship: TrustRelationship) -> None:
        """A new relationship; it takes the place of what the device had left for that maker before."""
        r = relationship
        await self._connection.execute(
            "DELETE FROM trust_relationships WHERE maker_id = ? AND device_id = ?", (r.maker_id, r.device_id)
        )
        await self._connection.execute(
            "INSERT INTO trust_relationships (id, maker_id, device_id, trust_level, trust_data, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (r.id, r.maker_id, r.device_id, r.trust_level, r.trust_data, format_time(r.created_at)),
        )

    async def delete_of_maker(self, maker_id: str) -> None:
        """What was left for a maker is gone."""
        await self._connection.execute("DELETE FROM trust_relationships WHERE maker_id = ?", (maker_id,))

    async def of_maker(self, maker_id: str) -> list[TrustRelationship]:
        """What was left for a maker, newest first; nothing from devices that are no longer paired."""
        rows = await self._connection.execute_fetchall(
            "SELECT t.* FROM trust_relationships t JOIN mesh_nodes n ON n.id = t.device_id "
            "WHERE t.maker_id = ? AND n.trust = 'paired' ORDER BY t.created_at DESC, t.id LIMIT 1000",
            (maker_id,),
        )
        return [
            TrustRelationship(
                id=row["id"],
                maker_id=row["maker_id"],
                device_id=row["device_id"],
                trust_level=row["trust_level"],
                trust_data=row["trust_data"],
                created_at=parse_time(row["created_at"]),
            )
            for row in rows
        ]
