"""Text that came from outside: capped, and freed of what could deceive a reader or a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

NAME_MAX: Final = 64  # characters of a node's or device's name
_DROPPED: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # controls, bidi marks, unassigned

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # a terminal obeys them; line ends and tabs stay


def without_controls(document: Any) -> Any:
    """A decoded JSON document whose strings, keys too, hold nothing that a terminal would obey."""
    match document:
        case str():
            return document if document.isprintable() else _CONTROLS.sub("", document)
        case list():
            return [without_controls(one) for one in document]
        case dict():
            return {without_controls(key): without_controls(value) for key, value in document.items()}
        case _:
            return document


def clean_text(text: str, limit: int = NAME_MAX) -> str:
    """`text` in NFC without control, format and bidi characters, blanks folded, at most `limit` characters.

    Keeps the zero-width joiner out too: emoji fall apart, deception falls with them.
    """
    head = unicodedata.normalize("NFC", text[: limit * 8])
    kept = "".join(" " if c.isspace() else c for c in head if c.isspace() or unicodedata.category(c) not in _DROPPED)
    return " ".join(kept.split())[:limit].rstrip()
