"""The pairing protocol as values: offers, ceremonies, the attempt budget, and what both sides bind in.

No socket, no clock, no PAKE: times and outcomes are passed in. Source: docs/protocol.md, Pairing and Budget.
The state diagram in docs/protocol.md is printed from `TRANSITIONS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final, Literal

from meshnode.domain.errors import MeshError

Way = Literal["pin", "invite"]

ATTEMPTS: Final = 3  # wrong PINs per way: a guess succeeds with at most 3 in a million
BEGUN_S: Final = 30.0  # an unused `begin` is forgotten
SLOT_S: Final = 10.0  # `exchange` to `finish`: two machines talk here, no person
UNCONFIRMED_S: Final = 600.0  # an answer without an acknowledge is dropped
FINISH_REPEAT_S: Final = 30.0  # how long the joiner repeats step 3
CPACE_CHANNEL: Final = b"meshnode/1 CPACE-X25519-SHA512"


class OfferState(Enum):
    """What became of an offer."""

    OPEN = "open"
    USED = "used"  # a right PIN came
    BURNED = "burned"  # three wrong PINs by invite
    EXPIRED = "expired"
    REPLACED = "replaced"  # a newer offer was opened
    CANCELLED = "cancelled"


CLOSED_CODE: Final[dict[OfferState, str]] = {
    OfferState.USED: "session_over",
    OfferState.BURNED: "offer_burned",
    OfferState.EXPIRED: "code_expired",
    OfferState.REPLACED: "offer_replaced",
    OfferState.CANCELLED: "offer_closed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """We show a PIN and wait. One attempt budget per way in."""

    id: str
    created_at: datetime
    expires_at: datetime
    state: OfferState = OfferState.OPEN
    pin_attempts: int = ATTEMPTS
    invite_attempts: int = ATTEMPTS
    maker: str | None = None  # the operator that opened it; None = the owner

    def attempts(self, way: Way) -> int:
        """Attempts left by this way."""
        return self.pin_attempts if way == "pin" else self.invite_attempts


def check_open(offer: Offer, way: Way, now: datetime) -> None:
    """Raise the code that says why nobody can pair by this way any more, if so."""
    if offer.state is OfferState.OPEN and now >= offer.expires_at:
        raise MeshError("code_expired", "the offer has expired")
    if offer.state is not OfferState.OPEN:
        raise MeshError(CLOSED_CODE[offer.state], f"the offer is {offer.state.value}")
    if offer.attempts(way) <= 0:
        raise MeshError("offer_burned", "three wrong PINs closed this way in; the invite may still work")


def _with_attempts(offer: Offer, way: Way, attempts: int) -> Offer:
    if way == "pin":
        return replace(offer, pin_attempts=attempts)
    return replace(offer, invite_attempts=attempts)


def spend_attempt(offer: Offer, way: Way, now: datetime) -> Offer:
    """The offer with one attempt less, to be committed before the answer to `exchange` leaves."""
    check_open(offer, way, now)
    return _with_attempts(offer, way, offer.attempts(way) - 1)


def judge_tag(offer: Offer, way: Way, *, right: bool) -> Offer:
    """The offer after a tag: used and the attempt given back if right; burned if the last one by invite was wrong."""
    if right:
        return replace(_with_attempts(offer, way, min(ATTEMPTS, offer.attempts(way) + 1)), state=OfferState.USED)
    if way == "invite" and offer.invite_attempts <= 0:
        return replace(offer, state=OfferState.BURNED)
    return offer


class Stage(Enum):
    """Where one ceremony stands, on the host and on the joiner."""

    BEGUN = "begun"  # sid drawn, nothing spent
    EXCHANGED = "exchanged"  # attempt spent, slot held, shares known to both
    ANSWERED = "answered"  # host: right tag, answer stored · joiner: finish sent
    STORED = "stored"  # joiner: host verified and stored, acknowledge pending
    CONFIRMED = "confirmed"  # both have stored each other
    OVER = "over"


class Step(Enum):
    """What moves a ceremony."""

    EXCHANGE = "exchange"
    RIGHT_TAG = "right tag"
    WRONG_TAG = "wrong tag"
    SAME_FINISH = "same finish again"
    ACK = "ack or session"
    NOT_PAIRED = "not_paired"
    DROP = "time out or offer closed"


TRANSITIONS: Final[dict[Literal["host", "joiner"], dict[tuple[Stage, Step], Stage]]] = {
    "host": {
        (Stage.BEGUN, Step.EXCHANGE): Stage.EXCHANGED,
        (Stage.BEGUN, Step.DROP): Stage.OVER,
        (Stage.EXCHANGED, Step.RIGHT_TAG): Stage.ANSWERED,
        (Stage.EXCHANGED, Step.WRONG_TAG): Stage.OVER,
        (Stage.EXCHANGED, Step.DROP): Stage.OVER,
        (Stage.ANSWERED, Step.SAME_FINISH): Stage.ANSWERED,
        (Stage.ANSWERED, Step.ACK): Stage.CONFIRMED,
        (Stage.ANSWERED, Step.DROP): Stage.OVER,
        (Stage.CONFIRMED, Step.ACK): Stage.CONFIRMED,
    },
    "joiner": {
        (Stage.BEGUN, Step.EXCHANGE): Stage.EXCHANGED,
        (Stage.BEGUN, Step.DROP): Stage.OVER,
        (Stage.EXCHANGED, Step.SAME_FINISH): Stage.ANSWERED,
        (Stage.EXCHANGED, Step.DROP): Stage.OVER,
        (Stage.ANSWERED, Step.SAME_FINISH): Stage.ANSWERED,
        (Stage.ANSWERED, Step.RIGHT_TAG): Stage.STORED,
        (Stage.ANSWERED, Step.WRONG_TAG): Stage.OVER,
        (Stage.ANSWERED, Step.DROP): Stage.OVER,
        (Stage.STORED, Step.ACK): Stage.CONFIRMED,
        (Stage.STORED, Step.NOT_PAIRED): Stage.OVER,
    },
}


def advance(side: Literal["host", "joiner"], stage: Stage, step: Step) -> Stage:
    """The next stage. Raises `session_over` for a step that is not due."""
    after = TRANSITIONS[side].get((stage, step))
    if after is None:
        raise MeshError("session_over", f"{step.value} is not due when {stage.value}")
    return after


def choose_version(joiner: Iterable[int], host: Iterable[int]) -> int:
    """The highest protocol version both speak. Raises `version_unsupported`."""
    shared = set(joiner) & set(host)
    if not shared:
        raise MeshError("version_unsupported", "the two nodes speak no protocol version in common")
    return max(shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """All that both sides must see alike: the fields of step 1 and the certificate of this connection."""

    sid: bytes
    way: Way
    joiner_id: str
    joiner_key: bytes
    joiner_protocols: tuple[int, ...]
    host_id: str
    host_key: bytes
    host_protocols: tuple[int, ...]
    version: int
    certificate_hash: bytes

    def associated_data(self, role: Literal["joiner", "host"]) -> bytes:
        """The AD of one side. It never travels: each side builds both from its own view.

        Each field is a 2-byte big-endian length and the bytes.
        """
        node_id, key = (self.joiner_id, self.joiner_key) if role == "joiner" else (self.host_id, self.host_key)
        fields = (
            role.encode(),
            node_id.encode(),
            key,
            _format_versions(self.joiner_protocols),
            _format_versions(self.host_protocols),
            str(self.version).encode(),
            self.way.encode(),
            self.certificate_hash,
        )
        return b"".join(len(part).to_bytes(2, "big") + part for part in fields)


def _format_versions(versions: tuple[int, ...]) -> bytes:
    return ",".join(str(v) for v in sorted(set(versions))).encode()


def shares_sha256(joiner_share: bytes, host_share: bytes) -> bytes:
    """SHA-256 of both shares, the joiner's first."""
    return hashlib.sha256(joiner_share + host_share).digest()
