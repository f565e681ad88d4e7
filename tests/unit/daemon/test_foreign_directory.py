"""A data directory that somebody else prepared, and the traces of a daemon that was killed."""

import os
from pathlib import Path

import pytest

from meshnode.daemon.offline import CONTROL_FILE, DATABASE_FILE, open_data_directory, rename_offline
from meshnode.domain.errors import MeshError
from meshnode.store.data_lock import LOCK_FILE, DataLock
from meshnode.store.identity_file import IDENTITY_FILE
from tests.fakes.clock import ManualClock, SeededEntropy
from tests.unit.daemon.directories import opened, put_identity

STALE = b'{"url": "http://127.0.0.1:1", "token": "of a killed daemon"}'


def refusal(path: Path) -> str:
    """Refused with exit 78, naming the place."""
    with pytest.raises(MeshError) as caught:
        opened(path)
    assert (caught.value.code, caught.value.exit_code) == ("bad_config", 78)
    return caught.value.detail


@pytest.fixture
def foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of another user, open to us."""
    path.mkdir()
    path.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    return path


def test_a_directory_of_another_user_is_refused(foreign: Path) -> None:
    """Nothing is put into it: its owner could read and replace it."""
    assert str(foreign) in refusal(foreign)
    assert os.listdir(foreign) == []


def test_a_link_to_a_directory_of_another_user_is_refused(foreign: Path, tmp_path: Path) -> None:
    """What counts is where it leads."""
    link = tmp_path / "link"
    link.symlink_to(foreign)
    refusal(link)
    assert os.listdir(foreign) == []


def test_the_directory_itself_may_be_a_link(path: Path, tmp_path: Path) -> None:
    """To another disk, say: the same identity is found by both names."""
    path.mkdir()
    link = tmp_path / "link"
    link.symlink_to(path)
    first = opened(link)
    assert first.is_new
    assert opened(path).identity == first.identity


@pytest.mark.parametrize("name", [DATABASE_FILE, LOCK_FILE])
@pytest.mark.parametrize("content", [None, b"", b"precious"])
def test_a_linked_database_or_lock_is_refused(path: Path, tmp_path: Path, name: str, content: bytes | None) -> None:
    """Where it leads stays as it was, mode and all, or missing."""
    target = tmp_path / "target"
    if content is not None:
        target.write_bytes(content)
        target.chmod(0o644)
    path.mkdir(mode=0o700)
    (path / name).symlink_to(target)
    refusal(path)
    assert (path / name).is_symlink()
    assert not (path / IDENTITY_FILE).exists()
    if content is None:
        assert not target.exists()
    else:
        assert (target.read_bytes(), target.stat().st_mode & 0o777) == (content, 0o644)


def test_the_next_holder_of_the_lock_removes_a_killed_daemons_control_file(path: Path) -> None:
    """Otherwise the owner's token would be sent to whoever has that port now."""
    opened(path)
    (path / CONTROL_FILE).write_bytes(STALE)
    data = open_data_directory(path, ManualClock(), SeededEntropy())
    try:
        assert not (path / CONTROL_FILE).exists()
    finally:
        data.close()


def test_it_is_removed_before_anything_that_can_take_long_or_fail(path: Path) -> None:
    """A start that is refused for a damaged identity has removed it already."""
    put_identity(path, b"{")
    (path / CONTROL_FILE).write_bytes(STALE)
    with pytest.raises(MeshError):
        opened(path)
    assert not (path / CONTROL_FILE).exists()


def test_renaming_offline_removes_it_too(path: Path) -> None:
    """It holds the lock as a daemon does."""
    opened(path)
    (path / CONTROL_FILE).write_bytes(STALE)
    assert rename_offline(path, "attic").name == "attic"
    assert not (path / CONTROL_FILE).exists()


def test_whoever_does_not_get_the_lock_leaves_it(path: Path) -> None:
    """It is the running daemon's."""
    opened(path)
    (path / CONTROL_FILE).write_bytes(STALE)
    lock = DataLock(path)
    try:
        for attempt in (lambda: opened(path), lambda: rename_offline(path, "attic")):
            with pytest.raises(MeshError) as caught:
                attempt()
            assert caught.value.code == "identity_locked"
        assert (path / CONTROL_FILE).read_bytes() == STALE
    finally:
        lock.release()
