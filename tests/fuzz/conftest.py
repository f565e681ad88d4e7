"""Fixtures of the fuzzers: how much is tried, and a real node process with something to lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.nodes import running_nodes
from tests.fuzz.target import MIB, Target

HERE = Path(__file__).parent
LONG = 20  # times as much with --long
TEST_S, LONG_TEST_S = 120, 3600  # for one test
# What memory may grow by after the warm-up. In a long run the database's caches fill, 2 MiB a connection, and what is
# remembered on purpose: codes that are over, events, limits.
GROWTH_MAX, LONG_GROWTH_MAX = 2 * MIB, 8 * MIB
SETTINGS = {  # limits that would hide what lies behind them
    "MESHNODE_PAIRING_CODE_RATE_LIMIT": "100000",
    "MESHNODE_PAIRING_ATTEMPT_RATE_LIMIT": "100000",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(LONG_TEST_S if config.getoption("--long") else TEST_S))


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> int:
    """How many times as much is tried as in a short run, which is the same every time."""
    return LONG if request.config.getoption("--long") else 1


@pytest.fixture
def target(tmp_path: Path, effort: int) -> Iterator[Target]:
    """A running node whose tables are worth guarding."""
    with running_nodes(tmp_path) as nodes:
        yield Target(nodes.start(**SETTINGS), GROWTH_MAX if effort == 1 else LONG_GROWTH_MAX)
