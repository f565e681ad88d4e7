"""Every request that mylzip's guide prints, as it is printed, and the shape of the answer beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.mylzip_app import CODE, PAIR, App, by_owner, make_code
from tests.fakes.joiner import Answer
from tests.fakes.local_node import LocalNode

GENERATE = b"""{
  "deviceId": "device_123",
  "format": "uuid",
  "expiresIn": 300
}"""
GENERATED = {
    "success": True,
    "pairingCode": "123e4567-e89b-12d3-a456-426614174000",
    "format": "uuid",
    "expiresAt": "2024-01-01T12:00:00Z",
    "expiresIn": 300,
}
VERIFY = b"""{
  "deviceId": "device_123",
  "pairingCode": "123e4567-e89b-12d3-a456-426614174000",
  "encryptedTrustData": "encrypted-trust-information"
}"""
VERIFIED = {
    "success": True,
    "trustRelationship": {"id": "trust-123", "trustLevel": 1, "createdAt": "2024-01-01T12:00:00Z"},
    "pairedDevice": {"deviceId": "paired-device-456", "deviceType": "chrome-extension", "deviceVersion": "2.0.0"},
    "pairingCodeFormat": "uuid",
}
PRINTED_CODE = GENERATED["pairingCode"]
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """A node whose clock can be stepped."""
    local = LocalNode(tmp_path / "node")
    try:
        yield local.start()
    finally:
        local.close()


def assert_shape(answer: Any, printed: Any) -> None:
    """Whatever is printed is there, of the same type; there may be more."""
    assert type(answer) is type(printed)
    if isinstance(printed, dict):
        assert printed.keys() <= answer.keys()
        for name, value in printed.items():
            assert_shape(answer[name], value)
    elif isinstance(printed, str) and re.match(r"\d{4}-", printed):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", answer)


def assert_refused(answer: Answer, status: int, error: str) -> dict[str, Any]:
    """The guide's way of saying no; the body."""
    body: dict[str, Any] = answer.json
    assert (answer.status, body["success"], body["error"]) == (status, False, error), body
    assert body["message"]
    return body


# ── generate ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_generate_pairing_code(node: LocalNode) -> None:
    """The request with all its fields; the answer's fields, types, times."""
    answer = by_owner(node, "POST", CODE, GENERATE)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    made = answer.json
    assert_shape(made, GENERATED)
    assert re.fullmatch(UUID4, made["pairingCode"])
    assert (made["success"], made["format"], made["expiresIn"]) == (True, "uuid", 300)
    left = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
    assert timedelta(seconds=290) < left <= timedelta(seconds=300)


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "application/json"])
@pytest.mark.parametrize("body", [b'{"deviceId":"device_123"}', b'{"deviceId":"device_123","format":"uuid"}'])
def test_the_migration_guides_fetch(node: LocalNode, body: bytes, content_type: str) -> None:
    """Old way and new way, with the Content-Type that fetch gives a string: uuid is the default, for ten minutes."""
    answer = by_owner(node, "POST", CODE, body, **{"Content-Type": content_type})
    assert answer.status == 200
    assert_shape(answer.json, GENERATED)
    assert re.fullmatch(UUID4, answer.json["pairingCode"])
    assert answer.json["expiresIn"] == 600


@pytest.mark.parametrize(
    ("code_format", "pattern", "seconds"),
    [("uuid", UUID4, 600), ("short", r"[0-9a-f]{12}", 300), ("legacy", r"[0-9]{6}", 180)],
)
def test_the_supported_formats(node: LocalNode, code_format: str, pattern: str, seconds: int) -> None:
    """Each as described, with its own expiry, and redeemable; pairingCodeFormat says which it was."""
    answer = by_owner(node, "POST", CODE, {"deviceId": "device_123", "format": code_format})
    assert answer.status == 200
    assert re.fullmatch(pattern, answer.json["pairingCode"])
    assert (answer.json["format"], answer.json["expiresIn"]) == (code_format, seconds)
    done = App(node).pair(answer.json["pairingCode"])
    assert done.status == 200
    assert_shape(done.json, VERIFIED)
    assert done.json["pairingCodeFormat"] == code_format


