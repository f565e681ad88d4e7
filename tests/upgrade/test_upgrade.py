"""A data directory of every released schema, opened with this program: upgraded, backed up, and at work."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from meshnode.crypto.key_pair import KeyPair
from meshnode.crypto.seal import Vault
from meshnode.domain.errors import MeshError
from meshnode.domain.timestamps import format_time
from meshnode.store.identity_file import StoredIdentity, write_identity
from meshnode.store.migrate import BACKUPS, find_migrations, migrate
from meshnode.store.tls_files import load_or_make_tls
from tests.fakes.joiner import Joiner, new_id
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import read_rows

NEWEST = len(find_migrations())
KEY = KeyPair(bytes(range(32)))
OWN_ID, PEER_ID, LOST_ID = new_id(), new_id(), new_id()
PIN, CODE = "271828", uuid4()
EPOCH = 1_700_000_000


def node_row(node_id: str, **changes: Any) -> dict[str, Any]:
    """A row of mesh_nodes as the first release wrote it."""
    row = {
        "id": node_id, "name": "grün \u2603", "hostname": "192.0.2.7", "port": 6969, "status": "online",
        "capabilities": '[{"name":"notify","version":"1"}]', "last_seen": "2026-01-31T12:00:00.123456Z",
        "created_at": "2026-01-30T12:00:00.000000Z", "metadata": '{"n": [1, 2]}', "is_current": 0, "alias": "mine",
        "kind": "server", "public_key": KeyPair.generate().public_key, "tls_sha256": bytes(range(32)),
        "addresses": '["192.0.2.7"]', "trust": "paired", "trust_level": 2, "dialect": "mesh",
        "paired_at": "2026-01-30T12:00:00.000000Z", "epoch": EPOCH, "revision": 3, "sequence": 9,
    }  # fmt: skip
    return row | changes


def old_rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """What a node of the first release had: itself, peers, an offer on the screen, an acknowledge to be sent."""
    now, vault = datetime.now(UTC), Vault(KEY.private_bytes)
    yield (
        "mesh_nodes",
        node_row(OWN_ID, name="old desk", is_current=1, public_key=KEY.public_key, trust="self", trust_level=3),
    )
    yield "mesh_nodes", node_row(PEER_ID)
    yield "mesh_nodes", node_row(LOST_ID, trust="revoked", trust_level=0, revoked_at="2026-01-31T12:00:00.000000Z")
    yield (
        "pairing_codes",
        {
            "id": "offer", "dialect": "mesh", "kind": "offer", "format": "uuid", "state": "open",
            "code_digest": vault.digest(CODE.bytes), "sealed": vault.seal("offer", PIN.encode(), bytes(12)),
            "pin_attempts": 3, "invite_attempts": 3, "created_at": format_time(now),
            "expires_at": format_time(now + timedelta(minutes=10)),
        },
    )  # fmt: skip
    yield (
        "pending_acks",
        {"peer_id": PEER_ID, "sid": bytes(16), "jws": "a.b.c", "before": None, "created_at": format_time(now)},
    )
    yield "failed_attempts", {"budget": "code-less", "failures": json.dumps([format_time(now)]), "locks": 1}
    yield "audit_log", {"at": format_time(now), "event": "node.paired", "dialect": "mesh", "node_id": PEER_ID}


def make_old(data: Path, version: int) -> None:
    """A data directory as `version` left it."""
    data.mkdir(mode=0o700, parents=True)
    identity = StoredIdentity(OWN_ID, "old desk", datetime(2026, 1, 30, tzinfo=UTC), KEY)
    write_identity(data / "node_identity.json", identity)
    (data / "epoch").write_text(f"{EPOCH}\n")
    tls = load_or_make_tls(data, OWN_ID, datetime.now(UTC))
    migrate(data / "meshnode.db", find_migrations()[:version])
    with sqlite3.connect(data / "meshnode.db") as connection:
        for table, row in old_rows():
            if row.get("is_current"):
                row["tls_sha256"] = tls.sha256  # else the offer's invite would name another certificate
            columns, places = ", ".join(row), ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", list(row.values()))
    connection.close()


def version_of(path: Path) -> int:
    """The schema of a database."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def key_of(row: dict[str, Any]) -> Any:
    """What tells the rows of a table apart."""
    return next(row[name] for name in ("id", "peer_id", "budget") if name in row)


