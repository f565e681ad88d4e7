"""A node in one sealed file: identity, database and certificate together; beside a running daemon or without one."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meshnode.crypto.passphrase import MAGIC, open_with_passphrase, seal_with_passphrase
from meshnode.daemon.offline import DATABASE_FILE
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.identity import Identity
from meshnode.store.atomic_file import create_private, open_plain, read_plain
from meshnode.store.epoch_file import read_epoch
from meshnode.store.identity_file import IDENTITY_FILE, StoredIdentity, read_identity, write_identity
from meshnode.store.look_into_database import look_into_database
from meshnode.store.migrate import find_migrations
from meshnode.store.tls_files import PEM_MAX_BYTES, TLS_FILE

BACKUP_MAX_BYTES: Final = 1 << 30  # made and read in memory
PASSPHRASE_MIN: Final = 8
_BUSY_S: Final = 5.0


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds; files as they stood."""

    created_at: datetime
    identity: bytes
    database: bytes
    epoch: int
    tls: bytes | None

    def __repr__(self) -> str:
        return f"Archive(created_at={self.created_at!r})"


class OldSelf(msgspec.Struct, frozen=True):
    """Who the backup is of, and where that node was last reached."""

    identity: Identity
    epoch: int
    places: tuple[tuple[str, int], ...]


def write_backup(directory: Path, target: Path, passphrase: str, now: datetime) -> Identity:
    """Seal the node of `directory` into a new file, 0600; whose it is.

    The database is read through a connection of its own, so that a running node goes on writing meanwhile.
    Raises `no_daemon` if there is no node, `bad_identity`, `bad_database` (also for one that no restore would take),
    `invalid_params`; nothing is written then.
    """
    if len(passphrase) < PASSPHRASE_MIN:
        raise invalid("passphrase", f"at least {PASSPHRASE_MIN} characters")
    if target.exists() or target.is_symlink():  # before the work; O_EXCL decides
        raise invalid("FILE", f"{target} exists already, and a backup never overwrites")
    stored = read_identity(directory / IDENTITY_FILE)
    if stored is None or stored.key is None or not (directory / DATABASE_FILE).exists():
        raise MeshError("no_daemon", f"there is no node in {directory} yet; it is made at the first start")
    identity, tls = _read_files(directory)
    archive = Archive(
        created_at=now,
        identity=identity,
        database=_copy_database(directory),
        epoch=read_epoch(directory),
        tls=tls,
    )
    _look_into(directory, archive.database, stored.public)
    sealed = seal_with_passphrase(passphrase.encode(), msgspec.msgpack.encode(archive))
    if len(sealed) > BACKUP_MAX_BYTES:
        raise _too_large(directory / DATABASE_FILE)
    try:
        create_private(target, sealed)
    except FileExistsError as error:
        raise invalid("FILE", f"{target} exists already, and a backup never overwrites") from error
    except OSError as error:
        raise invalid("FILE", f"cannot write {target}: {error.strerror}") from error
    return stored.public


def _read_files(directory: Path) -> tuple[bytes, bytes | None]:
    """Identity and certificate as they stand. Raises `bad_identity`."""
    tls = None
    try:
        with suppress(FileNotFoundError):
            tls = read_plain(directory / TLS_FILE, PEM_MAX_BYTES)
        with open_plain(directory / DATABASE_FILE):  # a pipe would never end
            return read_plain(directory / IDENTITY_FILE, PEM_MAX_BYTES), tls
    except OSError as error:
        raise MeshError("bad_identity", f"cannot read {error.filename}: {error.strerror}") from error


