"""Receive heartbeats: the one fast path. What they say is held in memory and flushed at most a second later."""

from __future__ import annotations

import logging
from typing import Final

from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.liveness import StatusReason
from meshnode.node.describe_node import SelfDescription
from meshnode.node.event_bus import EventBus
from meshnode.node.learn_announcement import LearnAnnouncement
from meshnode.node.notices import Notices
from meshnode.node.ports import Clock
from meshnode.node.roster import Entry, Roster
from meshnode.node.session import Session

CLONE_WINDOW_S: Final = 60.0
TELL_EVERY_S: Final = 2.0  # a log line about one peer

log = logging.getLogger(__name__)


class AnswerHeartbeat:
    """Evidence of life, and the answer to it."""

    def __init__(
        self,
        me: SelfDescription,
        roster: Roster,
        learning: LearnAnnouncement,
        clock: Clock,
        bus: EventBus,
        notices: Notices,
    ) -> None:
        self._me = me
        self._roster = roster
        self._learning = learning
        self._clock = clock
        self._bus = bus
        self._notices = notices
        self.is_leaving = False  # we stop

    async def answer(self, session: Session, beat: Heartbeat) -> Heartbeat:
        """Note that the session's node lives; our own heartbeat in return.

        Raises `token_expired` for an epoch other than the session's, or one below that last heard: opening another
        session tells the caller, a restored node or a copy, that it is behind. And what `learn` raises.
        """
        entry = session.entry
        if beat.epoch != session.epoch or beat.epoch < entry.epoch:
            raise MeshError("token_expired", "this session was opened in another epoch")
        if beat.announcement is not None:
            await self._learning.learn(entry, beat.announcement)
        if (beat.epoch, beat.sequence) > (entry.epoch, entry.sequence):
            entry.epoch, entry.sequence = beat.epoch, beat.sequence
            if beat.leaving:
                self.lost(entry, "left")
            else:
                self.heard(entry)
        me = self._me
        return Heartbeat(
            epoch=me.epoch,
            sequence=beat.sequence,
            announcement_sha256=me.sha256,
            known_sha256=entry.announcement_sha256,
            announcement=None if beat.known_sha256 == me.sha256 else me.jws,
            leaving=self.is_leaving,
        )

    def heard(self, entry: Entry) -> None:
        """Authenticated evidence that the node lives; nothing if it was revoked while its beat was under way."""
        if not entry.is_paired:
            return
        entry.heard_mono = self._clock.monotonic()
        entry.last_seen = self._clock.now()
        self._roster.touch(entry)
        if entry.status != "online":
            entry.status, entry.status_reason = "online", None
            self._tell(entry, logging.INFO, f"{entry.node.label} is online")
            self._bus.publish(Event("mesh.node.online", {"id": entry.node.id}))

    def lost(self, entry: Entry, reason: StatusReason) -> None:
        """The peer itself said that it leaves, or that it removed us."""
        if not entry.is_peer or (entry.status == "offline" and entry.status_reason == reason):
            return
        if reason == "left":
            entry.last_seen = self._clock.now()
        entry.status, entry.status_reason = "offline", reason
        self._roster.touch(entry)
        self._tell(entry, logging.INFO, f"{entry.node.label} is offline ({reason})")
        self._bus.publish(Event("mesh.node.offline", {"id": entry.node.id, "reason": reason}))

    def _tell(self, entry: Entry, level: int, text: str) -> None:
        """Log what a peer did, but not more often than a person wants to read: a peer can do it all day long."""
        now = self._clock.monotonic()
        is_due = now - entry.told_mono >= TELL_EVERY_S
        log.log(level if is_due else logging.DEBUG, "%s", text)
        if is_due:
            entry.told_mono = now

    async def session_opened(self, entry: Entry, epoch: int) -> None:
        """Two epochs of one key alternating within a minute: two machines run with one identity."""
        now = self._clock.monotonic()
        recent = tuple((e, at) for e, at in entry.epochs_seen if now - at <= CLONE_WINDOW_S)
        seen = [e for e, _ in recent]
        entry.epochs_seen = (*recent, (epoch, now))[-8:]
        if epoch in seen and seen[-1] != epoch:
            self._bus.publish(Event("mesh.node.identity_cloned", {"id": entry.node.id}))
            await self._notices.cloned(entry.node.id, entry.node.label)
