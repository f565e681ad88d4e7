"""The other files of a data directory: lock, epoch, TLS, and how files are replaced."""

import os
import ssl
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from meshnode.store import data_lock
from meshnode.store.atomic_file import set_aside, write_private
from meshnode.store.data_lock import DataLock, is_held
from meshnode.store.epoch_file import EPOCH_FILE, read_epoch, write_epoch
from meshnode.store.tls_files import TLS_FILE, load_or_make_tls
from tests.fakes.clock import START
from tests.unit.samples import ID

HOLDER = """
import sys
from pathlib import Path
from meshnode.store.data_lock import DataLock
lock = DataLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the lock only for a moment."""
    monkeypatch.setattr(data_lock, "_PATIENCE_S", 0.05)


def test_another_process_cannot_take_a_held_lock(tmp_path: Path, impatient: None) -> None:
    """Exit 75; its death, however it comes, frees the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_held(tmp_path)
        with pytest.raises(MeshError) as caught:
            DataLock(tmp_path)
        assert (caught.value.code, caught.value.exit_code) == ("identity_locked", 75)
    finally:
        holder.kill()
        holder.communicate()
    assert not is_held(tmp_path)
    DataLock(tmp_path).release()


def test_a_refused_lock_leaks_no_descriptor(tmp_path: Path, impatient: None) -> None:
    """A command that tries again and again stays small."""
    lock = DataLock(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(MeshError):
            DataLock(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    lock.release()


def test_a_released_lock_is_free_and_release_repeats(tmp_path: Path) -> None:
    """The file stays; looking at it changes nothing."""
    assert not is_held(tmp_path)
    lock = DataLock(tmp_path)
    assert is_held(tmp_path)
    lock.release()
    lock.release()
    assert not is_held(tmp_path)
    assert (tmp_path / data_lock.LOCK_FILE).exists()
    again = DataLock(tmp_path)
    assert is_held(tmp_path)
    again.release()


def test_an_epoch_comes_back(tmp_path: Path) -> None:
    """0 before the first."""
    assert read_epoch(tmp_path) == 0
    write_epoch(tmp_path, 1_700_000_000)
    assert read_epoch(tmp_path) == 1_700_000_000
    assert stat.S_IMODE((tmp_path / EPOCH_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"x", b"-5", b"1.5", b"\xff", b"9" * 17, "٣".encode(), b"1 2"])
def test_an_unreadable_epoch_is_zero(tmp_path: Path, content: bytes) -> None:
    """It is a copy; the database has it too."""
    (tmp_path / EPOCH_FILE).write_bytes(content)
    assert read_epoch(tmp_path) == 0


def test_the_tls_file_is_made_once(tmp_path: Path) -> None:
    """The same certificate at every later start, mode 0600, and ssl loads it."""
    made = load_or_make_tls(tmp_path, ID, START)
    content = made.path.read_bytes()
    again = load_or_make_tls(tmp_path, ID, START + timedelta(days=9))
    assert (again.sha256, again.path.read_bytes()) == (made.sha256, content)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.path)


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "no key", "other key"])
def test_a_damaged_tls_file_is_set_aside_and_replaced(tmp_path: Path, damage: str) -> None:
    """Its bytes are kept, and the new one works."""
    whole = load_or_make_tls(tmp_path, ID, START)
    pem = whole.path.read_bytes()
    (tmp_path / "other").mkdir()
    other = load_or_make_tls(tmp_path / "other", ID, START).path.read_bytes()
    certificate_at = pem.index(b"-----BEGIN CERTIFICATE")
    content = {
        "empty": b"",
        "garbage": b"\xff\x00" * 100,
        "cut": pem[: len(pem) // 2],
        "no key": pem[certificate_at:],
        "other key": other[: other.index(b"-----BEGIN CERTIFICATE")] + pem[certificate_at:],
    }[damage]
    whole.path.write_bytes(content)
    fresh = load_or_make_tls(tmp_path, ID, START)
    assert fresh.sha256 != whole.sha256
    assert (tmp_path / f"{TLS_FILE}.bak").read_bytes() == content
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(fresh.path)


def test_a_private_file_replaces_the_former_whole(tmp_path: Path) -> None:
    """Mode 0600 also over a wider one, and a link is replaced, not followed."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    path = tmp_path / "file"
    path.symlink_to(victim)
    write_private(path, b"new")
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"
    assert victim.read_text() == "untouched"
    path.chmod(0o666)
    write_private(path, b"newer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_set_aside_never_overwrites(tmp_path: Path) -> None:
    """Each gets a name of its own; nothing is nothing."""
    path = tmp_path / "file"
    assert set_aside(path) is None
    names = []
    for text in ("one", "two", "three"):
        path.write_text(text)
        aside = set_aside(path)
        assert aside is not None
        names.append((aside.name, aside.read_text()))
    assert names == [("file.bak", "one"), ("file.bak.2", "two"), ("file.bak.3", "three")]
    assert not path.exists()
