"""From silence to stale to offline, without looking at every node every second."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Callable
from typing import Final

from meshnode.domain.event import Event
from meshnode.domain.liveness import (
    STALE_INTERVALS,
    doubt_ends_s,
    doubts_self,
    judge,
    judge_pause,
    next_verdict_s,
)
from meshnode.node.event_bus import EventBus
from meshnode.node.ports import Clock
from meshnode.node.roster import Entry, Roster
from meshnode.node.tables import Store

FLUSH_S: Final = 1.0  # a crash may lose this much of last_seen, never a pairing
_SLACK_S: Final = 0.02

log = logging.getLogger(__name__)


class SweepLiveness:
    """Judges nodes when their verdict can change, and writes what changed, both together."""

    def __init__(self, roster: Roster, store: Store, clock: Clock, bus: EventBus, interval_s: float) -> None:
        self._roster = roster
        self._store = store
        self._clock = clock
        self._bus = bus
        self._interval_s = interval_s  # our own
        self._due: list[tuple[float, str]] = []  # (monotonic time of the next look, node id)
        self._watched: set[str] = set()
        self._looked: tuple[float, float, float] | None = None  # both clocks at the last look, seconds to this one
        self._doubted_until = -math.inf
        self._doubt = (-math.inf, False)  # as judged at that time
        self._flushing: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()  # there is somebody to judge
        self.is_failing = False
        self.look: Callable[[], None] = lambda: None  # at our own interfaces: so many silent at once, is it us?
        self.on_woken: Callable[[], None] = lambda: None

    def watch(self, node_id: str) -> None:
        """Judge this node from now on."""
        entry = self._roster.get(node_id)
        if entry is not None and entry.is_paired and node_id not in self._watched:
            self._watched.add(node_id)
            heapq.heappush(self._due, (self._clock.monotonic(), node_id))
            self._begun.set()

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
            held_s = doubt_ends_s(silent, entry.interval_s) if entry.is_peer else 0.0  # none is left once offline
            if held_s > 0 and self._doubts_self(now):
                return held_s
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

    def _doubts_self(self, now: float) -> bool:
        """Whether it may be us; if so, our interfaces are looked at, once for all who fall silent with this one."""
        if self._doubt[0] == now:
            return self._doubt[1]
        peers = [
            (now - entry.heard_mono, entry.interval_s)
            for node_id in self._watched
            if (entry := self._roster.get(node_id)) is not None and entry.is_peer and entry.status != "offline"
        ]
        is_doubtful = doubts_self(peers)
        self._doubt = (now, is_doubtful)
        if is_doubtful and now >= self._doubted_until:
            self._doubted_until = now + self._interval_s
            log.info("most of %d peers fell silent at once: looking at our own interfaces first", len(peers))
            self.look()
        return is_doubtful

    def notice_pause(self) -> None:
        """If we were stopped or asleep: that time was no silence of the others, and they missed us."""
        now, boot = self._clock.monotonic(), self._clock.boot_s()
        before, self._looked = self._looked, None
        if before is None:
            return
        mono, boot_before, planned = before
        pause = judge_pause(planned, now - mono, boot - boot_before, self._interval_s)
        if pause.lost_s > 0:
            for node_id in self._watched:
                entry = self._roster.get(node_id)
                if entry is not None:
                    entry.heard_mono = min(now, entry.heard_mono + pause.lost_s)
        if pause.is_waking:
            log.info("awake again after %.0f s: calling every peer", boot - boot_before)
            self.on_woken()

    def tick(self) -> float:
        """One look at what is due; seconds until the next."""
        self.notice_pause()
        wait = max(min(FLUSH_S, self.judge_due()), _SLACK_S)
        self._looked = self._clock.monotonic(), self._clock.boot_s(), wait
        return wait

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
        """Judge and flush until cancelled; a database that is slow holds up no verdict. Nobody to judge: no ticks."""
        try:
            while True:
                wait = self.tick()
                is_flushing = self._flushing is not None and not self._flushing.done()
                if (self._roster.is_dirty or self.is_failing) and not is_flushing:
                    self._flushing = asyncio.create_task(self._flush(), name="flush")
                if self._due or self._roster.is_dirty or (self._flushing is not None and not self._flushing.done()):
                    await asyncio.sleep(wait)
                    continue
                self._looked = None  # however long this takes, nobody was silent meanwhile
                self._begun.clear()
                await self._begun.wait()
        finally:
            if self._flushing is not None:
                self._flushing.cancel()
                await asyncio.gather(self._flushing, return_exceptions=True)

    async def _flush(self) -> None:
        try:
            await self.flush()
        except Exception:
            if not self.is_failing:
                log.exception("heartbeats can't be written; kept in memory")
            self.is_failing = True
        else:
            if self.is_failing:
                log.warning("the database accepts writes again")
            self.is_failing = False
