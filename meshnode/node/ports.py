"""What the use cases need of the world, as Protocols and plain records; the floors above supply it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Protocol

from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.pairing import Way
from meshnode.domain.pairing_code import Secret


class Clock(Protocol):
    """Time, passed in."""

    def now(self) -> datetime:
        """Wall time, UTC; for what is shown and stored."""

    def monotonic(self) -> float:
        """Seconds that never jump; for ages and deadlines."""

    def boot_s(self) -> float:
        """As `monotonic`, but sleep counts; the same where the system does not tell them apart."""


class Entropy(Protocol):
    """Randomness, passed in."""

    def draw(self, size_bytes: int) -> bytes:
        """Unpredictable bytes."""

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""


class Connections(Protocol):
    """The open sockets of authenticated nodes."""

    async def close(self, node_id: str, reason: str, others: Iterable[str] = ()) -> None:
        """End every connection of a node and of others at once, WebSockets with the reason; within about a second."""

    async def end_sockets(self, node_id: str, reason: str, *, is_revoked: bool = False) -> None:
        """Close the node's WebSockets with a reason; its other connections live on."""


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

    async def wall_clock(self, to: Destination) -> datetime | None:
        """What time it is there; the pinned certificate must answer."""

    async def hang_up(self) -> None:
        """End every connection; calls under way are `unreachable`, later ones open their own."""
