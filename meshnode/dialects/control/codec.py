"""The bodies of the control wire. Sans-IO. Source: SPEC.md of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec

from meshnode.domain.base64url import encode_base64url
from meshnode.domain.device_request import PendingRequest
from meshnode.domain.diagnosis import Finding
from meshnode.domain.identity import format_fingerprint
from meshnode.domain.pairing_code import Hidden
from meshnode.domain.peer import MeshNode
from meshnode.domain.served_certificate import ServedCertificate
from meshnode.domain.timestamps import format_time


class Join(Hidden, msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Join a node: an invite's URL, or HOST[:PORT]; and the PIN."""

    to: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    pin: Annotated[str, msgspec.Meta(max_length=32)]


class OpenOffer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Open an offer, of mesh or of another dialect."""

    dialect: Annotated[str, msgspec.Meta(max_length=64)] = "mesh"
    expires_in: Annotated[float, msgspec.Meta(ge=30, le=3600)] | None = None
    qr_svg: bool = False  # with a picture, for pages; others draw their own


class Alias(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Call a node something else here; null ends that."""

    alias: Annotated[str, msgspec.Meta(max_length=256)] | None


class Name(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Rename this node."""

    name: Annotated[str, msgspec.Meta(max_length=256)]


class Level(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Set a node's trust level."""

    level: int


class Seen(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The owner has seen a notice and all before it, or that one alone; exactly one of the two."""

    up_to: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    id: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Join, OpenOffer, Alias, Name, Level, Seen)
}


def encode_certificate(served: ServedCertificate | None) -> dict[str, Any] | None:
    """Which certificate new connections get."""
    if served is None:
        return None
    facts = served.facts
    return {
        "sha256": served.sha256.hex(":").upper(),
        "is_own": served.is_owners,
        "names": list(facts.names),
        "expires_at": format_time(facts.not_after),
        "summary": served.label,
    }


def encode_node(node: MeshNode) -> dict[str, Any]:
    """A node as the owner sees it."""
    return {
        "id": node.id,
        "name": node.name,
        "alias": node.alias,
        "hostname": node.hostname,
        "port": node.port,
        "addresses": list(node.addresses),
        "kind": node.kind,
        "status": node.status,
        "status_reason": node.status_reason,
        "trust": node.trust,
        "trust_level": node.trust_level,
        "capabilities": [{"name": c.name, "version": c.version} for c in node.capabilities],
        "last_seen": None if node.last_seen is None else format_time(node.last_seen),
        "created_at": format_time(node.created_at),
        "introduced_by": node.introduced_by,
        "paired_at": None if node.paired_at is None else format_time(node.paired_at),
        "revoked_at": None if node.revoked_at is None else format_time(node.revoked_at),
        "revoked_by": node.revoked_by,
        "is_current": node.is_current,
        "dialect": node.dialect,
        "public_key": None if node.public_key is None else encode_base64url(node.public_key),
        "fingerprint": None if node.public_key is None else format_fingerprint(node.public_key),
        "tls_sha256": None if node.tls_sha256 is None else encode_base64url(node.tls_sha256),
        "metadata": dict(node.metadata),
    }


def encode_request(request: PendingRequest) -> dict[str, Any]:
    """A device's request as the owner sees it; the code is null once it was decided."""
    return {
        "id": request.id,
        "code": request.code or None,
        "device_name": request.device_name,
        "device_type": request.device_type,
        "device_id": request.device_id,
        "client_version": request.client_version,
        "address": request.address,
        "created_at": format_time(request.created_at),
        "expires_at": format_time(request.expires_at),
        "dialect": request.dialect,
        "is_duplicate": request.is_duplicate,
        "is_approved": request.is_approved,
        "was": request.was,
    }


def encode_diagnosis(findings: Iterable[Finding], ladder: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """What a diagnosis found, and the rungs of each search for a peer that is out of reach."""
    return {
        "findings": [msgspec.to_builtins(finding) for finding in findings],
        "ladder": {
            node_id: [
                {"stage": r.stage, "verdict": r.verdict, "detail": r.detail, "at": format_time(r.at)} for r in rungs
            ]
            for node_id, rungs in ladder.items()
        },
    }
