"""Redeem a code: one device exchanges it for a row and a token. Every dialect but mesh ends here.

A failure spends what the code's format says, in the transaction that writes it down; wrong and unknown codes
go through the same transaction, so that they take the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from meshnode.domain.device import DeviceClaim
from meshnode.domain.device_code import DeviceCode, check_redeemable, spend_wrong
from meshnode.domain.errors import MeshError
from meshnode.domain.lockout import Lockout
from meshnode.domain.pairing import OfferState
from meshnode.domain.pairing_code import CodeFormat
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.counters import Counters
from meshnode.node.device_codes import DeviceCodes
from meshnode.node.pair_device import Admitted, Caller, PairDevice, TokenRules
from meshnode.node.ports import Clock
from meshnode.node.tables import AuditEntry, Store, StoredCode, Transaction

ClaimOf = Callable[[Transaction, DeviceCode], Awaitable[DeviceClaim]]
Within = Callable[[Transaction, DeviceCode, Admitted], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """What a device sends. `claim` may depend on the rows that stand (a slug made unique)."""

    dialect: str
    format: CodeFormat
    code: str = field(repr=False)
    pin: str | None = field(default=None, repr=False)
    linking_code: str | None = field(default=None, repr=False)
    claim: DeviceClaim | ClaimOf
    caller: Caller
    token: TokenRules = field(default_factory=TokenRules)
    within: Within | None = None  # what the dialect stores besides, in the same transaction


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The device and the code it used."""

    admitted: Admitted
    code: DeviceCode


class RedeemCode:
    """Codes in, tokens out."""

    def __init__(
        self,
        codes: DeviceCodes,
        pairing: PairDevice,
        budget: AttemptBudget,
        counters: Counters,
        store: Store,
        clock: Clock,
    ) -> None:
        self._codes = codes
        self._pairing = pairing
        self._budget = budget
        self._counters = counters
        self._store = store
        self._clock = clock

    async def redeem(self, asked: Redemption) -> Redeemed:
        """Pair the device.

        Raises `code_unknown`, `code_used`, `code_expired`, `offer_…`, `bad_pin`, `locked_out`, `identity_mismatch`.
        """
        try:
            return await self._redeem(asked)
        except MeshError as error:
            self._counters.outcomes[asked.dialect, asked.format, error.code] += 1
            raise

    async def _redeem(self, asked: Redemption) -> Redeemed:
        if asked.format != "uuid":
            self._budget.check()
        now = self._clock.now()
        digest = self._codes.digest(asked.dialect, asked.code)
        spent: Lockout | None = None
        wrong: DeviceCode | None = None
        async with self._store.write() as tx:
            if asked.format != "uuid":
                self._budget.check()  # again: the guesses that were let in with this one may have failed meanwhile
            stored = await tx.device_codes.by_digest(asked.dialect, digest)
            refusal = self._refusal(asked, stored, digest)
            if refusal is None and stored is not None:
                done = await self._admit(tx, asked, stored.code)
            else:
                done = None
                if asked.format != "uuid" and self._codes.is_guessable_open(asked.dialect):
                    spent = await self._budget.spend(tx)
                if stored is not None and refusal is not None and refusal.code == "bad_pin":
                    wrong = spend_wrong(stored.code)
                    await tx.device_codes.save(wrong)
                    refusal = MeshError(
                        "bad_pin",
                        f"wrong PIN or linking code; {wrong.attempts} attempts left",
                        attempts_left=wrong.attempts,
                    )
                await tx.audit.append(
                    AuditEntry(
                        at=now,
                        event=f"pairing.{'bad_pin' if wrong else 'refused'}",
                        dialect=asked.dialect,
                        address=asked.caller.source,
                        is_failure=True,
                    )
                )
                if wrong is not None and wrong.state is OfferState.BURNED:
                    await tx.audit.append(
                        AuditEntry(at=now, event="pairing.burned", dialect=asked.dialect, address=asked.caller.source)
                    )
        self._budget.committed(spent)
        if wrong is not None:
            self._codes.update(wrong, joiner=asked.caller.source, attempts_left=wrong.attempts, wrong=True)
        if done is None or stored is None:
            raise refusal or MeshError("code_unknown", "no such code")
        node = done.node
        self._codes.update(
            replace(stored.code, state=OfferState.USED),
            paired=node.id, name=node.name, address=asked.caller.address, was=done.was,
        )  # fmt: skip
        await self._pairing.admitted(stored.code, done)
        return Redeemed(done, stored.code)

    def _refusal(self, asked: Redemption, stored: StoredCode | None, digest: bytes) -> MeshError | None:
        """Why not; the same steps whether the code is known or not."""
        code = stored.code if stored is not None else self._codes.closed(digest)
        if code is None or code.kind != "offer":  # a request is the owner's to approve, whoever knows its code
            return MeshError("code_unknown", "no open code like that; ask for a new one")
        try:
            check_redeemable(code, self._codes.expiries.as_of(code))
        except MeshError as error:
            return error
        if stored is None or not self._codes.matches(stored, asked.pin, asked.linking_code):
            return MeshError("bad_pin", "wrong PIN or linking code")
        return None

    async def _admit(self, tx: Transaction, asked: Redemption, code: DeviceCode) -> Admitted:
        claim = asked.claim if isinstance(asked.claim, DeviceClaim) else await asked.claim(tx, code)
        done = await self._pairing.admit(tx, code, claim, asked.caller, asked.token)
        if not await tx.device_codes.consume(code):
            raise MeshError("code_used", "somebody else was faster")
        if asked.within is not None:
            await asked.within(tx, code, done)
        return done
