"""From silence to a verdict: online, stale, offline. Ages are monotonic. Source: docs/protocol.md, Heartbeat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Status = Literal["online", "stale", "offline"]
StatusReason = Literal["left", "silent", "removed_us", "wrong_node_at_address"]

STALE_INTERVALS: Final = 2.5  # one lost heartbeat and a late one are no news
OFFLINE_INTERVALS: Final = 6.0
DEFAULT_INTERVAL_S: Final = 15.0
PHONE_INTERVAL_S: Final = 60.0
DEVICE_INTERVAL_S: Final = 60.0  # nobody asks it to speak: stale after 150 s without a request, offline after 360 s


def judge(silent_s: float, interval_s: float) -> Status:
    """The status of a node unheard for `silent_s` that promised a heartbeat every `interval_s`."""
    if silent_s <= STALE_INTERVALS * interval_s:
        return "online"
    return "stale" if silent_s <= OFFLINE_INTERVALS * interval_s else "offline"


def next_verdict_s(silent_s: float, interval_s: float) -> float | None:
    """Seconds until the verdict can change by silence alone; None once offline."""
    for intervals in (STALE_INTERVALS, OFFLINE_INTERVALS):
        if silent_s <= intervals * interval_s:
            return intervals * interval_s - silent_s
    return None


# ── is it them, or us? ─────────────────────────────────────────────────────────────────────────────────────────────

OVERDUE_INTERVALS: Final = 1.25  # a heartbeat has been missed for certain
SUSPICION_PEERS: Final = 3  # of two silent peers nobody can tell
DOUBT_INTERVALS: Final = 1.0  # a doubt about ourselves delays a verdict by no more


def doubts_self(peers: Iterable[tuple[float, float]]) -> bool:
    """Whether so many fell silent at once that it may be us: more than half of three peers or more are overdue.

    `peers` that are not offline: seconds of silence, interval.
    """
    known = list(peers)
    overdue = sum(silent_s > OVERDUE_INTERVALS * interval_s for silent_s, interval_s in known)
    return len(known) >= SUSPICION_PEERS and 2 * overdue > len(known)


def doubt_ends_s(silent_s: float, interval_s: float) -> float:
    """Seconds for which a doubt about ourselves may still hold back the verdict stale; never cancels it."""
    return (STALE_INTERVALS + DOUBT_INTERVALS) * interval_s - silent_s


# ── were we asleep? ────────────────────────────────────────────────────────────────────────────────────────────────

LATE_S: Final = 0.25  # a look that comes later than this was held up,
LATE_INTERVALS: Final = 1 / 8  # if it is much beside an interval: on a busy machine every look may be somewhat late
STOPPED_S: Final = 2.0  # and than this: was stopped; a busy machine is no reason to call everybody
SUSPENDED_S: Final = 1.0  # boot time runs on while the machine sleeps, monotonic time does not


class Pause(NamedTuple):
    """What a look that came late tells about the time before it."""

    lost_s: float  # monotonic seconds in which we could hear nobody: they are no silence of theirs
    is_waking: bool  # the others missed us: speak at once


def judge_pause(planned_s: float, monotonic_s: float, boot_s: float, interval_s: float) -> Pause:
    """What happened between two looks, of `planned_s` planned, by both clocks; `interval_s` is our own."""
    late_s = monotonic_s - planned_s
    return Pause(
        lost_s=late_s if late_s > max(LATE_S, LATE_INTERVALS * interval_s) else 0.0,
        is_waking=late_s > max(interval_s, STOPPED_S) or boot_s - monotonic_s > SUSPENDED_S,
    )
