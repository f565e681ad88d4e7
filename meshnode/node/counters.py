"""What happened how often, as plain numbers; /metrics turns them into text when it is asked."""

from __future__ import annotations

from collections import Counter
from typing import Final

DURATION_BOUNDS_S: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Counters:
    """Counts since the start."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str, str]] = Counter()  # dialect, format, "paired" or the error's code
        self.codes_made: Counter[tuple[str, str]] = Counter()  # dialect, format
        self.limit_hits: Counter[tuple[str, str]] = Counter()  # dialect, which limit
        self.sweeps: Counter[str] = Counter()  # dialect
        self.durations: dict[str, list[int]] = {}  # dialect → pairings by bound, the last beyond all
        self.duration_sums_s: Counter[str] = Counter()

    def limited(self, dialect: str, limit: str) -> None:
        """A call was refused by a limit."""
        self.limit_hits[dialect, limit] += 1

    def paired(self, dialect: str, code_format: str, took_s: float) -> None:
        """A device or peer has paired, `took_s` after its code was made."""
        self.outcomes[dialect, code_format, "paired"] += 1
        buckets = self.durations.setdefault(dialect, [0] * (len(DURATION_BOUNDS_S) + 1))
        buckets[next((i for i, bound in enumerate(DURATION_BOUNDS_S) if took_s <= bound), -1)] += 1
        self.duration_sums_s[dialect] += took_s  # type: ignore[assignment]  # a Counter adds floats as well
