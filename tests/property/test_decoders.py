"""Whatever arrives before anybody is authenticated: refused with our own error, or taken. Nothing else is raised."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshnode.crypto.jws import sign_jws, verify_jws
from meshnode.dialects.control import codec as control_codec
from meshnode.dialects.mesh import codec as mesh_codec
from meshnode.domain.announcement import decode_announcement
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import parse_host_port, parse_invite
from meshnode.domain.pairing_code import parse_pin
from meshnode.domain.statements import (
    IdentityStatement,
    Introduction,
    PairingAck,
    PairingProof,
    SessionStatement,
    decode_statement,
)
from meshnode.store.identity_file import IDENTITY_FILE, read_identity
from meshnode.transport.http_problem import error_of_problem
from meshnode.transport.http_server import _decode
from meshnode.transport.txt_record import decode_txt, parse_instance
from tests.unit.samples import KEY, announcement_fields

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=50)
    | st.sampled_from(["pin", "invite", "ack", "A" * 43, "node-1"])
)
FIELDS = st.sampled_from(
    [
        "id", "public_key", "protocols", "way", "code", "sid", "share", "tag", "sealed", "jws", "nonce", "caller",
        "announcement", "proof", "role", "peer_id", "shares_sha256", "receiver", "tls_sha256", "epoch", "sequence",
        "announcement_sha256", "known_sha256", "leaving", "to", "pin", "level",
    ]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=5), inner, max_size=8),
    max_leaves=12,
)
NEAR_JSON = VALUES.map(lambda value: json.dumps(value).encode())
BODIES = st.one_of(
    st.binary(max_size=200),
    NEAR_JSON,
    st.builds(lambda data, cut: data[:cut], NEAR_JSON, st.integers(0, 100)),
    st.builds(
        lambda depth, opener: opener * depth,
        st.integers(1, 4000),
        st.sampled_from([b"[", b'{"x":', b'{"id":[', b"[[1],"]),
    ),
)
TEXTS = st.one_of(
    st.text(max_size=120),
    st.text("[]:/.%#?@-0123456789abcdefp\n \x00", max_size=60),
    st.text("https://[]:#p.AQw%25", max_size=80).map(lambda tail: f"https://h:1/p#{tail}"),
)
STATEMENTS = [PairingProof, PairingAck, SessionStatement, IdentityStatement, Introduction]


def survives(decode: Callable[[], Any], *allowed: type[Exception]) -> None:
    """Returns, or raises MeshError with a code of a refusal (or what is `allowed`)."""
    refusal = None
    with suppress(*allowed):
        try:
            decode()
        except MeshError as error:
            refusal = error
    assert refusal is None or refusal.status < 500 or refusal.code == "bad_identity"


def decode_body(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """As the server does it."""
    request = make_mocked_request("POST", "/", headers={"Content-Type": "application/json"})
    route: Any = SimpleNamespace(body=decoder)
    return _decode(request, route, body)


@pytest.mark.parametrize(
    "decoder",
    [
        pytest.param(d, id=f"{codec.__name__.split('.')[2]}-{kind.__name__}")
        for codec in (mesh_codec, control_codec)
        for kind, d in codec.DECODERS.items()
    ],
)
@settings(max_examples=25)
@given(body=BODIES)
@example(body=b'{"x":' + b"[" * 4000)
@example(body=b'{"id":"\\ud800"}')
@example(body=b'{"id":1e999}')
@example(body=b"\xff")
def test_request_bodies(decoder: msgspec.json.Decoder[Any], body: bytes) -> None:
    """Every body of both wires, through the server's own path."""
    survives(lambda: decode_body(decoder, body))


@given(TEXTS, st.none() | st.integers(0, 64))
@example("\ud800", None)
def test_binary_fields(text: str, size: int | None) -> None:
    """base64url in a body."""
    survives(lambda: mesh_codec.decode_binary("x", text, size))


@given(st.binary(max_size=64), st.text(max_size=80) | st.text("abcDEF.=-_\n", max_size=80))
@example(KEY.public_key, "\ud800.\ud800.\ud800")
def test_jws(key: bytes, jws: str) -> None:
    """Any key, any text; and any tail behind the right header."""
    header = sign_jws(KEY, "meshnode-test+jws", b"").split(".")[0]
    survives(lambda: verify_jws(key, "meshnode-test+jws", jws))
    survives(lambda: verify_jws(KEY.public_key, "meshnode-test+jws", f"{header}.{jws}"))


@given(
    BODIES
    | st.builds(
        lambda name, value: json.dumps(announcement_fields(**{name: value})).encode(),
        st.sampled_from(sorted(announcement_fields())),
        VALUES,
    )
)
@example(b'{"x":' + b"[" * 3000)
def test_announcements(payload: bytes) -> None:
    """Bytes, JSON, and whole announcements with one member replaced."""
    survives(lambda: decode_announcement(payload))


@pytest.mark.parametrize("kind", STATEMENTS)
@settings(max_examples=25)
@given(payload=BODIES)
@example(payload=b'{"x":' + b"[" * 3000)
def test_statements(kind: type[msgspec.Struct], payload: bytes) -> None:
    """All that is signed."""
    survives(lambda: decode_statement(payload, kind, "jws"))


@given(TEXTS)
@example("https://[::1")
@example("https://\u2100/p#")
@example("https://h:1/p#\ud800.x")
def test_invites_and_addresses(text: str) -> None:
    """What a person pastes."""
    survives(lambda: parse_invite(text))
    survives(lambda: parse_host_port(text))


@given(TEXTS | st.text("0123456789 -", max_size=12))
def test_pins(text: str) -> None:
    """What a person types; what passes is six ASCII digits."""
    pin = None
    with suppress(MeshError):
        pin = parse_pin(text)
    assert pin is None or (len(pin) == 6 and pin.isascii() and pin.isdigit())


@given(
    st.dictionaries(
        st.sampled_from([b"id", b"v", b"cv", b"pair", b"ID", b"x"]) | st.binary(max_size=5),
        st.none() | st.binary(max_size=30),
    )
)
def test_txt_records(properties: dict[bytes, bytes | None]) -> None:
    """What anybody on the link multicasts: ValueError at most."""
    survives(lambda: decode_txt(properties), ValueError)


@given(st.text(max_size=80))
def test_instance_names(instance: str) -> None:
    """Always some text."""
    assert isinstance(parse_instance(instance), str)


@given(VALUES, st.none() | st.text(max_size=10))
@example({"code": "locked_out"}, "²")
def test_another_nodes_problem_documents(body: Any, retry_after: str | None) -> None:
    """An error or None, never an exception."""
    error = error_of_problem(body, retry_after)
    assert error is None or isinstance(error, MeshError)


@settings(max_examples=40)
@given(content=BODIES)
@example(content=b'{"id":"a","name":"b","created_at":"2026-01-01T00:00:00Z","private_key":"' + b"A" * 43 + b'"}')
def test_identity_files(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Read or refused, and left byte for byte."""
    path: Path = tmp_path_factory.getbasetemp() / IDENTITY_FILE
    path.write_bytes(content)
    path.chmod(0o600)
    survives(lambda: read_identity(path))
    assert path.read_bytes() == content
