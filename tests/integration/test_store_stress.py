"""A disk that is full, read-only or broken: the node stays up, says so, pairs nobody, and recovers with the disk."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity
from tests.dialects.asking import get
from tests.dialects.conformance import Device, Mesh, RefusedError
from tests.dialects.drivers import ROWS, Salita
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Node, Nodes, wait_for

SOURCE = Path(__file__).parents[1] / "fakes" / "failing_disk.c"
TICKETED = [row for row in ROWS if row.name != "mesh-pin"]  # one mesh offer at a time


class Disk(Protocol):
    """Where a node keeps its data, and what can befall it."""

    node: Node
    code: str

    def fail(self) -> None:
        """From now on."""

    def heal(self) -> None:
        """As before."""


class FullDisk:
    """A small disk that something else fills."""

    code = "disk_full"

    def __init__(self, nodes: Nodes) -> None:
        self.node = nodes.make()
        self.node.data.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", self.node.data], check=True)

    def fail(self) -> None:
        """Write until nothing goes in any more."""
        with (self.node.data / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1024))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017 - the loop has no other end

    def heal(self) -> None:
        """Make room."""
        (self.node.data / "filler").unlink()

    def close(self) -> None:
        """Unmount, whoever still uses it."""
        subprocess.run(["umount", "--lazy", self.node.data], check=True)


class FailingDisk:
    """One that answers writes and syncs with an errno; perhaps reads too."""

    code = "database_error"

    def __init__(self, nodes: Nodes, folder: Path, says: str) -> None:
        library = folder / "failing_disk.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        self._flag, self._says = folder / "fails", says
        self.node = nodes.make(LD_PRELOAD=str(library), FAIL_FLAG=str(self._flag))
        self.node._environment["FAIL_DIR"] = str(self.node.data)

    def fail(self) -> None:
        """Begin to fail."""
        self._flag.write_text(self._says)

    def heal(self) -> None:
        """Fail no more."""
        self._flag.unlink()


@pytest.fixture(params=["full", "read-only", "write errors", "write and read errors"])
def disk(request: pytest.FixtureRequest, nodes: Nodes, tmp_path: Path) -> Iterator[Disk]:
    """A disk, and the node on it, started."""
    if request.param == "full":
        if os.geteuid() != 0:
            pytest.skip("mounting needs root")
        full = FullDisk(nodes)
        try:
            full.node.start()
            yield full
        finally:
            full.node.close()
            full.close()
        return
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    says = {"read-only": f"{errno.EROFS}", "write errors": f"{errno.EIO}"}.get(request.param, f"{errno.EIO} reads")
    failing = FailingDisk(nodes, tmp_path, says)
    failing.node.start()
    yield failing


def degraded(node: Node) -> dict[str, str]:
    """What `meshnode status` says is not as it should be."""
    return {trouble["code"]: trouble["detail"] for trouble in node.call("GET", "/api/v1/node")["degraded"]}


def metric(node: Node, line: str) -> bool:
    """Whether the owner is shown this line."""
    url, headers = node._control.socket  # type: ignore[union-attr]
    request = urllib.request.Request(url.replace("ws:", "http:").replace("/ws", "/metrics"), headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return line in answer.read().decode().splitlines()


def refusal(node: Node, method: str, path: str, body: object = None) -> str:
    """The code that the node refuses with; and says what to do."""
    with pytest.raises(MeshError) as caught:
        node.call(method, path, body)
    assert caught.value.status == 503
    assert caught.value.next_step
    return caught.value.code


def wait_for_beats(one: Node, other: Node) -> None:
    """Each hears the other, twice from now on: what is on its way at the moment counts for nothing."""
    for node, of in ((one, other.known_id), (other, one.known_id)):  # type: ignore[attr-defined]
        for _ in range(2):
            wait_for("a heartbeat", partial(has_beaten, node, of, node.shown(of)["last_seen"]))


def has_beaten(node: Node, other: str, before: str) -> bool:
    """Whether a node is online and was heard since."""
    shown = node.shown(other)
    return bool(shown["last_seen"] > before and shown["status"] == "online")


def pair_device(node: Node) -> str:
    """A phone's token."""
    salita, device = Salita(node), Device()
    outcome = salita.pair(salita.open(device), device)
    assert outcome.is_ok, outcome
    return outcome.token


def is_let_in(node: Node, token: str) -> bool:
    """Whether a token still counts."""
    status = get(node, "/openapi.json", token).status
    assert status in (200, 401)
    return status == 200


