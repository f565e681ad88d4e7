"""The picture in memory: answers lists, takes heartbeats, feeds the flush. The table is its durable copy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from meshnode.domain.announcement import Announcement, announcement_sha256, decode_announcement
from meshnode.domain.base64url import decode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.liveness import DEFAULT_INTERVAL_S, DEVICE_INTERVAL_S, Status, StatusReason
from meshnode.domain.peer import MeshNode
from meshnode.node.tables import Beat


class Entry:
    """One node in memory: the row as committed, and what heartbeats have changed since."""

    __slots__ = (
        "announcement",
        "announcement_sha256",
        "epoch",
        "epochs_seen",
        "has_moved",
        "heard_mono",
        "hostname",
        "last_seen",
        "learned_mono",
        "node",
        "port",
        "sequence",
        "sockets",
        "status",
        "status_reason",
        "told_mono",
    )

    def __init__(self, node: MeshNode, heard_mono: float) -> None:
        self.sockets = 0  # of a thin client, open now
        self.epochs_seen: tuple[tuple[int, float], ...] = ()
        self.learned_mono = self.told_mono = -math.inf  # of its last new announcement, of our last word about it
        self.start_over(node, heard_mono)

    def start_over(self, node: MeshNode, heard_mono: float) -> None:
        """Take over a row with its liveness."""
        self.heard_mono = heard_mono
        self.set_row(node)
        self.status: Status = node.status
        self.status_reason: StatusReason | None = node.status_reason
        self.last_seen: datetime | None = node.last_seen
        self.epoch = node.epoch
        self.sequence = node.sequence
        self.hostname = node.hostname
        self.port = node.port
        self.has_moved = False  # it announces no longer where it was last reached

    def set_row(self, node: MeshNode) -> None:
        """Take over a committed row; liveness stays as heard."""
        self.node = node
        self.announcement: Announcement | None = None
        self.announcement_sha256: str | None = None
        if node.announcement is not None:
            try:  # it was verified before it was stored; only its payload is needed here
                self.announcement = decode_announcement(decode_base64url(node.announcement.split(".")[1]))
                self.announcement_sha256 = announcement_sha256(node.announcement)
            except (MeshError, ValueError, IndexError):
                self.announcement = None

    @property
    def interval_s(self) -> float:
        """How often this node promised to speak."""
        if self.announcement is not None:
            return self.announcement.interval_s
        return DEFAULT_INTERVAL_S if self.node.public_key is not None else DEVICE_INTERVAL_S

    @property
    def is_peer(self) -> bool:
        """Whether it is a paired node with a key: somebody to exchange heartbeats with."""
        return self.is_paired and self.node.public_key is not None

    @property
    def is_paired(self) -> bool:
        """Whether it is trusted: a peer or a thin client."""
        return self.node.trust == "paired"

    def snapshot(self) -> MeshNode:
        """The node as of now."""
        return replace(
            self.node,
            status=self.status,
            status_reason=self.status_reason,
            last_seen=self.last_seen,
            epoch=self.epoch,
            sequence=self.sequence,
            hostname=self.hostname,
            port=self.port,
        )


class Roster:
    """Every node we know, by id."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._dirty: set[str] = set()

    def load(self, nodes: Iterable[MeshNode], now_mono: float) -> None:
        """Start from the table. A row that stood online becomes stale, and its clock runs from here."""
        for node in nodes:
            entry = Entry(node, now_mono)
            if node.status == "online" and not node.is_current and node.trust == "paired":
                entry.status = "stale"
                self._dirty.add(node.id)
            self._entries[node.id] = entry

    def get(self, node_id: str) -> Entry | None:
        """The entry of an id."""
        return self._entries.get(node_id)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, node: MeshNode, now_mono: float) -> Entry:
        """Take over a row just committed by a ceremony or the owner, its liveness included."""
        entry = self._entries.get(node.id)
        if entry is None:
            entry = self._entries[node.id] = Entry(node, now_mono)
        else:  # in place: live sessions point to it
            entry.start_over(node, now_mono)
        self._dirty.discard(node.id)
        return entry

    def remove(self, node_id: str) -> None:
        """Forget an entry and its pending beats."""
        self._entries.pop(node_id, None)
        self._dirty.discard(node_id)

    @property
    def is_dirty(self) -> bool:
        """Whether anything is to be flushed."""
        return bool(self._dirty)

    def touch(self, entry: Entry) -> None:
        """Have the entry flushed with the next batch."""
        self._dirty.add(entry.node.id)

    def take_dirty(self) -> list[Beat]:
        """What is to be flushed; the caller puts it back with `touch` if that fails."""
        dirty, self._dirty = self._dirty, set()
        beats = []
        for node_id in dirty:
            entry = self._entries.get(node_id)
            if entry is not None and entry.node.trust == "paired":
                beats.append(
                    Beat(
                        node_id,
                        entry.status,
                        entry.status_reason,
                        entry.last_seen,
                        entry.epoch,
                        entry.sequence,
                        entry.hostname,
                        entry.port,
                    )
                )
        return beats

    def drop_beats(self, node_id: str) -> None:
        """Revoked: what it last said is not written any more."""
        self._dirty.discard(node_id)
