"""The joiner's side of the pairing ceremony. Source: docs/protocol.md, Pairing.

A typed PIN yields one tag: once step 3 is sent, only those same bytes are repeated, to the same certificate.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from meshnode.crypto.jws import sign_jws
from meshnode.crypto.pake import CPacePake
from meshnode.domain.announcement import PROTOCOLS
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import OF_THE_STORE, MeshError
from meshnode.domain.event import Event
from meshnode.domain.identity import is_node_id
from meshnode.domain.pairing import (
    FINISH_REPEAT_S,
    Stage,
    Step,
    Terms,
    Way,
    advance,
    choose_version,
    shares_sha256,
)
from meshnode.domain.pairing_code import Hidden, Secret
from meshnode.domain.peer import MeshNode, check_claim, introduce
from meshnode.domain.statements import PAIRING_TYPE, PairingAck
from meshnode.node.describe_node import SelfDescription
from meshnode.node.event_bus import EventBus
from meshnode.node.introduction import Proven, make_introduction, verify_introduction
from meshnode.node.open_offer import DIALECT
from meshnode.node.ports import BeginAnswer, Clock, Contact, Destination, FinishAnswer, PeerClient
from meshnode.node.revocations import Revocations
from meshnode.node.roster import Roster
from meshnode.node.tables import AuditEntry, PendingAck, Store

REPEAT_EVERY_S: Final = 0.5
BUSY_WAIT_MAX_S: Final = 31.0  # a slot is held ten seconds at most, a place to begin thirty
_TRANSIENT: Final = OF_THE_STORE | {"unreachable", "internal_error", "starting", "rate_limited"}

log = logging.getLogger(__name__)


class Invitation(Hidden, msgspec.Struct, frozen=True):
    """What the person gave: where, the PIN, and what an invite adds."""

    host: str
    port: int
    pin: Secret
    code: bytes | None = None
    cert_prefix: bytes = b""

    @property
    def way(self) -> Way:
        """By invite or by PIN alone."""
        return "pin" if self.code is None else "invite"


class Joined(NamedTuple):
    """The host's row, and what it was before: `revoked`, `paired`, or None."""

    node: MeshNode
    was: str | None


