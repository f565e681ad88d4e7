"""Sealing: what travels in step 3 of a pairing, and what rests in the database. Source: docs/protocol.md; RFC 8439."""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from cryptography.exceptions import InvalidTag

from meshnode.domain.errors import invalid

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_ZERO_NONCE: Final = bytes(12)  # safe: one key seals one message, ever
_NONCE_BYTES: Final = 12


def _derive(material: bytes, salt: bytes | None, info: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # these three imports: when first needed, not at start
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(material)


def seal_introduction(role: Literal["joiner", "host"], pake_key: bytes, sid: bytes, tag: bytes, text: bytes) -> bytes:
    """Seal what `role` says about itself; `tag` is the sender's own."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key = _derive(pake_key, sid, b"meshnode/1 seal " + role.encode())
    return ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, text, sid + tag)


def open_introduction(role: Literal["joiner", "host"], pake_key: bytes, sid: bytes, tag: bytes, sealed: bytes) -> bytes:
    """What `role` sealed. Raises `invalid_params`."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key = _derive(pake_key, sid, b"meshnode/1 seal " + role.encode())
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, sealed, sid + tag)
    except InvalidTag as error:
        raise invalid("sealed", "cannot be opened") from error


class Vault:
    """Seals and digests what rests in the database, under keys derived from the identity key.

    Whoever steals the database without the identity file learns no PIN and no code.
    """

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key

    @cached_property
    def _digest_key(self) -> bytes:
        return _derive(self._private_key, None, b"meshnode/1 code-digest")

    @cached_property
    def _aead(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(_derive(self._private_key, None, b"meshnode/1 code-seal"))

    def digest(self, code: bytes) -> bytes:
        """HMAC-SHA-256 of a code that is only looked up, never shown again."""
        return hmac.digest(self._digest_key, code, hashlib.sha256)

    def seal(self, row_id: str, text: bytes, nonce: bytes) -> bytes:
        """Nonce and AES-256-GCM ciphertext of a secret that must be shown again, bound to its row."""
        return nonce[:_NONCE_BYTES] + self._aead.encrypt(nonce[:_NONCE_BYTES], text, row_id.encode())

    def open(self, row_id: str, sealed: bytes) -> bytes:
        """The secret. Raises ValueError if it was sealed under another identity or for another row."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row_id.encode())
        except InvalidTag as error:
            raise ValueError("sealed under another identity, or damaged") from error