@pytest.fixture(params=range(1, NEWEST), ids=lambda version: f"schema {version}")
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalNode]:
    """A node that starts on an old data directory; not started yet."""
    make_old(tmp_path / "data", request.param)
    node = LocalNode(tmp_path / "data")
    yield node
    node.close()


def test_an_old_database_is_upgraded_with_every_row(old: LocalNode) -> None:
    """What this program does not change itself stands as it stood."""
    tables = ("mesh_nodes", "pairing_codes", "pending_acks", "failed_attempts", "audit_log")
    before = {table: read_rows(old.data / "meshnode.db", table) for table in tables}
    old.start()
    assert version_of(old.data / "meshnode.db") == NEWEST
    assert old.id == OWN_ID
    for table in tables:
        after = {key_of(row): row for row in old.rows(table)}
        for row in before[table]:
            if row.get("is_current"):
                continue  # our own row says what we are now
            found = after[key_of(row)]
            assert {name: found[name] for name in row if name != "status"} == {
                name: value for name, value in row.items() if name != "status"
            }
    own = old.row(OWN_ID)
    assert own is not None
    assert own["epoch"] > EPOCH
    assert old.call("GET", "/api/v1/node")["notices"] == []  # what happened before there were any is no news
    assert (own["created_at"], own["metadata"]) == ("2026-01-30T12:00:00.000000Z", '{"n": [1, 2]}')


def test_a_backup_lies_beside(old: LocalNode) -> None:
    """The database as it was, whole, for us alone; made once."""
    version = version_of(old.data / "meshnode.db")
    before = read_rows(old.data / "meshnode.db", "mesh_nodes")
    old.start()
    (backup,) = old.data.glob("meshnode.db.*.bak")
    assert backup.name.startswith(f"meshnode.db.v{version}.2")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert version_of(backup) == version
    assert read_rows(backup, "mesh_nodes") == before
    old.restart()
    assert list(old.data.glob("meshnode.db.*.bak")) == [backup]


def test_it_works_as_before_and_as_it_does_now(old: LocalNode) -> None:
    """The offer that was open still pairs, peers are known, and a thin client can come too."""
    old.start()
    nodes = {node["id"]: node for node in old.call("GET", "/api/v1/nodes")["nodes"]}
    assert {node_id: node["trust"] for node_id, node in nodes.items()} == {
        OWN_ID: "self", PEER_ID: "paired", LOST_ID: "revoked",
    }  # fmt: skip
    assert nodes[PEER_ID]["capabilities"]
    assert old.graph.use.joining.pending == {PEER_ID}
    joiner = Joiner(old.port)
    joiner.pair(PIN, CODE.bytes)
    assert old.trust(joiner.id) == "paired"
    assert old.call("POST", "/auth/pair/start", {})["linking_code"]
    old.restart()
    assert old.trust(joiner.id) == "paired"
    old.call("POST", f"/api/v1/nodes/{joiner.id}/revoke", {})
    assert old.trust(joiner.id) == "revoked"


def test_the_latest_backups_are_kept(tmp_path: Path) -> None:
    """Three, whatever versions they are of; none is overwritten, and no other file is touched."""
    path = tmp_path / "meshnode.db"
    others = [
        tmp_path / name for name in ("meshnode.db.bak", "meshnode.db.v1.bak", "other.db.v1.20260101T000000.000000Z.bak")
    ]
    for file in others:
        file.write_bytes(b"mine")
    made: list[Path] = []
    for _ in range(BACKUPS + 2):
        path.unlink(missing_ok=True)
        migrate(path, find_migrations()[:1])
        migrate(path)
        (new,) = [b for b in tmp_path.glob("meshnode.db.v1.2*.bak") if b not in made]
        made.append(new)
        assert sorted(tmp_path.glob("meshnode.db.v1.2*.bak")) == made[-BACKUPS:]
    assert all(file.read_bytes() == b"mine" for file in others)


def test_no_backup_no_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves the old database as it is, and nothing half-written beside it."""
    path = tmp_path / "meshnode.db"
    migrate(path, find_migrations()[:1])
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(MeshError) as refused:
        migrate(path)
    assert (refused.value.code, refused.value.exit_code) == ("bad_database", 78)
    assert "No space left" in refused.value.detail
    assert version_of(path) == 1
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "v1" in file.name] == []