# ── verify ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_verify_pairing_code(node: LocalNode) -> None:
    """The request with a code that stands; pairedDevice is, to the letter, the device that made it."""
    code = make_code(node, "paired-device-456", deviceType="chrome-extension", deviceVersion="2.0.0")
    answer = App(node).send("POST", PAIR, VERIFY.replace(str(PRINTED_CODE).encode(), code.encode()))
    assert answer.status == 200
    done = answer.json
    assert_shape(done, VERIFIED)
    assert done["pairedDevice"] == VERIFIED["pairedDevice"]
    assert done["trustRelationship"]["trustLevel"] == 1
    assert (done["success"], done["pairingCodeFormat"]) == (True, "uuid")
    shown = node.shown("device_123")
    assert (shown["trust"], shown["dialect"]) == ("paired", "mylzip")


def test_both_printed_requests_in_turn_name_the_same_device(node: LocalNode) -> None:
    """As printed, device_123 makes the code and redeems it: it is unknown when it does, so the code is this node's."""
    made = by_owner(node, "POST", CODE, GENERATE).json
    answer = App(node).send(
        "POST", PAIR, json.dumps({**json.loads(VERIFY), "pairingCode": made["pairingCode"]}).encode()
    )
    assert answer.status == 200
    assert_shape(answer.json, VERIFIED)
    (row,) = [row for row in node.rows() if row["id"] == "device_123"]
    assert row["introduced_by"] is None


def test_the_printed_code_is_recognised_and_unknown(node: LocalNode) -> None:
    """It is a UUID, if not of version 4: unknown, not malformed."""
    answer = App(node).send("POST", PAIR, VERIFY)
    assert_refused(answer, 404, "Code unknown")
    assert answer.json["code"] == "code_unknown"


# ── troubleshooting ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("asked", ["hex", "UUID", "", 6, ["uuid"], {"of": "uuid"}], ids=str)
def test_invalid_format_error(node: LocalNode, asked: Any) -> None:
    """Error and message as printed."""
    answer = by_owner(node, "POST", CODE, {"deviceId": "device_123", "format": asked})
    body = assert_refused(answer, 400, "Invalid format parameter")
    assert body["message"] == 'Format must be "uuid", "short", or "legacy"'
    assert (body["code"], body["field"]) == ("invalid_params", "format")


def test_rate_limit_exceeded_for_codes(node: LocalNode) -> None:
    """Ten an hour per device; then Retry-After in header and body, and waiting that long is enough."""
    for _ in range(10):
        make_code(node, "device_123")
    answer = by_owner(node, "POST", CODE, {"deviceId": "device_123"})
    body = assert_refused(answer, 429, "Rate limit exceeded")
    assert body["retryAfter"] == int(answer.headers["retry-after"]) > 0
    make_code(node, "device_456")
    node.clock.step(body["retryAfter"])
    make_code(node, "device_123")


def test_rate_limit_exceeded_for_attempts(node: LocalNode) -> None:
    """Three an hour per device, whatever the format; a right code does not help before Retry-After has passed."""
    app, code = App(node), make_code(node, expiresIn=3600)
    for wrong in (PRINTED_CODE, "38836d2c4498", "123456"):
        assert app.pair(str(wrong)).code == "code_unknown"
    answer = app.pair(code)
    body = assert_refused(answer, 429, "Rate limit exceeded")
    assert body["retryAfter"] == int(answer.headers["retry-after"]) > 0
    node.clock.step(body["retryAfter"])
    assert app.pair(code).code == "ok"


@pytest.mark.parametrize("code", ["38836d2c449", "38836d2c44981", "12345", "1234567", "abcdef", str(PRINTED_CODE)[:-1]])
def test_a_code_of_the_wrong_length_is_refused(node: LocalNode, code: str) -> None:
    """Strict validation for each format, in the guide's way of naming a parameter; the code is not repeated."""
    answer = App(node).pair(code)
    body = assert_refused(answer, 400, "Invalid pairingCode parameter")
    assert code not in json.dumps(body)
