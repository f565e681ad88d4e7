"""A device asks, the owner decides: requests, approvals, and the token that an approved device fetches.

The code is shown to the device at once, so it proves nothing but which request is meant; a person compares it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from meshnode.domain.device import check_device
from meshnode.domain.device_code import DeviceCode, approve, check_redeemable
from meshnode.domain.device_request import PendingRequest, RequestingDevice, claim_of, is_of, pending_of
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.lockout import Lockout
from meshnode.domain.pairing import OfferState
from meshnode.domain.pairing_code import make_code
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import Action, Principal, authorise, authorise_target
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.code_records import CodeSecrets
from meshnode.node.counters import Counters
from meshnode.node.device_codes import DeviceCodes
from meshnode.node.event_bus import EventBus
from meshnode.node.pair_device import Admitted, Caller, PairDevice, TokenRules
from meshnode.node.ports import Clock, Entropy
from meshnode.node.tables import AuditEntry, Store, StoredCode, Transaction

PENDING_MAX: Final = 16
PENDING_PER_SOURCE: Final = 3


class Requests:
    """The requests of devices."""

    def __init__(
        self,
        codes: DeviceCodes,
        pairing: PairDevice,
        budget: AttemptBudget,
        counters: Counters,
        store: Store,
        clock: Clock,
        entropy: Entropy,
        bus: EventBus,
    ) -> None:
        self._codes = codes
        self._pairing = pairing
        self._budget = budget
        self._counters = counters
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._bus = bus

    async def ask(self, device: RequestingDevice, lifetime_s: float) -> PendingRequest:
        """A new request and its six-digit code. Raises `rate_limited` if too many wait."""
        now = self._clock.now()
        await self._codes.expire("request", device.dialect)
        async with self._store.write() as tx:
            waiting = await self._waiting(tx, None)
            own = [s for s in waiting if s.code.details.get("source") == device.source]
            if len(waiting) >= PENDING_MAX or len(own) >= PENDING_PER_SOURCE:
                self._counters.limit_hits[device.dialect, "pending"] += 1
                full = own if len(own) >= PENDING_PER_SOURCE else waiting
                left_s = min(self._codes.expiries.left_s(s.code) for s in full)
                raise MeshError("rate_limited", "too many requests wait for the owner", retry_after_s=left_s)
            taken = {secrets.code for s in waiting if (secrets := self._codes.secrets(s)) is not None}
            text = self._codes.draw_code("legacy")
            while text in taken:
                text = self._codes.draw_code("legacy")
            code = DeviceCode(
                id=str(make_code(self._entropy.draw(16))),
                dialect=device.dialect,
                kind="request",
                format="legacy",
                created_at=now,
                expires_at=now + timedelta(seconds=lifetime_s),
                device_id=device.id,
                details={
                    "name": device.name, "type": device.type, "version": device.version, "address": device.address,
                    "source": device.source, "listener": device.listener, "remote": device.is_remote,
                },
            )  # fmt: skip
            await self._codes.insert(tx, code, CodeSecrets(text))
            await tx.codes.delete_before(now - timedelta(days=1))
            await tx.audit.append(
                AuditEntry(
                    at=now, event="pairing.requested", dialect=device.dialect, address=device.source, is_failure=True
                )
            )
        self._codes.opened(code, CodeSecrets(text))
        return pending_of(code, text, is_duplicate=any(s.code.device_id == device.id for s in waiting))

    async def again(self, request_id: str) -> PendingRequest | None:
        """An open request and its code, for the device that made it; None once it is over."""
        async with self._store.read() as tx:
            stored = await tx.device_codes.get(request_id)
        if stored is None or stored.code.state is not OfferState.OPEN or self._codes.expiries.is_over(stored.code):
            return None
        secrets = self._codes.secrets(stored)
        return None if secrets is None else pending_of(stored.code, secrets.code, is_duplicate=False)

    async def pending(self, dialect: str | None = None) -> list[PendingRequest]:
        """What waits for the owner, oldest first; with the codes, to be compared with the devices' screens."""
        async with self._store.read() as tx:
            waiting = await self._waiting(tx, dialect)
            was = {s.code.id: _was(await tx.nodes.get(s.code.device_id or "")) for s in waiting}
        ids = Counter(s.code.device_id for s in waiting)
        return [
            pending_of(s.code, secrets.code, is_duplicate=ids[s.code.device_id] > 1, was=was[s.code.id])
            for s in waiting
            if (secrets := self._codes.secrets(s)) is not None
        ]

    async def approve(self, by: Principal, request_id: str) -> PendingRequest:
        """Say yes to exactly this request; the others of the same device id are rejected.

        Raises `request_unknown`, `not_permitted` for a device that is not below the caller, or `identity_mismatch`.
        """
        async with self._store.write() as tx:
            code = await self._open_request(tx, request_id)
            before = await tx.nodes.get(code.device_id or "")
            approved, rejected = await self._approve(tx, by, code, before)
        if code.approved_at is None:
            self._approved(approved)
        self._rejected(rejected)
        return pending_of(approved, "", is_duplicate=False, was=_was(before))

    async def reject(self, by: Principal, request_id: str) -> PendingRequest:
        """Say no, even after a yes that the device has not used yet. Raises `request_unknown`."""
        authorise(by, Action.DECIDE_REQUEST)
        async with self._store.write() as tx:
            code = replace(await self._open_request(tx, request_id), state=OfferState.CANCELLED)
            before = await tx.nodes.get(code.device_id or "")
            await tx.device_codes.save(code)
            await tx.audit.append(_entry(self._clock.now(), "pairing.rejected", code))
        self._rejected([code])
        return pending_of(code, "", is_duplicate=False, was=_was(before))

    async def confirm(
        self,
        dialect: str,
        code_text: str,
        device_id: str,
        caller: Caller,
        *,
        by_owner: Principal | None,
        needs_approval: bool = True,
    ) -> Admitted:
        """A token for the device that `code_text` and `device_id` mean.

        For the owner this approves, and the code stays good for the device itself, whose own token ends the owner's;
        for the device it works once, after the approval. Raises `approval_pending`, `code_unknown` and the like.
        """
        try:
            return await self._confirm(dialect, code_text, device_id, caller, by_owner, needs_approval)
        except MeshError as error:
            if error.code != "approval_pending":
                self._counters.outcomes[dialect, "legacy", error.code] += 1
            raise

    async def _confirm(
        self,
        dialect: str,
        code_text: str,
        device_id: str,
        caller: Caller,
        by_owner: Principal | None,
        needs_approval: bool,
    ) -> Admitted:
        if by_owner is None:
            self._budget.check()
        digest = self._codes.digest(dialect, code_text)
        refusal: MeshError | None = None
        spent: Lockout | None = None
        done: Admitted | None = None
        rejected: list[DeviceCode] = []
        was_approved = True
        async with self._store.write() as tx:
            if by_owner is None:
                self._budget.check()  # again: the guesses that were let in with this one may have failed meanwhile
            stored = await tx.device_codes.by_digest(dialect, digest)
            code = stored.code if stored is not None else self._codes.closed(digest)
            if code is None or not is_of(code, device_id):
                refusal = MeshError("code_unknown", "no open request has this code and device id")
                if by_owner is None and self._codes.is_guessable_open(dialect):
                    spent = await self._budget.spend(tx)
                await tx.audit.append(
                    AuditEntry(
                        at=self._clock.now(),
                        event="pairing.refused",
                        dialect=dialect,
                        address=caller.source,
                        is_failure=True,
                    )
                )
            else:
                # who asks about its own request that is over has not guessed
                check_redeemable(code, self._codes.expiries.as_of(code))
                was_approved = code.approved_at is not None
                before = await tx.nodes.get(device_id)
                if by_owner is not None:
                    code, rejected = await self._approve(tx, by_owner, code, before)
                    caller = _asker(code)
                elif not was_approved and (needs_approval or _was(before) == "revoked"):
                    raise MeshError("approval_pending", "the owner has not approved this device yet")
                else:
                    rejected = await self._reject_others(tx, code)
                    if code.details["listener"] == "plain":  # everybody on the wire has read its code
                        caller = msgspec.structs.replace(caller, listener="plain")
                done = await self._pairing.admit(tx, code, claim_of(code), caller, TokenRules())
                if by_owner is None and not await tx.device_codes.consume(code):
                    raise MeshError("code_used", "the token was fetched before")
        self._budget.committed(spent)
        if refusal is not None or code is None or done is None:
            raise refusal or MeshError("code_unknown", "no such request")
        if by_owner is None:
            self._codes.update(
                replace(code, state=OfferState.USED),
                paired=done.node.id, name=done.node.name, address=done.node.hostname, was=done.was,
            )  # fmt: skip
        elif not was_approved:
            self._approved(code)
        self._rejected(rejected)
        await self._pairing.admitted(code, done)
        return done

    async def _waiting(self, tx: Transaction, dialect: str | None) -> list[StoredCode]:
        return [s for s in await tx.device_codes.open(dialect, "request") if not self._codes.expiries.is_over(s.code)]

    async def _open_request(self, tx: Transaction, request_id: str) -> DeviceCode:
        stored = await tx.device_codes.get(request_id)
        if stored is None or stored.code.kind != "request":
            raise MeshError("request_unknown", "no such request")
        try:
            check_redeemable(stored.code, self._codes.expiries.as_of(stored.code))
        except MeshError as error:
            raise MeshError("request_unknown", f"that request is over ({error.detail})") from error
        return stored.code

    async def _approve(
        self, tx: Transaction, by: Principal, code: DeviceCode, before: MeshNode | None
    ) -> tuple[DeviceCode, list[DeviceCode]]:
        """`before` is the row that the device would replace: an operator's is not another operator's to give away."""
        authorise_target(by, Action.DECIDE_REQUEST, before.trust_level if before is not None else 0)
        now = self._clock.now()
        if before is not None:
            check_device(before.id if before.is_current else "", before.id, code.dialect, before, is_outdated=False)
        rejected = await self._reject_others(tx, code)
        if code.approved_at is not None:
            return code, rejected
        approved = approve(code, now, by.node_id)
        await tx.device_codes.save(approved)
        self._codes.revocations.opened(code.id)
        await tx.audit.append(_entry(now, "pairing.approved", code))
        return approved, rejected

    async def _reject_others(self, tx: Transaction, code: DeviceCode) -> list[DeviceCode]:
        """Close the other requests of the same device id: only one of them can be that device."""
        rejected = []
        for other in await tx.device_codes.open(code.dialect, "request"):
            if other.code.device_id == code.device_id and other.code.id != code.id:
                rejected.append(replace(other.code, state=OfferState.CANCELLED))
                await tx.device_codes.save(rejected[-1])
        return rejected

    def _approved(self, code: DeviceCode) -> None:
        self._codes.update(code)
        self._bus.publish(Event("mesh.pairing.approved", {"request_id": code.id, "dialect": code.dialect}))

    def _rejected(self, codes: Iterable[DeviceCode]) -> None:
        for code in codes:
            self._codes.update(code)
            self._bus.publish(Event("mesh.pairing.rejected", {"request_id": code.id, "dialect": code.dialect}))


def _was(row: MeshNode | None) -> str | None:
    return row.trust if row is not None and row.trust in ("paired", "revoked") else None


def _asker(code: DeviceCode) -> Caller:
    """Who made the request, for an owner who confirms in its place."""
    told = code.details
    return Caller(address=told["address"], source=told["source"], listener=told["listener"], is_remote=told["remote"])


def _entry(at: datetime, event: str, code: DeviceCode) -> AuditEntry:
    return AuditEntry(
        at=at, event=event, dialect=code.dialect, node_id=code.device_id, node_name=code.details.get("name"),
        address=code.details.get("address"),
    )  # fmt: skip
