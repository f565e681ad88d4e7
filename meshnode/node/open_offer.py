"""Open an offer: show a PIN and wait. One is open at a time; opening another closes it."""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from meshnode.crypto.seal import Vault
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.pairing import Offer, OfferState, Way, check_open
from meshnode.domain.pairing_code import Secret, make_code, make_pin
from meshnode.node.counters import Counters
from meshnode.node.event_bus import EventBus
from meshnode.node.expiries import Expiries
from meshnode.node.ports import Clock, Entropy
from meshnode.node.revocations import Revocations
from meshnode.node.tables import AuditEntry, Store

DIALECT: Final = "mesh"
FORMAT: Final = "pin"  # what counts are kept by
_REMEMBERED: Final = 8  # closed offers whose codes still get the right refusal


@dataclass(frozen=True, slots=True)
class OpenedOffer:
    """What the owner is shown, once."""

    offer: Offer
    code: bytes = field(repr=False)  # 16 bytes
    pin: Secret


@dataclass(slots=True)
class LiveOffer:
    """An offer in memory: its value as last committed, its PIN while open, who pairs by it."""

    offer: Offer
    code_digest: bytes = field(repr=False)
    pin: Secret
    activity: dict[str, Any] = field(default_factory=dict)  # shown to who watches: device, peer


class Offers:
    """The offers of the mesh dialect."""

    def __init__(
        self, store: Store, clock: Clock, entropy: Entropy, vault: Vault, counters: Counters, bus: EventBus,
        revocations: Revocations,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._vault = vault
        self._counters = counters
        self._bus = bus
        self.expiries = Expiries(clock)
        self.revocations = revocations
        self._current: LiveOffer | None = None
        self._closed: deque[LiveOffer] = deque(maxlen=_REMEMBERED)
        self.on_closed: Callable[[str], None] = lambda _: None

    async def load(self) -> None:
        """An offer survives a restart: its PIN is on somebody's screen."""
        async with self._store.read() as tx:
            stored = await tx.codes.open_offer(DIALECT)
            digest = await tx.codes.code_digest(stored.offer.id) if stored else None
        if stored is None or stored.sealed is None or digest is None:
            return
        try:
            pin = Secret(self._vault.open(stored.offer.id, stored.sealed).decode("ascii"))
        except ValueError:  # sealed under another identity: the identity was replaced
            async with self._store.write() as tx:
                await tx.codes.save_offer(replace(stored.offer, state=OfferState.CANCELLED))
            return
        self.expiries.of(stored.offer)
        self._current = LiveOffer(stored.offer, digest, pin)

    async def open(self, lifetime_s: float, maker: str | None = None) -> OpenedOffer:
        """A new offer, of the operator `maker` or the owner; the one before is closed as replaced."""
        now = self._clock.now()
        code = make_code(self._entropy.draw(16))
        pin = None
        while pin is None:
            pin = make_pin(self._entropy.draw(4))
        offer = Offer(
            id=str(make_code(self._entropy.draw(16))),
            created_at=now,
            expires_at=now + timedelta(seconds=lifetime_s),
            maker=maker,
        )
        self.expiries.of(offer)
        digest = self._vault.digest(code.bytes)
        sealed = self._vault.seal(offer.id, pin.encode("ascii"), self._entropy.draw(12))
        closed: Offer | None = None
        async with self._store.write() as tx:
            before = await tx.codes.open_offer(DIALECT)
            if before is not None:
                state = OfferState.EXPIRED if self.expiries.is_over(before.offer) else OfferState.REPLACED
                closed = replace(before.offer, state=state)
                await tx.codes.save_offer(closed)
            await tx.codes.insert_offer(offer, DIALECT, digest, sealed)
            self.revocations.opened(offer.id)
            await tx.codes.delete_before(now - timedelta(days=1))
            await tx.audit.append(AuditEntry(at=now, event="offer.opened", dialect=DIALECT, node_id=maker))
        if closed is not None:
            self.update(closed)
        self._current = LiveOffer(offer, digest, pin)
        self._counters.codes_made[DIALECT, FORMAT] += 1
        self._bus.publish(Event("mesh.pairing.opened", {"offer_id": offer.id}))
        return OpenedOffer(offer, code.bytes, pin)

    @property
    def current(self) -> LiveOffer | None:
        """The open offer, None if there is none or it has expired."""
        live = self._current
        return live if live is not None and not self.expiries.is_over(live.offer) else None

    @property
    def has_open(self) -> bool:
        """Whether an offer is still to be closed; its time may have come."""
        return self._current is not None

    def find(self, way: Way, code: bytes | None) -> LiveOffer:
        """The offer that a joiner means, open by its way. Raises the refusal it gets. Touches no database."""
        if way == "pin":
            live = self.current
            if live is None:
                raise MeshError("no_open_offer", "nobody here waits for a PIN")
            check_open(live.offer, way, self.expiries.as_of(live.offer))
            return live
        digest = self._vault.digest(code or b"")
        candidates = [*self._closed, *([self._current] if self._current else [])]
        found = [live for live in candidates if hmac.compare_digest(live.code_digest, digest)]
        if not found:
            raise MeshError("code_unknown", "no offer has this code")
        check_open(found[-1].offer, way, self.expiries.as_of(found[-1].offer))
        return found[-1]

    def update(self, offer: Offer) -> None:
        """Take over an offer just committed."""
        live = self._current
        if live is None or live.offer.id != offer.id:
            return
        live.offer = offer
        if offer.state is not OfferState.OPEN:
            live.pin = Secret("")
            self._closed.append(live)
            self._current = None
            self.on_closed(offer.id)
        self.tell(live)

    def tell(self, live: LiveOffer) -> None:
        """Tell who watches how an offer stands."""
        data = {"offer_id": live.offer.id, "state": live.offer.state.value, "activity": dict(live.activity)}
        self._bus.publish(Event("mesh.pairing.changed", data))

    async def cancel(self, offer_id: str | None = None) -> bool:
        """Close the open offer (or that one); whether there was one."""
        async with self._store.write() as tx:
            stored = await tx.codes.open_offer(DIALECT)
            if stored is None or (offer_id is not None and stored.offer.id != offer_id):
                return False
            closed = replace(stored.offer, state=OfferState.CANCELLED)
            await tx.codes.save_offer(closed)
        self.update(closed)
        return True

    async def expire(self) -> None:
        """Close the open offer if its time has come."""
        live = self._current
        if live is None or not self.expiries.is_over(live.offer):
            return
        expired = replace(live.offer, state=OfferState.EXPIRED)
        async with self._store.write() as tx:
            await tx.codes.save_offer(expired)
        self.update(expired)

    def watched(self, offer_id: str) -> LiveOffer | None:
        """An offer by id, open or recently closed, for who waits beside it."""
        candidates = [*self._closed, *([self._current] if self._current else [])]
        return next((live for live in reversed(candidates) if live.offer.id == offer_id), None)
