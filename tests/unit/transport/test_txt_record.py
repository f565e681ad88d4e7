"""The TXT record and the instance name."""

import pytest

from meshnode.domain.capability import BUILT_INS, capability_hash
from meshnode.transport.txt_record import (
    NAME_MAX,
    SERVICE_TYPE,
    TXT_MAX,
    TxtRecord,
    decode_txt,
    encode_txt,
    format_instance,
    parse_instance,
)
from tests.unit.samples import ID

RECORD = TxtRecord(ID, 1, capability_hash(BUILT_INS), True)


def as_bytes(record: TxtRecord) -> dict[bytes, bytes | None]:
    return {key.encode(): value.encode() for key, value in encode_txt(record).items()}


@pytest.mark.parametrize("pairing_open", [True, False])
def test_a_record_comes_back(pairing_open: bool) -> None:
    """Through bytes, as DNS carries it."""
    record = RECORD._replace(pairing_open=pairing_open)
    assert decode_txt(as_bytes(record)) == record


def test_a_record_is_small_and_starts_with_its_version() -> None:
    """200 bytes on the wire with the longest id, each string with its length byte."""
    strings = encode_txt(RECORD._replace(id="x" * 128, version=99999))
    assert sum(1 + len(f"{key}={value}".encode()) for key, value in strings.items()) <= TXT_MAX
    assert next(iter(strings)) == "txtvers"
    assert set(strings) == {"txtvers", "id", "v", "cv", "pair"}


def test_a_strangers_record_is_read_leniently() -> None:
    """Keys in any case, unknown ones ignored, the rest optional."""
    record = decode_txt({b"ID": ID.encode(), b"V": b"2", b"x": None, b"pair": b"yes"})
    assert record == TxtRecord(ID, 2, "", False)


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {b"id": ID.encode()},
        {b"v": b"1"},
        {b"id": None, b"v": b"1"},
        {b"id": b"no id", b"v": b"1"},
        {b"id": ID.encode() + b"\n", b"v": b"1"},
        {b"id": b"\xff", b"v": b"1"},
        {b"id": ID.encode(), b"v": b""},
        {b"id": ID.encode(), b"v": b"-1"},
        {b"id": ID.encode(), b"v": b"1" * 6},
        {b"id": ID.encode(), b"v": "٣".encode()},
        {b"id": ID.encode(), b"v": b"1", b"cv": b"\xff"},
    ],
)
def test_what_cannot_be_a_meshnode_is_refused(properties: dict[bytes, bytes | None]) -> None:
    """With ValueError."""
    with pytest.raises(ValueError, match=r"."):
        decode_txt(properties)


@pytest.mark.parametrize(
    ("name", "instance"),
    [
        ("desk", "desk (8057)"),
        ("a.b", "a-b (8057)"),
        ("x" * 64, f"{'x' * 50} (8057)"),
        ("ü" * 64, f"{'ü' * 25} (8057)"),
    ],
)
def test_an_instance_name_is_the_nodes_name_and_the_end_of_its_id(name: str, instance: str) -> None:
    """At most 63 bytes, no dot, no character cut in half."""
    assert format_instance(name, ID) == instance
    assert len(instance.encode()) <= NAME_MAX + 7 <= 63


@pytest.mark.parametrize("name", ["desk", "desk (2)", "my (old) desk", "日本"])
def test_the_name_comes_back_from_the_instance(name: str) -> None:
    """Parentheses of its own included."""
    assert parse_instance(f"{format_instance(name, ID)}.{SERVICE_TYPE}") == name
