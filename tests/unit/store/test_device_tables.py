"""The tables of thin clients: codes and requests, tokens, what was left for the makers of codes."""

import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import Offer, OfferState
from meshnode.node.tables import StoredCode, StoredToken, TrustRelationship
from meshnode.store.database import Database
from tests.fakes.clock import START
from tests.unit.samples import make_node

MINUTE = timedelta(minutes=1)
CODE = DeviceCode(
    id="c", dialect="mylzip", kind="offer", format="short", created_at=START, expires_at=START + 5 * MINUTE,
    attempts=2, device_id="maker", details={"type": "grün", "n": [1, None]},
)  # fmt: skip
REQUEST = replace(CODE, id="r", dialect="aisopod", kind="request", format="legacy", device_id="asker")
TOKEN = StoredToken(digest=b"t" * 32, node_id="phone", kind="device", listener="public", created_at=START)
SESSION = StoredToken(
    digest=b"s" * 32, node_id="phone", kind="session", listener="plain", created_at=START + MINUTE,
    expires_at=START + 60 * MINUTE, replaces=b"t" * 32,
)  # fmt: skip


async def insert_code(database: Database, code: DeviceCode = CODE, digest: bytes = b"d") -> None:
    async with database.write() as tx:
        await tx.device_codes.insert(code, digest, b"sealed")


async def insert_tokens(database: Database, *tokens: StoredToken) -> None:
    async with database.write() as tx:
        for node_id in ("phone", "tablet"):
            await tx.nodes.upsert(make_node(id=node_id, public_key=None))
        for token in tokens:
            await tx.tokens.insert(token)


async def rows(database: Database, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await database._reader.execute_fetchall(sql)]


# ── pairing_codes ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_code_comes_back_as_it_went(database: Database) -> None:
    """By id, by digest within its dialect, among the open ones."""
    await insert_code(database)
    await insert_code(database, REQUEST, b"e")
    async with database.read() as tx:
        assert await tx.device_codes.get("c") == StoredCode(CODE, b"d", b"sealed")
        assert await tx.device_codes.by_digest("mylzip", b"d") == StoredCode(CODE, b"d", b"sealed")
        assert await tx.device_codes.by_digest("salita", b"d") is None
        assert await tx.device_codes.by_digest("mylzip", b"e") is None
        assert await tx.device_codes.get("x") is None
        assert [s.code for s in await tx.device_codes.open()] == [CODE, REQUEST]
        assert [s.code for s in await tx.device_codes.open("aisopod")] == [REQUEST]
        assert [s.code for s in await tx.device_codes.open(kind="offer")] == [CODE]
        assert await tx.device_codes.open("mylzip", "request") == []


async def test_mesh_offers_are_no_codes_of_devices(database: Database) -> None:
    """They share the table, and are pairing_codes' own."""
    offer = Offer(id="o", created_at=START, expires_at=START + MINUTE)
    async with database.write() as tx:
        await tx.codes.insert_offer(offer, "mesh", b"d", b"sealed pin")
    async with database.read() as tx:
        assert await tx.device_codes.get("o") is None
        assert await tx.device_codes.by_digest("mesh", b"d") is None
        assert await tx.device_codes.open() == []
        assert await tx.device_codes.open("mesh") == []


async def test_saving_keeps_the_secrets_of_an_open_code(database: Database) -> None:
    """Attempts and approval change."""
    await insert_code(database, REQUEST)
    changed = replace(REQUEST, attempts=1, approved_at=START + MINUTE)
    async with database.write() as tx:
        await tx.device_codes.save(changed)
    async with database.read() as tx:
        assert await tx.device_codes.get("r") == StoredCode(changed, b"d", b"sealed")


@pytest.mark.parametrize("state", [state for state in OfferState if state is not OfferState.OPEN])
async def test_closing_a_code_wipes_its_secrets(database: Database, state: OfferState) -> None:
    """And its digest may be used again."""
    await insert_code(database)
    async with database.write() as tx:
        await tx.device_codes.save(replace(CODE, state=state))
        assert await tx.device_codes.open() == []
        assert not await tx.device_codes.consume(CODE)
    await insert_code(database, replace(CODE, id="c2"))
    async with database.read() as tx:
        assert await tx.device_codes.get("c") == StoredCode(replace(CODE, state=state), None, None)


async def test_a_code_is_consumed_once(database: Database) -> None:
    """Its secrets are wiped with that."""
    await insert_code(database)
    async with database.write() as tx:
        assert await tx.device_codes.consume(CODE)
        assert not await tx.device_codes.consume(CODE)
        stored = await tx.device_codes.get("c")
    assert stored == StoredCode(replace(CODE, state=OfferState.USED), None, None)


async def test_two_open_codes_cannot_be_the_same(database: Database) -> None:
    """The table refuses the second; nothing of it stays."""
    await insert_code(database)
    with pytest.raises(MeshError) as refused:
        await insert_code(database, replace(CODE, id="c2"))
    assert refused.value.code == "database_error"
    assert await rows(database, "SELECT id FROM pairing_codes") == [("c",)]


async def test_housekeeping_leaves_open_codes(database: Database) -> None:
    """However old."""
    await insert_code(database)
    await insert_code(database, REQUEST, b"e")
    async with database.write() as tx:
        await tx.device_codes.save(replace(REQUEST, state=OfferState.CANCELLED))
        await tx.codes.delete_before(START + timedelta(days=1))
    assert await rows(database, "SELECT id FROM pairing_codes") == [("c",)]


