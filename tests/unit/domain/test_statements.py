"""What nodes sign besides announcements."""

from typing import Any

import msgspec
import pytest

from meshnode.domain.announcement import ANNOUNCEMENT_MAX_BYTES, ANNOUNCEMENT_TYPE, COUNTER_MAX
from meshnode.domain.errors import MeshError
from meshnode.domain.statements import (
    IDENTITY_TYPE,
    PAIRING_TYPE,
    SESSION_TYPE,
    IdentityStatement,
    Introduction,
    PairingAck,
    PairingProof,
    SessionStatement,
    decode_statement,
)

DIGEST = "A" * 43
VALID: dict[type[msgspec.Struct], dict[str, Any]] = {
    PairingProof: {"sid": "s", "role": "host", "id": "a", "peer_id": "b", "shares_sha256": DIGEST},
    PairingAck: {"sid": "s", "role": "ack", "id": "a", "peer_id": "b"},
    SessionStatement: {"nonce": "n", "caller": "a", "receiver": "b", "tls_sha256": DIGEST, "epoch": 1},
    IdentityStatement: {"id": "a", "tls_sha256": DIGEST, "nonce": "n"},
    Introduction: {"announcement": "a.b.c", "proof": "d.e.f"},
}


@pytest.mark.parametrize("kind", VALID)
def test_a_whole_statement_is_decoded_and_strangers_members_ignored(kind: type[msgspec.Struct]) -> None:
    """A newer program may say more."""
    payload = msgspec.json.encode({**VALID[kind], "future": [1]})
    assert msgspec.to_builtins(decode_statement(payload, kind, "jws")) == VALID[kind]


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, fields in VALID.items() for field in fields])
def test_a_missing_member_is_refused_by_name(kind: type[msgspec.Struct], field: str) -> None:
    """There are no defaults in what is signed."""
    fields = {name: value for name, value in VALID[kind].items() if name != field}
    with pytest.raises(MeshError, match=field) as caught:
        decode_statement(msgspec.json.encode(fields), kind, "jws")
    assert caught.value.members == {"field": "jws"}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (PairingProof, {"role": "ack"}),
        (PairingProof, {"shares_sha256": "A" * 42}),
        (PairingAck, {"role": "joiner"}),
        (PairingAck, {"sid": "s" * 257}),
        (SessionStatement, {"epoch": -1}),
        (SessionStatement, {"epoch": COUNTER_MAX + 1}),
        (SessionStatement, {"epoch": True}),
        (IdentityStatement, {"tls_sha256": "A" * 44}),
        (Introduction, {"announcement": "a" * (ANNOUNCEMENT_MAX_BYTES + 1)}),
        (Introduction, {"proof": None}),
    ],
)
def test_a_statement_out_of_bounds_is_refused(kind: type[msgspec.Struct], changes: dict[str, Any]) -> None:
    """Another role, length or range."""
    with pytest.raises(MeshError) as caught:
        decode_statement(msgspec.json.encode({**VALID[kind], **changes}), kind, "jws")
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("payload", [b"", b"\xff", b"null", b"{", b'{"x":' + b"[" * 3000, b'{"x":"\\ud800"}'])
def test_bytes_that_are_no_statement_are_refused(kind: type[msgspec.Struct], payload: bytes) -> None:
    """Deep nesting, half surrogates and all."""
    with pytest.raises(MeshError) as caught:
        decode_statement(payload, kind, "jws")
    assert caught.value.code == "invalid_params"


def test_every_purpose_has_its_own_type() -> None:
    """So that no signature serves for another."""
    types = [ANNOUNCEMENT_TYPE, PAIRING_TYPE, SESSION_TYPE, IDENTITY_TYPE]
    assert len(set(types)) == 4
    assert all(name.startswith("meshnode-") and name.endswith("+jws") for name in types)
