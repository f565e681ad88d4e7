"""The mylzip bodies without a socket, and its limits without a node."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from meshnode.dialects.mylzip.codec import (
    DECODERS,
    FORMAT_MESSAGE,
    TRUST_DATA_MAX,
    CodeMade,
    MakeCode,
    Pair,
    Paired,
    PairedDevice,
    TrustMade,
    decode_code,
    decode_device_id,
    decode_format,
    decode_told,
    decode_trust_data,
    encode_refusal,
)
from meshnode.dialects.mylzip.limits import Limits
from meshnode.dialects.mylzip.settings import MylzipSettings
from meshnode.domain.errors import MeshError, invalid
from meshnode.node.counters import Counters
from tests.fakes.clock import ManualClock

REFERENCE_UUID = "123e4567-e89b-12d3-a456-426614174000"


def refused(code: str, work: Any, *values: Any) -> MeshError:
    """The refusal, which must have that code."""
    with pytest.raises(MeshError) as caught:
        work(*values)
    assert caught.value.code == code
    return caught.value


# ── bodies ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_may_say_more_than_we_read() -> None:
    """A client of a later version still works; null counts as not said."""
    body = DECODERS[MakeCode].decode(b'{"deviceId": "d", "format": null, "expiresIn": null, "nickname": "x"}')
    assert body == MakeCode(device_id="d")


@pytest.mark.parametrize("seconds", ["29", "3601", "-1", "300.5", '"300"', "1e400", "true"])
def test_an_expiry_out_of_bounds_is_refused(seconds: str) -> None:
    """30 to 3600 whole seconds."""
    with pytest.raises(msgspec.MsgspecError):
        DECODERS[MakeCode].decode(b'{"deviceId": "d", "expiresIn": %s}' % seconds.encode())


def test_no_repr_shows_a_code_a_token_or_trust_data() -> None:
    """Requests and answers hide what they carry."""
    made = CodeMade(pairing_code="secret", format="uuid", expires_at="t", expires_in=30, node={})
    paired = Paired(
        trust_relationship=TrustMade(id="t", trust_level=1, created_at="t"),
        paired_device=PairedDevice(device_id="d", device_type="", device_version=""),
        pairing_code_format="uuid",
        device_token="secret",
        node={},
    )
    asked = Pair(device_id="d", pairing_code="secret", encrypted_trust_data="secret")
    for record in (made, paired, asked):
        assert "secret" not in repr(record)
        assert "secret" in msgspec.json.encode(record).decode()


# ── fields ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "-x", "a b", "é", "a" * 129, "a\n", "../x", "<b>"])
def test_a_malformed_device_id_is_refused_by_name(text: str) -> None:
    """The pattern of thin clients' ids."""
    assert refused("invalid_params", decode_device_id, text).members == {"field": "deviceId"}


@pytest.mark.parametrize("text", ["UUID", "", "hex", "uuid ", "6"])
def test_an_unknown_format_is_refused_in_the_references_words(text: str) -> None:
    """The exact message, nothing before it."""
    error = refused("invalid_params", decode_format, text, "uuid")
    assert error.detail == FORMAT_MESSAGE == 'Format must be "uuid", "short", or "legacy"'


def test_no_format_means_the_default() -> None:
    """Whatever the owner has set."""
    assert [decode_format(None, "short"), decode_format("legacy", "short")] == ["short", "legacy"]


def test_a_code_that_is_none_is_not_repeated_in_the_refusal() -> None:
    """It may be a mistyped one."""
    error = refused("invalid_params", decode_code, "12345x")
    assert error.members == {"field": "pairingCode"}
    assert "12345x" not in error.detail


