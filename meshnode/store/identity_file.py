"""`node_identity.json`: the one file that makes a node itself. Never regenerated, never guessed at."""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meshnode.crypto.key_pair import KEY_BYTES, KeyPair
from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity, is_node_id
from meshnode.domain.pairing_code import Hidden
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.domain.untrusted_text import clean_text
from meshnode.store.atomic_file import open_plain, write_private

IDENTITY_FILE: Final = "node_identity.json"
_SIZE_MAX: Final = 16 * 1024

log = logging.getLogger(__name__)


class _Content(Hidden, msgspec.Struct):
    id: str
    name: str
    created_at: str
    private_key: str | None = None


@dataclass(frozen=True, slots=True)
class StoredIdentity:
    """What the file says; `key` is None in a file of salita's own format, which is yet to be adopted."""

    id: str
    name: str
    created_at: datetime
    key: KeyPair | None = field(repr=False)

    @property
    def own_key(self) -> KeyPair:
        """The key. Raises ValueError before adoption."""
        if self.key is None:
            raise ValueError("this identity has no key yet")
        return self.key

    @property
    def public(self) -> Identity:
        """The public half. Raises ValueError before adoption."""
        return Identity(self.id, self.name, self.created_at, self.own_key.public_key)


def read_identity(path: Path) -> StoredIdentity | None:
    """The identity in `path`, None if the file doesn't exist.

    Raises `bad_identity` for anything else than a whole, readable identity; the file is left as it is.
    """
    try:
        if path.is_symlink():
            raise _damaged(path, "is a symbolic link")
        with open_plain(path) as descriptor:
            found = os.fstat(descriptor)
            mode = stat.S_IMODE(found.st_mode)
            data = os.read(descriptor, _SIZE_MAX) if found.st_size <= _SIZE_MAX else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error
    try:
        content = msgspec.json.decode(data, type=_Content)
        created_at = parse_time(content.created_at)
        key = None
        if content.private_key is not None:
            secret = decode_base64url(content.private_key)
            if len(secret) != KEY_BYTES:
                raise ValueError("private_key is not 32 bytes")
            key = KeyPair(secret)
        if not is_node_id(content.id):
            raise ValueError("id is not a node id")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _damaged(path, f"is damaged ({error})") from error
    if mode & 0o077:
        log.warning("%s was readable by others (mode %o); set to 600", path, mode)
        with open_plain(path) as descriptor:
            os.fchmod(descriptor, 0o600)
    return StoredIdentity(content.id, clean_text(content.name) or content.id, created_at, key)


def write_identity(path: Path, identity: StoredIdentity) -> None:
    """Write the file whole. Raises OSError."""
    content = _Content(
        id=identity.id,
        name=identity.name,
        created_at=format_time(identity.created_at),
        private_key=encode_base64url(identity.own_key.private_bytes),
    )
    write_private(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def rename_identity(path: Path, name: str) -> StoredIdentity:
    """Write the file anew under another name."""
    identity = read_identity(path)
    if identity is None or identity.key is None:
        raise _damaged(path, "is missing or has no key")
    renamed = replace(identity, name=name)
    write_identity(path, renamed)
    return renamed


def _damaged(path: Path, why: str) -> MeshError:
    return MeshError(
        "bad_identity",
        f"{path} {why}. It is left as it is, and no new identity is made: the nodes you paired would not know it.",
    )