# ── device_tokens ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tokens_come_back_while_they_count(database: Database) -> None:
    """Oldest first."""
    await insert_tokens(database, SESSION, TOKEN)
    async with database.read() as tx:
        assert await tx.tokens.live(START + 59 * MINUTE) == [TOKEN, SESSION]
        assert await tx.tokens.live(START + 60 * MINUTE) == [TOKEN]


async def test_uses_are_written(database: Database) -> None:
    """A session's end with it; no end takes none away."""
    await insert_tokens(database, SESSION, TOKEN)
    at, ends = START + 2 * MINUTE, START + 62 * MINUTE
    async with database.write() as tx:
        await tx.tokens.used([(TOKEN.digest, at, None), (SESSION.digest, at, ends)])
        await tx.tokens.used([(SESSION.digest, at + MINUTE, None), (b"x" * 32, at, ends)])
    async with database.read() as tx:
        assert await tx.tokens.live(at) == [
            replace(TOKEN, last_used_at=at),
            replace(SESSION, last_used_at=at + MINUTE, expires_at=ends),
        ]


async def test_tokens_end_one_by_one_by_node_and_all(database: Database) -> None:
    """A revoked one is not revoked again, and a use brings none back."""
    other = replace(TOKEN, digest=b"o" * 32, node_id="tablet")
    third = replace(TOKEN, digest=b"3" * 32, node_id="tablet")
    await insert_tokens(database, TOKEN, SESSION, other, third)
    async with database.write() as tx:
        await tx.tokens.revoke([third.digest, b"x" * 32], START + MINUTE)
        await tx.tokens.revoke_all("phone", START + 2 * MINUTE)
        assert await tx.tokens.live(START) == [other]
        await tx.tokens.used([(TOKEN.digest, START, START + 99 * MINUTE)])
        assert await tx.tokens.live(START) == [other]
        await tx.tokens.revoke_every(START + 3 * MINUTE)
        assert await tx.tokens.live(START) == []
    ended = await rows(database, "SELECT substr(revoked_at, 15, 2) FROM device_tokens ORDER BY revoked_at")
    assert ended == [("27",), ("28",), ("28",), ("29",)]


async def test_an_end_can_be_set(database: Database) -> None:
    """For a token that is replaced."""
    await insert_tokens(database, TOKEN)
    async with database.write() as tx:
        await tx.tokens.expire_at(TOKEN.digest, START + MINUTE)
        assert await tx.tokens.live(START + MINUTE) == []
        assert await tx.tokens.live(START) == [replace(TOKEN, expires_at=START + MINUTE)]


async def test_dead_tokens_are_cleared_away(database: Database) -> None:
    """The node's own, revoked or expired; none that counts."""
    other = replace(SESSION, digest=b"o" * 32, node_id="tablet")
    dead = replace(TOKEN, digest=b"3" * 32)
    await insert_tokens(database, TOKEN, SESSION, other, dead)
    async with database.write() as tx:
        await tx.tokens.revoke([dead.digest], START)
        await tx.tokens.delete_dead("phone", START + 60 * MINUTE)
    left = await rows(database, "SELECT digest FROM device_tokens ORDER BY digest")
    assert left == [(other.digest,), (TOKEN.digest,)]


async def test_tokens_go_with_their_node(database: Database) -> None:
    """And none is made for a stranger."""
    await insert_tokens(database, TOKEN, replace(TOKEN, digest=b"o" * 32, node_id="tablet"))
    async with database.write() as tx:
        await tx.nodes.delete("phone")
    assert await rows(database, "SELECT node_id FROM device_tokens") == [("tablet",)]
    with pytest.raises(MeshError):
        await insert_tokens(database, replace(TOKEN, digest=b"4" * 32, node_id="stranger"))


@pytest.mark.parametrize(
    "changes", [{"digest": b"short"}, {"kind": "owner"}, {"listener": "control"}, {"replaces": b"short"}]
)
async def test_the_table_refuses_what_makes_no_sense(database: Database, changes: dict[str, Any]) -> None:
    """A digest of another length, an owner's token, the control listener."""
    with pytest.raises(MeshError) as refused:
        await insert_tokens(database, replace(TOKEN, **changes))
    assert isinstance(refused.value.__cause__, sqlite3.IntegrityError)


async def test_nothing_secret_shows_in_a_repr(database: Database) -> None:
    """Neither digests nor seals: they end up in tracebacks."""
    await insert_code(database)
    async with database.read() as tx:
        stored = await tx.device_codes.get("c")
    assert "sealed" not in repr(stored)
    assert "ttt" not in repr(TOKEN) + repr(SESSION)


# ── trust_relationships ────────────────────────────────────────────────────────────────────────────────────────────


async def test_trust_data_is_for_its_maker_while_the_device_is_paired(database: Database) -> None:
    """Newest first, a device's latest alone; byte for byte."""
    left = [
        TrustRelationship(
            id=str(i), maker_id="maker", device_id=device, trust_level=1, trust_data="ü\x00" * 9,
            created_at=START + i * MINUTE,
        )
        for i, device in enumerate(("phone", "tablet", "phone"))
    ]  # fmt: skip
    await insert_tokens(database)
    async with database.write() as tx:
        for relationship in left:
            await tx.trust.insert(relationship)
        await tx.trust.insert(replace(left[0], id="other", maker_id="somebody else"))
        assert await tx.trust.of_maker("maker") == left[:0:-1]
        assert await tx.trust.of_maker("stranger") == []
        await tx.nodes.upsert(make_node(id="phone", public_key=None, trust="revoked"))
        assert await tx.trust.of_maker("maker") == [left[1]]
        await tx.nodes.delete("tablet")
        assert await tx.trust.of_maker("maker") == []
    assert "ü" not in repr(left)
