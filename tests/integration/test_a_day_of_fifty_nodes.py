"""A mesh that runs for years stays as small as it was: hours of whole nodes, in simulated time.

What is real: every node is the graph that `meshnode run` builds, with all its tasks, on sockets of its own with TLS,
with its own SQLite files. What is reduced, of 50 nodes for 24 hours: they share one process and one event loop, whose
time is simulated, on whole seconds; each is paired with four others instead of 49; one of them sends every 15 s, the
others every 300 s, the longest interval there is. That is 86 400 sweeps of each node, 24 sessions of each pair in each
direction, and about 80 000 heartbeats, instead of 14 million. mDNS is off: fifty nodes of one process would be one.

Every hour some stop and return, some die and return, some get another address, and an offer is left to expire.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sqlite3
import sys
import threading
from asyncio import sslproto
from collections import Counter, deque
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from meshnode.config import load_config
from meshnode.daemon import lifecycle
from meshnode.daemon.compose import Graph, compose
from meshnode.daemon.offline import open_data_directory
from meshnode.daemon.system import SystemEntropy
from meshnode.domain.notice import SHOWN_MAX
from meshnode.node.event_stream import RING
from meshnode.node.join_peer import Invitation
from meshnode.node.open_offer import OpenedOffer
from meshnode.store.database import Database
from meshnode.store.tls_files import load_or_make_tls
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.tls_listener import TLS_BUFFER_BYTES, bind
from tests.fakes.simulated_time import SimulatedTime, run_simulated

CAPS = {"EventStream._ring": RING, "Notices._known": SHOWN_MAX}  # of one node; they fill up and stay so
HOUR_S = 3600
CALM_S = 1200  # before a look, in which everybody comes back: two backoffs of five minutes, and a heartbeat
WAL_BYTES = 1000 * 4096 + 512 * 1024  # where SQLite begins it anew, and what one transaction may add
MIB = 1024 * 1024
_CONTAINERS = (
    dict,
    list,
    set,
    tuple,
    deque,
)  # not an abstract class: that would remember every class it is asked about


class SimulatedNode:
    """One whole node on the running loop; may be stopped and started again."""

    def __init__(self, path: Path, number: int, time: SimulatedTime, interval_s: float) -> None:
        self.path = path
        self.number = number
        self.time = time
        self.interval_s = interval_s
        self.graph: Graph
        self.heartbeats = 0  # answered, over all starts
        self.sessions = 0
        self.moves = 0
        self.offers = 0
        self._kept = socket.socket()  # holds the port while the node is stopped: others take free ones meanwhile
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("0.0.0.0", 0))
        self._port: int = self._kept.getsockname()[1]
        self._addresses: OwnAddresses
        self._stop: asyncio.Event
        self._running: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.graph.use.me.identity.id

    async def start(self) -> None:
        """Come up, at another address than the last time."""
        ready = asyncio.Event()
        self._stop = asyncio.Event()
        with self.time.held():
            self._running = asyncio.create_task(self._run(ready))
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait([self._running, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not ready.is_set():
                waiting.cancel()
                await self._running

    def is_calling(self) -> bool:
        """Whether a heartbeat to somebody is under way."""
        return any(link.is_busy for link in self.graph.use.heartbeats._links.values())

    def close(self) -> None:
        """Give the port away."""
        self._kept.close()

    async def _run(self, ready: asyncio.Event) -> None:
        """As `lifecycle._run` does, but for signals and files that tell other processes."""
        flags = {
            "heartbeat.interval_s": self.interval_s, "http.anonymous_per_minute": 1_000_000, "mdns.enabled": False
        }  # fmt: skip
        config = load_config(flags, {"MESHNODE_CONFIG": os.devnull}).config
        entropy = SystemEntropy()
        data = open_data_directory(self.path, self.time, entropy)
        sockets = [bind("0.0.0.0", self._port)]
        control_socket = bind("127.0.0.1", 0)
        tls = load_or_make_tls(data.path, data.identity.id, self.time.now())
        self._addresses = OwnAddresses([("127.0.0.1", self._port)], self.time.monotonic)
        self.move()
        database = await Database.open(data.database)
        graph = self.graph = compose(config, data, database, tls, self._addresses, self.time, entropy)
        self._count(graph)
        try:
            await lifecycle.load_state(graph, database, data, self._port, self._addresses, tls, self.time)
            await graph.public.start(sockets)
            await lifecycle.start_control(graph, control_socket)
            graph.use.status.is_ready = True
            ready.set()
            await lifecycle._work_until(self._stop, config, graph, self._addresses)
        finally:
            await lifecycle.stop_listeners(graph)
            await graph.http.close()
            await graph.sweeper.flush()
            await graph.use.tokens.flush()
            await database.close()
            data.close()

    def _count(self, graph: Graph) -> None:
        answering, opened = graph.use.answering, graph.use.sessions.on_opened
        heard = answering.heard

        def count_heard(entry: Any) -> None:
            self.heartbeats += 1
            heard(entry)

        async def count_opened(entry: Any, epoch: int) -> None:
            self.sessions += 1
            assert opened is not None
            await opened(entry, epoch)

        answering.heard = count_heard  # type: ignore[method-assign]
        graph.use.sessions.on_opened = count_opened

    def move(self) -> None:
        """Have another address from now on; who runs notices at the next look."""
        self.moves += 1
        self._addresses._hosts = [f"127.{self.number + 1}.{self.moves // 250}.{self.moves % 250 + 1}"]

    async def stop(self, *, says_goodbye: bool = True) -> None:
        """End, with or without a word to the peers."""
        if self._running is None:
            return
        if not says_goodbye:

            async def say_nothing() -> None:
                pass

            self.graph.use.heartbeats.leave = say_nothing  # type: ignore[method-assign]
        self._stop.set()
        await self._running
        self._running = None

    async def offer(self) -> OpenedOffer:
        """Open an offer, for five minutes."""
        self.offers += 1
        return await self.graph.use.offers.open(300)

    async def pair_with(self, other: SimulatedNode) -> None:
        """Join the other by PIN."""
        offer = await other.offer()
        await self.graph.use.joining.join(Invitation("127.0.0.1", other._port, offer.pin))

    def offline(self) -> list[str]:
        """Its peers that it doesn't show as online."""
        return [entry.node.id for entry in self.graph.roster if entry.is_peer and entry.status != "online"]


