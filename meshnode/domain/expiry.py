"""The end of what must outlive a restart: stored in wall time, and while we run in monotonic time too; sooner wins.

So a wall clock set back gives nobody more time, and neither a sleep nor a restart does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Expiry:
    """When something is over, by both clocks."""

    at: datetime
    mono: float  # of this process only

    def left_s(self, now: datetime, mono: float) -> float:
        """Seconds that remain; none or less = over."""
        return min((self.at - now).total_seconds(), self.mono - mono)

    def as_of(self, now: datetime, mono: float) -> datetime:
        """The time as this expiry sees it: never earlier than `now`, and its end has come when it is over."""
        by_mono = self.mono - mono
        return now if by_mono >= (self.at - now).total_seconds() else self.at - timedelta(seconds=by_mono)


def expiry_after(lifetime_s: float, now: datetime, mono: float) -> Expiry:
    """Of something that begins now."""
    return Expiry(now + timedelta(seconds=lifetime_s), mono + lifetime_s)


def expiry_of(began: datetime, at: datetime, now: datetime, mono: float) -> Expiry:
    """Of something that was read from the table: never further off than it ever was, whatever the wall clock says."""
    left_s = min((at - now).total_seconds(), (at - began).total_seconds())
    return Expiry(at, mono + max(left_s, 0.0))
