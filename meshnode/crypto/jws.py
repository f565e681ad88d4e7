"""Compact JWS, the strict subset that meshnode speaks: EdDSA, one exact header per purpose, no claims about time.

Source: RFC 7515 §7.1, RFC 8037; docs/protocol.md, Signatures.
"""

from __future__ import annotations

from meshnode.crypto.key_pair import KeyPair, verify_signature
from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.errors import invalid


def _header(typ: str) -> str:
    return encode_base64url(f'{{"alg":"EdDSA","typ":"{typ}"}}'.encode())


def sign_jws(key: KeyPair, typ: str, payload: bytes) -> str:
    """The compact JWS of `payload` for the purpose `typ`."""
    signed = f"{_header(typ)}.{encode_base64url(payload)}"
    return f"{signed}.{encode_base64url(key.sign(signed.encode('ascii')))}"


def verify_jws(public_key: bytes, typ: str, jws: str, field: str = "jws") -> bytes:
    """The payload, if `jws` was signed by `public_key` for `typ`. Raises `invalid_params` naming `field`.

    The header must match byte for byte: no algorithm is negotiated, no key is taken from the message.
    """
    head, _, rest = jws.partition(".")
    body, _, tail = rest.partition(".")
    if head != _header(typ):
        raise invalid(field, f"not a {typ}")
    try:
        payload, signature = decode_base64url(body), decode_base64url(tail)
        verify_signature(public_key, signature, f"{head}.{body}".encode("ascii"))
    except ValueError as error:
        raise invalid(field, str(error)) from error
    return payload
