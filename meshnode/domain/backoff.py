"""When to try again: capped exponential growth; the jitter is passed in."""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 1.0
FACTOR: Final = 1.8
CAP_S: Final = 60.0


def retry_delay_s(failures: int, jitter: float) -> float:
    """Seconds to wait after `failures` failures in a row (≥ 1); `jitter` in [0, 1) spreads ±20 %."""
    exponent = min(max(failures, 1) - 1, 16)  # 1.8**16 is far beyond the cap; larger ones would overflow
    return min(CAP_S, FIRST_S * FACTOR**exponent) * (0.8 + 0.4 * jitter)
