"""What this node says about itself: its announcement, signed, renewed only when its content changes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from meshnode.crypto.jws import sign_jws
from meshnode.crypto.key_pair import KeyPair
from meshnode.domain.announcement import (
    ANNOUNCEMENT_MAX_BYTES,
    ANNOUNCEMENT_TYPE,
    PROTOCOLS,
    Announcement,
    announcement_sha256,
    decode_announcement,
)
from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.capability import Capability
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.identity import Identity, Kind
from meshnode.domain.peer import MeshNode
from meshnode.node.end_restored import end_offer, end_restored
from meshnode.node.event_bus import EventBus
from meshnode.node.notices import Notices
from meshnode.node.ports import Clock
from meshnode.node.roster import Roster
from meshnode.node.tables import AuditEntry, Store, Transaction

RAISE_AHEAD_MAX: Final = 2**33  # seconds: a lying peer can't use up the counter, and time makes good its lie
RAISE_EVERY_S: Final = 10.0  # two lying peers can't keep us busy
OVERTAKEN_MAX: Final = 2  # so often is no accident: somebody else speaks with our key

log = logging.getLogger(__name__)


class SelfFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What doesn't change while the node runs."""

    kind: Kind
    platform: str
    version: str
    interval_s: float
    capabilities: tuple[Capability, ...]
    public_url: str | None
    has_mdns: bool = True


class _Signed(NamedTuple):
    announcement: Announcement
    jws: str
    row: MeshNode


