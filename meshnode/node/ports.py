"""What the use cases need of the world, as Protocols and plain records; the floors above supply it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.liveness import Status, StatusReason
from meshnode.domain.lockout import Lockout
from meshnode.domain.pairing import Offer, Way
from meshnode.domain.pairing_code import Secret
from meshnode.domain.peer import MeshNode


class Clock(Protocol):
    """Time, passed in."""

    def now(self) -> datetime:
        """Wall time, UTC; for what is shown and stored."""

    def monotonic(self) -> float:
        """Seconds that never jump; for ages and deadlines."""


class Entropy(Protocol):
    """Randomness, passed in."""

    def draw(self, size_bytes: int) -> bytes:
        """Unpredictable bytes."""

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""


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
    peer_announcement: str
    answered_at: datetime
    is_confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingAck:
    """An acknowledge of ours that the host has not answered; `before` is the row to go back to if it refuses."""

    peer_id: str
    sid: bytes
    jws: str
    before: MeshNode | None
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
    async def latest(self, limit: int) -> list[AuditEntry]: ...


class Transaction(Protocol):
    """The tables, within one transaction."""

    @property
    def nodes(self) -> NodeTable: ...
    @property
    def codes(self) -> CodeTable: ...
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


class Connections(Protocol):
    """The open sockets of authenticated nodes."""

    def close(self, node_id: str) -> None:
        """End every socket of a node, now."""


# ── other nodes ────────────────────────────────────────────────────────────────────────────────────────────────────


class BeginAnswer(NamedTuple):
    """What a host says about itself in step 1; unproven."""

    sid: bytes
    id: str
    public_key: bytes
    protocols: tuple[int, ...]
    version: int


class FinishAnswer(NamedTuple):
    """The host's tag and sealed introduction."""

    tag: bytes
    sealed: bytes


class Contact(Protocol):
    """First contact with a host: its certificate is recorded on the first connection, and required from then on.

    Every method raises MeshError: the host's own refusals, `unreachable`, `certificate_mismatch`, `bad_answer`.
    """

    @property
    def certificate_hash(self) -> bytes:
        """SHA-256 of the certificate received. Only after a first answer."""

    async def begin(
        self, node_id: str, public_key: bytes, protocols: tuple[int, ...], way: Way, code: bytes | None
    ) -> BeginAnswer:
        """Step 1."""

    async def exchange(self, sid: bytes, share: bytes) -> bytes:
        """Step 2; the host's share."""

    async def finish(self, sid: bytes, tag: bytes, sealed: bytes) -> FinishAnswer:
        """Step 3; repeated calls send the same bytes."""

    async def ack(self, sid: bytes, node_id: str, jws: str) -> None:
        """Step 4."""


class Destination(NamedTuple):
    """Where a paired peer is called, and the certificate that must answer."""

    node_id: str
    host: str
    port: int
    tls_sha256: bytes


class SessionAnswer(NamedTuple):
    """A token, and what the peer holds of us."""

    token: Secret
    expires_in_s: float
    epoch_held: int
    revision_held: int
    known_sha256: str | None


class IdentityAnswer(NamedTuple):
    """Who answers at an address, the proof, and the certificate it answered with."""

    id: str
    public_key: bytes
    proof: str | None
    certificate_hash: bytes


class PeerClient(Protocol):
    """Calls to other nodes, over pinned TLS. Raises as `Contact` does."""

    def contact(self, host: str, port: int, cert_prefix: bytes) -> Contact:
        """First contact; `cert_prefix` is what the invite says of the certificate, empty if there is none."""

    async def nonce(self, to: Destination) -> bytes:
        """A fresh nonce of the peer's."""

    async def open_session(self, to: Destination, caller: str, jws: str) -> SessionAnswer:
        """A session token."""

    async def heartbeat(self, to: Destination, token: str, beat: Heartbeat) -> Heartbeat:
        """Send a heartbeat; the peer's answer."""

    async def ack(self, to: Destination, sid: bytes, node_id: str, jws: str) -> None:
        """Step 4 of a pairing, repeated."""

    async def identity(self, host: str, port: int, nonce: bytes) -> IdentityAnswer:
        """Who answers at an address, whatever its certificate."""
