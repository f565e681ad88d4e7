"""The Ed25519 identity key: create, load, sign, verify. Source: RFC 8032."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_Y_OF_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)  # without the sign bit, not canonical ones too: anybody can sign for such a key, and OpenSSL accepts it


class KeyPair:
    """A node's private identity key; its repr shows nothing."""

    __slots__ = ("_private", "public_key")

    def __init__(self, private_bytes: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(private_bytes)
        self.public_key: bytes = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> KeyPair:
        """A new key, drawn by the library."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def private_bytes(self) -> bytes:
        """The 32 secret bytes; for the identity file and for deriving storage keys."""
        return self._private.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)


def verify_signature(public_key: bytes, signature: bytes, message: bytes) -> None:
    """Return if the signature is right. Raises ValueError, also for bytes that are no key."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise ValueError("wrong length of key or signature")
    if public_key[:31] + bytes([public_key[31] & 0x7F]) in _Y_OF_SMALL_ORDER:
        raise ValueError("not a usable key")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature as error:
        raise ValueError("wrong signature") from error
