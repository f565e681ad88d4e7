"""One SQLite file, one guarded writer, one separate reader.

Two tasks on one aiosqlite connection would share one transaction, so every write holds the lock from BEGIN to
COMMIT. Nothing is answered before its commit (measured: `synchronous=NORMAL` loses acknowledged commits in a
power cut, FULL none).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiosqlite

from meshnode.domain.errors import MeshError
from meshnode.store.audit_log import AuditLog
from meshnode.store.device_codes import DeviceCodes
from meshnode.store.device_tokens import DeviceTokens
from meshnode.store.failed_attempts import FailedAttempts
from meshnode.store.mesh_nodes import MeshNodes
from meshnode.store.pairing_codes import PairingCodes
from meshnode.store.pending_acks import PendingAcks
from meshnode.store.trust_relationships import TrustRelationships

_PRAGMAS = ("PRAGMA foreign_keys=ON", "PRAGMA busy_timeout=5000", "PRAGMA synchronous=FULL")


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

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()
        self._is_durable: bool | None = None  # as the writer stands; None while that is being changed

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open a migrated database file."""
        connections = []
        for _ in range(2):
            connection = await aiosqlite.connect(path, isolation_level=None)
            connection.row_factory = sqlite3.Row
            for pragma in _PRAGMAS:
                await connection.execute(pragma)
            connections.append(connection)
        await connections[1].execute("PRAGMA query_only=ON")
        return cls(*connections)

    async def close(self) -> None:
        """Wait for a write under way, then close."""
        async with self._lock:
            await self._reader.close()
            await self._writer.close()

    @asynccontextmanager
    async def write(self, *, durable: bool = True) -> AsyncIterator[Transaction]:
        """One transaction, committed when the block ends, rolled back when it raises.

        `durable=False` may lose the commit in a power cut; for what is refreshed anyway. Raises `database_error`.
        """
        async with self._lock:
            try:
                if self._is_durable is not durable:  # never set back at the end: a cancelled task might not come to it
                    self._is_durable = None
                    await self._writer.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                    self._is_durable = durable
                try:
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield Transaction(self._writer)
                    await self._writer.execute("COMMIT")
                except BaseException:
                    # also after a cancellation: the writer's thread may have begun, or even committed, by now
                    rollback = asyncio.ensure_future(self._rollback())
                    while not rollback.done():  # a second cancellation must not let the next writer in before
                        with suppress(asyncio.CancelledError):
                            await asyncio.shield(rollback)
                    raise
            except sqlite3.Error as error:
                raise MeshError("database_error", f"the database refused: {error}") from error

    async def _rollback(self) -> None:
        await self._writer.execute("SELECT 1")  # a cancelled BEGIN or COMMIT may still be queued: pass behind it
        if self._writer.in_transaction:
            await self._writer.execute("ROLLBACK")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """The tables as last committed. Raises `database_error`."""
        try:
            yield Transaction(self._reader)
        except sqlite3.Error as error:
            raise MeshError("database_error", f"the database refused: {error}") from error
