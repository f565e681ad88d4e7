"""How this node is: its listeners, its peers in numbers, and what is not as it should be."""

from __future__ import annotations

from collections import Counter

import msgspec

from meshnode.domain.errors import OF_THE_STORE, MeshError
from meshnode.domain.served_certificate import ServedCertificate
from meshnode.node.roster import Roster


class ReportStatus(msgspec.Struct):
    """What the parts of a node report about themselves; the last report of each counts."""

    roster: Roster
    listeners: list[str] = msgspec.field(default_factory=list)
    plain_port: int | None = None  # of the listener without TLS
    is_ready: bool = False
    certificate: ServedCertificate | None = None
    store_trouble: MeshError | None = None
    _degraded: dict[str, str] = msgspec.field(default_factory=dict)

    def degrade(self, code: str, detail: str) -> None:
        """Something works less well than it should."""
        self._degraded[code] = detail

    def recover(self, code: str) -> None:
        """It works again."""
        self._degraded.pop(code, None)

    def store_refuses(self, trouble: MeshError) -> None:
        """Nothing can be written: `disk_full` or `database_error`, whichever was met last."""
        self.store_trouble = trouble
        for code in OF_THE_STORE - {trouble.code}:
            self.recover(code)
        self.degrade(trouble.code, f"{trouble.detail} (no new pairings and no changes until then; heartbeats go on)")

    def store_accepts(self) -> None:
        """It can be written again."""
        self.store_trouble = None
        for code in OF_THE_STORE:
            self.recover(code)

    def degraded(self) -> list[dict[str, str]]:
        """Everything that is not as it should be."""
        return [{"code": code, "detail": detail} for code, detail in self._degraded.items()]

    def peers(self) -> dict[str, int]:
        """How many paired nodes are online, stale and offline."""
        counts = Counter(entry.status for entry in self.roster if entry.node.trust == "paired")
        return {status: counts.get(status, 0) for status in ("online", "stale", "offline")}
