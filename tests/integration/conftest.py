"""Fixtures: real node processes, and nodes within this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.host import BROKEN, PIN, RawHost
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Nodes, running_nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Starts real node processes; all end with the test."""
    with running_nodes(tmp_path) as made:
        yield made


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalNode]:
    """A node in this process, whose clock can be stepped."""
    node = LocalNode(tmp_path / "host")
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture
def beating(tmp_path: Path) -> Iterator[LocalNode]:
    """A node that sends heartbeats."""
    node = LocalNode(tmp_path / "beating", is_beating=True)
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[RawHost]:
    """A raw host that shows PIN, and opens no sessions."""
    with RawHost(tmp_path, PIN) as made:
        made.deviate["nonce"] = lambda _: BROKEN
        yield made
