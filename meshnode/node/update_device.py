"""A thin client says what has changed about it: its own row, and nothing else of it than that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshnode.domain.capability import Capability
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import Action, Principal, authorise
from meshnode.node.event_bus import EventBus
from meshnode.node.roster import Roster
from meshnode.node.tables import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUpdate:
    """What a thin client says about itself, checked and cleaned; None = as it was."""

    name: str | None = None
    hostname: str | None = None
    port: int | None = None
    addresses: tuple[str, ...] | None = None
    capabilities: tuple[Capability, ...] | None = None
    metadata: Mapping[str, Any] | None = None

    def over(self, row: MeshNode) -> MeshNode:
        """The row with what was said."""
        said = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        if "metadata" in said and row.metadata.get("remote"):  # our mark, not the device's word
            said["metadata"] = {**said["metadata"], "remote": True}
        return replace(row, **said)


class UpdateDevice:
    """Rows of thin clients, by their own word."""

    def __init__(self, roster: Roster, store: Store, bus: EventBus) -> None:
        self._roster = roster
        self._store = store
        self._bus = bus

    async def update(self, by: Principal, update: DeviceUpdate) -> MeshNode:
        """The caller's own row as of now, updated if anything in it differs. Raises `use_mesh_heartbeat` for a peer."""
        authorise(by, Action.UPDATE_DEVICE)
        entry = self._roster.get(by.node_id or "")
        if entry is None or not entry.is_paired:
            raise MeshError("node_unknown", "only a paired device has a row to update")
        if entry.is_peer:
            raise MeshError("use_mesh_heartbeat", "a peer is what its signed announcement says; nothing was changed")
        known = entry.snapshot()
        if update.over(known) == known:
            return known
        async with self._store.write(durable=False) as tx:  # lost in a power cut, the device says it again
            row = await tx.nodes.get(known.id)
            if row is None or row.trust != "paired" or row.public_key is not None:
                raise MeshError("node_unknown", "that device is not paired any more")
            row = update.over(row)
            await tx.nodes.upsert(row)
        entry.set_row(row)
        entry.hostname, entry.port = row.hostname, row.port
        self._roster.touch(entry)  # a flush under way may have written the former address
        self._bus.publish(Event("mesh.node.updated", {"id": row.id}))
        return entry.snapshot()
