"""Text that came from outside: capped, and freed of what could deceive a reader or a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

NAME_MAX: Final = 64  # characters of a node's or device's name
_DROPPED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi marks, unassigned


def clean_text(text: str, limit: int = NAME_MAX) -> str:
    """`text` in NFC without control, format and bidi characters, blanks folded, at most `limit` characters.

    Keeps the zero-width joiner out too: emoji fall apart, deception falls with them.
    """
    head = unicodedata.normalize("NFC", text[: limit * 8])
    kept = "".join(" " if c.isspace() else c for c in head if c.isspace() or unicodedata.category(c) not in _DROPPED)
    return " ".join(kept.split())[:limit].rstrip()
