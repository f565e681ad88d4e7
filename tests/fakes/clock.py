"""Time and randomness that a test holds in its hand: `Clock` and `Entropy` of `meshnode.node.ports`."""

import random
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is moved; wall time can jump alone, as real ones do."""

    def __init__(self, start: datetime = START, monotonic: float = 1000.0) -> None:
        self._now = start
        self._monotonic = monotonic
        self._slept_s = 0.0

    def now(self) -> datetime:
        """Wall time, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return self._monotonic

    def boot_s(self) -> float:
        """As `monotonic`, with the sleep."""
        return self._monotonic + self._slept_s

    def advance(self, seconds: float) -> None:
        """Let time pass, for both."""
        if seconds < 0:
            raise ValueError("time does not run backwards; use jump")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds

    def sleep(self, seconds: float) -> None:
        """Suspend the machine: monotonic time stands still."""
        self._now += timedelta(seconds=seconds)
        self._slept_s += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; monotonic time doesn't notice."""
        self._now += timedelta(seconds=seconds)


class SeededEntropy:
    """The same bytes in every run of one seed. Never for a real node."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def draw(self, size_bytes: int) -> bytes:
        """That many bytes."""
        return self._random.randbytes(size_bytes)

    def fraction(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()
