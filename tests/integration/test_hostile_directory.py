"""Root beside a node that somebody broke into: what that node may have put or changed in its own directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from meshnode.daemon import take_over
from meshnode.daemon.offline import DATABASE_FILE, open_data_directory, reset_identity, stopped_directory
from meshnode.daemon.offline_checks import check_database
from meshnode.daemon.system import SystemClock, SystemEntropy
from meshnode.domain.errors import MeshError
from tests.fakes.other_user import as_user

OWNER = 64321
LOOKS = {
    "database": "from meshnode.daemon.offline_checks import check_database as c; print(c(d).verdict, c(d).detail)",
    "identity": "from meshnode.daemon.offline_checks import check_identity as c; print(c(d).verdict, c(d).detail)",
    "backup": "from datetime import *; from meshnode.daemon.backup import *\n"
    "try: write_backup(d, d.parent / 'backup', 'passphrase', datetime.now(UTC))\n"
    "except Exception as error: print('failure', error.detail)",
}
needs_users = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to become another user")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A stopped node's."""
    path = tmp_path / "node"
    open_data_directory(path, SystemClock(), SystemEntropy()).close()
    return path


@pytest.fixture
def taken(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's node's, which belongs to a user of its own."""
    for path in (directory, *directory.iterdir()):
        os.chown(path, OWNER, OWNER)
    monkeypatch.setattr(take_over, "SYSTEM_DATA_DIR", directory)
    return directory


# ── what root writes ───────────────────────────────────────────────────────────────────────────────────────────────


@needs_users
@pytest.mark.parametrize("mode", [0o700, 0o777, 0o2777])
def test_nobody_but_root_gets_in_meanwhile(taken: Path, mode: int) -> None:
    """Neither the owner, who may have opened the directory to all before, nor by a descriptor kept from then."""
    taken.chmod(mode)
    kept = os.open(taken, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with stopped_directory(taken):
            found = taken.stat()
            assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (0, 0, 0o700)
            with as_user(OWNER), pytest.raises(PermissionError):
                os.open("planted", os.O_WRONLY | os.O_CREAT, dir_fd=kept)
    finally:
        os.close(kept)
    found = taken.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (OWNER, OWNER, 0o700)


@needs_users
def test_what_is_refused_is_given_back(taken: Path) -> None:
    """As its owner's, and closed."""
    taken.chmod(0o777)
    (taken / "epoch").mkdir()
    with pytest.raises(MeshError, match="no plain file of the node's own"):
        reset_identity(taken)
    found = taken.stat()
    assert (found.st_uid, found.st_mode & 0o7777) == (OWNER, 0o700)


class Swapped:
    """An entry that is a plain file when looked at, and another's from then on."""

    def __init__(self, path: Path, swap_in: Callable[[Path], None]) -> None:
        self.name = path.name
        self._path, self._swap_in = path, swap_in

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        found = os.stat(self._path, follow_symlinks=follow_symlinks)
        self._path.unlink()
        self._swap_in(self._path)
        return found


@needs_users
@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_a_link_swapped_in_gives_nothing_away(
    taken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, Path], None]
) -> None:
    """What it points to keeps owner and mode."""
    victim = tmp_path / "victim"
    victim.write_text("root's own")
    victim.chmod(0o644)

    @contextmanager
    def swapping(_: int) -> Iterator[list[Swapped]]:
        yield [Swapped(taken / "made", lambda path: make(path, victim))]

    with suppress(MeshError), stopped_directory(taken):
        (taken / "made").touch(mode=0o600)
        monkeypatch.setattr(os, "scandir", swapping)
    assert (taken / "made").samefile(victim)  # it was swapped
    found = victim.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o644)


@needs_users
def test_what_cannot_be_given_back_stays_root_s(taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory too: systemd looks at what is in it only if it is not the unit's user's already."""

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(MeshError, match="cannot give"), stopped_directory(taken):  # noqa: PT012 - the leaving raises
        (taken / "made").touch(mode=0o600)
        monkeypatch.setattr(take_over, "_hand_over", refuse)
    assert taken.stat().st_uid == 0


def test_a_directory_for_a_lock_is_refused(directory: Path) -> None:
    """In words, not by a trace."""
    (directory / "lock").unlink()
    (directory / "lock").mkdir()
    with pytest.raises(MeshError) as refused:
        reset_identity(directory)
    assert (refused.value.code, "lock is a directory" in refused.value.detail) == ("bad_config", True)


# ── what root reads ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("suffix", ["", "-journal", "-wal", "-shm"])
def test_no_look_at_the_database_waits_for_a_pipe(directory: Path, look: str, suffix: str) -> None:
    """`sudo meshnode doctor` or `backup` would hang for ever; each says which file it is."""
    pipe = directory / f"{DATABASE_FILE}{suffix}"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    program = f"import sys; from pathlib import Path; d = Path(sys.argv[1])\n{LOOKS[look]}"
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    if look == "identity":  # the stage before; the database has its own
        assert done.stdout.startswith("ok ")
    else:
        assert done.stdout.startswith("failure ")
        assert f"{pipe}: no plain file" in done.stdout
    assert not (directory.parent / "backup").exists()


@needs_users
def test_a_database_that_is_not_ours_to_read_is_not_called_damaged(directory: Path) -> None:
    """Nobody should restore a backup over it for that."""
    with as_user(OWNER):
        found = check_database(directory)
    assert (found.verdict, found.cause, found.fix) == ("none", "", "`sudo meshnode doctor`")


def test_no_database_yet_is_nothing_wrong(tmp_path: Path) -> None:
    """A link to nowhere in its place is."""
    assert check_database(tmp_path).verdict == "none"
    (tmp_path / DATABASE_FILE).symlink_to(tmp_path / "nowhere")
    found = check_database(tmp_path)
    assert (found.verdict, found.cause) == ("failure", "bad_database")