class JoinPeer:
    """The joiner."""

    def __init__(
        self,
        me: SelfDescription,
        client: PeerClient,
        store: Store,
        roster: Roster,
        clock: Clock,
        bus: EventBus,
        revocations: Revocations,
    ) -> None:
        self._me = me
        self._client = client
        self._store = store
        self._roster = roster
        self._clock = clock
        self._bus = bus
        self._revocations = revocations
        self._joining = asyncio.Lock()
        self.pending: set[str] = set()  # hosts that have not answered our acknowledge
        self.on_joined: Callable[[str], None] = lambda _: None

    async def load(self) -> None:
        """Acknowledges that were not answered before a restart."""
        async with self._store.read() as tx:
            self.pending = {ack.peer_id for ack in await tx.acks.all()}

    async def join(self, invitation: Invitation) -> Joined:
        """Pair with the host that shows the PIN. Raises the refusal; nothing is stored then."""
        async with self._joining:
            began = self._revocations.turn
            async with self._store.write():  # one that is known to refuse does so now, not after the host has stored us
                pass
            contact = self._client.contact(invitation.host, invitation.port, invitation.cert_prefix)
            terms, pake, host_share = await self._run_pake(invitation, contact)
            stage = advance("joiner", Stage.BEGUN, Step.EXCHANGE)
            shares = shares_sha256(pake.share, host_share)
            tag = pake.tag()
            sealed = make_introduction("joiner", terms, pake.key(), tag, self._me, shares)
            stage = advance("joiner", stage, Step.SAME_FINISH)
            answer = await self._finish(contact, terms.sid, tag, sealed)
            if not pake.is_right(answer.tag):
                raise MeshError("bad_answer", "the other side does not know the PIN; it is not the node that shows it")
            proven = verify_introduction("host", terms, pake.key(), answer.tag, answer.sealed, shares)
            stage = advance("joiner", stage, Step.RIGHT_TAG)
            jws = self._sign_ack(terms)
            joined = await self._store_host(terms, proven, invitation, began, jws)
        await self._acknowledge(contact, terms, jws)
        self.on_joined(joined.node.id)
        return joined

    async def _run_pake(self, invitation: Invitation, contact: Contact) -> tuple[Terms, CPacePake, bytes]:
        """Steps 1 and 2; waits out one `pairing_busy`."""
        for last_try in (False, True):
            try:
                begun = await contact.begin(
                    self._me.identity.id, self._me.identity.public_key, PROTOCOLS, invitation.way, invitation.code
                )
                terms = await self._agree(invitation, contact, begun)
                own_ad, host_ad = terms.associated_data("joiner"), terms.associated_data("host")
                pake = CPacePake("joiner", invitation.pin, terms.sid, own_ad, host_ad)
                host_share = await contact.exchange(terms.sid, pake.share)
            except MeshError as error:
                if error.code != "pairing_busy" or last_try:
                    raise
                await asyncio.sleep(min(error.retry_after_s or 1.0, BUSY_WAIT_MAX_S))
                continue
            pake.derive(host_share)
            return terms, pake, host_share
        raise AssertionError("unreachable")

    async def _agree(self, invitation: Invitation, contact: Contact, begun: BeginAnswer) -> Terms:
        """The terms as this side sees them. Raises before the PIN is used if the host can't be who it says."""
        me = self._me.identity
        if not is_node_id(begun.id) or len(begun.sid) != 16:
            raise MeshError("bad_answer", "the host's answer to step 1 is malformed")
        if begun.version != choose_version(PROTOCOLS, begun.protocols):
            raise MeshError("version_unsupported", "the host chose a protocol version that is not the highest shared")
        async with self._store.read() as tx:
            by_id, by_key = await tx.nodes.get(begun.id), await tx.nodes.by_key(begun.public_key)
        check_claim(me, begun.id, begun.public_key, by_id, by_key)
        return Terms(
            sid=begun.sid,
            way=invitation.way,
            joiner_id=me.id,
            joiner_key=me.public_key,
            joiner_protocols=PROTOCOLS,
            host_id=begun.id,
            host_key=begun.public_key,
            host_protocols=begun.protocols,
            version=begun.version,
            certificate_hash=contact.certificate_hash,
        )

    async def _finish(self, contact: Contact, sid: bytes, tag: bytes, sealed: bytes) -> FinishAnswer:
        """Step 3, the same bytes repeated for 30 s while no answer comes."""
        deadline = self._clock.monotonic() + FINISH_REPEAT_S
        is_repeated = False
        while True:
            try:
                return await contact.finish(sid, tag, sealed)
            except MeshError as error:
                if is_repeated and error.code == "session_over":
                    error.detail = "the host's answer was lost on the way; perhaps the PIN was wrong"
                if error.code not in _TRANSIENT or self._clock.monotonic() > deadline:
                    raise
            is_repeated = True
            await asyncio.sleep(REPEAT_EVERY_S)

    async def _store_host(self, terms: Terms, proven: Proven, invitation: Invitation, began: int, jws: str) -> Joined:
        now = self._clock.now()
        hostname = invitation.host
        async with self._store.write() as tx:
            before = await tx.nodes.get(terms.host_id)
            check_claim(self._me.identity, terms.host_id, terms.host_key, before, await tx.nodes.by_key(terms.host_key))
            if before is not None and before.trust == "revoked" and self._revocations.is_since(before.id, began):
                raise MeshError("session_over", "that node was revoked while the join was under way")
            row = introduce(
                proven.announcement,
                proven.jws,
                before=before,
                reached=(hostname, invitation.port),
                trust="paired",
                now=now,
            )
            was = before.trust if before is not None and before.trust in ("revoked", "paired") else None
            await tx.nodes.upsert(row)
            if before is not None and before.public_key is None:  # whoever held that id could not prove it
                await tx.tokens.revoke_all(row.id, now)
            known = await tx.acks.get(row.id)  # joined before, never acknowledged: go back to what stood before that
            await tx.acks.put(
                PendingAck(
                    peer_id=row.id, sid=terms.sid, jws=jws, before=known.before if known else before, created_at=now
                )
            )
            await tx.audit.append(
                AuditEntry(
                    at=now, event="node.joined", dialect=DIALECT, node_id=row.id, node_name=row.name, address=hostname,
                    detail={"revoked": "was revoked", "paired": "paired again"}.get(was or ""),
                )
            )  # fmt: skip
        self.pending.add(row.id)
        self._roster.put(row, self._clock.monotonic())
        self._bus.publish(Event("mesh.node.paired", {"id": row.id, "name": row.name, "was": was}))
        return Joined(row, was)

    def _sign_ack(self, terms: Terms) -> str:
        ack = PairingAck(sid=encode_base64url(terms.sid), role="ack", id=terms.joiner_id, peer_id=terms.host_id)
        return sign_jws(self._me.key, PAIRING_TYPE, msgspec.json.encode(ack))

    async def _acknowledge(self, contact: Contact, terms: Terms, jws: str) -> None:
        """Step 4, once; what goes unanswered is repeated in the background, also after a restart."""
        try:
            await contact.ack(terms.sid, terms.joiner_id, jws)
        except MeshError as error:
            if error.code == "not_paired":
                await self.undo(terms.host_id)
                raise MeshError("session_over", "the host dropped the pairing before it was complete") from error
            log.warning("the acknowledge to %s was not answered (%s); repeating", terms.host_id, error.code)
            return
        await self.settle(terms.host_id)

    async def settle(self, peer_id: str) -> None:
        """The host knows that we know: nothing is pending any more; a store that refuses is asked the next time."""
        try:
            async with self._store.write(durable=False) as tx:  # lost in a power cut, it is sent and answered again
                await tx.acks.delete(peer_id)
        except MeshError as error:
            log.debug("settling with %s: %s", peer_id, error.code)
            return
        self.pending.discard(peer_id)

    async def acknowledge_again(self, to: Destination) -> None:
        """Repeat step 4. Raises as the host answers."""
        async with self._store.read() as tx:
            pending = await tx.acks.get(to.node_id)
        if pending is not None:
            await self._client.ack(to, pending.sid, self._me.identity.id, pending.jws)
        await self.settle(to.node_id)

    async def undo(self, peer_id: str) -> bool:
        """The host says `not_paired` before it ever confirmed: back to what stood before; whether it was pending."""
        async with self._store.write() as tx:
            pending = await tx.acks.get(peer_id)
            if pending is None:
                return False
            now = await tx.nodes.get(peer_id)
            await tx.acks.delete(peer_id)
            await tx.nodes.delete(peer_id)
            before = None if pending.before is None else _keep_owners_word(pending.before, now)
            if before is not None:
                await tx.nodes.upsert(before)
        self.pending.discard(peer_id)
        if before is None:
            self._roster.remove(peer_id)
        else:
            self._roster.put(before, self._clock.monotonic())
        log.warning("the pairing with %s was never completed by it; taken back", peer_id)
        self._bus.publish(Event("mesh.node.updated", {"id": peer_id}))
        return True


def _keep_owners_word(before: MeshNode, now: MeshNode | None) -> MeshNode:
    """The row that stood before, with what the owner decided since: the host must not undo that."""
    if now is None:
        return before
    return replace(before, alias=now.alias, trust_level=min(before.trust_level, now.trust_level))
