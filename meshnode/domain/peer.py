"""A row of `mesh_nodes`, and the rules about who may become or replace one. Source: docs/protocol.md, Pairing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from meshnode.domain.announcement import Announcement
from meshnode.domain.capability import Capability
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity, Kind
from meshnode.domain.liveness import Status, StatusReason

Trust = Literal["self", "unconfirmed", "paired", "announced", "revoked"]
OPERATOR_LEVEL: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshNode:
    """One node as stored. `hostname` and `port` of a peer are where it was last reached."""

    id: str
    name: str
    hostname: str
    port: int
    status: Status
    trust: Trust
    created_at: datetime
    status_reason: StatusReason | None = None
    capabilities: tuple[Capability, ...] = ()
    last_seen: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_current: bool = False
    alias: str | None = None
    kind: Kind = "other"
    public_key: bytes | None = None
    tls_sha256: bytes | None = None
    addresses: tuple[str, ...] = ()
    trust_level: int = 0
    dialect: str = "mesh"
    introduced_by: str | None = None
    paired_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    epoch: int = 0
    revision: int = 0
    sequence: int = 0
    announcement: str | None = None  # the compact JWS held, as it came

    @property
    def label(self) -> str:
        """What our owner sees: the alias if there is one."""
        return self.alias or self.name


def check_claim(own: Identity, node_id: str, key: bytes, by_id: MeshNode | None, by_key: MeshNode | None) -> None:
    """Raise `identity_mismatch` unless `node_id` with `key` contradicts nothing that we know.

    `by_id` and `by_key` are the stored rows of that id and of that key.
    """
    if node_id == own.id or key == own.public_key:
        raise MeshError("identity_mismatch", "that is this node's own id or key")
    if by_id is not None and by_id.public_key is not None and by_id.public_key != key:
        raise MeshError("identity_mismatch", f"{node_id} is known with another key")
    if by_key is not None and by_key.id != node_id:
        raise MeshError("identity_mismatch", "that key is known under another id")


def check_opener(maker: MeshNode | None, before: MeshNode | None) -> None:
    """Raise unless `maker` still is an operator, and the row `before`, if nobody can prove to be it, below that."""
    if maker is None or maker.trust != "paired" or maker.trust_level < OPERATOR_LEVEL:
        raise MeshError("offer_closed", "the device that opened this is no operator any more")
    if before is not None and before.public_key is None and before.trust_level >= OPERATOR_LEVEL:
        raise MeshError("identity_mismatch", "that device is an operator; only the owner can pair its id again")


def introduce(
    announcement: Announcement,
    jws: str,
    *,
    before: MeshNode | None,
    reached: tuple[str, int],
    trust: Literal["paired", "unconfirmed"],
    now: datetime,
    is_remote: bool = False,
    introduced_by: str | None = None,
) -> MeshNode:
    """The row of a node that has just proved itself in a pairing, over the row `before` if there was one.

    `reached` is the host and port at which it was reached, or will be.
    A paired node keeps its level and the time it first paired; anything else starts at level 1. A keyless row
    loses its metadata: it belonged to somebody who could not prove to be this node.
    """
    was_paired = before is not None and before.trust == "paired" and before.public_key is not None
    keyed = before if before is not None and before.public_key is not None else None
    return MeshNode(
        id=announcement.id,
        name=announcement.display_name,
        hostname=reached[0],
        port=reached[1],
        status="online",
        trust=trust,
        created_at=before.created_at if before else now,
        capabilities=tuple(announcement.capabilities),
        last_seen=now,
        metadata={**(keyed.metadata if keyed else {}), **({"remote": True} if is_remote else {})},
        alias=before.alias if before else None,
        kind=announcement.kind,
        public_key=announcement.key,
        tls_sha256=announcement.certificate_hash,
        addresses=tuple(announcement.addresses),
        trust_level=before.trust_level if was_paired and before else 1,
        dialect="mesh",
        introduced_by=before.introduced_by if was_paired and before and introduced_by else introduced_by,
        paired_at=before.paired_at if was_paired and before else now,
        epoch=announcement.epoch,
        revision=announcement.revision,
        sequence=0,
        announcement=jws,
    )


def update_from(node: MeshNode, announcement: Announcement, jws: str) -> MeshNode:
    """`node` as its newer announcement describes it; trust, level and liveness untouched."""
    return replace(
        node,
        name=announcement.display_name,
        port=announcement.port,
        capabilities=tuple(announcement.capabilities),
        kind=announcement.kind,
        tls_sha256=announcement.certificate_hash,
        addresses=tuple(announcement.addresses),
        revision=announcement.revision,
        announcement=jws,
    )
