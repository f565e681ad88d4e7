"""The guarded writer: one transaction at a time, whole or not at all."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from meshnode.store.database import Database, Transaction
from tests.unit.samples import OTHER_ID, OTHER_KEY, make_node

OTHER = make_node(id=OTHER_ID, public_key=OTHER_KEY.public_key)


def stored(path: Path) -> list[str]:
    """As a stranger with plain sqlite3 sees it."""
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT id FROM mesh_nodes ORDER BY id")]
    finally:
        connection.close()


async def pragma(database: Database, name: str) -> object:
    rows = list(await database._writer.execute_fetchall(f"PRAGMA {name}"))
    return rows[0][0]


async def test_what_is_written_is_committed_when_the_block_ends(database: Database, path: Path) -> None:
    """Not before; and our own reader sees it then."""
    async with database.write() as tx:
        await tx.nodes.upsert(OTHER)
        assert stored(path) == []
        async with database.read() as reading:
            assert await reading.nodes.get(OTHER_ID) is None
    assert stored(path) == [OTHER_ID]
    async with database.read() as reading:
        assert await reading.nodes.get(OTHER_ID) == OTHER


async def test_an_error_in_the_block_rolls_back_and_the_next_write_works(database: Database, path: Path) -> None:
    """Whatever the error."""

    async def fail() -> None:
        async with database.write() as tx:
            await tx.nodes.upsert(OTHER)
            raise KeyError("x")

    with pytest.raises(KeyError):
        await fail()
    assert stored(path) == []
    assert not database._writer.in_transaction
    async with database.write() as tx:
        await tx.nodes.upsert(OTHER)
    assert stored(path) == [OTHER_ID]


async def test_a_refused_statement_is_a_database_error(database: Database, path: Path) -> None:
    """A constraint, and nothing of the transaction remains."""

    async def twice_the_same_key() -> None:
        async with database.write() as tx:
            await tx.nodes.upsert(OTHER)
            await tx.nodes.upsert(make_node(public_key=OTHER.public_key))

    with pytest.raises(MeshError) as caught:
        await twice_the_same_key()
    assert caught.value.code == "database_error"
    assert stored(path) == []
    async with database.write() as tx:
        await tx.nodes.upsert(OTHER)
    assert stored(path) == [OTHER_ID]


async def test_a_cancelled_write_leaves_no_open_transaction(database: Database, path: Path) -> None:
    """Cancelled inside the block, after its first statement."""
    begun = asyncio.Event()

    async def write() -> None:
        async with database.write() as tx:
            await tx.nodes.upsert(OTHER)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not database._writer.in_transaction
    assert stored(path) == []
    async with database.write() as tx:
        await tx.nodes.upsert(make_node())
    assert stored(path) == [make_node().id]


@pytest.mark.parametrize("durable", [True, False])
async def test_cancellation_at_any_turn_of_the_loop_is_clean(database: Database, path: Path, durable: bool) -> None:
    """Before BEGIN, amid it, in the block, amid COMMIT: either all of it is stored or nothing, and writing goes on."""

    async def write() -> None:
        async with database.write(durable=durable) as tx:
            await tx.nodes.upsert(OTHER)
            await tx.nodes.upsert(make_node())

    for turns in range(40):
        task = asyncio.create_task(write())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.write() as tx:
            assert len(await tx.nodes.all()) in (0, 2)
            await tx.nodes.delete(OTHER_ID)
            await tx.nodes.delete(make_node().id)
            assert await pragma(database, "synchronous") == 2  # what is written durably is durable
        assert not database._writer.in_transaction
    assert stored(path) == []


async def test_two_tasks_write_one_after_the_other(database: Database) -> None:
    """A second transaction begins only when the first has ended."""
    order: list[str] = []
    may_end = asyncio.Event()

    async def first() -> None:
        async with database.write() as tx:
            order.append("first begins")
            await may_end.wait()
            await tx.nodes.upsert(OTHER)
            order.append("first ends")

    async def second() -> None:
        async with database.write() as tx:
            order.append("second begins")
            assert await tx.nodes.get(OTHER_ID) is not None

    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    while order != ["first begins"]:
        await asyncio.sleep(0)
    async with database.read() as tx:  # a reader is not held up
        assert await tx.nodes.all() == []
    may_end.set()
    await asyncio.gather(*tasks)
    assert order == ["first begins", "first ends", "second begins"]


async def test_many_increments_lose_none(database: Database) -> None:
    """Read, change, write in one transaction: fifty tasks count to fifty."""
    async with database.write() as tx:
        await tx.nodes.upsert(make_node(sequence=0))

    async def increment() -> None:
        async with database.write(durable=False) as tx:
            node = await tx.nodes.get(make_node().id)
            assert node is not None
            await asyncio.sleep(0)
            await tx.nodes.upsert(make_node(sequence=node.sequence + 1))

    await asyncio.gather(*(increment() for _ in range(50)))
    async with database.read() as tx:
        node = await tx.nodes.get(make_node().id)
    assert node is not None
    assert node.sequence == 50


async def test_commits_are_durable_unless_said_otherwise(database: Database) -> None:
    """FULL while a pairing is written, NORMAL while heartbeats are, FULL again after, after a failure too."""

    async def inside(durable: bool) -> object:
        async with database.write(durable=durable):
            return await pragma(database, "synchronous")

    async def fail() -> None:
        async with database.write(durable=False):
            raise KeyError("x")

    assert await inside(True) == 2
    assert await inside(False) == 1
    assert await inside(True) == 2
    with pytest.raises(KeyError):
        await fail()
    assert await inside(True) == 2


async def test_a_task_cancelled_twice_does_not_undo_the_next_write(database: Database, path: Path) -> None:
    """Its rollback is over before the next transaction begins."""

    async def write() -> None:
        async with database.write() as tx:
            await tx.nodes.upsert(OTHER)
            await asyncio.Event().wait()

    for turns in range(20):
        task = asyncio.create_task(write())
        while not database._writer.in_transaction:
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        async with database.write() as tx:
            await tx.nodes.upsert(make_node(sequence=turns))
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        async with database.read() as tx:
            assert [node.sequence for node in await tx.nodes.all()] == [turns]
    assert stored(path) == [make_node().id]


async def test_the_database_is_opened_as_designed(database: Database) -> None:
    """WAL, foreign keys, a busy timeout; the reader cannot write."""
    assert await pragma(database, "journal_mode") == "wal"
    assert await pragma(database, "foreign_keys") == 1
    assert await pragma(database, "busy_timeout") == 5000

    async def write_by_reader() -> None:
        async with database.read() as tx:
            await tx.nodes.upsert(OTHER)

    with pytest.raises(MeshError) as caught:
        await write_by_reader()
    assert caught.value.code == "database_error"


async def test_closing_waits_for_the_write_under_way(path: Path, database: Database) -> None:
    """What was begun is committed."""
    other = await Database.open(path)
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def write(tx: Transaction) -> None:
        begun.set()
        await may_end.wait()
        await tx.nodes.upsert(OTHER)

    async def whole() -> None:
        async with other.write() as tx:
            await write(tx)

    writing = asyncio.create_task(whole())
    await begun.wait()
    closing = asyncio.create_task(other.close())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closing.done()
    may_end.set()
    await asyncio.gather(writing, closing)
    assert stored(path) == [OTHER_ID]