class SelfDescription:
    """This node's identity, key, epoch and current announcement."""

    def __init__(
        self,
        identity: Identity,
        key: KeyPair,
        facts: SelfFacts,
        store: Store,
        clock: Clock,
        roster: Roster,
        bus: EventBus,
        notices: Notices,
    ) -> None:
        self.identity = identity
        self.key = key
        self.facts = facts
        self.epoch = 0
        self.revision = 0
        self.port = 0
        self.announcement: Announcement
        self.jws = ""
        self.sha256 = ""
        self._store = store
        self._clock = clock
        self._roster = roster
        self._bus = bus
        self._notices = notices
        self._raised_mono = -RAISE_EVERY_S
        self._raised_to = -1
        self._overtaken = 0
        self.on_changed: Callable[[], None] = lambda: None  # a new announcement is to be told
        self.certificate_hash = bytes(32)  # of the certificate served; `refresh` announces it
        self._addresses: Callable[[], Sequence[str]] = tuple
        self._save_epoch: Callable[[int], None] = lambda _: None

    async def start(
        self,
        *,
        port: int,
        addresses: Callable[[], Sequence[str]],
        certificate_hash: bytes,
        epoch_on_file: int,
        save_epoch: Callable[[int], None],
    ) -> None:
        """Take this run's epoch, commit it, write our own row, sign the first announcement.

        An epoch in the database below the one on file means that the database was restored: what was open ends.
        """
        self.port, self._addresses, self.certificate_hash = port, addresses, certificate_hash
        self._save_epoch = save_epoch
        async with self._store.write() as tx:
            own = await tx.nodes.get(self.identity.id)
            held = own.epoch if own else 0
            if held < epoch_on_file and own is not None:
                now = self._clock.now()
                await end_restored(tx, now)
                await tx.audit.append(AuditEntry(at=now, event="database.restored", dialect="mesh"))
                self._bus.publish(Event("mesh.database_restored", {}))
            elif own is not None and own.tls_sha256 != certificate_hash and await end_offer(tx):
                log.warning("the open offer was closed: its invite names the former TLS certificate; open another")
            epoch = max(held + 1, epoch_on_file + 1, int(self._clock.now().timestamp()))
            signed = await self._sign(tx, own, epoch)
        self._take(signed)
        save_epoch(self.epoch)

    async def refresh(self, within: Callable[[], None] = lambda: None) -> bool:
        """Sign anew if name, addresses or anything else has changed; whether it had.

        `within` runs before the commit, and prevents it by raising.
        """
        own = self._roster.get(self.identity.id)
        if not self._has_changed(own.node if own else None):
            return False
        async with self._store.write() as tx:
            signed = await self._sign(tx, await tx.nodes.get(self.identity.id), self.epoch)
            within()
        self._take(signed)
        self._bus.publish(Event("mesh.node.updated", {"id": self.identity.id}))
        self.on_changed()
        return True

    async def rename(self, identity: Identity, save: Callable[[], None]) -> None:
        """Go by another name from now on, unless `save` or the store refuses it."""
        before, self.identity = self.identity, identity
        try:
            await self.refresh(save)
        except BaseException:
            self.identity = before
            raise

    async def raise_epoch(self, above: int) -> bool:
        """A peer holds a later announcement of ours than we remember: start above it; whether it was done.

        What lies too far ahead, or comes too soon after the last time, is ignored. Being overtaken again right after
        having raised it means that a copy of this node does the same: the owner is told.
        """
        now = self._clock.monotonic()
        limit = int(self._clock.now().timestamp()) + RAISE_AHEAD_MAX
        if not self.epoch <= above <= limit or now - self._raised_mono < RAISE_EVERY_S:
            return False
        self._raised_mono = now
        if self.epoch == self._raised_to and above <= self.epoch + 1:
            self._overtaken += 1
        async with self._store.write() as tx:
            signed = await self._sign(tx, await tx.nodes.get(self.identity.id), above + 1)
        self._take(signed)
        with suppress(OSError):  # a copy; the database has it
            self._save_epoch(self.epoch)
        self._raised_to = self.epoch
        if self._overtaken >= OVERTAKEN_MAX:
            await self._notices.cloned(self.identity.id, self.identity.name)
            self._bus.publish(Event("mesh.node.identity_cloned", {"id": self.identity.id}))
        else:
            log.warning("a peer knew a later state of this node (a restored backup, a clock once wrong); epoch raised")
        self.on_changed()
        return True

    def _describe(self, epoch: int, revision: int) -> Announcement:
        facts = self.facts
        return Announcement(
            id=self.identity.id,
            public_key=encode_base64url(self.identity.public_key),
            name=self.identity.name,
            kind=facts.kind,
            platform=facts.platform,
            version=facts.version,
            protocols=list(PROTOCOLS),
            port=self.port,
            addresses=list(self._addresses())[:8],
            public_url=facts.public_url,
            tls_sha256=encode_base64url(self.certificate_hash),
            capabilities=list(facts.capabilities),
            interval_s=facts.interval_s,
            mdns=facts.has_mdns,
            epoch=epoch,
            revision=revision,
        )

    def _has_changed(self, own: MeshNode | None) -> bool:
        if own is None or own.announcement is None:
            return True
        held = decode_announcement(decode_base64url(own.announcement.split(".")[1]))
        return self._describe(held.epoch, held.revision) != held

    def _revision_after(self, own: MeshNode | None) -> int:
        if own is None:
            return 1
        return own.revision + 1 if self._has_changed(own) else own.revision

    async def _sign(self, tx: Transaction, own: MeshNode | None, epoch: int) -> _Signed:
        """Sign what we are now and write our row; nothing here changes before the commit."""
        announcement = self._describe(epoch, self._revision_after(own))
        jws = sign_jws(self.key, ANNOUNCEMENT_TYPE, msgspec.json.encode(announcement))
        if len(jws) > ANNOUNCEMENT_MAX_BYTES:
            raise MeshError("bad_config", "more capabilities than an announcement can carry (4096 bytes signed)")
        now = self._clock.now()
        row = MeshNode(
            id=self.identity.id,
            name=self.identity.name,
            hostname=announcement.addresses[0] if announcement.addresses else "localhost",
            port=self.port,
            status="online",
            trust="self",
            trust_level=3,
            created_at=own.created_at if own else self.identity.created_at,
            capabilities=self.facts.capabilities,
            last_seen=now,
            metadata=own.metadata if own else {},
            is_current=True,
            kind=self.facts.kind,
            public_key=self.identity.public_key,
            tls_sha256=self.certificate_hash,
            addresses=tuple(announcement.addresses),
            dialect="mesh",
            epoch=epoch,
            revision=announcement.revision,
            announcement=jws,
        )
        await tx.nodes.drop_other_selves(row.id)
        await tx.nodes.upsert(row)
        return _Signed(announcement, jws, row)

    def _take(self, signed: _Signed) -> None:
        """Speak by what was committed."""
        self.announcement, self.jws = signed.announcement, signed.jws
        self.epoch, self.revision = signed.announcement.pair
        self.sha256 = announcement_sha256(signed.jws)
        self._roster.put(signed.row, self._clock.monotonic())
