"""PINs and codes: how they are drawn, spelled and recognised; and the type that keeps them out of logs."""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from meshnode.domain.errors import invalid

PIN_DIGITS: Final = 6
_PIN: Final = re.compile(rf"[0-9]{{{PIN_DIGITS}}}\Z")
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
