"""The tables of pairing: offers and answers, pending acknowledges, attempts, the audit log."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from meshnode.domain.lockout import Lockout
from meshnode.domain.pairing import Offer, OfferState
from meshnode.node.tables import AuditEntry, PendingAck, StoredAnswer, StoredOffer
from meshnode.store import audit_log
from meshnode.store.database import Database
from tests.fakes.clock import START
from tests.unit.samples import OTHER_ID, OTHER_KEY, make_node

OFFER = Offer(id="o", created_at=START, expires_at=START + timedelta(seconds=600), pin_attempts=2, invite_attempts=1)
ANSWER = StoredAnswer(
    offer_id="o",
    offer_created_at=START,
    sid=bytes(16),
    finish_sha256=b"f" * 32,
    finish_answer=b"t" * 64 + b"sealed",
    peer_id=OTHER_ID,
    peer_key=OTHER_KEY.public_key,
    peer_hostname="192.0.2.7",
    peer_announcement="a.b.c",
    answered_at=START,
)


async def insert(database: Database, offer: Offer = OFFER, digest: bytes = b"d") -> None:
    async with database.write() as tx:
        await tx.codes.insert_offer(offer, "mesh", digest, b"sealed pin")


async def secrets(database: Database, offer_id: str = "o") -> tuple[Any, Any]:
    async with database.read() as tx:
        stored = await tx.codes.offer(offer_id, "mesh")
        assert stored is not None
        return stored.sealed, await tx.codes.code_digest(offer_id)


async def test_an_offer_comes_back_with_its_secrets(database: Database) -> None:
    """By id, as the open one; not of another dialect."""
    await insert(database)
    async with database.read() as tx:
        assert await tx.codes.offer("o", "mesh") == StoredOffer(OFFER, b"sealed pin")
        assert await tx.codes.open_offer("mesh") == StoredOffer(OFFER, b"sealed pin")
        assert await tx.codes.code_digest("o") == b"d"
        assert await tx.codes.offer("o", "salita") is None
        assert await tx.codes.open_offer("salita") is None
        assert await tx.codes.offer("x", "mesh") is None
        assert await tx.codes.code_digest("x") is None


async def test_attempts_are_saved_and_the_secrets_kept_while_open(database: Database) -> None:
    """The PIN is still on somebody's screen."""
    await insert(database)
    spent = replace(OFFER, pin_attempts=0, invite_attempts=3)
    async with database.write() as tx:
        await tx.codes.save_offer(spent)
    async with database.read() as tx:
        assert await tx.codes.open_offer("mesh") == StoredOffer(spent, b"sealed pin")


@pytest.mark.parametrize("state", [state for state in OfferState if state is not OfferState.OPEN])
async def test_closing_an_offer_wipes_its_secrets(database: Database, state: OfferState) -> None:
    """However it ends; its state stays to be told."""
    await insert(database)
    async with database.write() as tx:
        await tx.codes.save_offer(replace(OFFER, state=state))
        assert await tx.codes.open_offer("mesh") is None
        stored = await tx.codes.offer("o", "mesh")
    assert stored is not None
    assert stored.offer.state is state
    assert await secrets(database) == (None, None)


async def test_an_offer_is_consumed_once_with_its_answer(database: Database) -> None:
    """Exactly one caller wins, and the secrets are wiped."""
    await insert(database)
    used = replace(OFFER, state=OfferState.USED)
    async with database.write() as tx:
        assert await tx.codes.consume_offer(used, ANSWER)
        assert not await tx.codes.consume_offer(used, replace(ANSWER, sid=b"x" * 16))
        assert await tx.codes.answer(ANSWER.sid) == ANSWER
        assert await tx.codes.answer(b"x" * 16) is None
    assert await secrets(database) == (None, None)


@pytest.mark.parametrize("state", [OfferState.CANCELLED, OfferState.BURNED, OfferState.EXPIRED, OfferState.REPLACED])
async def test_a_closed_offer_is_not_consumed(database: Database, state: OfferState) -> None:
    """Even if the ceremony began while it was open."""
    await insert(database)
    async with database.write() as tx:
        await tx.codes.save_offer(replace(OFFER, state=state))
        assert not await tx.codes.consume_offer(replace(OFFER, state=OfferState.USED), ANSWER)
        assert await tx.codes.answer(ANSWER.sid) is None


async def test_a_confirmed_answer_is_remembered_without_its_bytes(database: Database) -> None:
    """A repeated acknowledge is recognised; the sealed answer is gone."""
    await insert(database)
    async with database.write() as tx:
        await tx.codes.consume_offer(replace(OFFER, state=OfferState.USED), ANSWER)
        assert await tx.codes.unconfirmed_answers() == [ANSWER]
        assert await tx.codes.unconfirmed_answers(START) == []
        assert await tx.codes.unconfirmed_answers(START + timedelta(seconds=1)) == [ANSWER]
        await tx.codes.confirm_answer(ANSWER.sid, START)
        assert await tx.codes.unconfirmed_answers() == []
        assert await tx.codes.answer(ANSWER.sid) == replace(ANSWER, finish_answer=None, is_confirmed=True)


