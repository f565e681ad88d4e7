"""What the use cases need of the database, as Protocols and plain records; the store supplies it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import msgspec

from meshnode.domain.device_code import DeviceCode
from meshnode.domain.liveness import Status, StatusReason
from meshnode.domain.lockout import Lockout
from meshnode.domain.pairing import Offer
from meshnode.domain.peer import MeshNode

# ── records of the store ───────────────────────────────────────────────────────────────────────────────────────────


class Beat(NamedTuple):
    """What a heartbeat changes in a row."""

    id: str
    status: Status
    status_reason: StatusReason | None
    last_seen: datetime | None
    epoch: int
    sequence: int
    hostname: str
    port: int


@dataclass(frozen=True, slots=True)
class StoredOffer:
    """An offer as stored; `sealed` opens to its PIN, None once the offer is over."""

    offer: Offer
    sealed: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What `finish` answered, and to whom; kept until acknowledged or dropped."""

    offer_id: str
    offer_created_at: datetime
    sid: bytes
    finish_sha256: bytes
    finish_answer: bytes | None = field(repr=False)  # the sealed answer; None once confirmed
    peer_id: str
    peer_key: bytes
    peer_hostname: str
    is_remote: bool = False  # a trusted proxy spoke for it
    peer_announcement: str
    answered_at: datetime
    is_confirmed: bool = False
    maker: str | None = None  # the operator that opened the offer


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingAck:
    """An acknowledge of ours that the host has not answered; `before` is the row to go back to if it refuses."""

    peer_id: str
    sid: bytes
    jws: str
    before: MeshNode | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A device's code as stored; `sealed` opens to the secrets shown again, None once it is over."""

    code: DeviceCode
    digest: bytes | None = field(repr=False)
    sealed: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A thin client's token: only its digest is kept."""

    digest: bytes = field(repr=False)
    node_id: str
    kind: Literal["session", "device"]  # a session slides and ends; a device token stays
    listener: Literal["public", "plain"]  # where it was issued, and where alone it counts
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    replaces: bytes | None = field(default=None, repr=False)  # the digest that dies at this one's first use


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRelationship:
    """What a device left for the maker of the code it paired by; opaque to us."""

    id: str
    maker_id: str
    device_id: str
    trust_level: int
    trust_data: str = field(repr=False)
    created_at: datetime


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log."""

    at: datetime
    event: str
    dialect: str
    node_id: str | None = None
    node_name: str | None = None
    address: str | None = None
    detail: str | None = None
    times: int = 1
    is_failure: bool = False
    id: int = 0  # of the row, once it has one


# ── the store ──────────────────────────────────────────────────────────────────────────────────────────────────────


class NodeTable(Protocol):
    """`mesh_nodes`."""

    async def get(self, node_id: str) -> MeshNode | None: ...
    async def by_key(self, public_key: bytes) -> MeshNode | None: ...
    async def all(self) -> list[MeshNode]: ...
    async def upsert(self, node: MeshNode) -> None: ...
    async def delete(self, node_id: str) -> None: ...
    async def drop_other_selves(self, node_id: str) -> None: ...
    async def flush(self, beats: Iterable[Beat]) -> None: ...


class CodeTable(Protocol):
    """`pairing_codes`."""

    async def insert_offer(self, offer: Offer, dialect: str, code_digest: bytes, sealed: bytes) -> None: ...
    async def offer(self, offer_id: str, dialect: str) -> StoredOffer | None: ...
    async def open_offer(self, dialect: str) -> StoredOffer | None: ...
    async def code_digest(self, offer_id: str) -> bytes | None: ...
    async def save_offer(self, offer: Offer) -> None: ...
    async def consume_offer(self, offer: Offer, answer: StoredAnswer) -> bool: ...
    async def answer(self, sid: bytes) -> StoredAnswer | None: ...
    async def unconfirmed_answers(self, answered_before: datetime | None = None) -> list[StoredAnswer]: ...
    async def confirm_answer(self, sid: bytes, now: datetime) -> None: ...
    async def drop_answer(self, sid: bytes) -> None: ...
    async def delete_before(self, created_before: datetime) -> None: ...


class DeviceCodeTable(Protocol):
    """`pairing_codes`, as thin clients use it."""

    async def insert(self, code: DeviceCode, digest: bytes, sealed: bytes | None) -> None: ...
    async def get(self, code_id: str) -> StoredCode | None: ...
    async def by_digest(self, dialect: str, digest: bytes) -> StoredCode | None: ...
    async def open(self, dialect: str | None = None, kind: str | None = None) -> list[StoredCode]: ...
    async def save(self, code: DeviceCode) -> None: ...
    async def consume(self, code: DeviceCode) -> bool: ...


class TokenTable(Protocol):
    """`device_tokens`."""

    async def insert(self, token: StoredToken) -> None: ...
    async def live(self, now: datetime) -> list[StoredToken]: ...
    async def revoke_all(self, node_id: str, now: datetime) -> None: ...
    async def revoke(self, digests: Iterable[bytes], now: datetime) -> None: ...
    async def revoke_every(self, now: datetime) -> None: ...
    async def delete_dead(self, node_id: str, now: datetime) -> None: ...
    async def expire_at(self, digest: bytes, at: datetime) -> None: ...
    async def used(self, uses: Iterable[tuple[bytes, datetime, datetime | None]]) -> None: ...


class TrustTable(Protocol):
    """`trust_relationships`."""

    async def insert(self, relationship: TrustRelationship) -> None: ...
    async def of_maker(self, maker_id: str) -> list[TrustRelationship]: ...
    async def delete_of_maker(self, maker_id: str) -> None: ...


class AckTable(Protocol):
    """`pending_acks`."""

    async def put(self, ack: PendingAck) -> None: ...
    async def get(self, peer_id: str) -> PendingAck | None: ...
    async def all(self) -> list[PendingAck]: ...
    async def delete(self, peer_id: str) -> None: ...


class AttemptTable(Protocol):
    """`failed_attempts`."""

    async def get(self, budget: str) -> Lockout: ...
    async def put(self, budget: str, lockout: Lockout) -> None: ...


class AuditTable(Protocol):
    """`audit_log`."""

    async def append(self, entry: AuditEntry) -> None: ...
    async def latest(self, limit: int, events: Sequence[str] | None = None) -> list[AuditEntry]: ...


class Transaction(Protocol):
    """The tables, within one transaction."""

    @property
    def nodes(self) -> NodeTable: ...
    @property
    def codes(self) -> CodeTable: ...
    @property
    def device_codes(self) -> DeviceCodeTable: ...
    @property
    def tokens(self) -> TokenTable: ...
    @property
    def trust(self) -> TrustTable: ...
    @property
    def acks(self) -> AckTable: ...
    @property
    def attempts(self) -> AttemptTable: ...
    @property
    def audit(self) -> AuditTable: ...


class Store(Protocol):
    """The database: one guarded writer, separate readers."""

    def write(self, *, durable: bool = True) -> AbstractAsyncContextManager[Transaction]:
        """One transaction; committed when the block ends. Raises `database_error`."""

    def read(self) -> AbstractAsyncContextManager[Transaction]:
        """The tables as last committed. Raises `database_error`."""
