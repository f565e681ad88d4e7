"""Time that jumps to the next timer when nobody has anything to do: hours of whole nodes in minutes.

An event loop whose time is simulated, and the clock that nodes on it are given. Sockets and disks are real, and time
stands still while one of them has work. Timers fire on whole seconds only, together: between two seconds nothing that
a node does would be another thing, and fifty nodes would not be slower by a wake-up each.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiosqlite
import pytest

START = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
GRID_S = 1.0
PATIENCE_S = 0.05  # of real time, between looks while time stands still

T = TypeVar("T")


class SimulatedTime:
    """`Clock` of `meshnode.node.ports`; every clock of every node."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._holds = 0

    def now(self) -> datetime:
        """Wall time, UTC."""
        return START + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return 1000.0 + self.passed_s

    def boot_s(self) -> float:
        """Nobody sleeps."""
        return self.monotonic()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Time stands still meanwhile."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    @property
    def is_held(self) -> bool:
        """Whether somebody works who can't be seen by the selector."""
        return self._holds > 0

    def pass_to(self, monotonic: float) -> None:
        """Jump to the first whole second from there on."""
        seconds = math.ceil(monotonic / GRID_S) * GRID_S - 1000.0
        self.passed_s = max(self.passed_s, seconds)


class _JumpingSelector(selectors.DefaultSelector):
    """Looks, and lets time pass instead of waiting."""

    def __init__(self, time: SimulatedTime) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors`."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._time.is_held or timeout is None:  # a thread's answer wakes it
            return super().select(PATIENCE_S)
        self._time.pass_to(self._time.monotonic() + timeout)
        return []


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, time: SimulatedTime) -> None:
        super().__init__(_JumpingSelector(time))
        self._simulated = time

    def time(self) -> float:
        return self._simulated.monotonic()


def run_simulated(work: Callable[[SimulatedTime], Coroutine[Any, Any, T]], monkeypatch: pytest.MonkeyPatch) -> T:
    """Run a coroutine to its end in simulated time, which the databases' threads hold while they work."""
    time = SimulatedTime()
    execute = aiosqlite.Connection._execute

    async def held(self: aiosqlite.Connection, *arguments: Any, **keywords: Any) -> Any:
        with time.held():
            return await execute(self, *arguments, **keywords)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", held)
    with asyncio.Runner(loop_factory=lambda: _SimulatedLoop(time)) as runner:
        return runner.run(work(time))
