"""From silence to stale to offline, without looking at every node every second."""

from __future__ import annotations

import asyncio
import heapq
import logging
from typing import Final

from meshnode.domain.event import Event
from meshnode.domain.liveness import STALE_INTERVALS, judge, next_verdict_s
from meshnode.node.event_bus import EventBus
from meshnode.node.ports import Clock
from meshnode.node.roster import Entry, Roster
from meshnode.node.tables import Store

FLUSH_S: Final = 1.0  # a crash may lose this much of last_seen, never a pairing
_SLACK_S: Final = 0.02

log = logging.getLogger(__name__)


class SweepLiveness:
    """Judges nodes when their verdict can change, and writes what changed, both together."""

    def __init__(self, roster: Roster, store: Store, clock: Clock, bus: EventBus) -> None:
        self._roster = roster
        self._store = store
        self._clock = clock
        self._bus = bus
        self._due: list[tuple[float, str]] = []  # (monotonic time of the next look, node id)
        self._watched: set[str] = set()
        self.is_failing = False

    def watch(self, node_id: str) -> None:
        """Judge this node from now on."""
        entry = self._roster.get(node_id)
        if entry is not None and entry.is_paired and node_id not in self._watched:
            self._watched.add(node_id)
            heapq.heappush(self._due, (self._clock.monotonic(), node_id))

    def judge_due(self) -> float:
        """Look at the nodes whose time has come; seconds until the next look."""
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            _, node_id = heapq.heappop(self._due)
            entry = self._roster.get(node_id)
            if entry is None or not entry.is_paired:
                self._watched.discard(node_id)
                continue
            wait = self._judge(entry, now)
            heapq.heappush(self._due, (now + wait + _SLACK_S, node_id))
        return self._due[0][0] - now if self._due else FLUSH_S

    def _judge(self, entry: Entry, now: float) -> float:
        if entry.sockets:
            entry.heard_mono = now
        silent = now - entry.heard_mono
        verdict = judge(silent, entry.interval_s)
        rank = ("online", "stale", "offline")
        if rank.index(verdict) > rank.index(entry.status):
            entry.status = verdict
            entry.status_reason = "silent"
            self._roster.touch(entry)
            log.info("%s is %s: nothing heard for %.0f s", entry.node.label, verdict, silent)
            self._bus.publish(
                Event(f"mesh.node.{'offline' if verdict == 'offline' else 'updated'}", {"id": entry.node.id})
            )
        wait = next_verdict_s(silent, entry.interval_s)
        again = STALE_INTERVALS * entry.interval_s  # it may be heard right after this look, and fall silent then
        return again if wait is None else min(wait, again)

    async def flush(self) -> None:
        """Write pending beats; keeps them for the next time if the database refuses."""
        beats = self._roster.take_dirty()
        if not beats:
            return
        try:
            async with self._store.write(durable=False) as tx:
                await tx.nodes.flush(beats)
        except BaseException:
            for beat in beats:
                entry = self._roster.get(beat.id)
                if entry is not None:
                    self._roster.touch(entry)
            raise

    async def run(self) -> None:
        """Judge and flush until cancelled."""
        while True:
            began = self._clock.monotonic()
            wait = self.judge_due()
            try:
                await self.flush()
                if self.is_failing:
                    log.warning("the database accepts writes again")
                self.is_failing = False
            except Exception:
                if not self.is_failing:
                    log.exception("heartbeats can't be written; kept in memory")
                self.is_failing = True
            taken = self._clock.monotonic() - began  # a long flush must not delay the next
            await asyncio.sleep(max(min(FLUSH_S, wait) - taken, _SLACK_S))
