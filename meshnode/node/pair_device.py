"""The end of every thin client's pairing, whatever its dialect: the row, the token, the audit, together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec

from meshnode.domain.device import DeviceClaim, admit, check_device
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.pairing_code import Secret
from meshnode.domain.peer import OPERATOR_LEVEL, MeshNode
from meshnode.node.counters import Counters
from meshnode.node.describe_node import SelfDescription
from meshnode.node.device_tokens import DeviceSession, DeviceTokens, IssuedToken
from meshnode.node.event_bus import EventBus
from meshnode.node.ports import Clock, Connections
from meshnode.node.revocations import Revocations
from meshnode.node.roster import Roster
from meshnode.node.session import Session
from meshnode.node.tables import AuditEntry, Transaction


class TokenRules(msgspec.Struct, frozen=True, kw_only=True):
    """What sort of token a dialect hands out."""

    kind: Literal["session", "device"] = "device"
    lifetime_s: float | None = None
    prefix: str = ""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who redeems a code, and from where."""

    address: str
    source: str  # what limits count by
    listener: Literal["public", "plain"] = "public"
    session: Session | None = None  # of a live token it presented
    is_remote: bool = False  # came through a trusted proxy


@dataclass(frozen=True, slots=True)
class Admitted:
    """A device that has paired."""

    node: MeshNode
    issued: IssuedToken
    was: str | None  # "paired" or "revoked" before
    is_proven: bool  # it presented a live token of the row that stood

    @property
    def token(self) -> Secret:
        """Handed out once."""
        return self.issued.text


class PairDevice:
    """Makes thin clients rows of `mesh_nodes`."""

    def __init__(
        self,
        me: SelfDescription,
        tokens: DeviceTokens,
        roster: Roster,
        connections: Connections,
        counters: Counters,
        clock: Clock,
        bus: EventBus,
        revocations: Revocations,
    ) -> None:
        self._me = me
        self._tokens = tokens
        self._roster = roster
        self._connections = connections
        self._counters = counters
        self._clock = clock
        self._bus = bus
        self._revocations = revocations
        self.on_paired: Callable[[str], None] = lambda _: None

    async def admit(
        self, tx: Transaction, code: DeviceCode, claim: DeviceClaim, caller: Caller, rules: TokenRules
    ) -> Admitted:
        """Upsert the row, end its older tokens, issue one; `admitted` after the commit. Raises `identity_mismatch`."""
        now = self._clock.now()
        before = await tx.nodes.get(claim.id)
        is_outdated = self._revocations.is_since_opened(claim.id, code.id)
        check_device(self._me.identity.id, claim.id, code.dialect, before, is_outdated=is_outdated)
        presented = self._presents(caller, claim.id)
        maker = code.made_by if code.made_by != self._me.identity.id else None
        if code.opened_by not in (None, self._me.identity.id):
            await self._check_operator(tx, code.opened_by or "")
            if not presented and before is not None and before.trust_level >= OPERATOR_LEVEL:
                raise MeshError("identity_mismatch", "that device is an operator; only the owner can pair its id again")
        if maker == claim.id:  # it pairs itself again, and came in as it did
            maker = before.introduced_by if before is not None else None
        node = admit(
            claim, before, dialect=code.dialect, keeps_level=presented, introduced_by=maker, now=now,
            is_remote=caller.is_remote,
        )  # fmt: skip
        was = before.trust if before is not None and before.trust in ("revoked", "paired") else None
        await tx.nodes.upsert(node)
        await tx.tokens.revoke_all(node.id, now)
        issued = await self._tokens.issue(
            tx,
            node.id,
            kind=rules.kind,
            listener=caller.listener,
            lifetime_s=rules.lifetime_s,
            prefix=rules.prefix,
        )
        await tx.audit.append(
            AuditEntry(
                at=now,
                event="node.paired",
                dialect=code.dialect,
                node_id=node.id,
                node_name=node.name,
                address=caller.address,
                detail={"revoked": "was revoked", "paired": "paired again"}.get(was or ""),
            )
        )
        return Admitted(node, issued, was, presented)

    async def _check_operator(self, tx: Transaction, maker: str) -> None:
        """Raise `offer_closed` unless the device that opened or approved something still may."""
        row = await tx.nodes.get(maker)
        if row is None or row.trust != "paired" or row.trust_level < OPERATOR_LEVEL:
            raise MeshError("offer_closed", "the device that opened this is no operator any more")

    def _presents(self, caller: Caller, node_id: str) -> bool:
        """Whether it showed a token of that row, and the token counts to this moment."""
        session = caller.session
        return (
            isinstance(session, DeviceSession)
            and session.principal.node_id == node_id
            and self._tokens.is_live(session)
        )

    async def admitted(self, code: DeviceCode, done: Admitted) -> None:
        """It is committed: former tokens and sockets end, the new token counts, everybody is told."""
        node = done.node
        self._tokens.end(node.id)
        self._roster.put(node, self._clock.monotonic())
        self._tokens.take(done.issued)
        self._counters.paired(code.dialect, code.format, (self._clock.now() - code.created_at).total_seconds())
        self._bus.publish(Event("mesh.node.paired", {"id": node.id, "name": node.name, "was": done.was}))
        self.on_paired(node.id)
        if done.was == "paired":
            await self._connections.end_sockets(node.id, "paired again")