def test_trust_data_is_kept_to_the_byte_up_to_its_limit() -> None:
    """Opaque: controls and blanks stay; counted in bytes, not characters."""
    odd = " \x00\u202e<b>\n "
    assert decode_trust_data(odd) == odd
    assert decode_trust_data("x" * TRUST_DATA_MAX) == "x" * TRUST_DATA_MAX
    for text in ("x" * (TRUST_DATA_MAX + 1), "é" * (TRUST_DATA_MAX // 2 + 1), "\ud800"):
        assert refused("invalid_params", decode_trust_data, text).members == {"field": "encryptedTrustData"}


def test_what_a_device_says_is_cleaned_and_falls_back() -> None:
    """The first that says something; texts only."""
    assert decode_told("ios\u202e\x1b[1m") == "ios[1m"
    assert decode_told(None, 7, "", "phone") == "phone"
    assert decode_told(" \n", None) == ""
    assert len(decode_told("x" * 1000)) == 64


# ── refusals ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "said", "message"),
    [
        (MeshError("invalid_params", FORMAT_MESSAGE, field="format"), "Invalid format parameter", FORMAT_MESSAGE),
        (invalid("format", "Expected `str`"), "Invalid format parameter", FORMAT_MESSAGE),
        (invalid("deviceId", "no"), "Invalid deviceId parameter", "deviceId: no"),
        (MeshError("code_unknown", "no such code"), "Code unknown", "no such code"),
        (MeshError("internal_error", "oops"), "Internal error", "oops"),
    ],
)
def test_every_refusal_says_success_error_and_message(error: MeshError, said: str, message: str) -> None:
    """In the reference's words where it prints them."""
    assert encode_refusal(error) == {"success": False, "error": said, "message": message}


@pytest.mark.parametrize("code", ["rate_limited", "locked_out"])
def test_every_429_is_the_references_rate_limit(code: str) -> None:
    """With whole seconds to wait, rounded up, never zero."""
    for wait, told in ((0.1, 1), (600.0, 600), (600.2, 601)):
        refusal = encode_refusal(MeshError(code, "wait", retry_after_s=wait))
        assert refusal["error"] == "Rate limit exceeded"
        assert refusal["retryAfter"] == told
        assert json.dumps(refusal)


# ── limits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Limited:
    """Limits beside a clock set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.counters = ManualClock(), Counters()
        self.limits = Limits(MylzipSettings(**settings), self.clock, self.counters)

    def attempt(self, device: str = "d", source: str = "192.0.2.1", code: str | None = None, kind: Any = "uuid") -> str:
        """One attempt that ends with an error code, None for success; what the caller is told."""
        try:
            with self.limits.attempt(device, source, kind):
                if code is not None:
                    raise MeshError(code, "no")
        except MeshError as error:
            return error.code
        return "ok"

    def make(self, kind: Any = "uuid", device: str = "d") -> str:
        """One code."""
        try:
            self.limits.count_code(device, kind)
        except MeshError as error:
            return error.code
        return "ok"


def test_ten_codes_an_hour_for_each_device() -> None:
    """The eleventh is told to wait six minutes, which is then enough; another device has its own ten."""
    limited = Limited()
    assert [limited.make() for _ in range(11)] == ["ok"] * 10 + ["rate_limited"]
    error = refused("rate_limited", limited.limits.count_code, "d", "legacy")
    assert error.retry_after_s == pytest.approx(360)
    assert limited.make(device="e") == "ok"
    limited.clock.advance(360)
    assert [limited.make(), limited.make()] == ["ok", "rate_limited"]
    assert limited.counters.limit_hits["mylzip", "codes"] == 3


def test_a_format_with_a_limit_of_its_own_is_counted_apart() -> None:
    """The others share the general one."""
    limited = Limited(pairing_code_rate_limit=2, pairing_code_rate_limit_short=1)
    assert [limited.make("short"), limited.make("short")] == ["ok", "rate_limited"]
    assert [limited.make("uuid"), limited.make("legacy"), limited.make("uuid")] == ["ok", "ok", "rate_limited"]
    limited = Limited(pairing_attempt_rate_limit=1, pairing_attempt_rate_limit_legacy=2)
    assert [limited.attempt(kind="legacy") for _ in range(3)] == ["ok", "ok", "rate_limited"]
    assert [limited.attempt(kind="uuid"), limited.attempt(kind="short")] == ["ok", "rate_limited"]


def test_three_attempts_an_hour_for_each_device_id() -> None:
    """Successes count too, as in the reference; Retry-After is enough."""
    limited = Limited()
    assert [limited.attempt() for _ in range(4)] == ["ok"] * 3 + ["rate_limited"]
    limited.clock.advance(1200)
    assert limited.attempt() == "ok"
    assert limited.counters.limit_hits["mylzip", "attempts"] == 1


def test_thirty_failures_an_hour_from_one_source_whatever_the_device_id() -> None:
    """Successes and what its own deviceId's limit refused are not counted against the source."""
    limited = Limited()
    assert [limited.attempt(f"s{n}") for n in range(40)] == ["ok"] * 40
    assert limited.attempt("a", code="code_unknown") == "code_unknown"
    for _ in range(60):
        limited.attempt("a", code="code_unknown")  # three get through, then its own limit
    answers = [limited.attempt(f"d{n}", code="code_unknown") for n in range(28)]
    assert answers == ["code_unknown"] * 27 + ["rate_limited"]
    assert limited.attempt("e", source="192.0.2.2") == "ok"
    limited.clock.advance(120)
    assert limited.attempt("f") == "ok"
    assert limited.counters.limit_hits["mylzip", "failures"] == 1


def test_attempts_under_way_count_as_failures_until_they_end() -> None:
    """Many at once get no further than one after the other."""
    limited = Limited()
    under_way = [limited.limits.attempt(f"d{n}", "192.0.2.1", "short") for n in range(30)]
    for one in under_way:
        one.__enter__()
    assert limited.attempt("x") == "rate_limited"
    for one in under_way:
        one.__exit__(None, None, None)
    assert limited.attempt("x") == "ok"


@pytest.mark.parametrize("code", ["locked_out", "database_error"])
def test_what_was_not_tried_costs_nothing(code: str) -> None:
    """A lock, or our own failure, uses up nobody's attempts."""
    limited = Limited()
    assert [limited.attempt(code=code) for _ in range(40)] == [code] * 40
    assert limited.attempt() == "ok"


def test_memory_is_bounded_under_made_up_device_ids() -> None:
    """When the table is full of live ids, unknown ones are refused and known ones keep their state."""
    limited = Limited()
    assert [limited.attempt("known") for _ in range(3)] == ["ok"] * 3
    answers = {limited.attempt(f"d{n}", source=f"s{n}") for n in range(17_000)}
    assert answers == {"ok", "rate_limited"}
    assert limited.attempt("known") == "rate_limited"
    assert len(limited.limits._attempts["uuid"]._arrivals) <= 16_384
    limited.clock.advance(timedelta(hours=1).total_seconds())
    assert limited.attempt("new") == "ok"
