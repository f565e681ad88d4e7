"""Thin clients: what one says about itself, and who may become or replace a row. Source: the dialects' SPEC.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from meshnode.domain.capability import Capability
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.identity import Kind, is_node_id
from meshnode.domain.peer import MeshNode
from meshnode.domain.untrusted_text import clean_text

CAPABILITIES_MAX: Final = 128
METADATA_MAX_BYTES: Final = 4096
METADATA_DEPTH: Final = 4
DEFAULT_PORT: Final = 6969
_VERSION: Final = "1"  # thin clients name their capabilities without one
_KINDS: Final[dict[str, Kind]] = {
    "ios": "phone", "android": "phone", "mobile": "phone", "phone": "phone",
    "desktop": "desktop", "server": "server", "chrome-extension": "browser", "browser": "browser",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceClaim:
    """What a thin client says about itself, checked and cleaned; nobody can prove it."""

    id: str
    name: str
    hostname: str
    kind: Kind = "other"
    port: int = DEFAULT_PORT
    addresses: tuple[str, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def kind_of(device_type: str) -> Kind:
    """What sort of thing a dialect's device type is."""
    return _KINDS.get(device_type.strip().lower(), "other")


def check_device_id(where: str, device_id: str) -> str:
    """`device_id` if it can be one. Raises `invalid_params` naming the field."""
    if not is_node_id(device_id):
        raise invalid(where, "1-128 characters of A-Z a-z 0-9 . _ : -, the first a letter or digit")
    return device_id


def parse_capabilities(where: str, names: Iterable[str]) -> tuple[Capability, ...]:
    """Capabilities by their bare names. Raises `invalid_params` naming the field."""
    unique = list(dict.fromkeys(names))
    if len(unique) > CAPABILITIES_MAX:
        raise invalid(where, f"at most {CAPABILITIES_MAX}")
    try:
        return tuple(msgspec.convert({"name": name, "version": _VERSION}, Capability) for name in unique)
    except msgspec.ValidationError as error:
        raise invalid(where, "names such as media.upload: lower case, digits, dots, dashes, at most 64") from error


def clean_metadata(where: str, value: Any, depth: int = METADATA_DEPTH) -> Any:
    """JSON from outside with its texts cleaned. Raises `invalid_params` if it is too large or too deep."""
    if depth == METADATA_DEPTH and _json_size(value) > METADATA_MAX_BYTES:
        raise invalid(where, f"at most {METADATA_MAX_BYTES} bytes")
    if isinstance(value, str):
        return clean_text(value, 1024)
    if isinstance(value, int | float):
        if not -(2**53) <= value <= 2**53:  # infinity and NaN too: not every JSON reader takes them
            raise invalid(where, "numbers up to 2**53")
        return value
    if value is None:
        return value
    if depth == 0:
        raise invalid(where, "nested too deeply")
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_metadata(where, item, depth - 1) for key, item in value.items()}
    return [clean_metadata(where, item, depth - 1) for item in value]


def _json_size(value: Any) -> float:
    try:
        return len(msgspec.json.encode(value))
    except (RecursionError, ValueError, TypeError):  # too deep, half a surrogate pair, no JSON at all
        return math.inf


def check_device(own_id: str, claim_id: str, dialect: str, before: MeshNode | None, *, is_outdated: bool) -> None:
    """Raise `identity_mismatch` unless a thin client may become the row `claim_id`.

    `is_outdated`: if that row is revoked, it was (or may have been) after the code was made.
    """
    if claim_id == own_id:
        raise MeshError("identity_mismatch", "that is this node's own id")
    if before is None or (before.trust == "announced" and before.public_key is None):
        return
    if before.public_key is not None:
        raise MeshError("identity_mismatch", "that id belongs to a node with a key; pair it with `meshnode join`")
    if before.dialect != dialect:
        raise MeshError("identity_mismatch", "that id is known from another app")
    if before.trust == "revoked" and is_outdated:
        raise MeshError("identity_mismatch", "that device was revoked; the owner has to open something new for it")


def admit(
    claim: DeviceClaim,
    before: MeshNode | None,
    *,
    dialect: str,
    keeps_level: bool,
    introduced_by: str | None,
    now: datetime,
    is_remote: bool = False,
) -> MeshNode:
    """The row of a thin client that has just paired, over the row `before` if there was one.

    `keeps_level`: it presented a live token of that row. Else it is at level 1: an id is no proof.
    """
    was_paired = before is not None and before.trust == "paired"
    return MeshNode(
        id=claim.id,
        name=claim.name,
        hostname=claim.hostname,
        port=claim.port,
        status="online",
        trust="paired",
        created_at=before.created_at if before else now,
        capabilities=claim.capabilities,
        last_seen=now,
        metadata={**claim.metadata, "remote": True} if is_remote else claim.metadata,
        alias=before.alias if before else None,
        kind=claim.kind,
        addresses=claim.addresses,
        trust_level=before.trust_level if before is not None and was_paired and keeps_level else 1,
        dialect=dialect,
        introduced_by=introduced_by,
        paired_at=now,
    )
