"""Take a peer's newer announcement into its row. Source: docs/protocol.md, Announcement."""

from __future__ import annotations

from typing import Final

from meshnode.crypto.jws import verify_jws
from meshnode.domain.announcement import ANNOUNCEMENT_TYPE, decode_announcement, supersedes
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.event import Event
from meshnode.domain.peer import update_from
from meshnode.node.event_bus import EventBus
from meshnode.node.ports import Clock
from meshnode.node.roster import Entry
from meshnode.node.tables import Store

LEARN_EVERY_S: Final = 1.0  # each new one is a durable write


class LearnAnnouncement:
    """Verifies under the pinned key; only a greater (epoch, revision) changes anything."""

    def __init__(self, store: Store, clock: Clock, bus: EventBus) -> None:
        self._store = store
        self._clock = clock
        self._bus = bus

    async def learn(self, entry: Entry, jws: str) -> None:
        """Store what `jws` announces. An older one is ignored.

        Raises `invalid_params` for another's announcement, or other content under the pair already held.
        """
        key = entry.node.public_key
        if key is None:
            raise MeshError("not_paired", "that node has no key")
        if jws == entry.node.announcement:
            return
        announcement = decode_announcement(verify_jws(key, ANNOUNCEMENT_TYPE, jws, "announcement"))
        if announcement.id != entry.node.id or announcement.key != key:
            raise invalid("announcement", "is another node's")
        held = entry.announcement
        if held is not None and announcement.pair == held.pair:
            raise invalid("announcement", "has the epoch and revision of another announcement")
        if not supersedes(announcement, held):
            return
        wait = LEARN_EVERY_S - (self._clock.monotonic() - entry.learned_mono)
        if wait > 0:
            raise MeshError("rate_limited", "one new announcement a second", retry_after_s=wait)
        entry.learned_mono = self._clock.monotonic()
        async with self._store.write() as tx:
            row = await tx.nodes.get(entry.node.id)
            if row is None or row.trust != "paired" or row.public_key != key:
                return
            updated = update_from(row, announcement, jws)
            await tx.nodes.upsert(updated)
        if entry.hostname in row.addresses:  # else an address typed or forwarded, which no announcement takes back
            entry.has_moved = entry.hostname not in updated.addresses
        entry.set_row(updated)
        self._bus.publish(Event("mesh.node.updated", {"id": entry.node.id}))
