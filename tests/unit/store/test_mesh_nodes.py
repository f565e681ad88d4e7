"""Table mesh_nodes."""

import sqlite3
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.peer import MeshNode
from meshnode.node.tables import Beat
from meshnode.store.database import Database
from meshnode.store.mesh_nodes import COLUMNS
from tests.fakes.clock import START
from tests.unit.samples import ID, OTHER_ID, OTHER_KEY, make_node

OTHER = make_node(id=OTHER_ID, public_key=OTHER_KEY.public_key)
BARE = MeshNode(id="x", name="x", hostname="", port=0, status="offline", trust="announced", created_at=START)


async def put(database: Database, *nodes: MeshNode) -> None:
    async with database.write() as tx:
        for node in nodes:
            await tx.nodes.upsert(node)


async def everything(database: Database) -> list[MeshNode]:
    async with database.read() as tx:
        return await tx.nodes.all()


def test_every_field_has_its_column() -> None:
    """And there is none besides."""
    assert {field.name for field in fields(MeshNode)} == set(COLUMNS)


@pytest.mark.parametrize("node", [make_node(), BARE], ids=["full", "bare"])
async def test_a_node_comes_back_as_it_was(database: Database, node: MeshNode) -> None:
    """By id, by key, in the list."""
    await put(database, node)
    async with database.read() as tx:
        assert await tx.nodes.get(node.id) == node
        assert await tx.nodes.all() == [node]
        if node.public_key is not None:
            assert await tx.nodes.by_key(node.public_key) == node


async def test_unknown_ids_and_keys_are_none(database: Database) -> None:
    """Keyless rows are not found by an empty key."""
    await put(database, BARE)
    async with database.read() as tx:
        assert await tx.nodes.get("nobody") is None
        assert await tx.nodes.by_key(bytes(32)) is None
        assert await tx.nodes.by_key(b"") is None


async def test_an_upsert_replaces_every_column(database: Database) -> None:
    """To and from NULL."""
    await put(database, make_node(), replace(BARE, id=ID), make_node())
    assert await everything(database) == [make_node()]


async def test_we_come_first_then_in_order_of_arrival(database: Database) -> None:
    """The list of a person's nodes is stable."""
    late = replace(BARE, id="late", created_at=START + timedelta(days=1))
    own = replace(BARE, id="own", is_current=True, trust="self", created_at=START + timedelta(days=2))
    await put(database, late, own, OTHER)
    assert [node.id for node in await everything(database)] == ["own", OTHER_ID, "late"]


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": OTHER_KEY.public_key},  # taken
        {"public_key": bytes(31)},
        {"tls_sha256": bytes(33)},
        {"port": 65536},
        {"port": -1},
        {"status": "asleep"},
        {"trust": "friend"},
        {"trust_level": 4},
        {"kind": "toaster"},
        {"status_reason": "bored"},
        {"is_current": True},  # there is one already
    ],
)
async def test_the_table_refuses_what_cannot_be(database: Database, changes: dict[str, Any]) -> None:
    """The last line of defence, and the rows before stay."""
    own = replace(BARE, id="own", is_current=True)
    await put(database, OTHER, own)
    with pytest.raises(MeshError) as caught:
        await put(database, make_node(**changes))
    assert caught.value.code == "database_error"
    assert {node.id for node in await everything(database)} == {OTHER_ID, "own"}


async def test_a_row_is_deleted_but_never_our_own(database: Database) -> None:
    """Nobody forgets himself."""
    await put(database, OTHER, replace(BARE, id="own", is_current=True))
    async with database.write() as tx:
        await tx.nodes.delete(OTHER_ID)
        await tx.nodes.delete("own")
    assert [node.id for node in await everything(database)] == ["own"]


async def test_a_former_own_row_is_dropped(database: Database) -> None:
    """And no other."""
    await put(database, OTHER, replace(BARE, id="former", is_current=True))
    async with database.write() as tx:
        await tx.nodes.drop_other_selves("former")
        assert len(await tx.nodes.all()) == 2
        await tx.nodes.drop_other_selves("own")
    assert [node.id for node in await everything(database)] == [OTHER_ID]


def beat(node_id: str) -> Beat:
    return Beat(node_id, "stale", None, START + timedelta(hours=1), 1_800_000_000, 77, "192.0.2.99", 7999)


async def test_a_beat_changes_liveness_and_nothing_else(database: Database) -> None:
    """The eight columns of the flush."""
    await put(database, OTHER)
    async with database.write(durable=False) as tx:
        await tx.nodes.flush([beat(OTHER_ID)])
    assert await everything(database) == [
        replace(
            OTHER,
            status="stale",
            status_reason=None,
            last_seen=START + timedelta(hours=1),
            epoch=1_800_000_000,
            sequence=77,
            hostname="192.0.2.99",
            port=7999,
        )
    ]


async def test_a_beat_never_makes_a_row(database: Database) -> None:
    """A forgotten node stays forgotten."""
    async with database.write(durable=False) as tx:
        await tx.nodes.flush([beat("nobody"), beat(OTHER_ID)])
        await tx.nodes.flush([])
    assert await everything(database) == []


@pytest.mark.parametrize("trust", ["self", "unconfirmed", "announced", "revoked"])
async def test_a_beat_never_touches_a_row_that_is_not_paired(database: Database, trust: Any) -> None:
    """A revoked node is not revived by what it last said."""
    node = replace(OTHER, trust=trust)
    await put(database, node)
    async with database.write(durable=False) as tx:
        await tx.nodes.flush([beat(OTHER_ID)])
    assert await everything(database) == [node]


async def test_the_file_is_readable_with_plain_sqlite3(database: Database, path: Path) -> None:
    """Times as RFC 3339, JSON as JSON, keys as blobs."""
    await put(database, make_node())
    connection = sqlite3.connect(path)
    row = connection.execute(
        "SELECT last_seen, json_extract(capabilities, '$[0].name'), length(public_key), "
        "json_extract(metadata, '$.colour'), is_current FROM mesh_nodes"
    ).fetchone()
    connection.close()
    assert row == ("2026-03-14T09:26:53.589793Z", "notify", 32, "grün", 0)