async def test_a_dropped_answer_is_forgotten(database: Database) -> None:
    """The offer stays used."""
    await insert(database)
    async with database.write() as tx:
        await tx.codes.consume_offer(replace(OFFER, state=OfferState.USED), ANSWER)
        await tx.codes.drop_answer(ANSWER.sid)
        assert await tx.codes.answer(ANSWER.sid) is None
        assert await tx.codes.unconfirmed_answers() == []
        stored = await tx.codes.offer("o", "mesh")
    assert stored is not None
    assert stored.offer.state is OfferState.USED


async def test_housekeeping_removes_old_closed_offers_only(database: Database) -> None:
    """Neither an open one nor one whose acknowledge is awaited."""
    await insert(database)
    await insert(database, replace(OFFER, id="open"), b"e")
    await insert(database, replace(OFFER, id="awaited"), b"f")
    async with database.write() as tx:
        await tx.codes.save_offer(replace(OFFER, state=OfferState.EXPIRED))
        await tx.codes.consume_offer(
            replace(OFFER, id="awaited", state=OfferState.USED), replace(ANSWER, offer_id="awaited")
        )
        await tx.codes.delete_before(START)
        assert await tx.codes.offer("o", "mesh") is not None
        await tx.codes.delete_before(START + timedelta(seconds=1))
        kept = [await tx.codes.offer(name, "mesh") is not None for name in ("o", "open", "awaited")]
    assert kept == [False, True, True]


@pytest.mark.parametrize("before", [None, make_node(), make_node(public_key=None, tls_sha256=None, metadata={})])
async def test_a_pending_acknowledge_comes_back_with_the_row_before(database: Database, before: Any) -> None:
    """Binary columns of that row included."""
    ack, newer = (
        PendingAck(peer_id=OTHER_ID, sid=sid, jws="a.b.c", before=before, created_at=START)
        for sid in (b"\xff" * 16, bytes(16))
    )
    async with database.write() as tx:
        await tx.acks.put(ack)
        assert await tx.acks.get(OTHER_ID) == ack
        assert await tx.acks.get("x") is None
        await tx.acks.put(newer)
        assert await tx.acks.all() == [newer]
        await tx.acks.delete("x")
        await tx.acks.delete(OTHER_ID)
        assert await tx.acks.all() == []


@pytest.mark.parametrize(
    "lockout",
    [Lockout(), Lockout(failures=(START, START + timedelta(microseconds=1)), locks=3, locked_until=START)],
)
async def test_a_budget_comes_back(database: Database, lockout: Lockout) -> None:
    """A fresh one if nothing ever failed; budgets are kept apart."""
    async with database.write() as tx:
        assert await tx.attempts.get("b") == Lockout()
        await tx.attempts.put("b", Lockout(locks=9))
        await tx.attempts.put("b", lockout)
        assert await tx.attempts.get("b") == lockout
        assert await tx.attempts.get("c") == Lockout()


def entry(seconds: float = 0, **changes: Any) -> AuditEntry:
    at = START + timedelta(seconds=seconds)
    return AuditEntry(**{"at": at, "event": "pairing.bad_pin", "dialect": "mesh", "address": "192.0.2.7", **changes})


async def append(database: Database, *entries: AuditEntry) -> list[AuditEntry]:
    async with database.write() as tx:
        for each in entries:
            await tx.audit.append(each)
        return await tx.audit.latest(100)


async def test_audit_entries_come_back_newest_first(database: Database) -> None:
    """Whole, and as many as asked for."""
    full = entry(node_id="n", node_name="desk", detail="was revoked")
    first, second = msgspec.structs.replace(entry(), id=1), msgspec.structs.replace(full, id=2)
    assert await append(database, entry(), full) == [second, first]
    async with database.read() as tx:
        assert await tx.audit.latest(1) == [second]
        assert await tx.audit.latest(9, ["pairing.bad_pin"]) == [second, first]
        assert await tx.audit.latest(9, ["node.paired", "x"]) == []


async def test_repeated_failures_of_one_source_and_minute_are_one_row(database: Database) -> None:
    """Counted, not listed: a flood can't push the rest out."""
    rows = await append(database, *(entry(n / 100, is_failure=True) for n in range(600)))
    assert [(row.event, row.times) for row in rows] == [("pairing.bad_pin", 600)]


@pytest.mark.parametrize(
    "other",
    [
        entry(7, is_failure=True),  # the next minute begins at 9:27
        entry(is_failure=True, address="192.0.2.8"),
        entry(is_failure=True, address=None),
        entry(is_failure=True, event="pairing.attempt"),
        entry(is_failure=True, dialect="salita"),
        entry(is_failure=False),
    ],
)
async def test_other_failures_have_rows_of_their_own(database: Database, other: AuditEntry) -> None:
    """Another minute, source, event or dialect; successes are never folded."""
    rows = await append(database, entry(is_failure=True), other, other)
    assert rows[-1].times == 1
    assert sum(row.times for row in rows) == 3


async def test_failures_without_an_address_are_folded_too(database: Database) -> None:
    """NULL equals NULL here."""
    rows = await append(database, *[entry(is_failure=True, address=None)] * 3)
    assert [row.times for row in rows] == [3]


async def test_the_log_is_capped(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go."""
    monkeypatch.setattr(audit_log, "ROWS_MAX", 5)
    monkeypatch.setattr(audit_log, "TRIM_EVERY", 1)
    rows = await append(database, *(entry(n, event=f"event {n}") for n in range(12)))
    assert [row.event for row in rows] == [f"event {n}" for n in (11, 10, 9, 8, 7)]
