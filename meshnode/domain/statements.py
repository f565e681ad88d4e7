"""What nodes sign besides announcements: one JWS type per purpose. Source: docs/protocol.md, Signatures."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeVar

import msgspec

from meshnode.domain.announcement import ANNOUNCEMENT_MAX_BYTES, Counter
from meshnode.domain.errors import invalid

PAIRING_TYPE: Final = "meshnode-pairing+jws"
SESSION_TYPE: Final = "meshnode-session+jws"
IDENTITY_TYPE: Final = "meshnode-identity+jws"

Text = Annotated[str, msgspec.Meta(max_length=256)]
Digest = Annotated[str, msgspec.Meta(min_length=43, max_length=43)]  # base64url of 32 bytes
Jws = Annotated[str, msgspec.Meta(max_length=ANNOUNCEMENT_MAX_BYTES)]


class PairingProof(msgspec.Struct, frozen=True, kw_only=True):
    """Signed by each side in step 3: this key takes part in this run, in this role, with that peer."""

    sid: Text
    role: Literal["joiner", "host"]
    id: Text
    peer_id: Text
    shares_sha256: Digest


class PairingAck(msgspec.Struct, frozen=True, kw_only=True):
    """Signed by the joiner in step 4: it has stored the host."""

    sid: Text
    role: Literal["ack"]
    id: Text
    peer_id: Text


class SessionStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Signed to open a session; binds the caller to this receiver, its certificate and a fresh nonce."""

    nonce: Text
    caller: Text
    receiver: Text
    tls_sha256: Digest
    epoch: Counter


class IdentityStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Signed on request: this certificate is mine, now."""

    id: Text
    tls_sha256: Digest
    nonce: Text


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """What travels sealed in step 3, both ways: a compact announcement and a compact proof."""

    announcement: Jws
    proof: Jws


S = TypeVar("S", bound=msgspec.Struct)


def decode_statement(payload: bytes, kind: type[S], field: str) -> S:
    """The statement in `payload`. Raises `invalid_params` naming `field`."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise invalid(field, str(error)) from error
