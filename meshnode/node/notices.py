"""What the owner has to see: told in the log once, shown in `status` until the owner says that it was seen.

The audit log is the memory: whatever is appended there and worth a notice is one, from whichever dialect it comes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.event import Event
from meshnode.domain.notice import (
    EVENTS,
    SEEN,
    UNLOCKED,
    Notice,
    encode_notice,
    mark_one,
    mark_up_to,
    notice_of,
    unseen,
)
from meshnode.node.event_bus import EventBus
from meshnode.node.ports import Clock
from meshnode.node.tables import AuditEntry, Store

DIALECT: Final = "mesh"
LOOKED_AT: Final = 1000  # entries, the newest
CLONED_EVERY_S: Final = 3600.0  # a copy that goes on after it was seen is told of again

log = logging.getLogger(__name__)


class Notices:
    """One per node. `take` is to be called with what was committed to the audit log."""

    def __init__(self, own_id: str, store: Store, clock: Clock, bus: EventBus) -> None:
        self._own_id = own_id
        self._store = store
        self._clock = clock
        self._bus = bus
        self._known: tuple[Notice, ...] = ()  # as last read, for when the disk fails
        self._cloned_mono: dict[str, float] = {}

    async def load(self) -> None:
        """Read what was not seen before this start."""
        await self.unseen()

    def take(self, entries: Sequence[AuditEntry]) -> None:
        """Warn of what has just been committed, and tell who listens."""
        for entry in entries:
            notice = notice_of(entry, self._own_id)
            if notice is not None:
                of = f" [{notice.node_id}]" if notice.node_id is not None else ""
                log.warning("%s%s", notice.detail, of)
                self._bus.publish(Event("mesh.notice.raised", encode_notice(notice)))
            elif entry.event == UNLOCKED:
                log.info("pairing without an invite is unlocked")

    async def unseen(self) -> tuple[Notice, ...]:
        """What the owner has not seen, oldest first; as last known if the database can't be read."""
        try:
            async with self._store.read() as tx:
                self._known = unseen(await tx.audit.latest(LOOKED_AT, EVENTS), self._own_id)
        except MeshError as error:
            log.debug("notices as last read: %s", error.detail)
        return self._known

    async def seen(self, *, up_to: int | None = None, only: int | None = None) -> int:
        """The owner has seen a notice and all before it, or `only` one: how many that were. Nothing to do is fine.

        Raises `invalid_params` unless exactly one is given.
        """
        if (up_to is None) is (only is None):
            raise invalid("up_to", "give `up_to` or `id`")
        async with self._store.write() as tx:
            entries = await tx.audit.latest(LOOKED_AT, EVENTS)
            newest = max((entry.id for entry in entries), default=0)  # nobody has seen what is still to come
            mark = mark_one(only) if only is not None else mark_up_to(min(up_to or 0, newest))
            entry = AuditEntry(at=self._clock.now(), event=SEEN, dialect=DIALECT, detail=mark, id=newest + 1)
            before, after = unseen(entries, self._own_id), unseen([*entries, entry], self._own_id)
            if after != before:
                await tx.audit.append(entry)
        self._known = after
        if after != before:
            self._bus.publish(Event("mesh.notice.seen", {"id": only} if only is not None else {"up_to": up_to}))
        left = {notice.id for notice in after}
        return sum(notice.id not in left for notice in before)

    async def cloned(self, node_id: str, name: str) -> None:
        """Two machines use one identity: noted once until it was seen, then once an hour while it lasts.

        The disk's refusal stops nothing here: it is noted the next time.
        """
        now = self._clock.monotonic()
        told = self._cloned_mono.get(node_id)
        if told is not None and now - told < CLONED_EVERY_S:
            return
        self._cloned_mono[node_id] = now  # before the first await: two at once are one
        if any(notice.code == "identity_cloned" and notice.node_id == node_id for notice in await self.unseen()):
            return
        entry = AuditEntry(at=self._clock.now(), event="node.cloned", dialect=DIALECT, node_id=node_id, node_name=name)
        try:
            async with self._store.write() as tx:
                await tx.audit.append(entry)
        except MeshError as error:
            self._cloned_mono.pop(node_id, None)
            log.warning("two machines use the identity of %s; it can't be noted: %s", name, error.detail)
