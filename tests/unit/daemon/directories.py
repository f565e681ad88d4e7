"""Building data directories as earlier runs left them."""

import json
import sqlite3
from pathlib import Path

from meshnode.daemon.offline import DATABASE_FILE, DataDirectory, open_data_directory
from meshnode.domain.timestamps import format_time
from meshnode.store.identity_file import IDENTITY_FILE
from tests.fakes.clock import START, ManualClock, SeededEntropy


def opened(path: Path) -> DataDirectory:
    data = open_data_directory(path, ManualClock(), SeededEntropy())
    data.close()
    return data


def put_identity(path: Path, content: dict[str, str] | bytes) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    file = path / IDENTITY_FILE
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    file.chmod(0o600)


def put_row(path: Path, node_id: str, public_key: bytes | None, *, own: bool) -> None:
    """A row as a running node would have written it."""
    if not (path / DATABASE_FILE).exists():
        opened(path)
        (path / IDENTITY_FILE).unlink()
    with sqlite3.connect(path / DATABASE_FILE) as connection:
        connection.execute(
            "INSERT INTO mesh_nodes (id, name, hostname, port, status, created_at, is_current, public_key, trust, "
            "dialect) VALUES (?, 'x', '', 0, 'online', ?, ?, ?, ?, 'mesh')",
            (node_id, format_time(START), int(own), public_key, "self" if own else "paired"),
        )
    connection.close()


def own_rows(path: Path) -> list[tuple[str]]:
    connection = sqlite3.connect(path / DATABASE_FILE)
    try:
        return connection.execute("SELECT id FROM mesh_nodes WHERE is_current = 1").fetchall()
    finally:
        connection.close()
