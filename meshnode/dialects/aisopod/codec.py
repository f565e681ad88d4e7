"""The parameters and answers of aisopod's methods. Sans-IO. Source: SPEC.md of this folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from meshnode.domain.device_request import PendingRequest, RequestingDevice
from meshnode.domain.errors import invalid
from meshnode.domain.pairing_code import Hidden
from meshnode.domain.peer import MeshNode
from meshnode.domain.timestamps import format_time
from meshnode.domain.untrusted_text import clean_text

DIALECT: Final = "aisopod"
_UUID: Final = re.compile(
    r"(?:urn:uuid:)?(?:\{(?P<braced>[0-9a-f-]+)\}|(?P<plain>[0-9a-f-]+))\Z", re.IGNORECASE | re.ASCII
)
_GROUPS: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z|[0-9a-f]{32}\Z")


class PairRequest(msgspec.Struct):
    """`node.pair.request`."""

    device_name: str
    device_type: Literal["ios", "android", "desktop"]
    client_version: str
    device_id: str


class PairConfirm(Hidden, msgspec.Struct):
    """`node.pair.confirm`."""

    pairing_code: str
    device_id: str


class PairRevoke(msgspec.Struct):
    """`node.pair.revoke`."""

    device_id: str


class Decide(msgspec.Struct):
    """`node.pair.approve` and `node.pair.reject`."""

    request_id: str


class Nothing(msgspec.Struct):
    """Methods without parameters."""


def parse_device_id(text: str) -> str:
    """A UUID in any of its spellings, as its usual text. Raises `invalid_params`."""
    spelled = _UUID.match(text[:64])
    digits = "" if spelled is None else (spelled["braced"] or spelled["plain"]).lower()
    if not _GROUPS.match(digits):
        raise invalid("device_id", "a UUID")
    return str(UUID(digits))


def decode_request(
    params: PairRequest, *, address: str, source: str, listener: Literal["public", "plain"], is_remote: bool
) -> RequestingDevice:
    """What the device says of itself, cleaned. Raises `invalid_params` naming the field."""
    name = clean_text(params.device_name)
    if not name:
        raise invalid("device_name", "a name that can be read")
    return RequestingDevice(
        dialect=DIALECT,
        id=parse_device_id(params.device_id),
        name=name,
        type=params.device_type,
        version=clean_text(params.client_version),
        address=address,
        source=source,
        listener=listener,
        is_remote=is_remote,
    )


def encode_requested(request: PendingRequest) -> dict[str, Any]:
    """The answer to `node.pair.request`."""
    return {"pairing_code": request.code, "expires_at": format_time(request.expires_at)}


def encode_pending(request: PendingRequest) -> dict[str, Any]:
    """A request as the owner sees it."""
    return {
        "id": request.id,
        "pairing_code": request.code,
        "device_id": request.device_id,
        "device_name": request.device_name,
        "device_type": request.device_type,
        "client_version": request.client_version,
        "address": request.address,
        "requested_at": format_time(request.created_at),
        "expires_at": format_time(request.expires_at),
        "is_duplicate": request.is_duplicate,
        "is_approved": request.is_approved,
        "was": request.was,
    }


def encode_decided(request: PendingRequest) -> dict[str, Any]:
    """The request that was approved or rejected, without its code: that is over or in use."""
    return {key: value for key, value in encode_pending(request).items() if key != "pairing_code"}


def encode_paired(nodes: Sequence[MeshNode]) -> list[dict[str, Any]]:
    """The paired devices of this dialect."""
    return [
        {
            "device_id": node.id,
            "device_name": node.label,
            "device_type": node.metadata.get("device_type"),
            "client_version": node.metadata.get("client_version"),
            "paired_at": None if node.paired_at is None else format_time(node.paired_at),
            "last_seen": None if node.last_seen is None else format_time(node.last_seen),
            "status": node.status,
        }
        for node in nodes
        if node.dialect == DIALECT and node.trust == "paired"
    ]


def encode_confirmed(token: str, node: MeshNode, own: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to `node.pair.confirm`; the token is in no other."""
    paired_at = node.paired_at or node.created_at
    return {"device_token": token, "paired_at": format_time(paired_at), "node": dict(own)}
