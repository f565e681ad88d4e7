"""A data directory whose database knows many paired peers, and the file of tokens that the load uses."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from meshnode.crypto.jws import sign_jws
from meshnode.crypto.key_pair import KeyPair
from meshnode.daemon.offline import open_data_directory
from meshnode.daemon.system import SystemClock, SystemEntropy
from meshnode.domain.announcement import ANNOUNCEMENT_TYPE, Announcement, announcement_sha256
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.capability import BUILT_INS
from meshnode.domain.identity import make_node_id
from meshnode.domain.peer import MeshNode
from meshnode.store.mesh_nodes import COLUMNS, encode_row

PEER_EPOCH = 1
INTERVAL_S = 300.0  # nobody becomes stale while we measure
TOKENS = "tokens"


class Place(NamedTuple):
    """Where a peer is said to be, and the certificate it shows there."""

    host: str
    port: int
    tls_sha256: bytes = b""


NOWHERE = Place("192.0.2.1", 6969)


@dataclass(frozen=True)
class Seeded:
    """A data directory and its peers: (id, announcement_sha256) each."""

    path: Path
    peers: Sequence[tuple[str, str]]

    @classmethod
    def make(cls, path: Path, count: int, at: Callable[[int], Place] = lambda _: NOWHERE) -> Self:
        """Create the directory as `meshnode run` would, then insert paired peers, silent so far; `at` says where."""
        clock, entropy = SystemClock(), SystemEntropy()
        open_data_directory(path, clock, entropy).close()
        made = [_peer(number, at(number)) for number in range(count)]
        connection = sqlite3.connect(path / "meshnode.db")
        with connection:
            insert = f"INSERT INTO mesh_nodes ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
            connection.executemany(insert, map(encode_row, made))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return cls(path, [(node.id, announcement_sha256(node.announcement or "")) for node in made])

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `make` left."""
        connection = sqlite3.connect(path / "meshnode.db")
        rows = connection.execute("SELECT id, announcement FROM mesh_nodes WHERE trust = 'paired'").fetchall()
        connection.close()
        return cls(path, [(node_id, announcement_sha256(jws)) for node_id, jws in rows])


def _peer(number: int, at: Place) -> MeshNode:
    key = KeyPair.generate()
    now = datetime.now(UTC)
    node_id = make_node_id(int(now.timestamp() * 1000), os.urandom(10))
    certificate_hash = at.tls_sha256 or os.urandom(32)
    announcement = Announcement(
        id=node_id,
        public_key=encode_base64url(key.public_key),
        name=f"peer {number}",
        kind="other",
        platform="linux",
        version="0.1.0",
        protocols=[1],
        port=at.port,
        addresses=[at.host],
        tls_sha256=encode_base64url(certificate_hash),
        capabilities=list(BUILT_INS),
        interval_s=INTERVAL_S,
        epoch=PEER_EPOCH,
        revision=1,
    )
    return MeshNode(
        id=node_id,
        name=announcement.name,
        hostname=at.host,
        port=at.port,
        status="offline",
        status_reason="silent",
        trust="paired",
        trust_level=1,
        created_at=now,
        paired_at=now,
        public_key=key.public_key,
        tls_sha256=certificate_hash,
        capabilities=BUILT_INS,
        addresses=(at.host,),
        epoch=PEER_EPOCH,
        revision=1,
        announcement=sign_jws(key, ANNOUNCEMENT_TYPE, msgspec.json.encode(announcement)),
    )


def write_tokens(path: Path, known_sha256: str, tokens: Sequence[tuple[str, str]]) -> None:
    """What heartbeats.lua reads. Its appearance says that the server is ready."""
    draft = path / f"{TOKENS}.draft"
    draft.write_text("\n".join([known_sha256, *(f"{token} {digest}" for token, digest in tokens), ""]))
    draft.rename(path / TOKENS)


def stored_beats(path: Path, begin_above: int) -> tuple[int, int]:
    """(heartbeats that the table shows beyond `begin_above`, rows that show one)."""
    connection = sqlite3.connect(f"file:{path / 'meshnode.db'}?mode=ro", uri=True)
    try:
        beats, rows = connection.execute(
            "SELECT coalesce(sum(sequence - :above), 0), count(*) FROM mesh_nodes "
            "WHERE trust = 'paired' AND sequence > :above AND status = 'online' AND last_seen IS NOT NULL",
            {"above": begin_above},
        ).fetchone()
    finally:
        connection.close()
    return beats, rows
