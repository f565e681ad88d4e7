"""One SQLite file, one guarded writer, one separate reader.

Two tasks on one aiosqlite connection would share one transaction, so every write holds the lock from BEGIN to
COMMIT. Nothing is answered before its commit (measured: `synchronous=NORMAL` loses acknowledged commits in a
power cut, FULL none).

After a full disk, a read-only one or an I/O error every write is refused until fresh connections could write the
whole log into the file, and more: what the system dropped when a sync failed is not trusted to be there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import aiosqlite

from meshnode.domain.errors import MeshError
from meshnode.node.tables import AuditEntry
from meshnode.store.audit_log import AuditLog
from meshnode.store.device_codes import DeviceCodes
from meshnode.store.device_tokens import DeviceTokens
from meshnode.store.failed_attempts import FailedAttempts
from meshnode.store.mesh_nodes import MeshNodes
from meshnode.store.pairing_codes import PairingCodes
from meshnode.store.pending_acks import PendingAcks
from meshnode.store.trust_relationships import TrustRelationships

_PRAGMAS = ("PRAGMA foreign_keys=ON", "PRAGMA busy_timeout=5000", "PRAGMA synchronous=FULL")
_MEND_EVERY_S: Final = 0.5
_ROOM_BYTES: Final = 256 * 1024  # a full disk has room again: for the log of some pairings, not just for one page
_BROKEN: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
    | {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PROTOCOL}
)

_REMEDY: Final = "check that disk (`dmesg`, `mount`, its permissions); it goes on by itself when it can be written"
_REMEDY_FULL: Final = "free some space there; it goes on by itself then"

log = logging.getLogger(__name__)


class Transaction:
    """The tables, within one transaction or one read."""

    __slots__ = ("acks", "attempts", "audit", "codes", "device_codes", "nodes", "tokens", "trust")

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self.nodes = MeshNodes(connection)
        self.codes = PairingCodes(connection)
        self.device_codes = DeviceCodes(connection)
        self.tokens = DeviceTokens(connection)
        self.trust = TrustRelationships(connection)
        self.acks = PendingAcks(connection)
        self.attempts = FailedAttempts(connection)
        self.audit = AuditLog(connection)


class Database:
    """The open database of a running node."""

    def __init__(self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._reading: Counter[aiosqlite.Connection] = Counter()
        self._lock = asyncio.Lock()
        self._is_durable: bool | None = None  # as the writer stands; None while that is being changed
        self._trouble: MeshError | None = None  # the disk's; what is refused until it is over
        self._mend_at = 0.0
        self.on_trouble: Callable[[MeshError], None] = lambda _: None
        self.on_mended: Callable[[], None] = lambda: None
        self.on_used: Callable[[], None] = lambda: None  # a write has ended, well or not, or trouble has begun
        self.on_logged: Callable[[Sequence[AuditEntry]], None] = lambda _: None  # committed to the audit log

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open a migrated database file."""
        return cls(path, *await _connect(path))

    async def close(self) -> None:
        """Wait for a write under way, then close."""
        async with self._lock:
            await self._reader.close()
            await self._writer.close()

    @asynccontextmanager
    async def write(self, *, durable: bool = True) -> AsyncIterator[Transaction]:
        """One transaction, committed when the block ends, rolled back when it raises.

        `durable=False` may lose the commit in a power cut; for what is refreshed anyway. Raises `database_error` or
        `disk_full`; from then on tries to mend the database first.
        """
        async with self._lock:
            try:
                if self._trouble is not None:
                    await _whole(self._mend(self._trouble))
                if self._is_durable is not durable:  # never set back at the end: a cancelled task might not come to it
                    self._is_durable = None
                    await self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                    self._is_durable = durable
                try:
                    await self._writer.execute("BEGIN IMMEDIATE")
                    tx = Transaction(self._writer)
                    yield tx
                    await self._writer.execute("COMMIT")
                except BaseException:
                    # also after a cancellation: the writer's thread may have begun, or even committed, by now
                    rollback = asyncio.ensure_future(self._rollback())
                    while not rollback.done():  # a second cancellation must not let the next writer in before
                        with suppress(asyncio.CancelledError):
                            await asyncio.shield(rollback)
                    raise
                if tx.audit.appended:
                    self.on_logged(tx.audit.appended)
            except sqlite3.Error as error:
                raise self._refusal(error) from error
            finally:
                self.on_used()

    async def _rollback(self) -> None:
        await self._writer.execute("SELECT 1")  # a cancelled BEGIN or COMMIT may still be queued: pass behind it
        if self._writer.in_transaction:
            try:
                await self._writer.execute("ROLLBACK")
            except sqlite3.Error as error:  # nothing more can be done with this connection
                self._begin_trouble(MeshError("database_error", f"the database refused: {error}; {_REMEDY}"))
                raise

    # ── a disk in trouble ──────────────────────────────────────────────────────────────────────────────────────────

    def _refusal(self, error: sqlite3.Error) -> MeshError:
        """What the caller is told; trouble begins if it is the disk's."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or (code in _BROKEN and not _has_room(self._path)):
            told = MeshError("disk_full", f"the disk with the database is full; {_REMEDY_FULL}")
        elif code in _BROKEN:
            told = MeshError("database_error", f"the database refused: {error}; {_REMEDY}")
        else:
            return MeshError("database_error", f"the database refused: {error}")
        self._begin_trouble(told)
        return told

    def _begin_trouble(self, trouble: MeshError) -> None:
        if self._trouble is None:
            log.error("%s", trouble.detail)
        self._trouble = trouble
        self.on_trouble(trouble)
        self.on_used()

    async def _mend(self, trouble: MeshError) -> None:
        """Change to fresh connections that can write; raises the trouble if there are none, or it is too soon."""
        now = asyncio.get_running_loop().time()
        if now < self._mend_at or (trouble.code == "disk_full" and not _has_room(self._path)):
            raise MeshError(trouble.code, trouble.detail)
        self._mend_at = now + _MEND_EVERY_S
        with suppress(sqlite3.Error):
            await self._writer.close()  # it may hold a transaction that can't be rolled back
        writer, reader = await _connect(self._path)
        try:
            await _write_all(writer)
        except BaseException:
            await reader.close()
            with suppress(sqlite3.Error):
                await writer.close()
            raise
        retired, self._writer, self._reader = self._reader, writer, reader
        self._is_durable = True
        self._trouble = None
        if not self._reading[retired]:
            await retired.close()
        log.warning("the database accepts writes again")
        self.on_mended()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """The tables as last committed. Raises `database_error` or `disk_full`."""
        reader = self._reader
        self._reading[reader] += 1
        try:
            yield Transaction(reader)
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        finally:
            self._reading[reader] -= 1
            if not self._reading[reader]:
                del self._reading[reader]
                if reader is not self._reader:  # replaced meanwhile
                    await reader.close()


async def _connect(path: Path) -> tuple[aiosqlite.Connection, aiosqlite.Connection]:
    """A writer and a reader; both or none."""
    connections: list[aiosqlite.Connection] = []
    try:
        for _ in range(2):
            connection = await aiosqlite.connect(path, isolation_level=None)
            connections.append(connection)
            connection.row_factory = sqlite3.Row
            for pragma in _PRAGMAS:
                await connection.execute(pragma)
        await connections[1].execute("PRAGMA query_only=ON")
    except BaseException:
        for connection in connections:
            with suppress(sqlite3.Error):
                await connection.close()
        raise
    return connections[0], connections[1]


async def _write_all(writer: aiosqlite.Connection) -> None:
    """Write the whole log into the file, and a page of a new one. Raises sqlite3.Error."""
    (row,) = await writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
    if row[0]:
        raise sqlite3.OperationalError("somebody else reads the database; its log can't be written back now")
    (row,) = await writer.execute_fetchall("PRAGMA user_version")
    await writer.execute("BEGIN IMMEDIATE")
    await writer.execute(f"PRAGMA user_version = {row[0]:d}")  # the same, and yet it is written
    await writer.execute("COMMIT")


def _has_room(path: Path) -> bool:
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return True  # another trouble, which the next write will name
    return disk.f_blocks == 0 or disk.f_bavail * disk.f_frsize >= _ROOM_BYTES


async def _whole(work: Coroutine[object, object, None]) -> None:
    """Do `work` to its end; a cancellation is raised after that."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()
        raise cancelled
    task.result()
