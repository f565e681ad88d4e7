"""PINs, codes and the type that hides them."""

import logging

import pytest

from meshnode.dialects.control.codec import Join
from meshnode.dialects.mesh.codec import Begin, OpenedSession
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import Invite
from meshnode.domain.pairing_code import Secret, format_pin, make_code, make_pin, parse_pin
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