class Size(NamedTuple):
    """How large everything is."""

    rss_bytes: int
    objects: int
    offers: int  # opened so far
    tasks: int
    sockets: int
    threads: int
    rows: dict[str, int]
    database_bytes: int
    wal_bytes: list[int]
    containers: dict[str, int]

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.rss_bytes / MIB:.1f} MiB, {self.objects} objects, {self.tasks} tasks, {self.sockets} sockets, "
            f"{self.threads} threads, {sum(self.rows.values())} rows, {self.database_bytes // 1024} KiB of databases, "
            f"logs of {max(self.wal_bytes) // 1024} KiB at most"
        )


def measure(nodes: list[SimulatedNode]) -> Size:
    """All nodes together, as of now."""
    gc.collect()
    rows: Counter[str] = Counter()
    for node in nodes:
        with closing(sqlite3.connect(f"file:{node.path / 'meshnode.db'}?mode=ro", uri=True)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for table in tables:
                rows[table] += connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Size(
        rss_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        objects=len(gc.get_objects()),
        offers=sum(node.offers for node in nodes),
        tasks=len(asyncio.all_tasks()),
        sockets=len(os.listdir("/proc/self/fd")),
        threads=threading.active_count(),
        rows=dict(rows),
        database_bytes=sum((node.path / "meshnode.db").stat().st_size for node in nodes),
        wal_bytes=[(node.path / "meshnode.db-wal").stat().st_size for node in nodes],
        containers=dict(_containers()),
    )


def _containers() -> Counter[str]:
    """The lengths of all containers that are attributes of our objects, by class and attribute."""
    lengths: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        if not str(kind.__module__).startswith("meshnode.") or isinstance(thing, type):
            continue
        names = {name for base in kind.__mro__ for name in getattr(base, "__slots__", ())} | set(
            getattr(thing, "__dict__", ())
        )
        for name in names:
            value = getattr(thing, name, None)
            if isinstance(value, _CONTAINERS):
                lengths[f"{kind.__name__}.{name}"] += len(value)
    return lengths


async def live(nodes: list[SimulatedNode], hours: int, churn: Random, time: SimulatedTime) -> list[Size]:
    """Every hour something happens to some; the sizes at the hours' ends, once all have found each other again."""
    sizes = []
    few = max(1, len(nodes) // 25)
    begin_s = time.passed_s
    for hour in range(hours):
        leaving, dying, moving, offering = (churn.sample(nodes, few) for _ in range(4))
        dying = [node for node in dying if node not in leaving]
        for node in offering:
            await node.offer()
        for node in leaving:
            await node.stop()
        for node in dying:
            await node.stop(says_goodbye=False)
        for node in moving:
            if node not in leaving and node not in dying:
                node.move()
        await asyncio.sleep(churn.randrange(600, 1800))
        for node in (*leaving, *dying):
            await node.start()
        await asyncio.sleep(begin_s + (hour + 1) * HOUR_S - time.passed_s)
        while any(node.is_calling() for node in nodes):  # each call is a task, and more are due at a full second
            await asyncio.sleep(0.3)
        assert not any(node.offline() for node in nodes), [node.offline() for node in nodes]
        sizes.append(measure(nodes))
        print(f"hour {hour + 1}: {sizes[-1].told()}", file=sys.stderr)
    return sizes


async def run_mesh(path: Path, time: SimulatedTime, count: int, hours: int, steps: tuple[int, ...]) -> list[Size]:
    """`count` nodes in a ring with chords: each is paired with those `steps` away."""
    nodes = [SimulatedNode(path / str(i), i, time, 15.0 if i == 0 else 300.0) for i in range(count)]
    try:
        for node in nodes:
            await node.start()
        with time.held():
            for i, node in enumerate(nodes):
                for step in steps:
                    await node.pair_with(nodes[(i + step) % count])
        sizes = await live(nodes, hours, Random(1), time)
        peers = 2 * len(steps)
        for node in nodes:
            beats = node.heartbeats / (hours * HOUR_S / node.interval_s)
            assert beats >= 0.5 * peers, f"{node.heartbeats} heartbeats of {peers} peers in {hours} h"
            assert node.sessions >= peers * hours, f"{node.sessions} sessions: each is renewed within the hour"
        return sizes
    finally:
        for node in nodes:
            await node.stop()
            node.close()


def assert_flat(before: Size, after: Size, nodes: int) -> None:
    """Nothing is larger than it was, but for what has a limit and has not reached it."""
    told = f"{before.told()}; then {after.told()}"
    assert after.rss_bytes <= before.rss_bytes * 1.03 + 2 * MIB, told
    assert after.objects <= before.objects * 1.01 + 300, told
    assert after.tasks <= before.tasks + 2, told
    assert after.sockets <= before.sockets + 2, told
    assert after.threads <= before.threads, told
    assert after.database_bytes <= before.database_bytes * 1.05 + nodes * 4 * 4096, told
    assert max(after.wal_bytes) <= WAL_BYTES, told
    offers = after.offers - before.offers  # each leaves a row for a day in the one, for good in the other (capped)
    for table, count in after.rows.items():
        limit = before.rows[table] + (offers if table in ("pairing_codes", "audit_log") else 0)
        assert count <= limit, f"{table}: {before.rows[table]} rows, then {count}"
    for name, length in after.containers.items():
        most = nodes * CAPS[name] if name in CAPS else before.containers.get(name, 0) * 1.05 + 20
        assert length <= most, f"{name}: {before.containers.get(name, 0)} entries, then {length}"


@pytest.mark.parametrize(
    ("count", "hours", "warm", "steps"),
    [
        pytest.param(6, 4, 2, (1, 2), id="6-nodes-4-hours", marks=pytest.mark.timeout(300)),
        pytest.param(
            50, 24, 6, (1, 7), id="50-nodes-24-hours", marks=[pytest.mark.long, pytest.mark.timeout(3000)]
        ),
    ],
)  # fmt: skip
def test_a_mesh_is_as_small_at_the_end_of_the_day_as_it_was_in_the_morning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, hours: int, warm: int, steps: tuple[int, ...]
) -> None:
    """Memory, objects, tasks, sockets, threads, rows, database bytes and every table in memory."""
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", TLS_BUFFER_BYTES)  # as `lifecycle.run` sets it
    sizes = run_simulated(lambda time: run_mesh(tmp_path, time, count, hours, steps), monkeypatch)
    assert_flat(sizes[warm - 1], sizes[-1], count)
