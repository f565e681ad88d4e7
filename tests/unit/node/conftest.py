"""A node without sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.thin_core import ThinCore


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[ThinCore]:
    core = await ThinCore(tmp_path / "data").start()
    yield core
    await core.stop()
