"""The TXT record of our service: hints, no secret, at most 200 bytes. Source: RFC 6763 §6, docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from meshnode.domain.identity import is_node_id

SERVICE_TYPE: Final = "_meshnode._tcp.local."
TXT_MAX: Final = 200  # bytes
NAME_MAX: Final = 50  # bytes of the node's name in the instance name


class TxtRecord(NamedTuple):
    """What the record says."""

    id: str
    version: int  # highest protocol version
    capability_hash: str
    pairing_open: bool


def encode_txt(record: TxtRecord) -> dict[str, str]:
    """The strings of the record, `txtvers` first."""
    return {
        "txtvers": "1",
        "id": record.id,
        "v": str(record.version),
        "cv": record.capability_hash,
        "pair": "1" if record.pairing_open else "0",
    }


def decode_txt(properties: Mapping[bytes, bytes | None]) -> TxtRecord:
    """The record in a stranger's TXT strings; keys are case-insensitive, unknown ones ignored.

    Raises ValueError for anything that cannot be a meshnode.
    """
    values = {key.lower(): value or b"" for key, value in properties.items()}
    node_id = values.get(b"id", b"").decode("ascii")
    version = values.get(b"v", b"").decode("ascii")
    if not is_node_id(node_id) or not version.isdigit() or len(version) > 5:
        raise ValueError("not a meshnode's TXT record")
    capability_hash = values.get(b"cv", b"").decode("ascii")[:32]
    return TxtRecord(node_id, int(version), capability_hash, values.get(b"pair") == b"1")


def format_instance(name: str, node_id: str, suffix: str = "") -> str:
    """The instance name: the node's name, cut to 50 bytes, and the last four of its id; what a conflict added to it."""
    text = name.replace(".", "-")
    while len(text.encode()) > NAME_MAX:
        text = text[:-1]
    return f"{text.rstrip()} ({node_id[-4:]}{suffix})"


def parse_instance(instance: str) -> str:
    """The node's name in an instance name."""
    return instance.removesuffix(f".{SERVICE_TYPE}").rsplit(" (", 1)[0]
