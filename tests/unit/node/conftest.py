"""A node without sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.bare_node import BareNode


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[BareNode]:
    core = await BareNode(tmp_path / "data").start()
    yield core
    await core.stop()
