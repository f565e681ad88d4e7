"""Look at everything that can keep nodes apart, as seen from inside the running node: the daemon's half of `doctor`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from meshnode.domain.diagnosis import (
    Attempt,
    Finding,
    MulticastEvidence,
    Neighbour,
    judge_clock,
    judge_interfaces,
    judge_isolation,
    judge_multicast,
    judge_peer,
    on_link,
)
from meshnode.domain.errors import MeshError
from meshnode.domain.served_certificate import judge_certificate
from meshnode.domain.source_address import IPNetwork
from meshnode.node.describe_node import SelfDescription
from meshnode.node.discover_peers import DiscoverPeers
from meshnode.node.discovery_ladder import DiscoveryLadder, Rung
from meshnode.node.open_session import OpenSession
from meshnode.node.ports import Clock, Destination, PeerClient
from meshnode.node.prove_address import ProveAddress
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Entry, Roster

PEERS_MAX: Final = 64
AT_ONCE: Final = 8
ADDRESSES_TRIED: Final = 8
PEER_S: Final = 5.0
_HAS_STAGE: Final = frozenset({"certificate"})
_BY_CHOICE: Final = frozenset({"plain_listener"})  # said in `status`, and what the owner asked for


class Interfaces(msgspec.Struct, frozen=True):
    """Which network interfaces are used, which are not and why, and why the system would not tell."""

    used: tuple[tuple[str, str], ...]  # name, address
    left_out: tuple[tuple[str, str], ...] = ()  # name, why
    error: str = ""


class LinkProbe(Protocol):
    """The network beneath us."""

    def interfaces(self) -> Interfaces:
        """What the system says of them."""

    def networks(self) -> Iterable[IPNetwork]:
        """The networks we are on."""

    async def multicast(self) -> MulticastEvidence:
        """Ask the link, and listen for a moment."""

    async def router(self) -> tuple[str | None, bool | None]:
        """The router's address, and whether it is there; None where that can't be told."""


class Diagnosis(msgspec.Struct, frozen=True):
    """The findings, and how the search for each missing peer stands."""

    findings: list[Finding]
    ladder: dict[str, tuple[Rung, ...]]


class _Examined(msgspec.Struct, frozen=True):
    entry: Entry
    attempts: list[Attempt]
    offset_s: float | None  # its clock minus ours


class DiagnoseNode:
    """The use case."""

    def __init__(
        self,
        me: SelfDescription,
        roster: Roster,
        discovery: DiscoverPeers,
        ladder: DiscoveryLadder,
        client: PeerClient,
        opening: OpenSession,
        proving: ProveAddress,
        status: ReportStatus,
        clock: Clock,
        link: LinkProbe,
        *,
        has_mdns: bool,
    ) -> None:
        self._me = me
        self._roster = roster
        self._discovery = discovery
        self.ladder = ladder
        self._client = client
        self._opening = opening
        self._proving = proving
        self._status = status
        self._clock = clock
        self._link = link
        self._has_mdns = has_mdns
        self._turn = asyncio.Lock()  # one at a time: they would hear each other's questions

    async def diagnose(self, *, network_only: bool = False) -> Diagnosis:
        """Try it all; `network_only` leaves out peers and clock, and takes less than three seconds."""
        async with self._turn:
            peers = [] if network_only else [e for e in self._roster if e.is_peer][:PEERS_MAX]
            examined, evidence, router = await asyncio.gather(
                self._examine_all(peers), self._multicast(), self._link.router()
            )
        networks = list(self._link.networks())
        there = self._link.interfaces()
        own = {address for _, address in there.used}
        neighbours = [n for n in self._neighbours(examined, networks) if n.address not in own]  # not on this machine
        findings = [judge_interfaces(there.used, there.left_out, there.error)]
        if evidence is None:
            off = "mDNS is switched off here (mdns.enabled, --no-mdns)"
            findings += [
                Finding(stage=stage, verdict="none", detail=off, cause="mdns_off")
                for stage in ("multicast_out", "multicast_in")
            ]
        else:
            findings += judge_multicast(evidence, [s.name for s in self._discovery.list()], neighbours)
        findings.append(judge_isolation(evidence or MulticastEvidence(), neighbours, *router))
        if not network_only:
            offsets = [(e.entry.node.label, e.offset_s) for e in examined if e.offset_s is not None]
            findings.append(judge_clock(self._clock.now().timestamp(), self._me.epoch, offsets))
            if self._status.certificate is not None:
                findings.append(judge_certificate(self._status.certificate))
            findings += [self._judge(peer, networks) for peer in examined]
            findings += self._degraded()
        return Diagnosis(findings, dict(self.ladder.records))

    async def _multicast(self) -> MulticastEvidence | None:
        return await self._link.multicast() if self._has_mdns else None

    def _neighbours(self, examined: list[_Examined], networks: list[IPNetwork]) -> list[Neighbour]:
        """Paired nodes on our own networks: as examined now, else as the heartbeats know them."""
        found = []
        for peer in examined:
            good = next((a for a in peer.attempts if a.pinned and on_link(a.host, networks)), None)
            tried = good or next((a for a in peer.attempts if on_link(a.host, networks)), None)
            if tried is not None and (good is not None or peer.entry.status_reason != "left"):
                found.append(_neighbour(peer.entry, tried.host, answers=good is not None))
        known = {peer.entry.node.id for peer in examined}
        for entry in self._roster:
            if not entry.is_peer or entry.node.id in known or entry.status_reason == "left":
                continue
            if on_link(entry.hostname, networks):
                found.append(_neighbour(entry, entry.hostname, answers=entry.status == "online"))
        return found

    def _degraded(self) -> list[Finding]:
        return [
            Finding(
                stage="degraded",
                verdict="none" if trouble["code"] in _BY_CHOICE else "warning",
                detail=trouble["detail"],
                cause=trouble["code"],
                fix="" if trouble["code"] in _BY_CHOICE else "see docs/operations.md, Is it well?",
            )
            for trouble in self._status.degraded()
            if trouble["code"] not in _HAS_STAGE
        ]

    # ── peers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self, peer: _Examined, networks: list[IPNetwork]) -> Finding:
        entry = peer.entry
        silent_s = self._clock.monotonic() - entry.heard_mono
        heard = "never" if entry.last_seen is None else f"{_duration(silent_s)} ago"
        is_near = any(on_link(a.host, networks) for a in peer.attempts)
        return judge_peer(entry.node.label, entry.status, entry.status_reason, heard, peer.attempts, is_near=is_near)

    async def _examine_all(self, entries: list[Entry]) -> list[_Examined]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def examine(entry: Entry) -> _Examined:
            async with turns:
                return await self._examine(entry)

        return list(await asyncio.gather(*map(examine, entries)))

    async def _examine(self, entry: Entry) -> _Examined:
        """Every address at once for the certificate; a session at the first that has the right one."""
        port = entry.announcement.port if entry.announcement else entry.port
        places = [(entry.hostname, entry.port), *((address, port) for address in entry.node.addresses)]
        places = list(dict.fromkeys(places))[:ADDRESSES_TRIED]
        offsets: list[float] = []
        attempts = list(await asyncio.gather(*(self._try(entry, place, offsets) for place in places)))
        for number, attempt in enumerate(attempts):
            if attempt.pinned:
                attempts[number] = await self._authenticate(entry, attempt)
                break
        return _Examined(entry, attempts, offsets[0] if offsets else None)

    async def _try(self, entry: Entry, place: tuple[str, int], offsets: list[float]) -> Attempt:
        host, port = place
        try:
            async with asyncio.timeout(PEER_S):
                there = await self._client.wall_clock(self._destination(entry, host, port))
                if there is not None:
                    offsets.append((there - self._clock.now()).total_seconds())
                return Attempt(host=host, port=port, outcome="ok", pinned=True)
        except TimeoutError:
            return Attempt(host=host, port=port, outcome="unreachable", detail="no answer (timed out)")
        except MeshError as error:
            if error.code == "certificate_mismatch":
                return await self._who(entry, host, port, error)
            return Attempt(host=host, port=port, outcome=error.code, detail=error.detail)

    async def _who(self, entry: Entry, host: str, port: int, mismatch: MeshError) -> Attempt:
        """Another certificate answers: the peer's new one if its key proves that, as the heartbeats would find too."""
        try:
            async with asyncio.timeout(PEER_S):
                if await self._proving.prove(entry, host, port):
                    return Attempt(host=host, port=port, outcome="ok", pinned=True)
        except TimeoutError:
            pass
        except MeshError as error:
            if error.code == "wrong_node_at_address":
                return Attempt(host=host, port=port, outcome=error.code, detail=f"another node ({error.detail})")
        return Attempt(host=host, port=port, outcome=mismatch.code, detail=mismatch.detail)

    async def _authenticate(self, entry: Entry, attempt: Attempt) -> Attempt:
        try:
            async with asyncio.timeout(PEER_S):
                await self._opening.open(self._destination(entry, attempt.host, attempt.port))
        except TimeoutError:
            return msgspec.structs.replace(attempt, outcome="unreachable", detail="no answer (timed out)")
        except MeshError as error:
            return msgspec.structs.replace(attempt, outcome=error.code, detail=error.detail)
        return msgspec.structs.replace(attempt, authenticated=True)

    def _destination(self, entry: Entry, host: str, port: int) -> Destination:
        return Destination(entry.node.id, host, port, entry.node.tls_sha256 or b"")


def _neighbour(entry: Entry, address: str, *, answers: bool) -> Neighbour:
    return Neighbour(entry.node.label, address, answers, has_mdns=entry.announcement is None or entry.announcement.mdns)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"
