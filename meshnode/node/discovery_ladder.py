"""How a paired node that is out of reach is looked for: one rung after the other, each with a verdict on record.

Its saved addresses → mDNS → every saved host asked directly who it is → a person who types an address or shows a QR
code. What is found is a hint: the heartbeats try it, and believe a certificate or a signature only.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Final, Literal

import msgspec

from meshnode.domain.diagnosis import on_link
from meshnode.domain.errors import MeshError
from meshnode.domain.source_address import IPNetwork
from meshnode.node.discover_peers import DiscoverPeers
from meshnode.node.ports import Clock, Entropy, PeerClient
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Entry, Roster
from meshnode.node.saved_hosts import Place, SavedHosts

FIRST_S: Final = 10.0  # after it went out of reach; heartbeats and mDNS alone find most
LATER_MAX_S: Final = 600.0
STEP_S: Final = 5.0
ASK_EVERY_S: Final = 15.0  # by multicast
PEERS_MAX: Final = 16  # looked for in one go
AT_ONCE: Final = 8
GRACE_MIN_S: Final = 10.0  # mDNS takes a few seconds to show a peer that answers already
GRACE_INTERVALS: Final = 4
NO_MULTICAST: Final = "no_multicast"

Stage = Literal["saved_addresses", "mdns", "unicast_probe", "typed_address"]

log = logging.getLogger(__name__)


class Rung(msgspec.Struct, frozen=True):
    """What one stage brought: `found`, `nothing`, `off` (it can't be used here), `unneeded`, or `ask` a person."""

    stage: Stage
    verdict: Literal["found", "nothing", "off", "unneeded", "ask"]
    detail: str
    at: datetime


class _Search(msgspec.Struct):
    due: float
    wait_s: float = FIRST_S

    @property
    def rank(self) -> tuple[float, float]:
        """The least searched for first: who went missing just now does not wait behind all that are gone for good."""
        return self.wait_s, self.due


class DiscoveryLadder:
    """Looks for the peers that are out of reach."""

    def __init__(
        self,
        roster: Roster,
        discovery: DiscoverPeers,
        client: PeerClient,
        status: ReportStatus,
        clock: Clock,
        entropy: Entropy,
        *,
        interval_s: float,
        has_mdns: bool,
        networks: Callable[[], Iterable[IPNetwork]],
    ) -> None:
        self._roster = roster
        self._discovery = discovery
        self._client = client
        self._status = status
        self._clock = clock
        self._entropy = entropy
        self._has_mdns = has_mdns
        self._networks = networks
        self._grace_s = max(GRACE_MIN_S, GRACE_INTERVALS * interval_s)
        self._searches: dict[str, _Search] = {}
        self._hosts = SavedHosts(roster)
        self._begun = asyncio.Event()  # there is a peer
        self._deaf_since: float | None = None
        self._has_degraded = False
        self.records: dict[str, tuple[Rung, ...]] = {}  # by node id, of the last climb
        self._asked_mono = -math.inf
        self.ask_link: Callable[[], Awaitable[object]] = _ask_nobody  # multicast a question; who answers comes in sight
        self.on_found: Callable[[str, tuple[Place, ...]], None] = lambda _, __: None

    async def run(self) -> None:
        """Look for whoever is out of reach, until cancelled. Nobody to look for, and multicast heard: no steps."""
        while True:
            await asyncio.sleep(STEP_S)
            try:
                await self.step()
            except Exception:
                log.exception("looking for peers out of reach failed")
            if not self.is_needed:
                self._deaf_since = None  # whatever was on the way, the first look after this begins anew
                self._begun.clear()
                await self._begun.wait()

    def wake(self) -> None:
        """A node was paired."""
        self._begun.set()

    @property
    def is_needed(self) -> bool:
        """Whether a peer may go out of reach, or it is not known that multicast reaches us."""
        if self._has_mdns and (self._has_degraded or not self._discovery.has_heard_itself):
            return True
        return bool(self.records) or any(entry.is_peer for entry in self._roster)

    async def step(self) -> None:
        """Climb for the peers whose turn it is, and see whether multicast reaches us at all."""
        self._judge_multicast()
        if self._has_degraded:  # a browser by itself asks every hour in the end
            await self._ask_link()
        now = self._clock.monotonic()
        missing = {entry.node.id: entry for entry in self._roster if _is_missing(entry)}
        for gone in self._searches.keys() - missing.keys():
            del self._searches[gone]
        for gone in [node_id for node_id in self.records if node_id not in missing]:
            del self.records[gone]
        for node_id in missing:
            self._searches.setdefault(node_id, _Search(now + FIRST_S))
        due = (node_id for node_id, search in self._searches.items() if search.due <= now)
        turn = heapq.nsmallest(PEERS_MAX, due, key=lambda node_id: self._searches[node_id].rank)
        for node_id in turn:
            search = self._searches[node_id]
            search.wait_s = min(2 * search.wait_s, LATER_MAX_S)
            search.due = now + search.wait_s
        if turn:
            await self.climb([missing[node_id] for node_id in turn])

    async def climb(self, missing: list[Entry]) -> None:
        """All rungs for these peers; what is found is tried at once."""
        asked = self._hosts.pick(missing)
        who, _ = await asyncio.gather(self._ask(asked), self._ask_link())
        sighted = {sighting.id: sighting for sighting in self._discovery.list()}
        in_turn = {entry.node.id for entry in missing}
        found = [entry for entry in map(self._roster.get, who) if entry is not None and _is_missing(entry)]
        for entry in (*missing, *(entry for entry in found if entry.node.id not in in_turn)):
            node_id, at = entry.node.id, self._clock.now()
            sighting = sighted.get(node_id)
            places = who.get(node_id, ())
            seen = () if sighting is None else tuple((address, sighting.port) for address in sighting.addresses)
            if places or seen:
                self.on_found(node_id, (*places, *seen))
            if node_id not in in_turn:
                continue  # found beside: there is nothing to tell of a climb
            self.records[node_id] = self._rungs(
                entry, at, None if sighting is None else (sighting.host, sighting.port), asked, places
            )
            if sighting is None and not places:
                log.info("%s is nowhere: %s", entry.node.label, "; ".join(r.detail for r in self.records[node_id]))

    def _rungs(
        self, entry: Entry, at: datetime, sighted: Place | None, asked: list[Place], places: tuple[Place, ...]
    ) -> tuple[Rung, ...]:
        tried = len(dict.fromkeys((entry.hostname, *entry.node.addresses)))
        rungs = [Rung("saved_addresses", "nothing", f"no answer at {_count(tried, 'saved address')}", at)]
        if not self._has_mdns:
            rungs.append(Rung("mdns", "off", "mDNS is switched off here", at))
        elif sighted is not None:
            rungs.append(Rung("mdns", "found", f"seen at {sighted[0]}:{sighted[1]}; tried there", at))
        else:
            why = next((d["detail"] for d in self._status.degraded() if d["code"] == NO_MULTICAST), None)
            rungs.append(Rung("mdns", "off" if why else "nothing", why or "not in sight by mDNS", at))
        if places:
            where = ", ".join(f"{host}:{port}" for host, port in places)
            rungs.append(Rung("unicast_probe", "found", f"answers at {where}; tried there", at))
        else:
            rungs.append(Rung("unicast_probe", "nothing", f"not among {_count(len(asked), 'saved host')}", at))
        if sighted is not None or places:
            rungs.append(Rung("typed_address", "unneeded", "a hint was found", at))
        else:
            detail = "needs a person: `meshnode join HOST`, or the QR code of `meshnode pair` there"
            rungs.append(Rung("typed_address", "ask", detail, at))
        return tuple(rungs)

    async def _ask(self, places: list[Place]) -> dict[str, tuple[Place, ...]]:
        """Who says to be where; unproven."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(place: Place) -> tuple[Place, str] | None:
            async with turns:
                try:
                    answer = await self._client.identity(*place, self._entropy.draw(32))
                except MeshError:
                    return None
                return place, answer.id

        found: dict[str, tuple[Place, ...]] = {}
        for place, node_id in filter(None, await asyncio.gather(*map(ask, places))):
            found[node_id] = (*found.get(node_id, ()), place)
        return found

    async def _ask_link(self) -> None:
        now = self._clock.monotonic()
        if self._has_mdns and now - self._asked_mono >= ASK_EVERY_S:
            self._asked_mono = now
            await self.ask_link()

    # ── whether multicast reaches us ───────────────────────────────────────────────────────────────────────────────

    def _judge_multicast(self) -> None:
        """Say `no_multicast` when it has reached us for too long from nobody who should be heard."""
        if not self._has_mdns:
            return
        if any(d["code"] == NO_MULTICAST for d in self._status.degraded()) and not self._has_degraded:
            self._deaf_since = None
            return  # the announcer has said why already
        why = self._why_deaf()
        now = self._clock.monotonic()
        if why is None:
            self._deaf_since = None
            if self._has_degraded:
                self._has_degraded = False
                self._status.recover(NO_MULTICAST)
            return
        if self._deaf_since is None:
            self._deaf_since = now
        if now - self._deaf_since >= self._grace_s:
            self._has_degraded = True
            self._status.degrade(NO_MULTICAST, f"{why} (`meshnode doctor` says more)")

    def _why_deaf(self) -> str | None:
        """Peers answer from our own network and mDNS shows none; or not even our own announcement came back."""
        if self._discovery.is_full:
            return None  # somebody is heard, and a peer that is heard too may not be on the list
        seen = {sighting.id for sighting in self._discovery.list()}
        if any((entry := self._roster.get(node_id)) and _announces_itself(entry) for node_id in seen):
            return None
        speaking = [entry for entry in self._roster if _announces_itself(entry)]
        networks = list(self._networks()) if speaking else []  # else nobody asks the system for its interfaces
        near = next((entry for entry in speaking if on_link(entry.hostname, networks)), None)
        if near is not None:
            who = f"{near.node.label} answers at {near.hostname}"
            return f"mDNS shows none of the peers of this network, though {who}: it is blocked"
        if not seen and not self._discovery.has_heard_itself:
            return "mDNS is blocked on this machine: not even our own announcement is heard"
        return None


def _is_missing(entry: Entry) -> bool:
    return entry.status != "online" and entry.status_reason not in ("left", "removed_us") and entry.is_peer


def _announces_itself(entry: Entry) -> bool:
    """Whether it runs, and did not say that it leaves mDNS alone."""
    is_online = entry.status == "online" and entry.is_peer
    return is_online and (entry.announcement is None or entry.announcement.mdns)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{'es' if what.endswith('s') else 's'}"


async def _ask_nobody() -> None:
    """Where there is no link to ask."""
