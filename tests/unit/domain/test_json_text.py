"""The fallback says and reads the same JSON as orjson."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from meshnode.domain import json_text
from meshnode.domain.json_text import dump_by_msgspec, load_by_msgspec


class Told(StrEnum):
    YES = "yes"


class Text(str):
    """A subclass, as libraries have them."""

    __slots__ = ()


class Point(msgspec.Struct):
    x: int = 1
    y: str | None = None


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = [
    *(
        None,
        True,
        0,
        -(2**63),
        2**64 - 1,
        0.1,
        1.0,
        float("nan"),
        'é\u2028/\x7f\x01"',
        Text("a"),
        Told.YES,
        Point(),
        (1,),
    ),
    {"a": [Point(), {"b": Text("c")}]},
    {},
    nested(200),
]
NOT_JSON = [
    *(b"", b"{", b"NaN", b"01", b"1e999", b'"\xff"', b'"\\ud800"', b'"\x01"', b"{}x", b"\xef\xbb\xbf{}"),
    *(b"[" * 100_000, "\ud800", '"\ud800"'),
]
READ = [b' {"a": [1, -0, 1.5, "\\u00e9", null, true]} ', '{"é": 1}', b"[[1], 18446744073709551615]"]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_both_write_the_same_bytes(value: Any) -> None:
    """Whatever meshnode writes is the same without orjson."""
    assert dump_by_msgspec(value, default=msgspec.to_builtins) == orjson.dumps(value, default=msgspec.to_builtins)


@pytest.mark.parametrize("text", READ, ids=range(len(READ)))
def test_both_read_the_same_value(text: bytes | str) -> None:
    """Whatever comes in means the same without orjson."""
    assert load_by_msgspec(text) == orjson.loads(text)


@pytest.mark.parametrize("text", NOT_JSON, ids=range(len(NOT_JSON)))
@pytest.mark.parametrize("load", [load_by_msgspec, orjson.loads])
def test_what_is_no_json_is_a_value_error(load: Any, text: bytes | str) -> None:
    """One kind of error, whoever reads."""
    with pytest.raises(ValueError):  # noqa: PT011 - this is the contract
        load(text)


@pytest.mark.parametrize("value", [object(), {"a": object()}, "\ud800", nested(100_000)], ids=range(4))
@pytest.mark.parametrize("dump", [dump_by_msgspec, orjson.dumps])
def test_what_cant_be_json_is_a_type_error(dump: Any, value: Any) -> None:
    """One kind of error, whoever writes."""
    with pytest.raises(TypeError):
        dump(value)


def test_what_is_encoded_already_stands_as_it_is() -> None:
    """`msgspec.Raw` is what `orjson.Fragment` is."""
    assert dump_by_msgspec({"data": msgspec.Raw(b'{"a":1}')}) == orjson.dumps({"data": orjson.Fragment(b'{"a":1}')})


def test_with_orjson_its_own_functions_are_called() -> None:
    """The fallback costs nothing where it is not needed."""
    assert (json_text.dump_json, json_text.load_json) == (orjson.dumps, orjson.loads)
    assert json_text.Encoded is orjson.Fragment


def test_no_other_file_imports_orjson() -> None:
    """Each that did would end the start of a phone's node."""
    package = Path(json_text.__file__).parents[1]
    importing = [
        file.name
        for file in package.rglob("*.py")
        if re.search(r"^\s*(import|from) orjson", file.read_text(), re.MULTILINE)
    ]
    assert importing == ["json_text.py"]
