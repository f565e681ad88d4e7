"""The codes that pair thin clients: open, watch, cancel, expire. Their secrets rest as digests or sealed."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, Literal

import msgspec

from meshnode.crypto.seal import Vault
from meshnode.domain.device_code import DeviceCode, check_redeemable
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.pairing import OfferState
from meshnode.domain.pairing_code import (
    TOKEN_BYTES,
    CodeFormat,
    Secret,
    make_code,
    make_code_text,
    make_linking_code,
    parse_linking_code,
)
from meshnode.node.code_records import CodeRules, CodeSecrets, OpenedCode, WatchedCode
from meshnode.node.counters import Counters
from meshnode.node.event_bus import EventBus
from meshnode.node.expiries import Expiries
from meshnode.node.ports import Clock, Entropy
from meshnode.node.revocations import Revocations
from meshnode.node.tables import AuditEntry, Store, StoredCode, Transaction

OPEN_MAX: Final = 64  # codes of one dialect
VISITS_TOLD: Final = 64  # of one offer: more names than that are a flood, for the screen and the events' memory
_REMEMBERED: Final = 256  # codes that are over, for their right refusal and for who watches


class DeviceCodes:
    """The codes of every dialect but mesh."""

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
        self._known: OrderedDict[str, WatchedCode] = OrderedDict()  # open ones, and the latest that are over

    async def load(self) -> None:
        """Codes survive a restart: they are on somebody's screen."""
        foreign = []
        async with self._store.read() as tx:
            for stored in await tx.device_codes.open():
                if stored.digest is not None and self.secrets(stored) is not None:
                    self._remember(WatchedCode(stored.code, stored.digest))
                else:
                    foreign.append(replace(stored.code, state=OfferState.CANCELLED))
        if foreign:  # made under another identity key: nobody can use them, and they must not take up room
            async with self._store.write() as tx:
                for code in foreign:
                    await tx.device_codes.save(code)

    def digest(self, dialect: str, code: str) -> bytes:
        """What a code is looked up by; the same text is another code in another dialect."""
        return self._vault.digest(f"{dialect} {code}".encode())

    # ── opening ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, rules: CodeRules) -> OpenedCode:
        """A new code. Raises `rate_limited` if too many are open."""
        now = self._clock.now()
        secrets = self._draw(rules)
        code = DeviceCode(
            id=str(make_code(self._entropy.draw(16))),
            dialect=rules.dialect,
            kind="offer",
            format=rules.format,
            created_at=now,
            expires_at=now + timedelta(seconds=rules.lifetime_s),
            device_id=rules.maker,
            details=rules.details,
        )
        ended: list[DeviceCode] = []
        async with self._store.write() as tx:
            before = [stored.code for stored in await tx.device_codes.open(rules.dialect, "offer")]
            for other in before:
                over = self.expiries.is_over(other)
                if (
                    over
                    or rules.opens == "instead of all"
                    or (rules.opens == "instead of its format" and other.format == rules.format)
                ):
                    ended.append(replace(other, state=OfferState.EXPIRED if over else OfferState.REPLACED))
                    await tx.device_codes.save(ended[-1])
            if len(before) - len(ended) >= OPEN_MAX:
                raise MeshError("rate_limited", "too many codes are open", retry_after_s=rules.lifetime_s)
            await self.insert(tx, code, secrets)
            await tx.codes.delete_before(now - timedelta(days=1))
            await tx.audit.append(
                AuditEntry(
                    at=now, event="offer.opened", dialect=rules.dialect, node_id=rules.maker, detail=rules.format
                )
            )
        for closed in ended:
            self.update(closed)
        self.opened(code, secrets)
        return OpenedCode(code, secrets)

    def _draw(self, rules: CodeRules) -> CodeSecrets:
        if rules.is_token:
            return CodeSecrets(self._entropy.draw(TOKEN_BYTES).hex())
        code = self.draw_code(rules.format)
        if not rules.has_pin:
            return CodeSecrets(code)
        return CodeSecrets(code, self.draw_code("legacy"), make_linking_code(self._entropy.draw(8)))

    def draw_code(self, code_format: CodeFormat) -> Secret:
        """A code nobody has seen."""
        text = None
        while text is None:
            text = make_code_text(code_format, self._entropy.draw(16))
        return text

    async def insert(self, tx: Transaction, code: DeviceCode, secrets: CodeSecrets) -> None:
        """Store an open code; `opened` once it is committed."""
        digest = self.digest(code.dialect, secrets.code)
        sealed = self._vault.seal(code.id, msgspec.json.encode(secrets, enc_hook=str), self._entropy.draw(12))
        await tx.device_codes.insert(code, digest, sealed)
        self.revocations.opened(code.id)

    def opened(self, code: DeviceCode, secrets: CodeSecrets) -> None:
        """It is committed."""
        self._remember(WatchedCode(code, self.digest(code.dialect, secrets.code)))
        self._counters.codes_made[code.dialect, code.format] += 1
        topic = "mesh.pairing.opened" if code.kind == "offer" else "mesh.pairing.requested"
        self._bus.publish(Event(topic, {f"{code.kind}_id": code.id, "dialect": code.dialect}))

    def _remember(self, known: WatchedCode) -> None:
        self.expiries.of(known.code)
        self._known[known.code.id] = known
        if len(self._known) > _REMEMBERED:
            over = next((i for i, k in self._known.items() if k.code.state is not OfferState.OPEN), None)
            if over is not None:
                del self._known[over]

    # ── looking ────────────────────────────────────────────────────────────────────────────────────────────────────

    def secrets(self, stored: StoredCode) -> CodeSecrets | None:
        """What was sealed with a code; None if it is over, or was sealed under another identity."""
        if stored.sealed is None:
            return None
        try:
            return msgspec.json.decode(self._vault.open(stored.code.id, stored.sealed), type=CodeSecrets)
        except (ValueError, msgspec.MsgspecError):
            return None

    def matches(self, stored: StoredCode, pin: str | None, linking_code: str | None) -> bool:
        """Whether PIN and linking code are right; True for a code that has none. Constant time."""
        secrets = self.secrets(stored)
        if secrets is None:
            return False
        if not secrets.pin:
            return True
        right = (secrets.pin, parse_linking_code(secrets.linking_code))
        given = (pin or "", linking_code or "")
        equal = [
            hmac.compare_digest(a.encode(), b.encode("utf-8", "replace")) for a, b in zip(right, given, strict=True)
        ]
        return all(equal)

    def closed(self, digest: bytes) -> DeviceCode | None:
        """A code that is over, by the digest it had; forgotten with a restart."""
        known = self._find(digest)
        return known.code if known is not None and known.code.state is not OfferState.OPEN else None

    def _find(self, digest: bytes) -> WatchedCode | None:
        return next((k for k in reversed(self._known.values()) if hmac.compare_digest(k.digest, digest)), None)

    def visit(self, dialect: str, code: str, name: str, source: str) -> DeviceCode:
        """Somebody holds the code and is being asked for the PIN: who watches is told, nothing is spent.

        Raises why nobody can pair by it. Touches no database.
        """
        known = self._find(self.digest(dialect, code))
        if known is None or known.code.kind != "offer":
            raise MeshError("code_unknown", "no open code like that; ask for a new one")
        check_redeemable(known.code, self.expiries.as_of(known.code))
        seen: dict[str, Any] = {"visitor": name, "joiner": source, "attempts_left": known.code.attempts}
        if known.activity.get("wrong"):  # who guesses must not wipe that off the owner's screen
            seen["wrong"] = True
        if known.activity != seen and known.visits < VISITS_TOLD:
            known.visits += 1
            known.activity = seen
            self._tell(known.code, known.activity)
        return known.code

    def open_offers(self) -> list[WatchedCode]:
        """Every open offer."""
        return [k for k in self._known.values() if k.code.kind == "offer" and k.code.state is OfferState.OPEN]

    def watched(self, code_id: str) -> WatchedCode | None:
        """A code by id, open or lately closed, for who waits beside it."""
        return self._known.get(code_id)

    def is_guessable_open(self, dialect: str) -> bool:
        """Whether a code-less secret of that dialect can be guessed now: only then does a failure count."""
        return any(
            k.code.dialect == dialect
            and k.code.is_codeless
            and k.code.state is OfferState.OPEN
            and not self.expiries.is_over(k.code)
            for k in self._known.values()
        )

    # ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def update(self, code: DeviceCode, **activity: Any) -> None:
        """Take over a code just committed, and tell who watches."""
        known = self._known.get(code.id)
        if known is not None:
            known.code = code
            visitor = {key: value for key, value in known.activity.items() if key == "visitor"}
            known.activity = {**visitor, **activity} if activity else known.activity
        self._tell(code, known.activity if known is not None else activity)

    def _tell(self, code: DeviceCode, activity: dict[str, Any]) -> None:
        data: dict[str, Any] = {f"{code.kind}_id": code.id, "dialect": code.dialect, "state": code.state.value}
        if code.kind == "offer":
            data["activity"] = dict(activity)
        self._bus.publish(Event("mesh.pairing.changed", data))

    async def cancel(self, code_id: str) -> bool:
        """Close an open code; whether it was open."""
        async with self._store.write() as tx:
            stored = await tx.device_codes.get(code_id)
            if stored is None or stored.code.state is not OfferState.OPEN:
                return False
            closed = replace(stored.code, state=OfferState.CANCELLED)
            await tx.device_codes.save(closed)
        self.update(closed)
        return True

    async def cancel_all(self) -> bool:
        """Close every open offer; whether there was one."""
        closed = [await self.cancel(known.code.id) for known in self.open_offers()]
        return any(closed)

    async def end_of_device(self, tx: Transaction, device_id: str) -> list[DeviceCode]:
        """Close a device's codes, its requests and those it approved; `update` each after the commit."""
        ended = []
        for stored in await tx.device_codes.open():
            if device_id in (stored.code.device_id, stored.code.made_by):
                ended.append(replace(stored.code, state=OfferState.CANCELLED))
                await tx.device_codes.save(ended[-1])
        return ended

    async def expire(self, kind: Literal["offer", "request"], dialect: str | None = None) -> int:
        """Close what has run out (of one dialect, if given); how many."""
        due = [
            replace(k.code, state=OfferState.EXPIRED)
            for k in self._known.values()
            if k.code.state is OfferState.OPEN and k.code.kind == kind and self.expiries.is_over(k.code)
            and dialect in (None, k.code.dialect)
        ]  # fmt: skip
        if not due:
            return 0
        async with self._store.write() as tx:
            still = []
            for code in due:
                stored = await tx.device_codes.get(code.id)
                if stored is not None and stored.code.state is OfferState.OPEN:
                    still.append(code)
                    await tx.device_codes.save(code)
        for code in still:
            self.update(code)
        return len(still)
