"""From silence to a verdict: online, stale, offline. Ages are monotonic. Source: docs/protocol.md, Heartbeat."""

from __future__ import annotations

from typing import Final, Literal

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
