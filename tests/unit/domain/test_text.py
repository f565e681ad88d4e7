"""Untrusted text, base64url, times: how values are spelled."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.domain.untrusted_text import clean_text, without_controls


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("desk", "desk"),
        ("  a \t b\n c ", "a b c"),
        ("a\x00b\x1b[31mc\x7f", "ab[31mc"),
        ("\u202eevil\u202c\u2066x\u2069", "evilx"),  # bidi overrides and isolates
        ("a\u200bb\ufeffc\u00ad", "abc"),  # zero-width and soft hyphen
        ("e\u0301", "\u00e9"),  # NFC
        ("a\u2028b\u2029c", "a b c"),
        ("\ue000\U000e0001", ""),  # private use, tags
        ("\ud800x", "x"),
        ("日本 🏠", "日本 🏠"),
        ("", ""),
    ],
)
def test_clean_text_keeps_what_can_be_shown(dirty: str, clean: str) -> None:
    """No control, format or bidi character survives; blanks fold; NFC."""
    assert clean_text(dirty) == clean


def test_clean_text_is_short_whatever_it_is_given() -> None:
    """Ten kilobytes shrink to the limit, and no blank is left at the cut."""
    assert clean_text("x" * 10_240) == "x" * 64
    assert clean_text("ab " * 5_000, limit=3) == "ab"
    assert len(clean_text("e\u0301" * 5_000)) == 64
    assert len(clean_text("\u0344" * 10_240, limit=20)) <= 20


def test_clean_text_does_not_change_its_own_result() -> None:
    """What is clean stays as it is."""
    once = clean_text(" a\u202e  e\u0301\x00 ")
    assert clean_text(once) == once


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff\xfe", b"\xfb\xef\xbe", bytes(32)])
def test_base64url_has_no_padding_and_comes_back(data: bytes) -> None:
    """Text in, the same bytes out."""
    text = encode_base64url(data)
    assert "=" not in text
    assert "+" not in text
    assert "/" not in text
    assert decode_base64url(text) == data


@pytest.mark.parametrize(
    "text", ["AA==", "A", "AAAAA", "AB", "AAB", "A+", "A/", "AA\n", "\nAA", "A A", "ÄÄ", "AA=", "ＡＡ"]
)
def test_base64url_has_one_spelling(text: str) -> None:
    """Padding, foreign characters, impossible lengths and unused bits that aren't zero are refused."""
    with pytest.raises(ValueError, match="base64url"):
        decode_base64url(text)


def test_times_are_utc_text_that_sorts() -> None:
    """Microseconds always, Z always."""
    earlier = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert format_time(earlier) == "2026-01-31T12:00:00.000000Z"
    assert format_time(earlier) < format_time(earlier + timedelta(microseconds=1))


def test_times_come_back_in_utc() -> None:
    """Another zone is converted."""
    at = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert parse_time(format_time(at)) == at
    assert parse_time(format_time(at)).utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "9999999999"])
def test_text_that_is_no_time_with_a_zone_is_refused(text: str) -> None:
    """A time without a zone is no time."""
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_a_document_without_what_a_terminal_obeys() -> None:
    """Keys and values at any depth; other characters, line ends and tabs stay."""
    dirty = {"a\x1b]0;owned\x07": ["\x9b31m", {"b": "one\r\n\ttwo é 🏠"}, 1, None, True]}
    assert without_controls(dirty) == {"a]0;owned": ["31m", {"b": "one\n\ttwo é 🏠"}, 1, None, True]}
