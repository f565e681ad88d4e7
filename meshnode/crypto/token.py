"""Bearer tokens: 256 random bits, of which only the SHA-256 is kept (they can't be guessed, so no slow hash)."""

from __future__ import annotations

import hashlib
import hmac

from meshnode.domain.base64url import encode_base64url
from meshnode.domain.pairing_code import Secret


def make_token(random: bytes) -> Secret:
    """The text of a token from 32 random bytes."""
    return Secret(encode_base64url(random[:32]))


def token_digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def is_same_token(token: str, digest: bytes) -> bool:
    """Whether `token` is the one of which `digest` was kept; constant time."""
    return hmac.compare_digest(token_digest(token), digest)
