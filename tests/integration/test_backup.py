"""Backup and restore: one sealed file brings the same node back, and never beside one that still runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meshnode.daemon import backup
from meshnode.daemon.backup import Archive, read_backup, write_backup
from meshnode.daemon.restore import Restored, restore_node
from meshnode.daemon.system import SystemEntropy
from meshnode.domain.errors import MeshError
from meshnode.store.look_into_database import look_into_database
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

PASSPHRASE = "correct horse battery"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Make = Callable[[str], LocalNode]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Nodes that send heartbeats, by the name of their folder; not started."""
    made: list[LocalNode] = []

    def new(name: str) -> LocalNode:
        made.append(LocalNode(tmp_path / name, is_beating=True))
        return made[-1]

    yield new
    for node in made:
        node.close()


def backed_up(node: LocalNode, file: Path) -> Path:
    write_backup(node.data, file, PASSPHRASE, NOW)
    return file


def restored(file: Path, to: Path, *, force: bool = False, passphrase: str = PASSPHRASE) -> Restored:
    return restore_node(file, to, passphrase, SystemEntropy(), force=force, by_mdns=False)


def refusal(file: Path, to: Path, passphrase: str = PASSPHRASE) -> MeshError:
    with pytest.raises(MeshError) as caught:
        restored(file, to, passphrase=passphrase)
    return caught.value


def pair(make: Make) -> tuple[LocalNode, LocalNode, str]:
    """A node, a peer that sees it online, and the node's id."""
    node, peer = make("node").start(), make("peer").start()
    offer = node.offer()
    peer.join(offer.url, offer.pin)
    wait_for("both online", lambda: peer.is_online(node.id) and node.is_online(peer.id))
    return node, peer, node.id


def own_certificate(node: LocalNode) -> bytes:
    """The hash in the node's own row."""
    return bytes(next(row["tls_sha256"] for row in node.rows() if row["is_current"]))


def test_a_restored_node_is_the_same_to_its_peers(make: Make, tmp_path: Path) -> None:
    """The machine is lost; on another one, at another port, the node comes back online by itself."""
    node, peer, node_id = pair(make)
    file = backed_up(node, tmp_path / "backup")
    certificate = own_certificate(node)
    node.close()
    shutil.rmtree(node.data)
    assert restored(file, tmp_path / "other").kept == []
    other = make("other").start()
    assert other.id == node_id
    assert other.port != node.port
    wait_for("the new address", lambda: peer.shown(node_id)["port"] == other.port)
    epoch = other.graph.use.me.epoch
    entry = peer.graph.roster.get(node_id)
    assert entry is not None
    wait_for("this run's heartbeats", lambda: entry.epoch == epoch)
    wait_for("both online again", lambda: peer.is_online(node_id) and other.is_online(peer.id))
    assert peer.trust(node_id) == other.trust(peer.id) == "paired"
    assert own_certificate(other) == certificate


def test_what_the_backup_held_open_has_ended(make: Make, tmp_path: Path) -> None:
    """Even where no `epoch` file was: an offer open then may have been cancelled since."""
    node = make("node").start()
    node.offer()
    file = backed_up(node, tmp_path / "backup")
    assert [row["state"] for row in node.rows("pairing_codes")] == ["open"]
    node.close()
    restored(file, tmp_path / "other")
    other = make("other").start()
    assert [row["state"] for row in other.rows("pairing_codes")] == ["cancelled"]
    assert other.graph.use.offers.current is None


def test_a_backup_is_private_and_shows_nothing(make: Make, tmp_path: Path) -> None:
    """0600; neither key nor id nor anything of the database can be read in it; no copy is left in the directory."""
    node = make("node").start()
    before = {file.name for file in node.data.iterdir()}
    file = backed_up(node, tmp_path / "backup")
    assert file.stat().st_mode & 0o777 == 0o600
    sealed = file.read_bytes()
    archive = read_backup(file, PASSPHRASE)
    assert archive.database.startswith(b"SQLite format 3")
    for secret in (node.id.encode(), archive.identity[40:80], b"SQLite format 3", b"mesh_nodes", b"PRIVATE KEY"):
        assert secret in archive.identity + archive.database + (archive.tls or b"")
        assert secret not in sealed
    assert "private_key" not in repr(archive)
    assert {f.name for f in node.data.iterdir()} - {"meshnode.db-wal", "meshnode.db-shm"} <= before


