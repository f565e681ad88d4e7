"""The bodies of abpa3's wire. Sans-IO. Source: SPEC.md of this folder."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from meshnode.domain.device import DeviceClaim, kind_of
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.pairing_code import Hidden
from meshnode.domain.peer import MeshNode
from meshnode.domain.timestamps import format_time
from meshnode.domain.untrusted_text import clean_text

DIALECT: Final = "abpa3"
KEY_PREFIX: Final = "dev_"
SLUG_MAX: Final = 32
UNNAMED: Final = "device"  # the slug of a name without a Latin letter or digit


class DeviceInfo(msgspec.Struct, kw_only=True):
    """What the client says of itself."""

    name: str
    type: str = ""


class Pair(Hidden, msgspec.Struct, kw_only=True):
    """`POST /api/pair`."""

    pair_token: Annotated[str, msgspec.Meta(max_length=256)] = msgspec.field(name="pairToken")
    device_info: DeviceInfo = msgspec.field(name="deviceInfo")


PAIR: Final = msgspec.json.Decoder(Pair)


def slug_of(name: str) -> str:
    """`pixel7` of "Pixel 7": an id a person recognises."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(c for c in plain.lower() if c.isalnum())[:SLUG_MAX] or UNNAMED


def decode_claim(info: DeviceInfo, address: str) -> DeviceClaim:
    """What the client claims; its id is a slug that may be taken. Raises `invalid_params` naming the field."""
    name, device_type = clean_text(info.name), clean_text(info.type)
    if not name:
        raise invalid("deviceInfo.name", "a name that can be shown")
    metadata = {"type": device_type} if device_type else {}
    return DeviceClaim(id=slug_of(name), name=name, hostname=address, kind=kind_of(device_type), metadata=metadata)


def encode_offer(offer_id: str, token: str, host: str, port: int, expires_at: datetime) -> dict[str, Any]:
    """What the owner is shown; `qr` is exactly what the QR code carries."""
    qr = {"host": host, "port": port, "pairToken": token, "expires": int(expires_at.timestamp())}
    return {"offer_id": offer_id, "qr": qr, "expires_at": format_time(expires_at)}


def encode_device(node: MeshNode) -> dict[str, Any]:
    """One line of the registry; never the key."""
    last_seen = None if node.last_seen is None else format_time(node.last_seen)
    return {"deviceId": node.id, "lastSeen": last_seen, "revoked": node.trust == "revoked"}


def encode_devices(nodes: Iterable[MeshNode]) -> dict[str, Any]:
    """The registry."""
    return {"devices": [encode_device(node) for node in nodes if node.dialect == DIALECT]}


def encode_refusal(error: MeshError) -> dict[str, Any]:
    """What abpa3's clients read in a problem."""
    return {"error": error.detail}
