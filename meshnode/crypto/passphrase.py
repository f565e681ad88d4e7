"""Bytes under a passphrase: scrypt (RFC 7914) makes the key, AES-256-GCM seals. One version, no parameters to forge.

Layout: magic line, 16 bytes of salt, 12 of nonce, ciphertext; everything before the ciphertext is authenticated too.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag

from meshnode.domain.errors import MeshError

MAGIC: Final = b"meshnode backup 1\n"
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEAD_BYTES: Final = len(MAGIC) + _SALT_BYTES + _NONCE_BYTES
_COST: Final = 2**16  # with r = 8: 64 MiB, so that a phone can open what a server has sealed
_LANES: Final = 2


def _key(passphrase: bytes, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=_COST, r=8, p=_LANES).derive(passphrase)


def seal_with_passphrase(passphrase: bytes, text: bytes) -> bytes:
    """`text` as only the passphrase opens it; salt and nonce are new each time."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head = MAGIC + os.urandom(_SALT_BYTES + _NONCE_BYTES)
    salt, nonce = head[len(MAGIC) : -_NONCE_BYTES], head[-_NONCE_BYTES:]
    return head + AESGCM(_key(passphrase, salt)).encrypt(nonce, text, head)


def open_with_passphrase(passphrase: bytes, sealed: bytes) -> bytes:
    """What was sealed. Raises `bad_backup` if this is none, `bad_passphrase` if it does not open."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not sealed.startswith(MAGIC) or len(sealed) < _HEAD_BYTES + _TAG_BYTES:
        raise MeshError("bad_backup", "this is no backup that this meshnode can read, or only the beginning of one")
    head = sealed[:_HEAD_BYTES]
    salt, nonce = head[len(MAGIC) : -_NONCE_BYTES], head[-_NONCE_BYTES:]
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed[_HEAD_BYTES:], head)
    except InvalidTag as error:
        raise MeshError("bad_passphrase", "the backup does not open: another passphrase, or a damaged file") from error
