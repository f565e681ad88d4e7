"""Who a node is: its id, its kind, and how its fingerprint is read aloud. Source: RFC 9562 §5.7 for UUIDv7."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from meshnode.domain.untrusted_text import clean_text

Kind = Literal["desktop", "phone", "server", "browser", "other"]

_MADE_ID: Final = re.compile(r"node-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_NODE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")


class Identity(msgspec.Struct, frozen=True):
    """The public half of who this node is; the private key lives apart in `crypto.key_pair`."""

    id: str
    name: str
    created_at: datetime
    public_key: bytes  # Ed25519, 32 bytes


def uuid7(unix_ms: int, random: bytes) -> UUID:
    """A UUIDv7 of a time and ten random bytes (the standard library has it from 3.14 on)."""
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def make_node_id(unix_ms: int, random: bytes) -> str:
    """A fresh `node-<uuid7>`."""
    return f"node-{uuid7(unix_ms, random)}"


def is_node_id(text: str) -> bool:
    """Whether `text` can be the id of a node or a thin client."""
    return _NODE_ID.match(text) is not None


def is_made_id(text: str) -> bool:
    """Whether `text` is an id as `make_node_id` makes them."""
    return _MADE_ID.match(text) is not None


def default_name(hostname: str, node_id: str) -> str:
    """What a new node is called: its host name, else the last four of its id."""
    name = clean_text(hostname.split(".", 1)[0])
    return name if name and name != "localhost" else f"meshnode-{node_id[-4:]}"


def fingerprint(public_key: bytes) -> bytes:
    """SHA-256 of an identity key, 32 bytes. Never to be confused with a certificate hash."""
    return hashlib.sha256(public_key).digest()


def format_fingerprint(public_key: bytes) -> str:
    """The fingerprint's first 160 bits as eight groups of four base32 characters, for reading aloud."""
    text = base64.b32encode(fingerprint(public_key)[:20]).decode()
    return "-".join(text[i : i + 4] for i in range(0, 32, 4))
