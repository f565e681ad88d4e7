"""JSON as bytes, for all who write or read it untyped: orjson, or msgspec where orjson can't be had (as on Android).

The only file that names orjson. Where it is there, these are its own functions: the fallback costs a call nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec


class Dump(Protocol):
    """A value as JSON; `default` makes something encodable of what is not. Raises TypeError if it is no JSON."""

    def __call__(self, value: Any, /, default: Callable[[Any], Any] | None = None) -> bytes:
        """See the class."""
        ...


def dump_by_msgspec(value: Any, /, default: Callable[[Any], Any] | None = None) -> bytes:
    """See `Dump`."""

    def plain(found: Any) -> Any:
        if isinstance(found, str):  # a subclass, which orjson takes for what it is
            return str.__str__(found)
        if default is None:
            raise TypeError(f"{type(found).__name__} is no JSON")
        return default(found)

    try:
        return msgspec.json.encode(value, enc_hook=plain)
    except (RecursionError, UnicodeEncodeError) as error:
        raise TypeError("nested too deep, or not Unicode") from error


def load_by_msgspec(text: str | bytes, /) -> Any:
    """What the text says. Raises ValueError if it is no JSON."""
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


dump_json: Dump
load_json: Callable[[str | bytes], Any]  # raises ValueError
Encoded: Callable[[bytes], Any]  # JSON that stands as it is inside a value to be dumped

try:
    import orjson
except ImportError:
    dump_json, load_json, Encoded = dump_by_msgspec, load_by_msgspec, msgspec.Raw
else:
    dump_json, load_json, Encoded = orjson.dumps, orjson.loads, orjson.Fragment
