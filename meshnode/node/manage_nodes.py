"""What the owner does with known nodes: list, alias, trust, revoke, forget."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.event import Event
from meshnode.domain.identity import is_made_id
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import Action, Principal, Role, authorise_target
from meshnode.domain.untrusted_text import clean_text
from meshnode.node.authenticate import Sessions
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.device_codes import DeviceCodes
from meshnode.node.event_bus import EventBus
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.join_peer import JoinPeer
from meshnode.node.ports import Clock, Connections
from meshnode.node.roster import Entry, Roster
from meshnode.node.tables import AuditEntry, Store, Transaction

_WHOLE: Final = "id:"  # before an id, in a reference

log = logging.getLogger(__name__)


class ManageNodes:
    """The owner's verbs."""

    def __init__(
        self,
        roster: Roster,
        sessions: Sessions,
        heartbeats: ExchangeHeartbeats,
        confirmations: ConfirmPeer,
        joining: JoinPeer,
        codes: DeviceCodes,
        connections: Connections,
        store: Store,
        clock: Clock,
        bus: EventBus,
    ) -> None:
        self._roster = roster
        self._sessions = sessions
        self._heartbeats = heartbeats
        self._confirmations = confirmations
        self._joining = joining
        self._codes = codes
        self._connections = connections
        self._store = store
        self._clock = clock
        self._bus = bus

    def list(self) -> list[MeshNode]:
        """Every known node as of now, ourselves first."""
        nodes = [entry.snapshot() for entry in self._roster]
        return sorted(nodes, key=lambda n: (not n.is_current, n.created_at, n.id))

    def find(self, reference: str) -> Entry:
        """The one node meant by an id, the start or end of one, an alias or a name. Raises `node_unknown`.

        Peers choose their ids and names: what fits two nodes in any way is refused, but for a whole `node-<uuid>`.
        `id:ID` means that very id: where `pixel7` and `pixel7-2` are known, nothing else names the first.
        """
        exact = self._roster.get(reference.removeprefix(_WHOLE))
        if exact is not None and (reference.startswith(_WHOLE) or is_made_id(reference)):
            return exact
        if reference.startswith(_WHOLE):
            raise MeshError("node_unknown", f"no node has the id {clean_text(reference.removeprefix(_WHOLE), 128)!r}")
        wanted = reference.casefold()
        fitting = [entry for entry in self._roster if _fits(entry.node, reference, wanted)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            ids = ", ".join(entry.node.id for entry in fitting[:5])
            raise MeshError("node_unknown", f"{reference!r} fits more than one node: {ids}; say id:ID")
        raise MeshError("node_unknown", f"no node is called {clean_text(reference)!r}")

    async def set_alias(self, by: Principal, reference: str, alias: str | None) -> MeshNode:
        """Call a node something else here; None or blank ends that. Never sent to anybody."""
        entry = self._other(by, Action.ALIAS_NODE, reference)
        cleaned = clean_text(alias or "") or None
        return await self._change(entry, alias=cleaned)

    async def set_trust(self, by: Principal, reference: str, level: int) -> MeshNode:
        """Give a paired node level 1 (paired) or 2 (operator)."""
        entry = self._other(by, Action.SET_TRUST, reference)
        if level not in (1, 2):
            raise invalid("level", "1 (paired) or 2 (operator); to take everything away, revoke")
        if entry.node.trust != "paired":
            raise MeshError("node_unknown", f"{entry.node.label} is not paired (it is {entry.node.trust})")
        ended: list[DeviceCode] = []

        async def end_codes(tx: Transaction) -> None:
            if level < entry.node.trust_level:  # what it made as an operator
                ended.extend(await self._codes.end_of_device(tx, entry.node.id))

        node = await self._change(entry, event=f"node.trust_{level}", within=end_codes, trust_level=level)
        self._sessions.set_level(node.id, level)
        for code in ended:
            self._codes.update(code)
        return node

    async def revoke(self, by: Principal, reference: str, *, keeps_introduced: bool = False) -> Sequence[MeshNode]:
        """End a node's trust at once, and that of what it introduced; all of them, it first.

        Commit, then tokens, sockets, open codes and pending beats die, then this returns.
        """
        entry = self._other(by, Action.REVOKE_NODE, reference)
        revoked = await self._end_trust(by, entry, keeps_introduced=keeps_introduced)
        return [entry.snapshot(), *(row for row in revoked if row.id != entry.node.id)]

    async def _end_trust(self, by: Principal, entry: Entry, *, keeps_introduced: bool) -> Sequence[MeshNode]:
        revoked = await self._revoke(entry, by, keeps_introduced=keeps_introduced)
        if revoked:
            await self._connections.close(entry.node.id, "revoked", [row.id for row in revoked])
        return revoked

    async def revoke_device(self, by: Principal, device_id: str, dialect: str) -> bool:
        """See `revoke`, of the thin client with exactly this id; False if the dialect has none such paired."""
        entry = self._roster.get(device_id)
        if entry is None or not entry.is_paired or entry.node.dialect != dialect:
            return False
        authorise_target(by, Action.REVOKE_NODE, entry.node.trust_level)
        await self._end_trust(by, entry, keeps_introduced=False)
        return True

    async def revoke_itself(self, by: Principal) -> MeshNode:
        """A device gives its own trust up; what it introduced stays. `hang_up` once it has its answer."""
        entry = self._roster.get(by.node_id or "")
        if entry is None or entry.node.is_current:
            raise MeshError("node_unknown", "only a known device can revoke itself")
        await self._revoke(entry, by, keeps_introduced=True)
        return entry.snapshot()

    async def leave(self, by: Principal) -> None:
        """See `revoke_itself`, of a device that asks over HTTP: its sockets end, the connection of its answer lives."""
        node = await self.revoke_itself(by)
        await self._connections.end_sockets(node.id, "revoked", is_revoked=True)

    async def hang_up(self, node_id: str, reason: str) -> None:
        """Close every connection of a node."""
        await self._connections.close(node_id, reason)

    async def _revoke(self, entry: Entry, by: Principal, *, keeps_introduced: bool) -> Sequence[MeshNode]:
        if entry.node.trust == "revoked" and keeps_introduced:
            return ()
        now = self._clock.now()
        revoked_by = "owner" if by.role is Role.OWNER else by.node_id
        is_known = False
        revoked: list[MeshNode] = []
        ended: list[DeviceCode] = []
        async with self._store.write() as tx:
            for one in [entry] if keeps_introduced else self._with_introduced(entry, by.level):
                row = await tx.nodes.get(one.node.id)
                is_known = is_known or row is not None
                if row is None or row.trust == "revoked":  # somebody else was faster
                    continue
                revoked.append(
                    replace(
                        row,
                        trust="revoked",
                        trust_level=0,
                        status="offline",
                        status_reason=None,
                        last_seen=one.last_seen,
                        revoked_at=now,
                        revoked_by=revoked_by,
                    )
                )
                await tx.nodes.upsert(revoked[-1])
                self._codes.revocations.revoked(row.id)
                await tx.tokens.revoke_all(row.id, now)
                ended += await self._codes.end_of_device(tx, row.id)
                await tx.acks.delete(row.id)
                await self._confirmations.drop(tx, row.id)
                await tx.audit.append(_entry(now, "node.revoked", revoked[-1], by))
        if not is_known:
            raise MeshError("node_unknown", f"{entry.node.id} is gone")
        for row in revoked:
            self._end(row.id)
            self._roster.put(row, self._clock.monotonic())
            log.info("revoked %s (%s)", row.label, row.id)
            self._bus.publish(Event("mesh.node.revoked", {"id": row.id}))
        for code in ended:
            self._codes.update(code)
        return revoked

    def _with_introduced(self, entry: Entry, below: int) -> Sequence[Entry]:
        """The entry, and whoever came in by it, directly or not, and lies below that trust level."""
        found = [entry]
        for one in found:  # grows while it is walked
            found += [
                e for e in self._roster
                if e.node.introduced_by == one.node.id and e.node.trust != "self"
                and e.node.trust_level < below and e not in found
            ]  # fmt: skip
        return found

    async def forget(self, by: Principal, reference: str) -> MeshNode:
        """Delete a node's row; it is a stranger then, with no rights and no history."""
        entry = self._other(by, Action.FORGET_NODE, reference)
        await self._end_trust(by, entry, keeps_introduced=False)  # nobody is left who could take them along
        node = entry.snapshot()
        async with self._store.write() as tx:
            await tx.nodes.delete(node.id)
            ended = await self._codes.end_of_device(tx, node.id)
            await tx.acks.delete(node.id)
            await self._confirmations.drop(tx, node.id)
            await tx.audit.append(_entry(self._clock.now(), "node.forgotten", node))
        self._end(node.id)
        for code in ended:
            self._codes.update(code)
        self._codes.revocations.forgotten(node.id)
        self._roster.remove(node.id)
        self._bus.publish(Event("mesh.node.forgotten", {"id": node.id}))
        await self.hang_up(node.id, "forgotten")
        return node

    def _end(self, node_id: str) -> None:
        self._sessions.end(node_id)
        self._roster.drop_beats(node_id)
        self._heartbeats.remove(node_id)
        self._joining.pending.discard(node_id)
        self._confirmations.dropped(node_id)

    def _other(self, by: Principal, action: Action, reference: str) -> Entry:
        entry = self.find(reference)
        if entry.node.is_current:
            raise MeshError("invalid_params", "that is this node itself; see `meshnode identity`", field="node")
        authorise_target(by, action, entry.node.trust_level)
        return entry

    async def _change(
        self,
        entry: Entry,
        *,
        event: str | None = None,
        within: Callable[[Transaction], Awaitable[None]] | None = None,
        **changes: object,
    ) -> MeshNode:
        async with self._store.write() as tx:
            row = await tx.nodes.get(entry.node.id)
            if row is None:
                raise MeshError("node_unknown", f"{entry.node.id} is gone")
            if "trust_level" in changes and row.trust != "paired":
                raise MeshError("node_unknown", f"{row.label} is not paired any more")
            row = replace(row, **changes)  # type: ignore[arg-type]
            await tx.nodes.upsert(row)
            if within is not None:
                await within(tx)
            if event is not None:
                await tx.audit.append(_entry(self._clock.now(), event, row))
        entry.set_row(row)
        self._bus.publish(Event("mesh.node.updated", {"id": row.id}))
        return entry.snapshot()


def _fits(node: MeshNode, reference: str, wanted: str) -> bool:
    if wanted in (node.label.casefold(), node.name.casefold()) or node.id == reference:
        return True
    return len(reference) >= 4 and (node.id.startswith(reference) or node.id.endswith(reference))


def _entry(at: datetime, event: str, node: MeshNode, by: Principal | None = None) -> AuditEntry:
    detail = "left by itself" if by is not None and by.node_id == node.id else None
    return AuditEntry(at=at, event=event, dialect=node.dialect, node_id=node.id, node_name=node.label, detail=detail)
