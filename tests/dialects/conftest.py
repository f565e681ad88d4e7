"""Fixtures of the dialect tests: a node in this process, real node processes, and a driver for each way to pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.conformance import Driver
from tests.dialects.drivers import ROWS
from tests.dialects.salita_phone import Phone
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Nodes, running_nodes


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalNode]:
    """A node in this process, whose clock can be stepped."""
    node = LocalNode(tmp_path / "host")
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture
def node(host: LocalNode) -> LocalNode:
    """The same, for tests that know no other."""
    return host


@pytest.fixture
def phone(node: LocalNode) -> Phone:
    """A phone that has paired with `node`."""
    return Phone(node).pair()


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Callable[..., LocalNode]]:
    """Starts nodes in this process with any settings; all end with the test."""
    made: list[LocalNode] = []

    def start(**flags: Any) -> LocalNode:
        made.append(LocalNode(tmp_path / f"host{len(made)}", **flags))
        return made[-1].start()

    try:
        yield start
    finally:
        for node in made:
            node.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    """Starts real node processes; all end with the test."""
    with running_nodes(tmp_path) as made:
        yield made


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> type[Driver]:
    """Every way to pair, one after the other."""
    way: type[Driver] = request.param
    return way


@pytest.fixture
def driver(row: type[Driver], host: LocalNode) -> Driver:
    """Every way to pair, at a fresh node."""
    return row(host)
