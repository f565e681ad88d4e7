"""A device or the owner tells us of a node by hand: known from then on, with no rights, never contacted."""

from __future__ import annotations

import asyncio
from typing import Final

from meshnode.domain.device import DeviceClaim
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import Action, Principal, Role, authorise
from meshnode.node.describe_node import SelfDescription
from meshnode.node.event_bus import EventBus
from meshnode.node.ports import Clock
from meshnode.node.roster import Roster
from meshnode.node.tables import AuditEntry, Store
from meshnode.node.update_device import DeviceUpdate, UpdateDevice

ANNOUNCED_MAX: Final = 200
ANNOUNCED_PER_DEVICE: Final = 20


class AnnounceNode:
    """The rows of trust `announced`."""

    def __init__(
        self, me: SelfDescription, roster: Roster, updating: UpdateDevice, store: Store, clock: Clock, bus: EventBus
    ) -> None:
        self._me = me
        self._roster = roster
        self._updating = updating
        self._store = store
        self._clock = clock
        self._bus = bus
        self._announcing = asyncio.Lock()  # rows are counted before one is added

    async def announce(self, by: Principal, claim: DeviceClaim, dialect: str, update: DeviceUpdate) -> MeshNode:
        """The row of `claim.id`: our own untouched, the caller's own updated, an unknown one added.

        `update` is the same claim, without what was not said. Raises `identity_mismatch` for any other node's id,
        `rate_limited` if too many are announced; nothing is changed then.
        """
        authorise(by, Action.ANNOUNCE_NODE)
        if claim.id == self._me.identity.id:
            return self._own()
        if by.node_id == claim.id:
            return await self._updating.update(by, update)
        async with self._announcing:
            return await self._announce(by, claim, dialect, update)

    def _own(self) -> MeshNode:
        entry = self._roster.get(self._me.identity.id)
        if entry is None:
            raise MeshError("starting", "the node is starting")
        return entry.snapshot()

    async def _announce(self, by: Principal, claim: DeviceClaim, dialect: str, update: DeviceUpdate) -> MeshNode:
        introducer = None if by.role is Role.OWNER else by.node_id
        if self._roster.get(claim.id) is None:
            self._check_room(introducer)
        now = self._clock.now()
        async with self._store.write() as tx:
            before = await tx.nodes.get(claim.id)
            if before is None:
                row = MeshNode(
                    id=claim.id, name=claim.name, hostname=claim.hostname, port=claim.port, status="offline",
                    trust="announced", created_at=now, capabilities=claim.capabilities, metadata=claim.metadata,
                    kind=claim.kind, dialect=dialect, introduced_by=introducer,
                )  # fmt: skip
                await tx.audit.append(
                    AuditEntry(
                        at=now, event="node.announced", dialect=dialect, node_id=row.id, node_name=row.name,
                        detail=f"by {introducer or 'owner'}",
                    )
                )  # fmt: skip
            else:
                if before.trust != "announced" or (introducer is not None and before.introduced_by != introducer):
                    raise MeshError("identity_mismatch", f"{claim.id} is known; only it can say what it is")
                row = update.over(before)
                if row == before:
                    return row
            await tx.nodes.upsert(row)
        self._roster.put(row, self._clock.monotonic())
        self._bus.publish(Event("mesh.node.updated", {"id": row.id}))
        return row

    def _check_room(self, introducer: str | None) -> None:
        announced = [entry.node for entry in self._roster if entry.node.trust == "announced"]
        if introducer is not None and sum(n.introduced_by == introducer for n in announced) >= ANNOUNCED_PER_DEVICE:
            raise MeshError("rate_limited", f"a device announces at most {ANNOUNCED_PER_DEVICE} nodes")
        if len(announced) >= ANNOUNCED_MAX:
            raise MeshError("rate_limited", f"at most {ANNOUNCED_MAX} announced nodes are kept")
