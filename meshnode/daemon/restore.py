"""Put a backup in the place of a node: the same node to its peers, and nothing that it held open lives on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from meshnode.daemon.backup import Archive, OldSelf, read_backup, unpack, write_identity_of
from meshnode.daemon.offline import DATABASE_FILE, set_node_aside, stopped_directory
from meshnode.daemon.old_node import find_old_node
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity
from meshnode.domain.invite import format_host
from meshnode.node.ports import Entropy
from meshnode.store.atomic_file import write_private
from meshnode.store.epoch_file import read_epoch, write_epoch
from meshnode.store.identity_file import IDENTITY_FILE, StoredIdentity
from meshnode.store.tls_files import TLS_FILE


class Restored(msgspec.Struct, frozen=True):
    """Who is back, and what was kept of the former node here."""

    identity: Identity
    kept: list[Path]


def restore_node(
    source: Path, directory: Path, passphrase: str, entropy: Entropy, *, force: bool, by_mdns: bool = True
) -> Restored:
    """Restore `source` into `directory`.

    Raises `identity_locked` while a daemon runs there, `identity_exists`, `node_answers` (both not with `force`),
    `bad_backup`, `bad_passphrase`, `bad_identity`, `bad_database`; nothing is changed then.
    """
    archive = read_backup(source, passphrase)
    with stopped_directory(directory):
        stored, old = unpack(archive, directory)
        if not force:
            _refuse_overwriting(directory)
            place = asyncio.run(find_old_node(old.identity, old.places, entropy, by_mdns=by_mdns))
            if place is not None:
                where = f"{format_host(place[0])}:{place[1]}"
                raise MeshError(
                    "node_answers",
                    f"the node {old.identity.name} still runs, at {where}; two of it would cut each other off",
                )
        try:
            return Restored(old.identity, _replace(directory, archive, stored, old))
        except OSError as error:
            raise MeshError("bad_database", f"cannot write to {directory}: {error.strerror}") from error


def _refuse_overwriting(directory: Path) -> None:
    for name in (IDENTITY_FILE, DATABASE_FILE):
        if (directory / name).exists():
            raise MeshError("identity_exists", f"there is a node in {directory} already ({name})")


def _replace(directory: Path, archive: Archive, stored: StoredIdentity, old: OldSelf) -> list[Path]:
    """Identity away first, and back last: cut short at any point, no start takes what is there for a node."""
    # one above whatever is known: the start then sees that the database was restored, and ends what it held open
    epoch = max(read_epoch(directory), archive.epoch, old.epoch) + 1
    kept = set_node_aside(directory)
    write_private(directory / DATABASE_FILE, archive.database)
    write_epoch(directory, epoch)
    if archive.tls is not None:
        write_private(directory / TLS_FILE, archive.tls)
    write_identity_of(stored, directory)
    return kept
