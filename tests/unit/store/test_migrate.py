"""Migrations: forward only, whole or not at all, and no guessing."""

import re
import sqlite3
import stat
from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from meshnode.store.migrate import Migration, find_migrations, migrate, split_statements

FIRST = Migration(1, "0001_a.sql", "CREATE TABLE a (x INTEGER) STRICT;\nINSERT INTO a VALUES (1);\n")
SECOND = Migration(2, "0002_b.sql", "-- more\nCREATE TABLE b (x INTEGER) STRICT;\n")
TRIGGER = Migration(
    1,
    "0001_t.sql",
    """CREATE TABLE a (x INTEGER) STRICT; -- trailing
CREATE TABLE log (x INTEGER) STRICT;
CREATE TRIGGER a_log AFTER INSERT ON a
BEGIN
    INSERT INTO log VALUES (new.x);
    INSERT INTO log VALUES (-new.x);
END;
INSERT INTO a VALUES (7);
""",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "meshnode.db"


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def schema(path: Path) -> list[tuple[object, ...]]:
    return query(path, "SELECT type, name, sql FROM sqlite_schema ORDER BY name")


def refused(path: Path, migrations: list[Migration]) -> MeshError:
    with pytest.raises(MeshError) as caught:
        migrate(path, migrations)
    assert (caught.value.code, caught.value.exit_code) == ("bad_database", 78)
    return caught.value


def test_a_fresh_database_reaches_the_newest_version(path: Path) -> None:
    """With every table of the design, all STRICT, in WAL mode, readable by us only."""
    version = migrate(path)
    assert version == len(find_migrations())
    assert query(path, "PRAGMA user_version") == [(version,)]
    tables = {name for (name,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {
        "mesh_nodes",
        "pairing_codes",
        "pending_acks",
        "failed_attempts",
        "audit_log",
        "schema_migrations",
    } <= tables
    lax = query(path, "SELECT name FROM pragma_table_list WHERE strict = 0 AND name NOT LIKE 'sqlite_%'")
    assert lax == []
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_migrating_twice_changes_nothing(path: Path) -> None:
    """No second record, no backup."""
    migrate(path)
    before = schema(path), query(path, "SELECT * FROM schema_migrations")
    migrate(path)
    assert (schema(path), query(path, "SELECT * FROM schema_migrations")) == before
    assert [file.name for file in path.parent.glob("*.bak")] == []


def test_an_upgrade_keeps_the_data_and_a_backup(path: Path) -> None:
    """The backup is the database before, mode 0600; its name says which version, and when."""
    assert migrate(path, [FIRST]) == 1
    assert migrate(path, [FIRST, SECOND]) == 2
    assert query(path, "SELECT x FROM a") == [(1,)]
    assert query(path, "SELECT x FROM b") == []
    (backup,) = path.parent.glob("*.bak")
    assert re.fullmatch(r"meshnode\.db\.v1\.[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.bak", backup.name)
    assert list(path.parent.glob("*.part")) == []
    assert query(backup, "PRAGMA user_version") == [(1,)]
    assert query(backup, "SELECT x FROM a") == [(1,)]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_several_steps_at_once_are_each_recorded(path: Path) -> None:
    """By number, name and hash."""
    migrate(path, [FIRST, SECOND])
    assert query(path, "SELECT version, name, sha256 FROM schema_migrations") == [
        (1, FIRST.name, FIRST.sha256),
        (2, SECOND.name, SECOND.sha256),
    ]


def test_a_newer_database_is_refused_unchanged(path: Path) -> None:
    """Upgrade the program, not the database."""
    migrate(path, [FIRST, SECOND])
    before = schema(path)
    assert "written by a newer meshnode" in refused(path, [FIRST]).detail
    assert schema(path) == before
    assert query(path, "PRAGMA user_version") == [(2,)]


def test_an_edited_history_is_refused_unchanged(path: Path) -> None:
    """A released file whose hash differs; also when there is something new to apply."""
    migrate(path, [FIRST])
    before = schema(path)
    edited = FIRST._replace(sql=FIRST.sql + "-- harmless\n")
    refused(path, [edited])
    refused(path, [edited, SECOND])
    assert schema(path) == before


def test_a_database_of_somebody_else_is_refused(path: Path) -> None:
    """It has a version but no history of ours."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    refused(path, [FIRST])
    assert schema(path) == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE b (x INTEGER) STRICT;\nINSERT INTO missing VALUES (1);\n",
        "CREATE TABLE b (x INTEGER) STRICT;\nCREATE TABLE b (x INTEGER) STRICT;\n",
        "CREATE TABLE b (x INTEGER) STRICT;\nNONSENSE;\n",
    ],
)
def test_a_failing_file_leaves_nothing_behind(path: Path, sql: str) -> None:
    """The steps before it stay, its own beginning doesn't."""
    failing = Migration(2, "0002_bad.sql", sql)
    refused(path, [FIRST, failing])
    assert query(path, "PRAGMA user_version") == [(1,)]
    assert query(path, "SELECT name FROM sqlite_schema WHERE name = 'b'") == []
    assert query(path, "SELECT version FROM schema_migrations") == [(1,)]
    assert migrate(path, [FIRST, SECOND]) == 2


def test_triggers_are_applied_whole(path: Path) -> None:
    """Their inner semicolons don't split them."""
    migrate(path, [TRIGGER])
    assert query(path, "SELECT x FROM log ORDER BY x") == [(-7,), (7,)]


def test_statements_are_split_where_they_end() -> None:
    """Strings, comments and triggers included."""
    statements = list(split_statements("SELECT ';';\n-- a; b\nSELECT 2\n;\n" + TRIGGER.sql + "-- the end\n"))
    assert len(statements) == 6
    assert statements[0] == "SELECT ';';\n"
    assert statements[4].endswith("END;\n")


def test_a_statement_without_its_semicolon_is_no_statement() -> None:
    """Rather than lost in silence."""
    with pytest.raises(ValueError, match="semicolon"):
        list(split_statements("SELECT 1;\nSELECT 2\n"))


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be looked at " * 50, b"SQLite format 3\x00" + bytes(4080)]
)
def test_a_damaged_file_is_refused_byte_for_byte(path: Path, content: bytes) -> None:
    """It may hold somebody's peers."""
    path.write_bytes(content)
    refused(path, [FIRST])
    assert path.read_bytes() == content


def test_the_shipped_migrations_are_numbered_from_one() -> None:
    """And found from this checkout."""
    found = find_migrations()
    assert [m.version for m in found] == list(range(1, len(found) + 1))
    assert all(list(split_statements(m.sql)) for m in found)
