"""Applies migrations/*.sql, each in one transaction; refuses a database it cannot know.

Runs before the event loop, on plain sqlite3.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from meshnode.domain.errors import MeshError
from meshnode.domain.timestamps import format_time

_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, applied_at TEXT NOT NULL
) STRICT
"""


BACKUPS: Final = 3  # kept of those made before upgrades
_BACKUP: Final = re.compile(r"\.v[0-9]+\.([0-9]{8}T[0-9]{6}\.[0-9]{6}Z)\.bak\Z")


class Migration(NamedTuple):
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """What is recorded of it."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def find_migrations() -> list[Migration]:
    """The migrations shipped with this program: in the wheel, else in the checkout around the package."""
    packaged = Path(__file__).parents[1] / "_migrations"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "migrations"
    found = []
    for file in folder.iterdir():
        match = re.match(r"(\d{4})_\w+\.sql\Z", file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text("utf-8")))
    found.sort()
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MeshError("bad_database", f"the migrations in {folder} are not numbered 1, 2, 3 …; reinstall meshnode")
    return found


def split_statements(sql: str) -> Iterator[str]:
    """The statements of a script; a trigger's inner semicolons don't split it."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if "".join(line for line in statement.splitlines() if not line.lstrip().startswith("--")).strip():
        raise ValueError("the last statement has no semicolon")


def migrate(path: Path, migrations: list[Migration] | None = None) -> int:
    """Bring the database at `path` to the newest version, backing it up before an upgrade; the version reached.

    Raises `bad_database` for a newer or edited history or a damaged file; nothing is changed then.
    """
    wanted = find_migrations() if migrations is None else migrations
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=5)
        try:
            path.chmod(0o600)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            return _apply(connection, path, wanted)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise MeshError("bad_database", f"{path}: {error}") from error


def _apply(connection: sqlite3.Connection, path: Path, wanted: list[Migration]) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version:
        _check_history(connection, path, version, wanted)
    if version == len(wanted):
        return int(version)
    if version:
        _back_up(connection, path, version)
    for migration in wanted[version:]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            (now_at,) = connection.execute("PRAGMA user_version").fetchone()
            if now_at >= migration.version:  # another process was faster
                connection.execute("ROLLBACK")
                continue
            connection.execute(_RECORD)
            for statement in split_statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations VALUES (?, ?, ?, ?)",
                (migration.version, migration.name, migration.sha256, format_time(datetime.now(UTC))),
            )
            connection.execute(f"PRAGMA user_version = {migration.version}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return len(wanted)


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the database beside itself, whole or not at all; the latest copies are kept."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    backup = path.with_name(f"{path.name}.v{version}.{at}.bak")
    partial = backup.with_suffix(".part")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # private from its first byte
        connection.execute("VACUUM INTO ?", (str(partial),))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(backup)
    except OSError as error:
        raise MeshError("bad_database", f"cannot back up {path} before the upgrade: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    kept = [(m[1], file) for file in path.parent.iterdir() if (m := _BACKUP.match(file.name.removeprefix(path.name)))]
    for _, old in sorted(kept)[:-BACKUPS]:
        old.unlink(missing_ok=True)


def _check_history(connection: sqlite3.Connection, path: Path, version: int, wanted: list[Migration]) -> None:
    if version > len(wanted):
        raise MeshError("bad_database", f"{path} was written by a newer meshnode (schema {version}); upgrade meshnode")
    applied = connection.execute("SELECT version, sha256 FROM schema_migrations ORDER BY version").fetchall()
    if applied != [(m.version, m.sha256) for m in wanted[:version]]:
        raise MeshError("bad_database", f"{path} has another migration history than this meshnode; it is left as it is")
