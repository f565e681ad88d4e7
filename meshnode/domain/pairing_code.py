"""PINs and codes: how they are drawn, spelled and recognised; and the type that keeps them out of logs."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple
from uuid import UUID

from meshnode.domain.errors import invalid

CodeFormat = Literal["uuid", "short", "legacy"]
"""uuid: 122 bits or more, nobody guesses it; short: 48 bits; legacy: six digits. The last two count as code-less."""

CODE_FORMATS: Final[tuple[CodeFormat, ...]] = ("uuid", "short", "legacy")
TOKEN_BYTES: Final = 16
PIN_DIGITS: Final = 6
_PIN: Final = re.compile(rf"[0-9]{{{PIN_DIGITS}}}\Z")
_SHORT: Final = re.compile(r"[0-9a-f]{12}\Z")
_UUID: Final = re.compile(r"(?:urn:uuid:)?(\{)?[0-9a-f]{8}(?:(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{24})(?(1)\})\Z")
_LINK: Final = re.compile(r"[A-Z]{4}[0-9]{4}\Z")
_LINK_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # without I and O, which look like digits
_PIN_BLANKS: Final = str.maketrans("", "", " -\u00a0\u2009")


class Secret(str):
    """Text whose repr shows nothing."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


class Hidden:
    """A record that holds a secret: its repr shows nothing but its type."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


def make_pin(random: bytes) -> Secret | None:
    """Six digits, each PIN equally likely, from four random bytes; None asks for other bytes (1 in 4295)."""
    value = int.from_bytes(random[:4], "big")
    if value >= 4_294_000_000:  # the largest multiple of a million below 2**32: no PIN is favoured
        return None
    return Secret(f"{value % 1_000_000:06d}")


def parse_pin(text: str) -> Secret:
    """The PIN a person typed, blanks and dashes allowed. Raises `invalid_params`."""
    digits = text.strip().translate(_PIN_BLANKS)
    if not _PIN.match(digits):
        raise invalid("pin", "six digits, as shown on the other node")
    return Secret(digits)


def format_pin(pin: str) -> str:
    """`123 456`."""
    return f"{pin[:3]} {pin[3:]}"


def make_code(random: bytes) -> UUID:
    """A uuid4 of 16 random bytes: 122 bits nobody can guess."""
    return UUID(bytes=random[:16], version=4)


class SpelledCode(NamedTuple):
    """A code as it is looked up, and what kind it is."""

    format: CodeFormat
    text: Secret


def parse_code(text: str) -> SpelledCode | None:
    """The code that a device sent, in any spelling: case and blanks around don't matter; None if it is none."""
    code = text.strip().lower()
    if len(code) == PIN_DIGITS:
        return SpelledCode("legacy", Secret(code)) if _PIN.match(code) else None
    if _SHORT.match(code):
        return SpelledCode("short", Secret(code))
    if _UUID.match(code) is None:  # UUID() itself lets signs, underscores and other scripts' digits pass
        return None
    return SpelledCode("uuid", Secret(UUID(code)))


def make_code_text(kind: CodeFormat, random: bytes) -> Secret | None:
    """A code of a format from 16 random bytes; None asks for other bytes."""
    if kind == "legacy":
        return make_pin(random)
    return Secret(make_code(random)) if kind == "uuid" else Secret(random[:6].hex())


def make_linking_code(random: bytes) -> Secret:
    """`ABCD-1234`, from eight random bytes."""
    value = int.from_bytes(random[:8], "big")
    letters = ""
    for _ in range(4):
        value, place = divmod(value, len(_LINK_LETTERS))
        letters += _LINK_LETTERS[place]
    return Secret(f"{letters}-{value % 10_000:04d}")


def parse_linking_code(text: str) -> Secret:
    """The linking code a person typed, without its dash. Raises `invalid_params`."""
    code = text.strip().translate(_PIN_BLANKS).upper()
    if not _LINK.match(code):
        raise invalid("linking_code", "four letters and four digits, as ABCD-1234")
    return Secret(code)
