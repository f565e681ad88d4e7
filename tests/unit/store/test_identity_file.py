"""`node_identity.json`: created whole, read strictly, never rewritten by reading."""

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.store.identity_file import (
    IDENTITY_FILE,
    StoredIdentity,
    read_identity,
    rename_identity,
    write_identity,
)
from tests.fakes.clock import START
from tests.unit.samples import ID, KEY

WHOLE = {
    "id": ID,
    "name": "desk",
    "created_at": "2026-03-14T09:26:53.589793Z",
    "private_key": encode_base64url(KEY.private_bytes),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / IDENTITY_FILE


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def refused(path: Path) -> str:
    with pytest.raises(MeshError) as caught:
        read_identity(path)
    assert caught.value.code == "bad_identity"
    assert caught.value.exit_code == 78
    assert str(path) in caught.value.detail
    return caught.value.detail


def test_no_file_is_no_identity(path: Path) -> None:
    """And reading makes none."""
    assert read_identity(path) is None
    assert not path.exists()


def test_a_written_identity_comes_back(path: Path) -> None:
    """Mode 0600, whatever the umask; no other file is left."""
    old = os.umask(0)
    try:
        write_identity(path, StoredIdentity(ID, "desk", START, KEY))
    finally:
        os.umask(old)
    read = read_identity(path)
    assert read is not None
    assert (read.id, read.name, read.created_at, read.own_key.public_key) == (ID, "desk", START, KEY.public_key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [IDENTITY_FILE]
    assert set(json.loads(path.read_text())) == set(WHOLE)


def test_a_file_without_a_key_is_read_as_one(path: Path) -> None:
    """Salita's own format; unknown members are ignored."""
    put(path, json.dumps({k: v for k, v in {**WHOLE, "x": 1}.items() if k != "private_key"}).encode())
    read = read_identity(path)
    assert read is not None
    assert read.key is None
    with pytest.raises(ValueError, match="no key"):
        _ = read.own_key


def damaged(**changes: Any) -> bytes:
    return json.dumps({**WHOLE, **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b'{"x":' + b"[" * 5000,
        b" " * (16 * 1024) + json.dumps(WHOLE).encode(),
        damaged(id="no id"),
        damaged(id=""),
        damaged(id=5),
        damaged(created_at="yesterday"),
        damaged(created_at="2026-03-14T09:26:53"),
        damaged(private_key=""),
        damaged(private_key="A" * 42),
        damaged(private_key="A" * 43 + "="),
        damaged(private_key=encode_base64url(bytes(33))),
        damaged(private_key=5),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    """Byte for byte, exit 78, saying which file."""
    put(path, content)
    refused(path)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [IDENTITY_FILE]


def test_a_file_cut_anywhere_is_refused(path: Path) -> None:
    """No prefix of it passes for an identity, with or without its key."""
    write_identity(path, StoredIdentity(ID, "desk", START, KEY))
    whole = path.read_bytes()
    for size in range(len(whole) - 2):
        put(path, whole[:size])
        refused(path)
        assert path.read_bytes() == whole[:size]


def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    """Even to a good file: writing would follow or replace it."""
    target = tmp_path / "elsewhere.json"
    put(target, json.dumps(WHOLE).encode())
    path.symlink_to(target)
    assert "symbolic link" in refused(path)
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    assert "symbolic link" in refused(path)


def test_a_directory_in_its_place_is_refused(path: Path) -> None:
    """It exists, and is no identity."""
    path.mkdir()
    refused(path)
    assert path.is_dir()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o666, 0o604])
def test_a_wider_mode_is_narrowed_with_a_warning(path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    """And the content is not touched."""
    put(path, json.dumps(WHOLE).encode(), mode)
    with caplog.at_level(logging.WARNING):
        assert read_identity(path) is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "readable by others" in caplog.text
    assert path.read_bytes() == json.dumps(WHOLE).encode()


def test_reading_never_writes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Same inode, same times, no warning."""
    write_identity(path, StoredIdentity(ID, "desk", START, KEY))
    before = path.stat()
    for _ in range(3):
        read_identity(path)
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)
    assert caplog.text == ""


def test_a_name_from_the_file_is_cleaned(path: Path) -> None:
    """A person may have edited it; an empty one gives way to the id."""
    put(path, damaged(name="\x1bdesk\u202e"))
    read = read_identity(path)
    assert read is not None
    assert read.name == "desk"
    put(path, damaged(name=""))
    read = read_identity(path)
    assert read is not None
    assert read.name == ID


def test_renaming_keeps_everything_else(path: Path) -> None:
    """Id, key and birth stay."""
    write_identity(path, StoredIdentity(ID, "desk", START, KEY))
    rename_identity(path, "tower")
    read = read_identity(path)
    assert read is not None
    assert (read.id, read.name, read.created_at, read.own_key.public_key) == (ID, "tower", START, KEY.public_key)


def test_renaming_nothing_is_refused(path: Path) -> None:
    """No file appears."""
    with pytest.raises(MeshError):
        rename_identity(path, "tower")
    assert not path.exists()


def test_a_failed_write_leaves_the_former_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no leftovers."""
    write_identity(path, StoredIdentity(ID, "desk", START, KEY))
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_identity(path, StoredIdentity(ID, "tower", START, KEY))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [IDENTITY_FILE]


def test_the_stored_identitys_repr_shows_no_key() -> None:
    """It may end up in a log."""
    shown = repr(StoredIdentity(ID, "desk", START, KEY))
    assert "key" not in shown
    assert encode_base64url(KEY.private_bytes) not in shown
