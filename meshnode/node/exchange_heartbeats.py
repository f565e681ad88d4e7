"""Send heartbeats to every paired peer, all that are due in the same second together; never give up on one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Final

from meshnode.domain.backoff import retry_delay_s
from meshnode.domain.errors import MeshError
from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.source_address import IPNetwork
from meshnode.node.answer_heartbeat import AnswerHeartbeat
from meshnode.node.describe_node import SelfDescription
from meshnode.node.join_peer import JoinPeer
from meshnode.node.learn_announcement import LearnAnnouncement
from meshnode.node.link import Link
from meshnode.node.open_session import OpenSession
from meshnode.node.ports import Clock, Destination, Entropy, PeerClient
from meshnode.node.prove_address import ProveAddress
from meshnode.node.roster import Entry, Roster

AT_ONCE: Final = 64
SIGHTING_S: Final = 5.0  # a sighted peer is called at once, at most this often
LEAVE_S: Final = 2.0
RENEW_S: Final = 60.0  # a token is renewed this long before it ends

log = logging.getLogger(__name__)


class ExchangeHeartbeats:
    """The sending side."""

    def __init__(
        self,
        me: SelfDescription,
        roster: Roster,
        answering: AnswerHeartbeat,
        learning: LearnAnnouncement,
        joining: JoinPeer,
        opening: OpenSession,
        proving: ProveAddress,
        client: PeerClient,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._me = me
        self._roster = roster
        self._answering = answering
        self._learning = learning
        self._joining = joining
        self._client = client
        self._opening = opening
        self._proving = proving
        self._clock = clock
        self._entropy = entropy
        self._links: dict[str, Link] = {}
        self._wake = asyncio.Event()
        self._planned = math.inf  # when the loop looks again by itself
        self._must_hang_up = False
        self.on_link: Callable[[], Sequence[IPNetwork]] = tuple  # the networks we are on
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        interval = me.facts.interval_s
        self._grid_s = 1.0 if interval >= 4 else interval / 8

    def add(self, node_id: str) -> None:
        """Send to this peer from now on, beginning at once; anew if it was known."""
        known = self._links.get(node_id)
        link = self._links[node_id] = Link(node_id, due=self._clock.monotonic())
        if known is not None:  # a sequence never starts over within an epoch
            link.epoch, link.sequence = known.epoch, known.sequence
        self._wake.set()

    def remove(self, node_id: str) -> None:
        """Send no more."""
        self._links.pop(node_id, None)

    def sighted(self, node_id: str, addresses: tuple[tuple[str, int], ...]) -> None:
        """mDNS saw a known peer: try there, soon."""
        link = self._links.get(node_id)
        if link is not None:
            link.hints = addresses
            link.dropped.difference_update(addresses)
            self._poke(link)

    def came_from(self, node_id: str, address: str) -> None:
        """A peer's authenticated request came from there: to be tried behind what it announces."""
        link = self._links.get(node_id)
        if link is None or link.heard_from == address:
            return
        link.heard_from = address
        link.dropped = {place for place in link.dropped if place[0] != address}
        if link.failures:
            self._poke(link)

    def _poke(self, link: Link) -> None:
        """Try soon: now, or as soon as it is long enough since the last time."""
        now = self._clock.monotonic()
        if link.poked_at <= now:
            link.poked_at = max(now, link.poked_at + SIGHTING_S)
            link.is_again = link.is_busy and link.poked_at <= now
        link.due = min(link.due, link.poked_at)
        self._wake.set()

    def all_now(self, *, hang_up: bool = True) -> None:
        """Call every peer at once, over new connections: we woke or have other addresses, and old ones lead nowhere."""
        now = self._clock.monotonic()
        for link in self._links.values():
            link.due, link.failures, link.is_again = now, 0, link.is_busy
        self._must_hang_up |= hang_up
        self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            while True:
                if self._must_hang_up:
                    self._must_hang_up = False
                    await self._client.hang_up()
                now = self._clock.monotonic()
                for link in list(self._links.values()):
                    if link.due <= now and not link.is_busy:
                        link.is_busy = True
                        task = asyncio.create_task(self._send(link))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)
                await self._sleep()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sleep(self) -> None:
        """Until the next peer is due, or until something happens."""
        self._wake.clear()
        self._planned = min((link.due for link in self._links.values() if not link.is_busy), default=math.inf)
        wait = None if self._planned == math.inf else max(0.0, self._planned - self._clock.monotonic())
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, link: Link) -> None:
        began = self._clock.monotonic()
        try:
            async with self._places:
                delivered = await self._deliver(link)
        except Exception:
            log.exception("sending a heartbeat failed")
            delivered = False
        finally:
            link.is_busy = False
        now = self._clock.monotonic()
        if delivered:  # on the grid second before, so that it is never later than promised
            link.failures = 0
            link.due = max(math.floor((began + self._me.facts.interval_s) / self._grid_s) * self._grid_s, now)
        else:
            link.failures += 1
            retry = now + retry_delay_s(link.failures, self._entropy.fraction())
            link.due = math.ceil(retry / self._grid_s) * self._grid_s
        if link.is_again:
            link.is_again, link.due = False, now
        elif link.poked_at > now:
            link.due = min(link.due, link.poked_at)
        if link.due < self._planned:
            self._wake.set()

    # ── one heartbeat ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _deliver(self, link: Link, *, leaving: bool = False) -> bool:
        """Try the peer's addresses, the one that last worked first; whether one answered."""
        entry = self._roster.get(link.node_id)
        if entry is None or not entry.is_peer:
            self.remove(link.node_id)
            return False
        ours = {(host, self._me.port) for host in self._me.announcement.addresses}  # now, whoever had it before
        for host, port in link.places(entry, ours, self.on_link):
            try:
                await self._beat(link, entry, host, port, leaving=leaving)
            except MeshError as error:
                log.debug("heartbeat to %s at %s:%s: %s", entry.node.label, host, port, error.code)
                if error.code == "certificate_mismatch" and await self._prove(link, entry, host, port):
                    return False  # the next try, in a second, finds the new certificate pinned
                if error.code == "not_paired":
                    await self._removed(entry)
                    return False
                if error.code not in ("unreachable", "certificate_mismatch", "bad_answer"):
                    return False
                continue
            entry.has_moved = False
            if (entry.hostname, entry.port) != (host, port):
                entry.hostname, entry.port = host, port
                self._roster.touch(entry)
            return True
        return False

    async def _beat(self, link: Link, entry: Entry, host: str, port: int, *, leaving: bool) -> None:
        to = Destination(link.node_id, host, port, entry.node.tls_sha256 or b"")
        if link.node_id in self._joining.pending:
            await self._acknowledge(to)
        if not link.token or link.epoch != self._me.epoch or self._clock.monotonic() > link.token_until:
            await self._open_session(link, to)
        try:
            beat = self._compose(link, entry, leaving=leaving)
            answer = await self._client.heartbeat(to, link.token, beat)
        except MeshError as error:
            if error.code not in ("token_expired", "not_paired"):
                raise
            await self._open_session(link, to)  # it restarted, or forgot the token; this tells who is paired
            beat = self._compose(link, entry, leaving=leaving)
            answer = await self._client.heartbeat(to, link.token, beat)
        link.known_sha256 = answer.known_sha256
        if beat.announcement is not None and answer.known_sha256 != beat.announcement_sha256:
            link.token = ""  # it did not take it, so it holds a later one of ours; the next session will tell
        if answer.leaving:  # it stops, and still answers meanwhile
            self._answering.lost(entry, "left")
        elif not leaving:
            self._answering.heard(entry)
        if answer.announcement is not None:
            await self._learning.learn(entry, answer.announcement)
            link.dropped.clear()

    async def _acknowledge(self, to: Destination) -> None:
        """Repeat step 4. Only `not_paired` counts; any other refusal leaves it to the session, which confirms too."""
        try:
            await self._joining.acknowledge_again(to)
        except MeshError as error:
            if error.code in ("not_paired", "unreachable", "certificate_mismatch"):
                raise

    def _compose(self, link: Link, entry: Entry, *, leaving: bool) -> Heartbeat:
        me = self._me
        link.sequence += 1
        return Heartbeat(
            epoch=me.epoch,
            sequence=link.sequence,
            announcement_sha256=me.sha256,
            known_sha256=entry.announcement_sha256,
            announcement=me.jws if link.known_sha256 != me.sha256 else None,
            leaving=leaving,
        )

    async def _open_session(self, link: Link, to: Destination) -> None:
        link.token = ""
        answer = await self._opening.open(to)
        if link.epoch != self._me.epoch:
            link.epoch, link.sequence = self._me.epoch, 0
        link.token = answer.token
        link.token_until = self._clock.monotonic() + answer.expires_in_s - RENEW_S
        link.known_sha256 = answer.known_sha256
        if link.node_id in self._joining.pending:  # opening a session confirms too
            await self._joining.settle(link.node_id)

    async def _removed(self, entry: Entry) -> None:
        """`not_paired` over the pinned certificate: it removed us, or never completed our join."""
        node_id = entry.node.id
        if node_id in self._joining.pending and await self._joining.undo(node_id):
            left = self._roster.get(node_id)
            if left is None or not left.is_peer:
                self.remove(node_id)
                return
        self._answering.lost(entry, "removed_us")  # also when undoing leaves an older pairing, which it forgot too

    async def _prove(self, link: Link, entry: Entry, host: str, port: int) -> bool:
        """Another certificate answers: whether it is the peer's new one; else the address may be dropped."""
        try:
            return await self._proving.prove(entry, host, port)
        except MeshError as error:
            if error.code == "wrong_node_at_address":
                log.warning("%s: another node answers at %s:%s", entry.node.label, host, port)
                link.dropped.add((host, port))
                if entry.status != "online" and (host, port) not in link.hints:
                    entry.status_reason = "wrong_node_at_address"
                    self._roster.touch(entry)
            return False

    async def leave(self) -> None:
        """Tell every peer that listens that we stop, within two seconds; whoever calls meanwhile is told so too."""
        self._answering.is_leaving = True
        online = [
            link
            for link in self._links.values()
            if (entry := self._roster.get(link.node_id)) is not None and entry.status == "online"
        ]
        if not online:
            return
        tasks = [asyncio.create_task(self._deliver(link, leaving=True)) for link in online]
        _, late = await asyncio.wait(tasks, timeout=LEAVE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
