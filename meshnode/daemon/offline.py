"""A data directory opened under the lock, without sockets: what `run` starts from, and what works with no daemon."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Final

import msgspec

from meshnode.crypto.key_pair import KeyPair
from meshnode.daemon.take_over import may_take_over, taken_over
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity, default_name, make_node_id
from meshnode.node.ports import Clock, Entropy
from meshnode.node.rename_self import check_name
from meshnode.store.atomic_file import read_plain, set_aside
from meshnode.store.data_lock import LOCK_FILE, DataLock, is_held
from meshnode.store.epoch_file import EPOCH_FILE
from meshnode.store.identity_file import (
    IDENTITY_FILE,
    StoredIdentity,
    read_identity,
    rename_identity,
    write_identity,
)
from meshnode.store.look_into_database import COMPANIONS
from meshnode.store.migrate import migrate
from meshnode.store.tls_files import TLS_FILE

DATABASE_FILE: Final = "meshnode.db"
CONTROL_FILE: Final = "control.json"  # {url, token}, while a daemon runs
_DATABASE_FILES: Final = (DATABASE_FILE, *(f"{DATABASE_FILE}{suffix}" for suffix in COMPANIONS))
_OWN_FILES: Final = (IDENTITY_FILE, EPOCH_FILE, TLS_FILE, LOCK_FILE, CONTROL_FILE, *_DATABASE_FILES)
_CONTROL_MAX: Final = 4096  # bytes

log = logging.getLogger(__name__)


class DataDirectory(msgspec.Struct, frozen=True):
    """An opened data directory; the lock is held until `close`."""

    path: Path
    identity: Identity
    key: KeyPair
    is_new: bool
    lock: DataLock

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / DATABASE_FILE

    def rename(self, name: str) -> Identity:
        """Write the identity file under another name. Raises `disk_full`, `database_error`."""
        with _disk_told(self.path):
            return rename_identity(self.path / IDENTITY_FILE, name).public

    def close(self) -> None:
        """Let others in."""
        self.lock.release()


def open_data_directory(path: Path, clock: Clock, entropy: Entropy) -> DataDirectory:
    """Lock `path`, load or create the identity, migrate the database, and see that the two belong together.

    Raises `identity_locked`, `bad_identity` (damaged, mismatched, or missing beside a database that has one),
    `bad_database`. Nothing is regenerated, ever.
    """
    _make_private_directory(path)
    lock = _lock(path)
    try:
        migrate(path / DATABASE_FILE)
        stored = read_identity(path / IDENTITY_FILE)
        own_id, own_key, others = _known_self(path / DATABASE_FILE)
        is_new = stored is None
        if stored is None:
            if own_id is not None:
                raise MeshError(
                    "bad_identity",
                    f"{path / IDENTITY_FILE} is missing, but the database beside it belongs to {own_id}. "
                    "Restore the file from a backup.",
                )
            stored = _create(path, clock, entropy)
        elif stored.key is None:
            stored = _adopt(path, stored, own_id, own_key, others)
        elif own_id is not None and (own_id != stored.id or own_key not in (None, stored.key.public_key)):
            raise MeshError(
                "bad_identity",
                f"{path / IDENTITY_FILE} says {stored.id}, the database beside it belongs to {own_id} or another key. "
                "Put the two files back together that belong together.",
            )
        return DataDirectory(path, stored.public, stored.own_key, is_new, lock)
    except BaseException:
        lock.release()
        raise


def _lock(path: Path) -> DataLock:
    """Lock a directory that is ours. Raises `identity_locked`, `bad_config`."""
    if path.stat().st_uid != os.geteuid():
        raise MeshError("bad_config", f"{path} belongs to another user; choose another data directory")
    return _lock_any(path)


def _lock_any(path: Path) -> DataLock:
    """A `control.json` that stands there then is a killed daemon's: it would lead to a stranger."""
    for name in (DATABASE_FILE, LOCK_FILE):
        if (path / name).is_symlink():
            raise MeshError("bad_config", f"{path / name} is a symbolic link; put the file itself there")
    try:
        lock = DataLock(path)
    except IsADirectoryError as error:
        raise MeshError("bad_config", f"{path / LOCK_FILE} is a directory; look at it, and move it away") from error
    try:
        (path / CONTROL_FILE).unlink(missing_ok=True)
    except OSError as error:
        lock.release()
        raise MeshError("bad_config", f"cannot remove {path / CONTROL_FILE}: {error.strerror}") from error
    return lock


def _make_private_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077 and path.stat().st_uid == os.geteuid():
            path.chmod(0o700)
            log.warning("%s was open to others (mode %o); set to 700", path, mode)
    except OSError as error:
        raise MeshError("bad_config", f"cannot use {path} as data directory: {error.strerror}") from error