def test_a_disk_in_trouble_stops_pairing_and_nothing_else(disk: Disk, nodes: Nodes) -> None:
    """Status, readiness, metrics and every refusal say so; heartbeats and tokens live on; no restart is needed."""
    node, code, peer = disk.node, disk.code, nodes.start()
    node.known_id, peer.known_id = node.id, peer.id  # type: ignore[attr-defined]
    other = nodes.start()
    offer = node.offer()
    peer.join(node.address, offer.pin)
    token, revoked = pair_device(node), pair_device(node)
    phones = [row["id"] for row in node.rows() if row["dialect"] == "salita"]
    node.call("POST", f"/api/v1/nodes/{phones[1]}/revoke", {})
    wait_for_beats(node, peer)
    devices = [(row(node), row(node).fresh()) for row in TICKETED]
    tickets = [driver.open(device) for driver, device in devices]
    process = node.process
    before = {row["id"]: row["trust"] for row in node.rows()}

    disk.fail()
    wait_for("the node to notice", lambda: code in degraded(node))
    assert "by itself" in degraded(node)[code]
    assert refusal(node, "GET", "/readyz") == code
    assert metric(node, "meshnode_database_writable 0.0")
    assert metric(node, f'meshnode_degraded{{code="{code}"}} 1.0')
    for (driver, device), ticket in zip(devices, tickets, strict=True):
        assert driver.pair(ticket, device).code == code, driver.name
    for row in ROWS:
        with pytest.raises((MeshError, RefusedError)) as caught:
            row(node).open(row(node).fresh())
        said = caught.value.outcome if isinstance(caught.value, RefusedError) else caught.value
        assert said.code == code, row.name  # type: ignore[union-attr]
    theirs = other.offer()
    assert refusal(node, "POST", "/api/v1/pairing/join", {"to": other.address, "pin": theirs.pin}) == code
    assert node.known_id not in {row["id"] for row in other.rows()}  # type: ignore[attr-defined]
    assert refusal(node, "POST", f"/api/v1/nodes/{peer.known_id}/revoke", {}) == code  # type: ignore[attr-defined]
    wait_for_beats(node, peer)
    peer.restart()  # has a new announcement, and needs a new session
    wait_for_beats(node, peer)
    assert is_let_in(node, token)
    assert not is_let_in(node, revoked)

    disk.heal()
    wait_for("the node to recover", lambda: not degraded(node))
    assert node.process is process
    assert node.is_running
    assert metric(node, "meshnode_database_writable 1.0")
    assert node.call("GET", "/readyz")["status"] == "ok"
    assert {row["id"]: row["trust"] for row in node.rows()} == before
    later = pair_device(node)
    node.join(other.address, theirs.pin)
    wait_for_beats(node, peer)
    node.kill()
    with closing(sqlite3.connect(node.data / "meshnode.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    node.start()
    assert is_let_in(node, token)
    assert is_let_in(node, later)
    assert not is_let_in(node, revoked)
    assert {node_id: node.trust(node_id) for node_id in before} == before
    assert node.trust(other.id) == "paired"


def test_mesh_is_among_the_rows() -> None:
    """Else the test above would say nothing of peers."""
    assert Mesh in TICKETED


def test_a_rename_is_refused_whole(disk: Disk) -> None:
    """By the code of the disk, and neither file, row nor announcement has the new name; healed, all have it."""
    node = disk.node
    before = node.call("GET", "/api/v1/node")["node"]["name"]
    disk.fail()
    with pytest.raises(MeshError) as refused:
        node.call("PATCH", "/api/v1/node", {"name": "attic"})
    assert refused.value.code == disk.code
    disk.heal()
    assert node.call("GET", "/api/v1/node")["node"]["name"] == before
    assert before in (node.data / "node_identity.json").read_text()

    def is_renamed() -> bool:
        try:
            node.call("PATCH", "/api/v1/node", {"name": "attic"})
        except MeshError:
            return False
        return True

    wait_for("the disk to be taken for well", is_renamed)
    assert "attic" in (node.data / "node_identity.json").read_text()
    node.restart()
    assert node.call("GET", "/api/v1/node")["node"]["name"] == "attic"


def test_a_rename_that_is_not_committed_is_taken_back(tmp_path: Path) -> None:
    """The file has the new name when the database refuses: it gets the old one again."""
    node = LocalNode(tmp_path / "node").start()
    try:
        before = node.call("GET", "/api/v1/node")["node"]["name"]
        renaming = node.graph.use.renaming
        save = renaming._save
        names: list[str] = []

        def save_and_fail(name: str) -> Identity:
            names.append(name)
            identity = save(name)
            if len(names) == 1:
                raise MeshError("disk_full", "now")
            return identity

        renaming._save = save_and_fail
        with pytest.raises(MeshError) as refused:
            node.call("PATCH", "/api/v1/node", {"name": "attic"})
        assert (refused.value.code, names) == ("disk_full", ["attic", before])
        assert before in (node.data / "node_identity.json").read_text()
        assert node.call("GET", "/api/v1/node")["node"]["name"] == before
    finally:
        node.close()
