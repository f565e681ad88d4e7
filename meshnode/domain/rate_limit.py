"""How often is too often: GCRA, as one pure step. Source: ITU-T I.371 (generic cell rate algorithm)."""

from __future__ import annotations

import msgspec


class Rate(msgspec.Struct, frozen=True):
    """`count` per `period_s`, of which `burst` may come at once."""

    count: int
    period_s: float
    burst: int

    @property
    def spacing_s(self) -> float:
        """The long-run distance between two allowed events."""
        return self.period_s / self.count


def next_arrival(rate: Rate, arrival: float | None, now: float) -> tuple[float, float]:
    """(theoretical arrival to remember, seconds to wait): wait 0 = allowed, else refused and nothing changes."""
    due = max(arrival if arrival is not None else now, now)
    wait = due - now - rate.spacing_s * (rate.burst - 1)
    if wait > 1e-9:
        return due, wait
    return due + rate.spacing_s, 0.0


class RateLimiter:
    """A rate per key. Blocked keys are never forgotten; when full of live keys, unknown ones are refused."""

    def __init__(self, rate: Rate, capacity: int = 4096) -> None:
        self._rate = rate
        self._capacity = capacity
        self._arrivals: dict[str, float] = {}

    def wait_s(self, key: str, now: float) -> float:
        """0 and the event counted, or the seconds to wait."""
        known = self._arrivals.get(key)
        if known is None and len(self._arrivals) >= self._capacity:
            self._arrivals = {k: due for k, due in self._arrivals.items() if due > now}
            if len(self._arrivals) >= self._capacity:
                return self._rate.spacing_s
        due, wait = next_arrival(self._rate, known, now)
        if wait == 0.0:
            self._arrivals[key] = due
        return wait
