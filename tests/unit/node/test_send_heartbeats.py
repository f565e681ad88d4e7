"""When heartbeats are sent: the grid, the backoff, and what makes us call at once. Peers are played, time is set."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.pairing_code import Secret
from meshnode.domain.peer import MeshNode
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.open_session import OpenSession
from meshnode.node.ports import Contact, Destination, IdentityAnswer, SessionAnswer
from meshnode.node.prove_address import ProveAddress
from tests.fakes.bare_node import BareNode

I_S = 15.0
STEP_S = 0.125


@dataclass
class Peers:
    """`node.ports.PeerClient`: plays every peer, and keeps when each was called."""

    core: BareNode
    calls: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    away: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)
    hang_ups: list[float] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def _reach(self, to: Destination) -> None:
        if to.node_id in self.hanging:
            await self.hung_up.wait()
            self.hanging.discard(to.node_id)
            raise MeshError("unreachable", "hung up")
        if to.node_id in self.away:
            raise MeshError("unreachable", "away")

    async def nonce(self, to: Destination) -> bytes:
        self.calls[to.node_id].append(round(self.core.clock.monotonic(), 3))
        await self._reach(to)
        return bytes(32)

    async def open_session(self, to: Destination, caller: str, jws: str) -> SessionAnswer:
        return SessionAnswer(Secret("token"), 3600.0, 0, 0, None)

    async def heartbeat(self, to: Destination, token: str, beat: Heartbeat) -> Heartbeat:
        if beat.sequence > 1:
            self.calls[to.node_id].append(round(self.core.clock.monotonic(), 3))
        await self._reach(to)
        sha256 = beat.announcement_sha256
        return Heartbeat(
            epoch=1, sequence=beat.sequence, announcement_sha256="x", known_sha256=sha256,
            leaving=to.node_id in self.leaving,
        )  # fmt: skip

    async def hang_up(self) -> None:
        self.hang_ups.append(round(self.core.clock.monotonic(), 3))
        self.hung_up.set()

    def contact(self, host: str, port: int, cert_prefix: bytes) -> Contact:
        raise NotImplementedError

    async def ack(self, to: Destination, sid: bytes, node_id: str, jws: str) -> None:
        raise NotImplementedError

    async def identity(self, host: str, port: int, nonce: bytes) -> IdentityAnswer:
        raise NotImplementedError


class Sending:
    """A bare node that sends to played peers, while the test lets time pass."""

    def __init__(self, core: BareNode) -> None:
        use = core.use
        self.core = core
        self.peers = Peers(core)
        self.heartbeats = ExchangeHeartbeats(
            use.me, core.graph.roster, use.answering, use.answering._learning, use.joining,
            OpenSession(use.me, self.peers), ProveAddress(self.peers, core.database, core.entropy),
            self.peers, core.clock, core.entropy,
        )  # fmt: skip

    async def add(self, name: str) -> None:
        """A paired peer, called at once."""
        node = MeshNode(
            id=name, name=name, hostname="192.0.2.1", port=6969, status="stale", trust="paired", trust_level=1,
            public_key=name.encode().ljust(32, b"."), tls_sha256=bytes(32), created_at=self.core.clock.now(),
        )  # fmt: skip
        self.core.graph.roster.put(node, self.core.clock.monotonic())
        self.heartbeats.add(name)
        await self.settle()

    async def settle(self) -> None:
        """Let what is due happen."""
        self.heartbeats._wake.set()
        for _ in range(12):
            await asyncio.sleep(0)

    async def run(self, seconds: float) -> None:
        """Time passes."""
        for _ in range(round(seconds / STEP_S)):
            self.core.clock.advance(STEP_S)
            await self.settle()

    def calls(self, name: str) -> list[float]:
        """When it was called, in seconds from the start."""
        return [round(at - 1000.0, 3) for at in self.peers.calls[name]]

    def status(self, name: str) -> tuple[str, str | None]:
        """As shown."""
        entry = self.core.graph.roster.get(name)
        assert entry is not None
        return entry.status, entry.status_reason


@pytest.fixture
async def sending(core: BareNode) -> AsyncIterator[Sending]:
    made = Sending(core)
    task = asyncio.create_task(made.heartbeats.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_peers_due_in_the_same_second_are_called_together(sending: Sending) -> None:
    """Whenever in that second each was added; every 15 s exactly, never later than promised."""
    for name in ("a", "b", "c"):
        await sending.add(name)
        await sending.run(0.25)
    await sending.run(60)
    assert sending.calls("a") == [0.0, 15.0, 30.0, 45.0, 60.0]
    assert sending.calls("b") == [0.25, 15.0, 30.0, 45.0, 60.0]
    assert sending.calls("c") == [0.5, 15.0, 30.0, 45.0, 60.0]


async def test_a_peer_that_is_away_is_tried_ever_more_rarely_and_for_ever(sending: Sending) -> None:
    """1 s × 1.8ⁿ ± 20 %, on the grid second after, at most 72 s; the day it is back it is online at the next try."""
    sending.peers.away.add("a")
    await sending.add("a")
    await sending.run(900)
    calls = sending.calls("a")
    gaps = [later - earlier for earlier, later in itertools.pairwise(calls)]
    for n, gap in enumerate(gaps):
        mean = min(60.0, 1.8**n)
        assert 0.8 * mean <= gap <= 1.2 * mean + 1 + STEP_S, (n, gap)
    assert len(gaps) > 15
    assert sending.status("a")[0] == "stale"
    sending.peers.away.clear()
    await sending.run(73)
    assert sending.status("a")[0] == "online"
    await sending.run(31)
    assert sending.calls("a")[-1] - sending.calls("a")[-2] == I_S


async def test_a_sighted_peer_is_called_at_once_but_not_again_within_five_seconds(sending: Sending) -> None:
    """However long it was away, and however often mDNS sees it."""
    sending.peers.away.add("a")
    await sending.add("a")
    await sending.run(300)
    sending.peers.away.clear()
    begun = len(sending.calls("a"))
    for _ in range(39):
        sending.heartbeats.sighted("a", (("192.0.2.7", 6969),))
        await sending.run(STEP_S)
    assert len(sending.calls("a")) == begun + 1
    assert sending.status("a")[0] == "online"


async def test_a_sighting_during_a_try_that_hangs_is_not_lost(sending: Sending) -> None:
    """When that has ended, the next follows at once."""
    sending.peers.hanging.add("a")
    await sending.add("a")
    await sending.run(2)
    sending.heartbeats.sighted("a", (("192.0.2.7", 6969),))
    await sending.run(1)
    assert sending.calls("a") == [0.0]
    sending.peers.hung_up.set()
    await sending.run(STEP_S)
    assert sending.status("a")[0] == "online"


async def test_all_are_called_at_once_over_new_connections(sending: Sending) -> None:
    """Those that are well, those that back off, and those whose call hangs in an old connection."""
    sending.peers.away.add("away")
    await sending.add("well")
    await sending.add("away")
    await sending.run(100)
    sending.peers.hanging.add("hanging")
    await sending.add("hanging")
    await sending.run(0.5)
    sending.peers.away.clear()
    before = {name: len(sending.calls(name)) for name in ("well", "away", "hanging")}
    sending.heartbeats.all_now()
    await sending.settle()
    now = round(sending.core.clock.monotonic() - 1000.0, 3)
    assert sending.peers.hang_ups == [round(now + 1000.0, 3)]
    for name, seen in before.items():
        assert sending.calls(name)[seen:], name
        assert set(sending.calls(name)[seen:]) == {now}
        assert sending.status(name)[0] == "online"


async def test_after_all_were_called_the_backoff_begins_anew(sending: Sending) -> None:
    """We have just woken and the network is not up yet: the next try comes in about a second, not in a minute."""
    sending.peers.away.add("a")
    await sending.add("a")
    await sending.run(300)
    seen = len(sending.calls("a"))
    sending.heartbeats.all_now()
    await sending.run(3)
    assert len(sending.calls("a")) >= seen + 2


async def test_a_peer_that_answers_while_it_stops_is_not_alive(sending: Sending) -> None:
    """Its goodbye may have come before; its answer says the same."""
    await sending.add("a")
    assert sending.status("a") == ("online", None)
    sending.peers.leaving.add("a")
    await sending.run(I_S)
    assert sending.status("a") == ("offline", "left")
