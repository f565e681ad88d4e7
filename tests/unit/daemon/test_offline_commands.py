"""What works on a data directory with no daemon: reset, rename, show, find the daemon."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.daemon.offline import (
    CONTROL_FILE,
    DATABASE_FILE,
    DataDirectory,
    open_data_directory,
    rename_offline,
    reset_identity,
    running_control,
    show_identity,
)
from meshnode.domain.errors import MeshError
from meshnode.store.epoch_file import EPOCH_FILE
from meshnode.store.identity_file import IDENTITY_FILE
from meshnode.store.tls_files import TLS_FILE
from tests.fakes.clock import ManualClock, SeededEntropy
from tests.unit.daemon.directories import opened, own_rows, put_identity, put_row


def test_reset_keeps_everything_aside(path: Path) -> None:
    """Identity and database open again when put back; the next start is somebody else."""
    before = opened(path).identity
    put_row(path, before.id, before.public_key, own=True)
    for name in (EPOCH_FILE, TLS_FILE):
        (path / name).write_text(name)
    identity = (path / IDENTITY_FILE).read_bytes()
    kept = reset_identity(path)
    assert {file.name for file in kept} == {f"{n}.bak" for n in (IDENTITY_FILE, DATABASE_FILE, EPOCH_FILE, TLS_FILE)}
    assert (path / f"{IDENTITY_FILE}.bak").read_bytes() == identity
    assert not [file for file in os.listdir(path) if file.startswith(DATABASE_FILE) and not file.endswith(".bak")]
    after = opened(path).identity
    assert after.public_key != before.public_key
    (path / IDENTITY_FILE).write_bytes(identity)
    (path / f"{DATABASE_FILE}.bak").replace(path / DATABASE_FILE)
    assert opened(path).identity == before
    assert own_rows(path) == [(before.id,)]


def test_reset_twice_keeps_both(path: Path) -> None:
    """No `.bak` overwrites another."""
    opened(path)
    reset_identity(path)
    opened(path)
    assert f"{IDENTITY_FILE}.bak.2" in {file.name for file in reset_identity(path)}


def test_reset_frees_a_directory_that_was_refused(path: Path) -> None:
    """Damaged files are kept as they are."""
    put_identity(path, b"{")
    (path / DATABASE_FILE).write_bytes(b"no database" * 500)
    reset_identity(path)
    assert (path / f"{IDENTITY_FILE}.bak").read_bytes() == b"{"
    assert (path / f"{DATABASE_FILE}.bak").read_bytes() == b"no database" * 500
    assert opened(path).is_new


def test_reset_of_nothing_is_nothing(path: Path) -> None:
    """No directory appears."""
    assert reset_identity(path) == []
    assert not path.exists()


@pytest.fixture
def running(path: Path) -> Iterator[DataDirectory]:
    data = open_data_directory(path, ManualClock(), SeededEntropy())
    yield data
    data.close()


def test_nothing_is_changed_under_a_running_daemon(path: Path, running: DataDirectory) -> None:
    """Neither reset nor renamed: exit 75."""
    content = (path / IDENTITY_FILE).read_bytes()
    for change in (lambda: reset_identity(path), lambda: rename_offline(path, "tower")):
        with pytest.raises(MeshError) as caught:
            change()
        assert caught.value.code == "identity_locked"
    assert (path / IDENTITY_FILE).read_bytes() == content
    assert show_identity(path).id == running.identity.id


def test_a_node_that_does_not_run_can_be_renamed(path: Path) -> None:
    """Under the same rules for names."""
    before = opened(path).identity
    assert rename_offline(path, "tower").name == "tower"
    assert opened(path).identity.public_key == before.public_key
    with pytest.raises(MeshError, match="name"):
        rename_offline(path, "\x1b")
    assert opened(path).identity.name == "tower"


def test_an_identity_that_is_not_there_cannot_be_shown(path: Path) -> None:
    """Exit 69: start a daemon first."""
    with pytest.raises(MeshError) as caught:
        show_identity(path)
    assert caught.value.exit_code == 69


def test_the_control_file_counts_only_while_the_lock_is_held(path: Path) -> None:
    """A file left behind by a crash leads nobody astray; a damaged one is none."""
    data = open_data_directory(path, ManualClock(), SeededEntropy())
    control = path / CONTROL_FILE
    assert running_control(path) is None
    control.write_text('{"url": "http://127.0.0.1:1", "token": "t"}')
    assert running_control(path) == ("http://127.0.0.1:1", "t")
    for content in ("", "{", "[]", "{}", '{"url": 1}', "7"):
        control.write_text(content)
        assert running_control(path) is None
    control.write_text('{"url": "http://127.0.0.1:1", "token": "t"}')
    data.close()
    assert running_control(path) is None
