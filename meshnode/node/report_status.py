"""How this node is: its listeners, its peers in numbers, and what is not as it should be."""

from __future__ import annotations

from collections import Counter

import msgspec

from meshnode.node.roster import Roster


class ReportStatus(msgspec.Struct):
    """What the parts of a node report about themselves; the last report of each counts."""

    roster: Roster
    listeners: list[str] = msgspec.field(default_factory=list)
    plain_port: int | None = None  # of the listener without TLS
    is_ready: bool = False
    _degraded: dict[str, str] = msgspec.field(default_factory=dict)

    def degrade(self, code: str, detail: str) -> None:
        """Something works less well than it should."""
        self._degraded[code] = detail

    def recover(self, code: str) -> None:
        """It works again."""
        self._degraded.pop(code, None)

    def degraded(self) -> list[dict[str, str]]:
        """Everything that is not as it should be."""
        return [{"code": code, "detail": detail} for code, detail in self._degraded.items()]

    def peers(self) -> dict[str, int]:
        """How many paired nodes are online, stale and offline."""
        counts = Counter(entry.status for entry in self.roster if entry.node.trust == "paired")
        return {status: counts.get(status, 0) for status in ("online", "stale", "offline")}
