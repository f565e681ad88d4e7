"""A database opened only to read, by root too, in the directory of a node that somebody may have broken into."""

from __future__ import annotations

import errno
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from meshnode.store.atomic_file import open_plain

COMPANIONS: Final = ("-journal", "-wal", "-shm")  # what SQLite opens beside a database, by name


def look_into_database(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that can't write; nothing is read yet.

    Raises OSError if the file or a companion of SQLite's is a link, a pipe or anything else but plain, `sqlite3.Error`.
    """
    with open_plain(path):  # SQLite would wait for a pipe's writer for ever
        pass
    for suffix in COMPANIONS:
        with suppress(FileNotFoundError):
            companion = path.with_name(path.name + suffix)
            if not stat.S_ISREG(companion.lstat().st_mode):  # not opened: closing it would drop SQLite's own locks
                raise OSError(errno.EINVAL, "no plain file", str(companion))
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)