def _copy_database(directory: Path) -> bytes:
    """The database as last committed, in one piece.

    Copied in memory: a file in the directory of a node that somebody broke into could lead root elsewhere.
    """
    source = directory / DATABASE_FILE
    try:
        with (
            closing(look_into_database(source, _BUSY_S)) as connection,
            closing(sqlite3.connect(":memory:", isolation_level=None)) as copy,
        ):
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema")  # fixes what is seen; `backup` would wait for ever
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            if pages * page_bytes > BACKUP_MAX_BYTES:  # a file with holes may be larger than the memory and the disk
                raise _too_large(source)
            connection.backup(copy)
            (said,) = copy.execute("PRAGMA quick_check(1)").fetchone()
            if said != "ok":  # VACUUM would copy a page once for each table that claims it
                raise MeshError("bad_database", f"cannot back up {source}, it is damaged: {said}")
            copy.execute("PRAGMA temp_store = MEMORY")
            copy.execute("VACUUM")  # nothing that was deleted comes along
            return copy.serialize()
    except sqlite3.Error as error:
        raise MeshError("bad_database", f"cannot back up {source}: {error}") from error
    except OSError as error:
        raise MeshError("bad_database", f"cannot read {error.filename}: {error.strerror}") from error


def _too_large(database: Path) -> MeshError:
    what = f"{database} holds more than a backup can, {BACKUP_MAX_BYTES >> 20} MiB, and than a node leaves there"
    return MeshError("bad_database", f"{what}; stop the node and look what fills it")


def read_backup(source: Path, passphrase: str) -> Archive:
    """What a file holds. Raises `bad_backup`, `bad_passphrase`, `invalid_params`."""
    try:
        with source.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise MeshError("bad_backup", f"{source} is no backup that this meshnode can read")
            sealed = MAGIC + file.read(BACKUP_MAX_BYTES + 1)
    except OSError as error:
        raise invalid("FILE", f"cannot read {source}: {error.strerror}") from error
    if len(sealed) > BACKUP_MAX_BYTES:
        raise MeshError("bad_backup", f"{source} is larger than any backup")
    try:
        return msgspec.msgpack.decode(open_with_passphrase(passphrase.encode(), sealed), type=Archive)
    except msgspec.MsgspecError as error:
        raise MeshError("bad_backup", f"{source} holds another backup than this meshnode knows") from error


def unpack(archive: Archive, directory: Path) -> tuple[StoredIdentity, OldSelf]:
    """Whose the backup is, once its parts are seen to be whole and to belong together.

    `directory` is where files may lie for a moment. Raises `bad_identity`, `bad_database`.
    """
    file = directory / f".restore.{secrets.token_hex(4)}"
    try:
        create_private(file, archive.identity)
        stored = read_identity(file)
    finally:
        file.unlink(missing_ok=True)
    if stored is None or stored.key is None:
        raise MeshError("bad_backup", "the backup holds no identity")
    return stored, _look_into(directory, archive.database, stored.public)


def write_identity_of(stored: StoredIdentity, directory: Path) -> None:
    """Put the identity file in its place, whole. Raises OSError."""
    write_identity(directory / IDENTITY_FILE, stored)


def _look_into(directory: Path, database: bytes, identity: Identity) -> OldSelf:
    """What a copied database says of the node. Raises `bad_database`, `bad_identity`."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            # a copy by VACUUM INTO has no log beside it; in memory there is none to open, so it must not ask for one
            connection.deserialize(database[:18] + b"\x01\x01" + database[20:])
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            row = connection.execute(
                "SELECT id, public_key, epoch, port, hostname, addresses FROM mesh_nodes WHERE is_current = 1"
            ).fetchone()
        except (sqlite3.Error, OverflowError) as error:
            raise MeshError("bad_database", f"the database is damaged: {error}") from error
    if said != "ok":
        raise MeshError("bad_database", f"the database is damaged: {said}")
    if version > len(find_migrations()):
        raise MeshError("bad_database", f"the database is of a newer meshnode (schema {version}); upgrade meshnode")
    if row is None:  # no daemon has ever run on it
        return OldSelf(identity, 0, ())
    if (row[0], row[1]) != (identity.id, identity.public_key):
        raise MeshError("bad_identity", f"the identity is {identity.id}, the database belongs to {row[0]}")
    hosts = dict.fromkeys([*msgspec.json.decode(row[5], type=list[str]), row[4]])
    return OldSelf(identity, row[2], tuple((host, row[3]) for host in hosts if host and row[3]))
