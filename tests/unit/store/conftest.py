"""An open, migrated database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshnode.store.database import Database
from meshnode.store.migrate import migrate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meshnode.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    migrate(path)
    database = await Database.open(path)
    yield database
    await database.close()
