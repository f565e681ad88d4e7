"""A measured row: values of some rounds beside the baseline's of the same rounds, and what they are judged by."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A limit that a ratio (or, without a baseline, a value) must keep."""

    limit: float
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"

    def holds(self, measured: float) -> bool:
        return measured >= self.limit if self.at_least else measured <= self.limit


@dataclass(frozen=True)
class Spread:
    """Median and range."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass
class Row:
    """One line of the table. `baseline` is None where none was measured; then `goal` is about the value itself
    if `judge_value`, else nothing is judged."""

    name: str
    what: str
    unit: str
    goal: Goal
    against: str
    values: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)
    judge_value: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # why the measurement doesn't count

    @property
    def ratios(self) -> list[float]:
        """Value to baseline, each within its round."""
        if len(self.values) != len(self.baseline):
            return []
        return [value / base for value, base in zip(self.values, self.baseline, strict=True)]

    @property
    def verdict(self) -> str:
        if self.problems:
            return "invalid"
        judged = self.values if self.judge_value else self.ratios
        if not judged:
            return "not measured"
        return "met" if self.goal.holds(statistics.median(judged)) else "MISSED"

    def to_json(self) -> dict[str, Any]:
        def spread(values: Sequence[float]) -> Any:
            return {**vars(Spread.of(values)), "rounds": list(values)} if values else None

        return {
            "row": self.name,
            "what": self.what,
            "unit": self.unit,
            "value": spread(self.values),
            "against": self.against,
            "baseline": spread(self.baseline),
            "ratio": spread(self.ratios),
            "target": {"limit": self.goal.limit, "at_least": self.goal.at_least},
            "verdict": self.verdict,
            "notes": self.notes,
            "problems": self.problems,
        }
