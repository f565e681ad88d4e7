"""The host's side of the pairing ceremony: begin, exchange, finish, ack. Source: docs/protocol.md, Pairing.

A crash between any two lines leaves either nothing, or an answer that the same joiner can fetch again and
acknowledge; never a row trusted here alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import replace

from meshnode.crypto.pake import CPacePake, Pake
from meshnode.domain.announcement import PROTOCOLS
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.identity import is_node_id
from meshnode.domain.pairing import (
    Offer,
    OfferState,
    Step,
    Terms,
    Way,
    advance,
    choose_version,
    judge_tag,
    shares_sha256,
    spend_attempt,
)
from meshnode.domain.peer import MeshNode, check_claim, check_opener, introduce
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.ceremonies import Ceremonies, Ceremony
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.describe_node import SelfDescription
from meshnode.node.introduction import Proven, make_introduction, verify_introduction
from meshnode.node.open_offer import DIALECT, Offers
from meshnode.node.ports import BeginAnswer, Clock, Entropy, FinishAnswer
from meshnode.node.tables import AuditEntry, Store, StoredAnswer


class AcceptPeer:
    """The host."""

    def __init__(
        self,
        me: SelfDescription,
        offers: Offers,
        budget: AttemptBudget,
        confirmations: ConfirmPeer,
        store: Store,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._me = me
        self._offers = offers
        self._budget = budget
        self._confirmations = confirmations
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._ceremonies = Ceremonies(clock)
        self._finishing = asyncio.Lock()
        offers.on_closed = self._ceremonies.end_offer

    # ── step 1 ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(
        self,
        node_id: str,
        public_key: bytes,
        protocols: tuple[int, ...],
        way: Way,
        code: bytes | None,
        *,
        source: str,
        certificate_hash: bytes,
    ) -> BeginAnswer:
        """Draw a session id. Costs nothing, stores nothing, takes no slot."""
        me = self._me.identity
        if not is_node_id(node_id):
            raise invalid("id", "not a node id")
        if node_id == me.id or public_key == me.public_key:
            raise MeshError("identity_mismatch", "that is this node's own id or key")
        if way == "pin":
            self._budget.check()
        live = self._offers.find(way, code)
        version = choose_version(protocols, PROTOCOLS)
        sid = self._entropy.draw(16)
        terms = Terms(
            sid=sid,
            way=way,
            joiner_id=node_id,
            joiner_key=public_key,
            joiner_protocols=protocols,
            host_id=me.id,
            host_key=me.public_key,
            host_protocols=PROTOCOLS,
            version=version,
            certificate_hash=certificate_hash,
        )
        self._ceremonies.add(Ceremony(terms, live, source, self._clock.monotonic()))
        return BeginAnswer(sid, me.id, me.public_key, PROTOCOLS, version)

    # ── step 2 ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def exchange(self, sid: bytes, share: bytes, *, source: str, certificate_hash: bytes) -> bytes:
        """Spend an attempt, durably, before the answer can help anybody to test a guess; the host's share."""
        run = self._ceremonies.get(sid, certificate_hash, Step.EXCHANGE)
        way = run.terms.way
        self._ceremonies.take_slot(way, sid)
        run.stage = advance("host", run.stage, Step.EXCHANGE)  # before the first await: one exchange a session
        run.started = self._clock.monotonic()  # the slot's ten seconds run from here
        pin = run.live.pin
        try:
            async with self._store.write() as tx:
                stored = await tx.codes.offer(run.live.offer.id, DIALECT)
                if stored is None:
                    raise MeshError("no_open_offer", "the offer is gone")
                offer = spend_attempt(stored.offer, way, self._offers.expiries.as_of(stored.offer))
                spent = await self._budget.spend(tx) if way == "pin" else None
                await tx.codes.save_offer(offer)
                await tx.audit.append(
                    AuditEntry(
                        at=self._clock.now(), event="pairing.attempt", dialect=DIALECT, address=source, is_failure=True
                    )
                )
            self._budget.committed(spent)
            run.live.activity = {"joiner": source, "attempts_left": offer.attempts(way), "way": way}
            self._offers.update(offer)
            role_ads = run.terms.associated_data("host"), run.terms.associated_data("joiner")
            run.pake = CPacePake("host", pin, sid, *role_ads)
            run.pake.derive(share)
        except BaseException:
            self._ceremonies.end(sid)
            raise
        run.shares_sha256 = shares_sha256(share, run.pake.share)
        return run.pake.share

    # ── step 3 ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def finish(
        self,
        sid: bytes,
        tag: bytes,
        sealed: bytes,
        *,
        source: str,
        hostname: str,
        certificate_hash: bytes,
        is_remote: bool = False,
    ) -> FinishAnswer:
        """Verify everything, store the joiner as unconfirmed, answer; the same request gets the same bytes again."""
        request_sha256 = hashlib.sha256(sid + tag + sealed).digest()
        async with self._finishing:
            if sid not in self._ceremonies:
                return await self._answer_again(sid, request_sha256)
            run = self._ceremonies.get(sid, certificate_hash, Step.RIGHT_TAG)
            if run.pake is None:
                raise MeshError("session_over", "finish came before exchange was answered")
            try:
                if not run.pake.is_right(tag):
                    await self._refuse(run, source)
                answer, introduced = self._prove(run, run.pake, tag, sealed)
                return await self._store_answer(run, answer, introduced, hostname, request_sha256, is_remote)
            finally:
                self._ceremonies.end(sid)

    async def _answer_again(self, sid: bytes, request_sha256: bytes) -> FinishAnswer:
        async with self._store.read() as tx:
            stored = await tx.codes.answer(sid)
        if (
            stored is None
            or stored.finish_answer is None
            or not hmac.compare_digest(stored.finish_sha256, request_sha256)
        ):
            raise MeshError("session_over", "this pairing session is over")
        return FinishAnswer(stored.finish_answer[:64], stored.finish_answer[64:])

    async def _refuse(self, run: Ceremony, source: str) -> None:
        """A wrong tag: the attempt stays spent; the last one by invite burns the offer."""
        way = run.terms.way
        async with self._store.write() as tx:
            stored = await tx.codes.offer(run.live.offer.id, DIALECT)
            if stored is None:
                raise MeshError("session_over", "the offer is gone")
            offer = judge_tag(stored.offer, way, right=False)
            await tx.codes.save_offer(offer)
            await tx.audit.append(
                AuditEntry(
                    at=self._clock.now(), event="pairing.bad_pin", dialect=DIALECT, address=source, is_failure=True
                )
            )
            if offer.state is OfferState.BURNED:
                await tx.audit.append(
                    AuditEntry(at=self._clock.now(), event="pairing.burned", dialect=DIALECT, address=source)
                )
        run.live.activity = {"joiner": source, "attempts_left": offer.attempts(way), "way": way, "wrong": True}
        self._offers.update(offer)
        left = offer.attempts(way)
        raise MeshError("bad_pin", f"wrong PIN; {left} attempt{'' if left == 1 else 's'} left", attempts_left=left)

    def _prove(self, run: Ceremony, pake: Pake, tag: bytes, sealed: bytes) -> tuple[FinishAnswer, Proven]:
        """Check what the joiner says about itself, and seal what we say."""
        proven = verify_introduction("joiner", run.terms, pake.key(), tag, sealed, run.shares_sha256)
        own_tag = pake.tag()
        own = make_introduction("host", run.terms, pake.key(), own_tag, self._me, run.shares_sha256)
        return FinishAnswer(own_tag, own), proven

    async def _store_answer(
        self,
        run: Ceremony,
        answer: FinishAnswer,
        proven: Proven,
        hostname: str,
        request_sha256: bytes,
        is_remote: bool,
    ) -> FinishAnswer:
        now = self._clock.now()
        terms = run.terms
        fresh: MeshNode | None = None
        kept = StoredAnswer(
            offer_id=run.live.offer.id,
            offer_created_at=run.live.offer.created_at,
            sid=terms.sid,
            finish_sha256=request_sha256,
            finish_answer=answer.tag + answer.sealed,
            peer_id=terms.joiner_id,
            peer_key=terms.joiner_key,
            peer_hostname=hostname,
            is_remote=is_remote,
            peer_announcement=proven.jws,
            answered_at=now,
            maker=run.live.offer.maker,
        )
        async with self._store.write() as tx:
            stored = await tx.codes.offer(run.live.offer.id, DIALECT)
            if stored is None:
                raise MeshError("session_over", "the offer is gone")
            given_back = await self._budget.give_back(tx) if terms.way == "pin" else None
            before = await tx.nodes.get(terms.joiner_id)
            by_key = await tx.nodes.by_key(terms.joiner_key)
            maker = await tx.nodes.get(stored.offer.maker) if stored.offer.maker is not None else None
            mismatch = self._contradiction(terms, before, by_key, stored.offer, maker)
            offer = judge_tag(stored.offer, terms.way, right=True)
            if mismatch is not None:  # the PIN was right: the attempt goes back, the offer stays open
                offer = replace(offer, state=stored.offer.state)
                await tx.codes.save_offer(offer)
            else:
                if not await tx.codes.consume_offer(offer, kept):
                    raise MeshError("session_over", "the offer was used or closed meanwhile")
                for older in await tx.codes.unconfirmed_answers():
                    if older.peer_id == kept.peer_id and older.sid != kept.sid:
                        await tx.codes.drop_answer(older.sid)
                if before is None or before.trust == "unconfirmed":
                    fresh = introduce(
                        proven.announcement,
                        proven.jws,
                        before=before,
                        reached=(hostname, proven.announcement.port),
                        is_remote=is_remote,
                        trust="unconfirmed",
                        now=now,
                        introduced_by=kept.maker,
                    )
                    await tx.nodes.upsert(fresh)
                await tx.audit.append(
                    AuditEntry(
                        at=now,
                        event="pairing.answered",
                        dialect=DIALECT,
                        node_id=terms.joiner_id,
                        node_name=proven.announcement.display_name,
                        address=hostname,
                    )
                )
        self._budget.committed(given_back)
        if mismatch is not None:
            self._offers.update(offer)
            raise mismatch
        self._confirmations.expect(kept, fresh)
        run.live.activity = {"joiner": hostname, "name": proven.announcement.display_name, "id": terms.joiner_id}
        self._offers.update(offer)
        return answer

    def _contradiction(
        self, terms: Terms, by_id: MeshNode | None, by_key: MeshNode | None, offer: Offer, maker: MeshNode | None
    ) -> MeshError | None:
        try:
            check_claim(self._me.identity, terms.joiner_id, terms.joiner_key, by_id, by_key)
            if offer.maker is not None:
                check_opener(maker, by_id)
        except MeshError as error:
            return error
        is_revoked = by_id is not None and by_id.trust == "revoked"
        if is_revoked and self._offers.revocations.is_since_opened(terms.joiner_id, offer.id):
            return MeshError("offer_closed", "that node was revoked after this offer was opened; open another")
        return None