def test_a_running_node_writes_on_meanwhile(make: Make, tmp_path: Path) -> None:
    """Backups and writes at once: the writes go on, and every backup is whole."""
    node = make("node").start()
    done = threading.Event()
    failures: list[BaseException] = []

    def back_up() -> None:
        try:
            for number in range(3):
                backed_up(node, tmp_path / f"backup{number}")
        except BaseException as error:  # noqa: BLE001 - judged below
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=back_up)
    thread.start()
    written = 0
    while not done.is_set():
        node.offer()
        written += 1
    thread.join()
    assert failures == []
    assert written >= 3
    for number in range(3):
        assert is_whole(read_backup(tmp_path / f"backup{number}", PASSPHRASE), tmp_path)


def is_whole(archive: Archive, folder: Path) -> bool:
    file = folder / "copy.db"
    file.write_bytes(archive.database)
    connection = sqlite3.connect(file)
    try:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        connection.close()


def test_a_backup_overwrites_nothing(make: Make, tmp_path: Path) -> None:
    """Neither a file nor what a link points to; exit 2."""
    node = make("node").start()
    there, link = tmp_path / "there", tmp_path / "link"
    there.write_text("precious")
    link.symlink_to(tmp_path / "nowhere")
    for target in (there, link):
        with pytest.raises(MeshError) as caught:
            backed_up(node, target)
        assert caught.value.exit_code == 2
    assert there.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_short_passphrase_is_refused(make: Make, tmp_path: Path) -> None:
    """Before anything is written."""
    node = make("node").start()
    with pytest.raises(MeshError, match="passphrase"):
        write_backup(node.data, tmp_path / "backup", "1234567", NOW)
    assert not (tmp_path / "backup").exists()


class NotCopied:
    """A database that is asked only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute = connection.execute
        self.close = connection.close

    def backup(self, _: sqlite3.Connection) -> None:
        pytest.fail("copied into memory all the same")


@pytest.mark.parametrize("is_running", [True, False])
def test_a_database_that_no_restore_would_take_is_not_even_copied(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    """A file with holes could fill the memory of root's machine; what is still only in the log counts too."""
    node = make("node").start()
    with closing(sqlite3.connect(node.data / "meshnode.db", isolation_level=None)) as planted:
        planted.execute("CREATE TABLE planted AS SELECT zeroblob(1000000) AS filler")
        if not is_running:
            node.close()
            planted.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert ((node.data / "meshnode.db").stat().st_size < 1_000_000) is is_running
        monkeypatch.setattr(backup, "BACKUP_MAX_BYTES", 1_000_000)
        monkeypatch.setattr(backup, "look_into_database", lambda *given: NotCopied(look_into_database(*given)))
        with pytest.raises(MeshError) as caught:
            backed_up(node, tmp_path / "backup")
    assert (caught.value.code, caught.value.exit_code) == ("bad_database", 78)
    assert "stop the node and look" in caught.value.detail
    assert os.listdir(tmp_path) == ["node"]


