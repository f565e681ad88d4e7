"""The bodies of the mesh wire ↔ plain values. Sans-IO; garbage raises `invalid_params` and nothing else.

Source: docs/protocol.md. Binary values are canonical base64url without padding; unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.errors import invalid
from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.pairing_code import Hidden

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Binary = Annotated[str, msgspec.Meta(max_length=12_000)]
Versions = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=65535)]], msgspec.Meta(min_length=1, max_length=16)]


class Begin(Hidden, msgspec.Struct, kw_only=True, omit_defaults=True):
    """Step 1, joiner to host."""

    id: Id
    public_key: Binary
    protocols: Versions
    way: Literal["pin", "invite"]
    code: Binary | None = None


class Begun(msgspec.Struct, kw_only=True):
    """Step 1, answer."""

    sid: Binary
    id: Id
    public_key: Binary
    protocols: Versions
    version: int


class Exchange(msgspec.Struct, kw_only=True):
    """Step 2, joiner to host."""

    sid: Binary
    share: Binary


class Exchanged(msgspec.Struct, kw_only=True):
    """Step 2, answer."""

    share: Binary


class Finish(msgspec.Struct, kw_only=True):
    """Step 3, joiner to host."""

    sid: Binary
    tag: Binary
    sealed: Binary


class Finished(msgspec.Struct, kw_only=True):
    """Step 3, answer."""

    tag: Binary
    sealed: Binary


class Ack(msgspec.Struct, kw_only=True):
    """Step 4, joiner to host; the answer is empty."""

    sid: Binary
    id: Id
    jws: Binary


class Nonce(msgspec.Struct, kw_only=True):
    """A fresh nonce."""

    nonce: Binary


class OpenSession(msgspec.Struct, kw_only=True):
    """Ask for a session."""

    caller: Id
    jws: Binary


class OpenedSession(Hidden, msgspec.Struct, kw_only=True):
    """A session, and what the answering node holds of the caller."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    expires_in: Annotated[float, msgspec.Meta(ge=0)]
    epoch_held: int
    revision_held: int
    known_sha256: str | None = None


class IdentityCard(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Who answers here; `proof` if a nonce was given."""

    id: Id
    public_key: Binary
    protocols: Versions
    tls_sha256: Binary
    proof: str | None = None


class Empty(msgspec.Struct):
    """No members needed."""


DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        Begin, Begun, Exchange, Exchanged, Finish, Finished, Ack, Nonce, OpenSession, OpenedSession, IdentityCard,
        Empty, Heartbeat,
    )
}  # fmt: skip


def decode_binary(field: str, text: str, size_bytes: int | None = None) -> bytes:
    """The bytes of a field, of an exact size if one is given. Raises `invalid_params` naming the field."""
    try:
        data = decode_base64url(text)
    except ValueError as error:
        raise invalid(field, str(error)) from error
    if size_bytes is not None and len(data) != size_bytes:
        raise invalid(field, f"must be {size_bytes} bytes")
    return data


encode_binary = encode_base64url
