"""The host's last step: a joiner that acknowledges becomes a paired node; one that doesn't is forgotten.

Source: docs/protocol.md, Pairing, step 4. A row that stood before is left as it was until then.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from meshnode.crypto.jws import verify_jws
from meshnode.domain.announcement import decode_announcement
from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.event import Event
from meshnode.domain.expiry import Expiry, expiry_of
from meshnode.domain.pairing import UNCONFIRMED_S, Stage, Step, advance
from meshnode.domain.peer import MeshNode, introduce
from meshnode.domain.statements import PAIRING_TYPE, PairingAck, decode_statement
from meshnode.node.counters import Counters
from meshnode.node.describe_node import SelfDescription
from meshnode.node.event_bus import EventBus
from meshnode.node.open_offer import DIALECT, FORMAT, Offers
from meshnode.node.ports import Clock
from meshnode.node.roster import Roster
from meshnode.node.tables import AuditEntry, Store, StoredAnswer, Transaction


class ConfirmPeer:
    """The answers that wait for an acknowledge."""

    def __init__(
        self,
        me: SelfDescription,
        offers: Offers,
        store: Store,
        roster: Roster,
        counters: Counters,
        clock: Clock,
        bus: EventBus,
    ) -> None:
        self._me = me
        self._offers = offers
        self._store = store
        self._roster = roster
        self._counters = counters
        self._clock = clock
        self._bus = bus
        self._waiting: dict[str, StoredAnswer] = {}  # by joiner
        self._ends: dict[str, Expiry] = {}
        self.on_confirmed: Callable[[str], None] = lambda _: None

    async def load(self) -> None:
        """Answers given before a restart can still be acknowledged."""
        async with self._store.read() as tx:
            for answer in await tx.codes.unconfirmed_answers():
                self._wait_for(answer)

    def _wait_for(self, answer: StoredAnswer) -> None:
        began, end = answer.answered_at, answer.answered_at + timedelta(seconds=UNCONFIRMED_S)
        self._waiting[answer.peer_id] = answer
        self._ends[answer.peer_id] = expiry_of(began, end, self._clock.now(), self._clock.monotonic())

    def expect(self, answer: StoredAnswer, row: MeshNode | None) -> None:
        """An answer was committed, with a new unconfirmed row if there was none before."""
        self._wait_for(answer)
        if row is not None:
            self._roster.put(row, self._clock.monotonic())

    async def ack(self, sid: bytes, node_id: str, jws: str) -> None:
        """The joiner has stored us: trust it. Repeated calls get the same answer. Raises `not_paired`."""
        async with self._store.read() as tx:
            stored = await tx.codes.answer(sid)
        entry = self._roster.get(node_id)
        is_waiting = stored is not None and stored.peer_id == node_id and not stored.is_confirmed
        key = stored.peer_key if stored is not None and is_waiting else None
        if key is None and entry is not None and entry.is_peer:
            key = entry.node.public_key  # confirmed before; it did not get the answer
        try:  # the same refusal and the same work for a stranger: nobody learns here whom we know
            payload = verify_jws(key or self._me.identity.public_key, PAIRING_TYPE, jws)
        except MeshError as error:
            raise MeshError("not_paired", "this node does not know that pairing") from error
        if key is None:
            raise MeshError("not_paired", "this node does not know that pairing")
        statement = decode_statement(payload, PairingAck, "jws")
        if (statement.sid, statement.id, statement.peer_id) != (encode_base64url(sid), node_id, self._me.identity.id):
            raise invalid("jws", "acknowledges something else")
        if stored is not None and is_waiting:
            await self._confirm(stored)

    def waiting_key(self, node_id: str) -> bytes | None:
        """The key of a joiner whose acknowledge we wait for; opening a session with it confirms too."""
        waiting = self._waiting.get(node_id)
        return waiting.peer_key if waiting is not None else None

    async def confirm(self, node_id: str) -> None:
        """Make a joiner whose key has just been proven again a paired node."""
        waiting = self._waiting.get(node_id)
        if waiting is not None:
            await self._confirm(waiting)

    async def _confirm(self, waiting: StoredAnswer) -> None:
        node_id, now = waiting.peer_id, self._clock.now()
        advance("host", Stage.ANSWERED, Step.ACK)
        async with self._store.write() as tx:
            if not await self._still_waits(tx, waiting):
                return
            before = await tx.nodes.get(node_id)
            announcement = decode_announcement(decode_base64url(waiting.peer_announcement.split(".")[1]))
            row = introduce(
                announcement,
                waiting.peer_announcement,
                before=before,
                reached=(waiting.peer_hostname, announcement.port),
                is_remote=waiting.is_remote,
                trust="paired",
                now=now,
                introduced_by=waiting.maker,
            )
            was = before.trust if before is not None and before.trust in ("revoked", "paired") else None
            await tx.nodes.upsert(row)
            if before is not None and before.public_key is None:  # whoever held that id could not prove it
                await tx.tokens.revoke_all(node_id, now)
            await tx.codes.confirm_answer(waiting.sid, now)
            await tx.audit.append(
                AuditEntry(
                    at=now,
                    event="node.paired",
                    dialect=DIALECT,
                    node_id=row.id,
                    node_name=row.name,
                    address=row.hostname,
                    detail={"revoked": "was revoked", "paired": "paired again"}.get(was or ""),
                )
            )
        self._waiting.pop(node_id, None)
        self._roster.put(row, self._clock.monotonic())
        self._counters.paired(DIALECT, FORMAT, (now - waiting.offer_created_at).total_seconds())
        live = self._offers.watched(waiting.offer_id)
        if live is not None:
            live.activity = {"paired": row.id, "name": row.name, "address": row.hostname, "was": was}
            self._offers.tell(live)
        self._bus.publish(Event("mesh.node.paired", {"id": row.id, "name": row.name, "was": was}))
        self.on_confirmed(node_id)

    async def _still_waits(self, tx: Transaction, waiting: StoredAnswer) -> bool:
        stored = await tx.codes.answer(waiting.sid)
        if stored is None or stored.is_confirmed:
            return False
        maker = await tx.nodes.get(waiting.maker) if waiting.maker is not None else None
        return waiting.maker is None or (maker is not None and maker.trust == "paired")  # it may have been revoked

    async def drop(self, tx: Transaction, node_id: str) -> None:
        """Drop what waits for an acknowledge of this node, in the transaction that revokes or forgets it."""
        for answer in await tx.codes.unconfirmed_answers():
            if answer.peer_id == node_id:
                await tx.codes.drop_answer(answer.sid)

    def dropped(self, node_id: str) -> None:
        """That transaction is committed."""
        self._waiting.pop(node_id, None)

    @property
    def is_waiting(self) -> bool:
        """Whether an answer of ours is still to be acknowledged."""
        return bool(self._waiting)

    async def sweep(self) -> None:
        """Drop answers that nobody acknowledged, with the row that was made for them."""
        now, mono = self._clock.now(), self._clock.monotonic()
        overdue = [answer for answer in self._waiting.values() if self._ends[answer.peer_id].left_s(now, mono) <= 0]
        if not overdue:
            return
        async with self._store.write() as tx:
            for answer in overdue:
                await tx.codes.drop_answer(answer.sid)
                row = await tx.nodes.get(answer.peer_id)
                if row is not None and row.trust == "unconfirmed":
                    await tx.nodes.delete(answer.peer_id)
        for answer in overdue:
            self._waiting.pop(answer.peer_id, None)
            entry = self._roster.get(answer.peer_id)
            if entry is not None and entry.node.trust == "unconfirmed":
                self._roster.remove(answer.peer_id)
