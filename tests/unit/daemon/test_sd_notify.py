"""What systemd is told, and when it is told nothing."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from meshnode.daemon import sd_notify as sd_notify_module
from meshnode.daemon.sd_notify import feed_watchdog, keep_status, report_to_systemd, sd_notify, status_line, watchdog_s
from meshnode.domain.event import Event
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Roster
from tests.fakes.bare_node import BareNode

LIMIT_S = 0.3


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd reads; never blocks."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[BareNode]:
    """A node with a real database."""
    bare = await BareNode(tmp_path / "data").start()
    yield bare
    await bare.stop()


async def heard(listening: socket.socket, timeout_s: float = 10.0) -> str:
    """The next message. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        return (await asyncio.get_running_loop().sock_recv(listening, 4096)).decode()


def drain(listening: socket.socket) -> None:
    """Forget what has come."""
    with contextlib.suppress(BlockingIOError):
        while listening.recv(4096):
            pass


async def test_a_stuck_writer_is_not_covered_up(node: BareNode, systemd: socket.socket) -> None:
    """While a transaction doesn't end nobody feeds the watchdog, though the loop turns; after it, somebody does."""
    environ = {"NOTIFY_SOCKET": systemd.getsockname()}
    feeding = asyncio.create_task(feed_watchdog(node.database, LIMIT_S, environ))
    try:
        assert await heard(systemd) == "WATCHDOG=1"
        async with node.database.write():
            drain(systemd)
            with pytest.raises(TimeoutError):
                await heard(systemd, 2 * LIMIT_S)
        assert await heard(systemd) == "WATCHDOG=1"
    finally:
        feeding.cancel()


async def test_a_refusing_database_is_no_reason_to_be_killed(node: BareNode, systemd: socket.socket) -> None:
    """A restart would meet the same full disk: the watchdog is fed on."""
    environ = {"NOTIFY_SOCKET": systemd.getsockname()}
    async with node.database.write() as tx:
        await tx.nodes._connection.execute("PRAGMA busy_timeout=0")
    async with BlockedDatabase(node.path / "meshnode.db"):
        feeding = asyncio.create_task(feed_watchdog(node.database, LIMIT_S, environ))
        try:
            for _ in range(3):
                assert await heard(systemd) == "WATCHDOG=1"
        finally:
            feeding.cancel()


class BlockedDatabase:
    """Somebody else's transaction, which never ends."""

    def __init__(self, path: Path) -> None:
        import sqlite3

        self._connection = sqlite3.connect(path, isolation_level=None)

    async def __aenter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    async def __aexit__(self, *_: object) -> None:
        self._connection.close()


async def test_nothing_runs_where_systemd_did_not_start_us(node: BareNode, systemd: socket.socket) -> None:
    """No socket, no task; without a watchdog only the status line."""
    assert report_to_systemd(node.use, {"WATCHDOG_USEC": "1000000"}) == []
    tasks = report_to_systemd(node.use, {"NOTIFY_SOCKET": systemd.getsockname()})
    try:
        assert await heard(systemd) == f"STATUS={node.use.me.identity.name}: no peers yet"
        assert [task.get_name() for task in tasks] == ["systemd status"]
    finally:
        for task in tasks:
            task.cancel()


async def test_the_status_line_follows_events_and_problems(
    node: BareNode, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that changes is told at once; what degrades, which no event announces, at the next look."""
    environ = {"NOTIFY_SOCKET": systemd.getsockname()}
    status, name = node.use.status, node.use.me.identity.name

    def describe() -> str:
        return status_line(name, status)

    keeping = asyncio.create_task(keep_status(describe, node.use.bus, environ))
    try:
        assert await heard(systemd) == f"STATUS={name}: no peers yet"
        status.degrade("no_multicast", "why")
        node.use.bus.publish(Event("mesh.node.updated", {}))
        assert (
            await heard(systemd, sd_notify_module.LOOK_S / 2) == f"STATUS={name}: no peers yet; degraded: no_multicast"
        )
    finally:
        keeping.cancel()
    monkeypatch.setattr(sd_notify_module, "LOOK_S", 0.05)
    keeping = asyncio.create_task(keep_status(describe, node.use.bus, environ))
    try:
        assert (await heard(systemd)).endswith("no_multicast")
        status.recover("no_multicast")
        assert await heard(systemd) == f"STATUS={name}: no peers yet"
    finally:
        keeping.cancel()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_limit_is_read_as_systemd_writes_it(environ: dict[str, str], expected: float | None) -> None:
    """Only for the process it names."""
    assert watchdog_s(environ) == expected


def test_the_status_line_is_one_line() -> None:
    """A name can't smuggle in a second assignment; what is degraded is named."""
    status = ReportStatus(Roster())
    assert status_line("attic\nREADY=1", status) == "attic READY=1: no peers yet"
    status.degrade("no_multicast", "why")
    assert status_line("attic", status) == "attic: no peers yet; degraded: no_multicast"


def test_nobody_to_tell_is_no_failure(tmp_path: Path) -> None:
    """Without a socket, with a strange one, or with one that is gone."""
    for path in ("", "relative", str(tmp_path / "gone")):
        assert not sd_notify("READY=1", {"NOTIFY_SOCKET": path})
