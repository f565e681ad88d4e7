"""Power cuts: what the backing file of a node's disk holds at any moment is a database with all that was answered.

The file system above it has dirty pages that are not in that file; a copy of it is what a cut would leave.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from meshnode.crypto.token import token_digest
from tests.dialects.asking import get
from tests.dialects.conformance import Driver, Mesh
from tests.dialects.drivers import Abpa3, Salita
from tests.fakes.nodes import Node, Nodes, running_nodes, wait_for

SIZE_BYTES = 48 << 20
TICK_NS = 50_000_000  # a file's times are no finer than the kernel's tick: a change within one is not seen
DRIVERS: tuple[type[Driver], ...] = (Salita, Mesh, Abpa3)


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """The file system in `image`; its journal is replayed first."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)


class Owner:
    """Pairs and revokes for as long as it is let, and keeps a record of what it was answered."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.paired: dict[str, str] = {}  # id → token, "" for a peer
        self.revoking: set[str] = set()  # asked for
        self.revoked: list[str] = []
        self.failure: BaseException | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="owner")
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                for row in DRIVERS:
                    self._pair(row(self._node))
                self._revoke(random.choice([one for one in list(self.paired) if one not in self.revoking]))
        except BaseException as error:  # noqa: BLE001 - told by `stop`
            self.failure = error

    def _pair(self, driver: Driver) -> None:
        device = driver.fresh()
        outcome = driver.pair(driver.open(device), device)
        assert outcome.is_ok, outcome
        self.paired[outcome.node_id] = outcome.token if driver.name != "mesh" else ""

    def _revoke(self, node_id: str) -> None:
        self.revoking.add(node_id)
        self._node.call("POST", f"/api/v1/nodes/id:{node_id}/revoke", {})
        self.revoked.append(node_id)

    def has_done(self, count: int) -> bool:
        """Whether so much was revoked, and three times that paired; or nothing more will be."""
        return len(self.revoked) >= count or self.failure is not None

    def stop(self) -> None:
        """Raises what went wrong."""
        self._end.set()
        self._thread.join(30)
        if self.failure is not None:
            raise self.failure


def cut(node: Node, image: Path, copy: Path) -> None:
    """Copy what is on the disk, in a moment in which nothing is written to it; the node notices nothing."""
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(50):
            wait_for("an older change", lambda: time.time_ns() - image.stat().st_mtime_ns > TICK_NS)
            before = image.stat().st_mtime_ns
            subprocess.run(["cp", "--sparse=always", image, copy], check=True)
            if image.stat().st_mtime_ns == before:  # else the system was writing back meanwhile: no moment in time
                return
        raise AssertionError("the disk is never quiet")
    finally:
        node.process.send_signal(signal.SIGCONT)


def check_database(file: Path, paired: dict[str, str], revoked: list[str], revoking: set[str]) -> None:
    """All that was answered before the cut is there."""
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        trust = dict(connection.execute("SELECT id, trust FROM mesh_nodes"))
        live = dict(connection.execute("SELECT digest, node_id FROM device_tokens WHERE revoked_at IS NULL"))
    assert [one for one in revoked if trust.get(one) != "revoked"] == []
    kept = {one: token for one, token in paired.items() if one not in revoking}
    assert [one for one in kept if trust.get(one) != "paired"] == []
    assert [one for one, token in kept.items() if token and live.get(token_digest(token)) != one] == []
    assert set(revoked).isdisjoint(live.values())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """An image file, and where it is mounted."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4")
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with mounted(image, tmp_path / "mounted") as place:
        yield image, place


def cut_often(nodes: Nodes, disk: tuple[Path, Path], folder: Path, cuts: int) -> None:
    """Cut at random moments; in the end a node starts from the last copy."""
    image, place = disk
    node = nodes.make()
    node.data = place / "data"
    node.start()
    subprocess.run(["sync", "--file-system", place], check=True)
    owner = Owner(node)
    # of each cut, a file of its own: the loop device of the last may be there yet, and show what was in it
    copy = folder / "cut"
    paired: dict[str, str] = {}
    revoked: list[str] = []
    try:
        for number in range(cuts):
            copy.unlink(missing_ok=True)
            copy = folder / f"cut-{number}"
            wait_for("something to lose", partial(owner.has_done, len(owner.revoked) + random.randint(1, 3)))
            paired, revoked = dict(owner.paired), list(owner.revoked)
            cut(node, image, copy)
            with mounted(copy, folder / "after") as after:
                # what was asked for and not answered before the cut may have happened or not
                check_database(after / "data" / "meshnode.db", paired, revoked, set(owner.revoking))
    finally:
        owner.stop()
        node.kill()
    kept = next(token for one, token in paired.items() if token and one not in owner.revoking)
    gone = next((paired[one] for one in revoked if paired.get(one)), None)
    with mounted(copy, folder / "after") as after:
        again = nodes.make()
        again.data = after / "data"
        again.start()
        try:
            assert get(again, "/openapi.json", kept).status == 200
            if gone is not None:
                assert get(again, "/openapi.json", gone).status == 401
        finally:
            again.kill()


@pytest.fixture
def nodes(disk: tuple[Path, Path], tmp_path: Path) -> Iterator[Nodes]:
    """Ended before their disk is unmounted."""
    with running_nodes(tmp_path) as made:
        yield made


def test_nothing_answered_is_lost_in_a_power_cut(nodes: Nodes, disk: tuple[Path, Path], tmp_path: Path) -> None:
    """Pairings, revocations, tokens; the database is whole, and a node starts from it."""
    cut_often(nodes, disk, tmp_path, 6)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_nothing_answered_is_lost_in_hundreds_of_power_cuts(
    nodes: Nodes, disk: tuple[Path, Path], tmp_path: Path
) -> None:
    """The same, three hundred times."""
    cut_often(nodes, disk, tmp_path, 300)