def _known_self(database: Path) -> tuple[str | None, bytes | None, int]:
    """(id, key, number of other nodes) as the database knows them."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        row = connection.execute("SELECT id, public_key FROM mesh_nodes WHERE is_current = 1").fetchone()
        (others,) = connection.execute("SELECT count(*) FROM mesh_nodes WHERE is_current = 0").fetchone()
    except sqlite3.DatabaseError as error:
        raise MeshError("bad_database", f"{database}: {error}") from error
    finally:
        connection.close()
    return (row[0], row[1], others) if row else (None, None, others)


def _create(path: Path, clock: Clock, entropy: Entropy) -> StoredIdentity:
    now = clock.now()
    node_id = make_node_id(int(now.timestamp() * 1000), entropy.draw(10))
    created = StoredIdentity(node_id, default_name(socket.gethostname(), node_id), now, KeyPair.generate())
    write_identity(path / IDENTITY_FILE, created)
    return created


def _adopt(
    path: Path, stored: StoredIdentity, own_id: str | None, own_key: bytes | None, others: int
) -> StoredIdentity:
    """Give salita's own file a key, if nobody can have known another one."""
    if others or (own_id == stored.id and own_key is not None):
        raise MeshError(
            "bad_identity",
            f"{path / IDENTITY_FILE} has no private_key, but the database beside it already knows nodes or a key. "
            "Restore the file from a backup.",
        )
    if own_id is not None and own_id != stored.id:
        connection = sqlite3.connect(path / DATABASE_FILE, isolation_level=None)
        try:
            connection.execute("DELETE FROM mesh_nodes WHERE is_current = 1")
        finally:
            connection.close()
    adopted = StoredIdentity(stored.id, stored.name, stored.created_at, KeyPair.generate())
    write_identity(path / IDENTITY_FILE, adopted)
    log.info("adopted the identity %s", stored.id)
    return adopted


def show_identity(path: Path) -> StoredIdentity:
    """The identity on file, daemon or not. Raises `bad_identity`."""
    stored = read_identity(path / IDENTITY_FILE)
    if stored is None or stored.key is None:
        raise MeshError("no_daemon", f"there is no identity in {path} yet; it is made at the first start")
    return stored


def rename_offline(path: Path, name: str) -> Identity:
    """Rename a node that isn't running. Raises `identity_locked`, `invalid_params`."""
    show_identity(path)
    with stopped_directory(path):
        return rename_identity(path / IDENTITY_FILE, check_name(name)).public


def reset_identity(path: Path) -> list[Path]:
    """Set identity and database aside, so that the next start makes new ones; where they went.

    Raises `identity_locked` while a daemon runs.
    """
    if not path.is_dir():
        return []
    with stopped_directory(path):
        return set_node_aside(path)


@contextmanager
def stopped_directory(path: Path) -> Iterator[None]:
    """Hold a directory that no daemon runs on and that need not exist yet; as root the system node's too.

    Raises `identity_locked`, `bad_config`, and if the disk refuses `disk_full` or `database_error`.
    """
    _make_private_directory(path)
    is_foreign = may_take_over(path) and path.stat().st_uid != os.geteuid()
    lock = _lock_any(path) if is_foreign else _lock(path)  # before the directory is touched: a daemon may run on it
    try:
        with taken_over(path, _OWN_FILES) if is_foreign else nullcontext(), _disk_told(path):
            yield
    finally:
        lock.release()


@contextmanager
def _disk_told(path: Path) -> Iterator[None]:
    """What the disk refuses, as the store would say it."""
    try:
        yield
    except OSError as error:
        code = "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "database_error"
        raise MeshError(code, f"cannot write to {path}: {error.strerror}") from error


def set_node_aside(path: Path) -> list[Path]:
    """Rename identity, database, epoch and certificate to `.bak`, the identity first; the lock is held."""
    database = path / DATABASE_FILE
    if database.exists():
        try:  # fold the write-ahead log into the file that is kept
            connection = sqlite3.connect(database)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s); kept as it is", database, error)
    kept = [set_aside(path / name) for name in (IDENTITY_FILE, DATABASE_FILE, EPOCH_FILE, TLS_FILE)]
    for suffix in ("-wal", "-shm"):
        (path / f"{DATABASE_FILE}{suffix}").unlink(missing_ok=True)
    return [file for file in kept if file is not None]


def running_control(path: Path) -> tuple[str, str] | None:
    """(url, owner's token) of the daemon that runs on `path`, None if none does or it is still starting.

    Raises `daemon_unreadable` if there is one that we may not ask.
    """
    try:
        if not is_held(path):
            return None
        control = msgspec.json.decode(read_plain(path / CONTROL_FILE, _CONTROL_MAX))
        return str(control["url"]), str(control["token"])
    except PermissionError as error:
        raise MeshError("daemon_unreadable", f"{path} is not yours to read") from error
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return None


def identity_path(path: Path) -> Path:
    """The identity file of a data directory."""
    return path / IDENTITY_FILE
