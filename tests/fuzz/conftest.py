"""Fixtures of the fuzzers: how much is tried, and a real node process with something to lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.nodes import running_nodes
from tests.fuzz.target import Target

LONG = 50  # times as much with --long
SETTINGS = {  # limits that would hide what lies behind them
    "MESHNODE_PAIRING_CODE_RATE_LIMIT": "100000",
    "MESHNODE_PAIRING_ATTEMPT_RATE_LIMIT": "100000",
}


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> int:
    """How many times as much is tried as in a short run, which is the same every time."""
    return LONG if request.config.getoption("--long") else 1


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """A running node whose tables are worth guarding."""
    with running_nodes(tmp_path) as nodes:
        yield Target(nodes.start(**SETTINGS))
