"""Files that are whole or absent, even after a power cut, and that nobody else can read."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, mode 0600. Raises OSError; the former content then stands."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_private(path: Path, data: bytes) -> None:
    """Write a new file, mode 0600, whole or not at all. Raises FileExistsError, or another OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextmanager
def open_plain(path: Path) -> Iterator[int]:
    """A descriptor to read a file by that is itself there, the directory's owner's: no link, pipe or device.

    Root asks here too, in the directory of a node that somebody may have broken into. Raises OSError.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found, owner = os.fstat(descriptor), path.parent.stat().st_uid
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "no plain file", str(path))
        if os.geteuid() == 0 and owner not in (0, found.st_uid):
            raise OSError(errno.EPERM, "not its directory's owner's", str(path))
        yield descriptor
    finally:
        os.close(descriptor)


def read_plain(path: Path, limit: int) -> bytes:
    """A small file, read as `open_plain` does. Raises OSError."""
    with open_plain(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
        if os.fstat(descriptor).st_size > limit:
            raise OSError(errno.EFBIG, "too large", str(path))
        return file.read(limit)


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path | None:
    """Rename `path` to a `.bak` that does not exist yet; None if there was nothing."""
    if not path.exists():
        return None
    number, aside = 1, path.with_name(f"{path.name}.bak")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.bak.{number}")
    path.rename(aside)
    sync_directory(path.parent)
    return aside
