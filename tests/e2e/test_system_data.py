"""The data of the system's stopped node: root restores and resets them, and they stay the unit's user's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from meshnode.daemon.backup import write_backup
from meshnode.daemon.offline import open_data_directory
from meshnode.daemon.system import SystemClock, SystemEntropy

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare"),
]

ROOT = Path(__file__).parents[2]
RESET = ("identity", "reset", "--yes")
UNIT_USER = 64321
PASSPHRASE = "correct horse battery"
ON_ITS_OWN = 'mount --bind "$0" /var/lib && exec "$@"'
AS_NOBODY = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")


class SystemNode:
    """A /var/lib of its own with a stopped node's data in it, as systemd leaves them."""

    def __init__(self, folder: Path) -> None:
        self._lib = folder / "lib"
        self.data = self._lib / "private/meshnode"
        (self._lib / "private").mkdir(mode=0o700, parents=True)
        self._lib.chmod(0o755)
        (self._lib / "meshnode").symlink_to("private/meshnode")
        self.id = make_node(self.data)
        self.hand_to_the_unit()
        self._home = folder / "home"
        self._home.mkdir()

    def hand_to_the_unit(self) -> None:
        for path in (self.data, *self.data.iterdir()):
            os.chown(path, UNIT_USER, UNIT_USER, follow_symlinks=False)

    def run(
        self, *argv: str, enter: tuple[str, ...] = (), typed: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """A command as root on this machine, or as whoever `enter` makes of it."""
        inside = ["unshare", "-m", "sh", "-c", ON_ITS_OWN, str(self._lib), *enter, sys.executable, "-m", "meshnode"]
        environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        environment["HOME"] = str(self._home) if not enter else "/nonexistent"
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if typed is None else {"input": typed}
        return subprocess.run(
            [*inside, *argv], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=30, **given
        )

    def strangers(self) -> list[str]:
        """Entries that are not the unit's user's, or open to others."""
        found = {path: path.lstat() for path in (self.data, *self.data.iterdir())}
        return [str(p) for p, s in found.items() if (s.st_uid, s.st_gid) != (UNIT_USER, UNIT_USER) or s.st_mode & 0o077]


def make_node(data: Path) -> str:
    """A node's id; made, and stopped."""
    opened = open_data_directory(data, SystemClock(), SystemEntropy())
    opened.close()
    return opened.identity.id


@pytest.fixture
def node(tmp_path: Path) -> SystemNode:
    return SystemNode(tmp_path)


@pytest.fixture
def backup(tmp_path: Path) -> tuple[Path, str]:
    """A backup of another node, and its id."""
    made = make_node(tmp_path / "former")
    file = tmp_path / "backup"
    write_backup(tmp_path / "former", file, PASSPHRASE, datetime.now(UTC))
    return file, made


def test_root_restores_the_system_node(node: SystemNode, backup: tuple[Path, str]) -> None:
    """Found without a flag; every file then belongs to the unit's user, 0600, the ones kept too."""
    file, former = backup
    asked = ("restore", str(file), "--passphrase-file", "-")
    refused = node.run(*asked, typed=PASSPHRASE)
    assert (refused.returncode, "identity_exists" in refused.stderr) == (1, True), refused.stderr
    assert node.strangers() == []
    done = node.run(*asked, "--force", typed=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    assert former in (node.data / "node_identity.json").read_text()
    assert node.id in (node.data / "node_identity.json.bak").read_text()
    assert node.strangers() == []
    assert (node.data / "epoch").read_text().strip().isdigit()


def test_root_resets_and_renames_the_system_node(node: SystemNode) -> None:
    """What it writes and sets aside is the unit's user's."""
    done = node.run("identity", "rename", "attic")
    assert done.returncode == 0, done.stderr
    assert "attic" in (node.data / "node_identity.json").read_text()
    assert node.strangers() == []
    done = node.run("identity", "reset", "--yes")
    assert done.returncode == 0, done.stderr
    assert not (node.data / "node_identity.json").exists()
    assert node.id in (node.data / "node_identity.json.bak").read_text()
    assert node.strangers() == []


def test_a_directory_that_was_open_to_all_is_closed(node: SystemNode) -> None:
    """The node may have opened it, for another user to swap entries under root's hands."""
    node.data.chmod(0o777)
    done = node.run(*RESET)
    assert done.returncode == 0, done.stderr
    assert node.strangers() == []


@pytest.mark.parametrize(
    "name", ["meshnode.db", "meshnode.db-wal", "meshnode.db-shm", "epoch", "tls.pem", "lock", "control.json"]
)
def test_a_directory_in_place_of_a_file_is_refused(node: SystemNode, name: str) -> None:
    """It is named, and nothing is moved: halfway through, the next start would find half a node."""
    (node.data / name).unlink(missing_ok=True)
    (node.data / name).mkdir(mode=0o700)
    node.hand_to_the_unit()
    before = set(os.listdir(node.data))
    done = node.run(*RESET)
    assert (done.returncode, "bad_config" in done.stderr, f"/{name}" in done.stderr) == (78, True, True), done.stderr
    assert node.id in (node.data / "node_identity.json").read_text()
    assert set(os.listdir(node.data)) == before | {"lock"}
    assert (node.data / name).is_dir()
    assert node.strangers() == []


def test_a_directory_that_is_in_nobodys_way_stays(node: SystemNode) -> None:
    """Such as lost+found, where the data have a disk of their own."""
    (node.data / "lost+found").mkdir(mode=0o700)
    done = node.run(*RESET)
    assert done.returncode == 0, done.stderr
    assert (node.data / "lost+found").stat().st_uid == 0


def test_a_backup_leaves_nothing_of_root_behind(node: SystemNode, tmp_path: Path) -> None:
    """The unit's user must be able to write every file that SQLite may make beside the database."""
    done = node.run("backup", str(tmp_path / "its"), "--passphrase-file", "-", typed=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    assert node.strangers() == []


@pytest.mark.parametrize("asked", [RESET, ("restore", "/etc/hostname", "--passphrase-file", "-")])
def test_a_plain_user_is_told_about_sudo(node: SystemNode, asked: tuple[str, ...]) -> None:
    """Exit 77, with and without naming the directory; nothing is changed."""
    for flags in ((), ("--data-dir", "/var/lib/meshnode")):
        done = node.run(*flags, *asked, enter=AS_NOBODY)
        assert (done.returncode, "sudo meshnode" in done.stderr) == (77, True), done.stderr
    assert node.strangers() == []
    assert node.id in (node.data / "node_identity.json").read_text()


def a_link_to_the_database(data: Path, victim: Path) -> None:
    (data / "meshnode.db").unlink()
    (data / "meshnode.db").symlink_to(victim)


def a_link_to_the_log(data: Path, victim: Path) -> None:
    (data / "meshnode.db-wal").unlink(missing_ok=True)
    (data / "meshnode.db-wal").symlink_to(victim)


def a_link_to_the_identity(data: Path, victim: Path) -> None:
    (data / "node_identity.json").unlink()
    (data / "node_identity.json").symlink_to(victim)


def a_second_name(data: Path, victim: Path) -> None:
    (data / "epoch").unlink(missing_ok=True)
    os.link(victim, data / "epoch")


@pytest.mark.parametrize("plant", [a_link_to_the_database, a_link_to_the_log, a_link_to_the_identity, a_second_name])
def test_links_do_not_lead_root_elsewhere(
    node: SystemNode, backup: tuple[Path, str], tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    """Whoever broke into the node may have planted them: refused, and what they point to stays as it was."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o644)
    plant(node.data, victim)
    (node.data / "lock").unlink()  # made anew by root, and not to be kept
    node.hand_to_the_unit()
    os.chown(victim, 0, 0)
    asked = (("restore", str(backup[0]), "--force", "--passphrase-file", "-"), RESET)
    for argv in asked:
        done = node.run(*argv, typed=PASSPHRASE)
        assert (done.returncode, "bad_config" in done.stderr) == (78, True), done.stderr
    found = victim.stat()
    assert (victim.read_text(), found.st_uid, found.st_mode & 0o777) == ("precious", 0, 0o644)
    assert {path.lstat().st_uid for path in (node.data, *node.data.glob("lock"))} == {UNIT_USER}


def test_a_person_s_own_directory_is_not_root_s_to_write(node: SystemNode, tmp_path: Path) -> None:
    """sudo on somebody's own node: exit 78, as before; that person resets it."""
    theirs = tmp_path / "theirs"
    made = make_node(theirs)
    for path in (theirs, *theirs.iterdir()):
        os.chown(path, 65534, 65534)
    done = node.run("--data-dir", str(theirs), "identity", "reset", "--yes")
    assert (done.returncode, "belongs to another user" in done.stderr) == (78, True), done.stderr
    assert made in (theirs / "node_identity.json").read_text()


def test_root_does_not_run_the_system_node_itself(node: SystemNode) -> None:
    """Its files would be root's from then on."""
    done = node.run("--data-dir", "/var/lib/meshnode", "run", "--listen", "127.0.0.1:0", "--no-mdns")
    assert (done.returncode, "belongs to another user" in done.stderr) == (78, True), done.stderr
    assert node.strangers() == []


def test_nothing_is_taken_over_while_the_node_runs(node: SystemNode) -> None:
    """The lock comes first: exit 75, and the directory is the unit's user's throughout."""
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys;f=open(sys.argv[1]);fcntl.flock(f,2);print(1,flush=True);input()",
         str(node.data / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        done = node.run("identity", "reset", "--yes")
        assert (done.returncode, "identity_locked" in done.stderr) == (75, True), done.stderr
        assert node.strangers() == []
        holder.communicate(b"\n")
