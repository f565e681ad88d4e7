"""A disk that refuses: what is refused then, and how the database comes back to itself."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from meshnode.store.database import Database
from tests.unit.samples import OTHER_ID, OTHER_KEY, make_node

OTHER = make_node(id=OTHER_ID, public_key=OTHER_KEY.public_key)


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process grows beyond a page; reading goes on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def store(database: Database) -> None:
    async with database.write() as tx:
        await tx.nodes.upsert(OTHER)


async def refusal(database: Database) -> MeshError:
    with pytest.raises(MeshError) as caught:
        await store(database)
    return caught.value


async def test_a_disk_that_refuses_is_told_and_so_is_its_return(database: Database, path: Path) -> None:
    """The first refusal and every later one say the same; nothing of them is stored."""
    told: list[str] = []
    database.on_trouble = lambda trouble: told.append(trouble.code)
    database.on_mended = lambda: told.append("mended")
    with no_room():
        first, second = await refusal(database), await refusal(database)
        async with database.read() as tx:
            assert await tx.nodes.get(OTHER_ID) is None
    assert {first.code, second.code} <= {"database_error", "disk_full"}
    assert "by itself" in first.detail
    database._mend_at = 0.0
    await store(database)
    assert told[0] == first.code
    assert told[-1] == "mended"
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM mesh_nodes WHERE id = ?", (OTHER_ID,)).fetchone() == (1,)
    connection.close()


async def test_a_read_under_way_outlives_the_mending(database: Database) -> None:
    """Its connection is closed when it ends."""
    with no_room():
        await refusal(database)
    database._mend_at = 0.0
    old = database._reader
    async with database.read() as tx:
        await store(database)
        assert database._reader is not old
        assert await tx.nodes.get(OTHER_ID) == OTHER
    assert old._connection is None
    async with database.read() as tx:
        assert await tx.nodes.get(OTHER_ID) == OTHER


async def test_a_trouble_is_looked_into_at_most_twice_a_second(database: Database) -> None:
    """Refusing must be cheap, however many ask."""
    with no_room():
        await refusal(database)
        database._mend_at = 0.0
        await refusal(database)
    writer = database._writer
    await refusal(database)  # there is room again, but it is too soon
    assert database._writer is writer


async def test_a_write_cancelled_while_mending_leaves_a_usable_database(database: Database) -> None:
    """At every moment of it."""
    for steps in range(40):
        database._begin_trouble(MeshError("database_error", "x"))
        database._mend_at = 0.0
        task = asyncio.ensure_future(store(database))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        database._mend_at = 0.0
        await store(database)
        async with database.read() as tx:
            assert await tx.nodes.get(OTHER_ID) == OTHER