def test_the_largest_backup_is_the_largest_that_can_be_restored(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte, with all that is in it besides the database."""
    node = make("node").start()
    node.close()
    with closing(sqlite3.connect(node.data / "meshnode.db", isolation_level=None)) as database:
        database.execute("VACUUM")
    size = backed_up(node, tmp_path / "first").stat().st_size
    monkeypatch.setattr(backup, "BACKUP_MAX_BYTES", size)
    read_backup(backed_up(node, tmp_path / "largest"), PASSPHRASE)
    monkeypatch.setattr(backup, "BACKUP_MAX_BYTES", size - 1)
    assert (node.data / "meshnode.db").stat().st_size < size - 1
    with pytest.raises(MeshError, match="holds more than a backup can"):
        backed_up(node, tmp_path / "larger")
    assert not (tmp_path / "larger").exists()


def test_pages_that_many_tables_claim_are_not_multiplied(make: Make, tmp_path: Path) -> None:
    """The copy would hold them once for each: a small database, a full memory."""
    node = make("node").start()
    node.close()
    with closing(sqlite3.connect(node.data / "meshnode.db", isolation_level=None)) as planted:
        planted.execute("CREATE TABLE planted AS SELECT zeroblob(100000) AS filler")
        planted.execute("PRAGMA writable_schema = ON")
        for number in range(10):
            planted.execute(
                "INSERT INTO sqlite_schema SELECT type, ?1, ?1, rootpage, 'CREATE TABLE ' || ?1 || '(filler)' "
                "FROM sqlite_schema WHERE name = 'planted'",
                (f"planted{number}",),
            )
    with pytest.raises(MeshError, match="damaged") as caught:
        backed_up(node, tmp_path / "backup")
    assert caught.value.code == "bad_database"
    assert not (tmp_path / "backup").exists()


def test_nothing_is_restored_while_the_old_node_answers(make: Make, tmp_path: Path) -> None:
    """Exit 75, saying where; another node at its address is not taken for it."""
    node = make("node").start()
    file = backed_up(node, tmp_path / "backup")
    error = refusal(file, tmp_path / "other")
    assert (error.code, error.exit_code) == ("node_answers", 75)
    assert f"127.0.0.1:{node.port}" in error.detail
    assert not (tmp_path / "other" / "node_identity.json").exists()
    node.close()
    stranger = make("stranger")
    stranger.port = node.port
    stranger.start()
    assert restored(file, tmp_path / "other").identity.id == node.id


def test_force_restores_beside_a_node_that_answers(make: Make, tmp_path: Path) -> None:
    """For when the old one can't be stopped from here."""
    node = make("node").start()
    file = backed_up(node, tmp_path / "backup")
    assert restored(file, tmp_path / "other", force=True).identity.id == node.id


def test_nothing_is_restored_under_a_daemon(make: Make, tmp_path: Path) -> None:
    """Exit 75, with --force too."""
    node = make("node").start()
    file = backed_up(node, tmp_path / "backup")
    before = (node.data / "node_identity.json").read_bytes()
    for force in (False, True):
        with pytest.raises(MeshError) as caught:
            restored(file, node.data, force=force)
        assert (caught.value.code, caught.value.exit_code) == ("identity_locked", 75)
    assert (node.data / "node_identity.json").read_bytes() == before


def test_a_node_that_is_here_is_kept(make: Make, tmp_path: Path) -> None:
    """Not replaced without --force, and with it set aside whole."""
    node, other = make("node").start(), make("other").start()
    file = backed_up(node, tmp_path / "backup")
    node.close()
    other_id = other.id
    other.close()
    assert refusal(file, other.data).code == "identity_exists"
    assert other.id == other_id
    kept = {path.name for path in restored(file, other.data, force=True).kept}
    assert kept == {f"{name}.bak" for name in ("node_identity.json", "meshnode.db", "epoch", "tls.pem")}
    assert other_id in (other.data / "node_identity.json.bak").read_text()
    assert other.start().id == node.id


def test_a_backup_that_does_not_open_changes_nothing(make: Make, tmp_path: Path) -> None:
    """Another passphrase, half a file, no backup at all."""
    node = make("node").start()
    file = backed_up(node, tmp_path / "backup")
    node.close()
    half, none = tmp_path / "half", tmp_path / "none"
    half.write_bytes(file.read_bytes()[:-100])
    none.write_bytes(b"x" * 1000)
    codes = [refusal(f, tmp_path / "other", p).code for f, p in ((file, "another one"), (half, PASSPHRASE))]
    assert codes == ["bad_passphrase", "bad_passphrase"]
    assert refusal(none, tmp_path / "other").code == "bad_backup"
    assert not (tmp_path / "other").exists()
