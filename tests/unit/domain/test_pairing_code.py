"""PINs, codes and the type that hides them."""

import logging
import random
import re
from uuid import UUID

import pytest

from meshnode.dialects.control.codec import Join
from meshnode.dialects.mesh.codec import Begin, OpenedSession
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import Invite
from meshnode.domain.pairing_code import (
    CODE_FORMATS,
    CodeFormat,
    Secret,
    SpelledCode,
    format_pin,
    make_code,
    make_code_text,
    make_linking_code,
    make_pin,
    parse_code,
    parse_linking_code,
    parse_pin,
)
from meshnode.node.join_peer import Invitation
from meshnode.node.ports import SessionAnswer

LIMIT = 4_294_000_000


def of(value: int) -> bytes:
    return value.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("value", "pin"), [(0, "000000"), (7, "000007"), (999_999, "999999"), (1_000_000, "000000"), (LIMIT - 1, "999999")]
)
def test_a_pin_is_six_digits_zeros_kept(value: int, pin: str) -> None:
    """Text, never a number."""
    assert make_pin(of(value)) == pin


@pytest.mark.parametrize("value", [LIMIT, LIMIT + 1, 2**32 - 1])
def test_bytes_that_would_favour_a_pin_are_drawn_again(value: int) -> None:
    """None above the largest multiple of a million."""
    assert make_pin(of(value)) is None


def test_every_pin_is_equally_likely() -> None:
    """Accepted values cover each PIN exactly 4294 times: the limit is a multiple of a million, the next one is not."""
    assert LIMIT % 1_000_000 == 0
    assert 2**32 - LIMIT < 1_000_000
    samples = [make_pin(of(k * 1_000_000 + 123_456)) for k in range(4294)]
    assert samples == ["123456"] * 4294


@pytest.mark.parametrize("text", ["123456", "123 456", " 123-456\n", "12 34 56", "123\u00a0456", "123\u2009456"])
def test_a_pin_may_be_typed_with_blanks_and_dashes(text: str) -> None:
    """As people read it off a screen."""
    assert parse_pin(text) == "123456"


@pytest.mark.parametrize(
    "text", ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "123\n456", "123.456", "+12345", "0x1234"]
)
def test_other_text_is_no_pin(text: str) -> None:
    """ASCII digits only."""
    with pytest.raises(MeshError) as caught:
        parse_pin(text)
    assert caught.value.code == "invalid_params"
    assert text == "" or text not in caught.value.detail


def test_a_formatted_pin_parses_back() -> None:
    """Two groups of three."""
    assert format_pin("012345") == "012 345"
    assert parse_pin(format_pin("012345")) == "012345"


def test_a_secrets_repr_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Alone, in a container, in a log line by repr; it is text all the same."""
    secret = Secret("123456")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%r %s", secret, [secret])
    for shown in (repr(secret), repr([secret]), repr({"pin": secret}), f"{secret!r}", caplog.text):
        assert "123456" not in shown
    assert secret + "" == "123456"


def test_what_is_drawn_or_typed_is_secret() -> None:
    """Both ways in give the hiding type."""
    assert isinstance(make_pin(of(1)), Secret)
    assert isinstance(parse_pin("123456"), Secret)


def test_a_code_is_a_uuid4_of_the_bytes_drawn() -> None:
    """122 bits are random."""
    assert make_code(bytes(16)).version == 4
    assert make_code(b"\xff" * 16).version == 4
    assert make_code(bytes(16)) != make_code(bytes(15) + b"\x01")


@pytest.mark.parametrize(
    "record",
    [
        Invitation("host", 6969, Secret("042137"), b"secretsecretsecr", b"p" * 16),
        Join(to="https://h/p#secret.x", pin="042137"),
        Begin(id="node", public_key="k", protocols=[1], way="invite", code="secret"),
        OpenedSession(token="secret", expires_in=1.0, epoch_held=1, revision_held=1),
        SessionAnswer(Secret("secret"), 1.0, 1, 1, None),
        Invite(host="h", port=1, code=b"secretsecretsecr", cert=b"p" * 16),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_record_that_holds_a_secret_does_not_show_it(record: object) -> None:
    """Neither the PIN nor a code or token is in its repr."""
    assert "secret" not in repr(record)
    assert "042137" not in repr(record)


# ── codes in three formats ─────────────────────────────────────────────────────────────────────────────────────────

SPELLED = "123e4567-e89b-12d3-a456-426614174000"  # the reference's example; its version digit is 1


@pytest.mark.parametrize(
    "text",
    [
        SPELLED, SPELLED.upper(), f"  {SPELLED}\n", SPELLED.replace("-", ""), f"{{{SPELLED}}}", f"urn:uuid:{SPELLED}",
        f"URN:UUID:{SPELLED}", f"{{{SPELLED.replace('-', '')}}}",
    ],
)  # fmt: skip
def test_any_spelling_of_a_uuid_is_that_uuid(text: str) -> None:
    """Case, blanks around, braces, the URN form, with dashes or without."""
    assert parse_code(text) == SpelledCode("uuid", Secret(SPELLED))


@pytest.mark.parametrize(
    ("text", "code"), [("38836d2c4498", "38836d2c4498"), (" 38836D2C4498\t", "38836d2c4498"), ("0" * 12, "0" * 12)]
)
def test_twelve_hexadecimal_digits_are_a_short_code(text: str, code: str) -> None:
    """Digits alone too."""
    assert parse_code(text) == SpelledCode("short", Secret(code))


@pytest.mark.parametrize(("text", "code"), [("123456", "123456"), (" 012345 ", "012345"), ("\u00a0000000\n", "000000")])
def test_six_digits_are_a_legacy_code(text: str, code: str) -> None:
    """Zeros kept."""
    assert parse_code(text) == SpelledCode("legacy", Secret(code))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "12345", "1234567", "12345a", "123 456", "123-456", "١٢٣٤٥٦", "１２３４５６", "+12345", "1_2345",
        "38836d2c449", "38836d2c44989", "38836d2c449g", "38836d-2c4498", "0x836d2c4498", "3883_6d2c449",
        SPELLED[:-1], SPELLED + "0", SPELLED.replace("-", "", 1), SPELLED.replace("e", "g"), f"{{{SPELLED}",
        f"{SPELLED}}}",
        "1" * 31, "1" * 33, "0x" + "1" * 30, "+" + "1" * 31, "1_" * 15 + "11", "１" * 32,
        "-" * 32, "1" * 16 + " " + "1" * 15,
        SPELLED + "\n1", "urn:uuid:", "uuid:" + SPELLED, "\x00" + SPELLED, "x" * 100_000,
    ],
)  # fmt: skip
def test_everything_else_is_no_code(text: str) -> None:
    """Strictly: no signs, underscores, prefixes, other scripts' digits, blanks within."""
    assert parse_code(text) is None


@pytest.mark.parametrize("kind", CODE_FORMATS)
def test_what_is_made_is_recognised_as_what_it_is(kind: CodeFormat) -> None:
    """Every format's own codes come back unchanged, and hidden."""
    draw = random.Random(3)
    for _ in range(200):
        text = make_code_text(kind, draw.randbytes(16))
        if text is None:
            assert kind == "legacy"
            continue
        assert isinstance(text, Secret)
        assert parse_code(text) == SpelledCode(kind, text)


def test_each_format_looks_as_the_reference_says() -> None:
    """A v4 UUID of 36 characters, 12 hexadecimal digits, six digits."""
    patterns = {
        "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        "short": r"[0-9a-f]{12}",
        "legacy": r"[0-9]{6}",
    }
    for kind in CODE_FORMATS:
        for fill in (b"\x00", b"\xa5"):
            text = make_code_text(kind, fill * 16)
            assert text is not None
            assert re.fullmatch(patterns[kind], text), (kind, text)


def test_every_drawn_bit_counts_once() -> None:
    """122 free bits in a UUID, the first 48 in a short code: each input bit flips its own output bit."""
    assert len({make_code_text("short", (1 << bit).to_bytes(16, "big")) for bit in range(80, 128)}) == 48
    made = {make_code_text("uuid", (1 << bit).to_bytes(16, "big")) for bit in range(128)}
    assert len(made) == 122 + 1  # the six fixed bits all give the UUID of no bits
    whole = UUID(str(make_code_text("uuid", b"\xff" * 16))).int & ~UUID(str(make_code_text("uuid", bytes(16)))).int
    assert whole.bit_count() == 122


def test_legacy_codes_are_drawn_again_rather_than_favoured() -> None:
    """As PINs are."""
    assert make_code_text("legacy", of(LIMIT) + bytes(12)) is None
    assert make_code_text("legacy", of(LIMIT - 1) + bytes(12)) == "999999"


def test_linking_codes_use_every_letter_and_digit_evenly() -> None:
    """24 letters (no I, no O) and ten digits at each place; chi-square far below what a bias would give."""
    draw = random.Random(5)
    made = [make_linking_code(draw.randbytes(8)) for _ in range(24_000)]
    for place, alphabet in [
        *((n, "ABCDEFGHJKLMNPQRSTUVWXYZ") for n in range(4)),
        *((n, "0123456789") for n in range(5, 9)),
    ]:
        counts = [sum(code[place] == letter for code in made) for letter in alphabet]
        expected = len(made) / len(alphabet)
        assert sum(counts) == len(made)
        assert sum((count - expected) ** 2 / expected for count in counts) < 60
    assert len(set(made)) > 23_900


def test_a_linking_code_may_be_typed_in_lower_case_without_its_dash() -> None:
    """What was shown parses back."""
    shown = make_linking_code(b"\x07" * 8)
    assert (
        parse_linking_code(f" {shown.lower()} ") == parse_linking_code(shown.replace("-", "")) == shown.replace("-", "")
    )
    for text in ("", "ABC-1234", "ABCD-123", "ABCD-12345", "AB1D-1234", "ABCD_1234"):
        with pytest.raises(MeshError) as caught:
            parse_linking_code(text)
        assert caught.value.members == {"field": "linking_code"}
