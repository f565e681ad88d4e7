"""mylzip on our wire: decode, call a use case, encode."""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from meshnode.dialects.contract import Wire, caller_of, encode_own_identity
from meshnode.dialects.mylzip.codec import (
    BODY_MAX,
    DECODERS,
    CodeMade,
    LeftTrust,
    MakeCode,
    Pair,
    Paired,
    PairedDevice,
    TrustLeft,
    TrustMade,
    decode_code,
    decode_device_id,
    decode_format,
    decode_told,
    decode_trust_data,
    encode_refusal,
)
from meshnode.dialects.mylzip.limits import DIALECT, Limits
from meshnode.dialects.mylzip.settings import EXPIRY_MAX, MylzipSettings
from meshnode.domain.device import DeviceClaim, kind_of
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.pairing_code import CodeFormat
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import Action, Principal, Role
from meshnode.domain.timestamps import format_time
from meshnode.domain.untrusted_text import clean_text
from meshnode.node.code_records import CodeRules, OpenedCode
from meshnode.node.pair_device import Admitted
from meshnode.node.redeem_code import Redemption
from meshnode.node.tables import Transaction, TrustRelationship
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import UNSTATED, Call, Route

PREFIX: Final = "/api/v1/encrypted/devices"

log = logging.getLogger(__name__)


def serve_mylzip(use: UseCases, settings: MylzipSettings) -> Wire:
    """What mylzip serves."""
    own_id = use.me.identity.id
    limits = Limits(settings, use.clock, use.counters)

    async def make_code(call: Call) -> Any:
        body: MakeCode = call.body
        device_id = decode_device_id(body.device_id)
        _check_names_itself(call.principal, device_id)
        code_format = decode_format(body.format, settings.default_pairing_format)
        lifetime_s = min(body.expires_in or settings.expiry_s(code_format), EXPIRY_MAX[code_format])
        limits.count_code(device_id, code_format)
        async with use.store.read() as tx:
            row = await tx.nodes.get(device_id)
        details: dict[str, Any] = {
            "device_id": device_id, "device_type": body.device_type, "device_version": body.device_version,
            "by_owner": call.principal.role is Role.OWNER,
        }  # fmt: skip
        opened = await open_code(code_format, lifetime_s, row, details)
        return CodeMade(
            pairing_code=str(opened.text),
            format=code_format,
            expires_at=format_time(opened.code.expires_at),
            expires_in=lifetime_s,
            node=encode_own_identity(use, call.reached_at),
        )

    async def open_code(
        code_format: CodeFormat, lifetime_s: float, row: MeshNode | None, details: dict[str, Any]
    ) -> OpenedCode:
        """A code of the device `row`, or of this node if that is no paired device."""
        maker = row if row is not None and row.trust == "paired" else None
        metadata = maker.metadata if maker is not None else {}
        facts = (use.me.facts.kind, use.me.facts.version) if maker is None else (maker.kind, "")
        details["device_type"] = decode_told(details["device_type"], metadata.get("device_type"), facts[0])
        details["device_version"] = decode_told(details["device_version"], metadata.get("device_version"), facts[1])
        opened = await use.codes.open(
            CodeRules(
                dialect=DIALECT,
                lifetime_s=lifetime_s,
                format=code_format,
                opens="beside" if code_format == "uuid" else "instead of its format",
                maker=None if maker is None else maker.id,
                details=details,
            )
        )
        fields = {"device_id": details["device_id"], "format": code_format, "expires_in": lifetime_s}
        log.info("pairing_code_generated", extra={"fields": fields})
        return opened

    async def pair(call: Call) -> Any:
        body: Pair = call.body
        device_id, code = decode_device_id(body.device_id), decode_code(body.pairing_code)
        trust_data = decode_trust_data(body.encrypted_trust_data)
        claim = DeviceClaim(
            id=device_id,
            name=clean_text(device_id),
            hostname=call.address,
            kind=kind_of(body.device_type or ""),
            metadata={
                "device_type": decode_told(body.device_type),
                "device_version": decode_told(body.device_version),
            },
        )
        left: list[TrustRelationship] = []

        async def claim_of(tx: Transaction, code: DeviceCode) -> DeviceClaim:
            await _check_maker(tx, code, device_id)
            return claim

        async def leave_trust(tx: Transaction, code: DeviceCode, done: Admitted) -> None:
            if not done.is_proven:  # an id is no proof: what was left for its former holder is not for this one
                await tx.trust.delete_of_maker(done.node.id)
            left.append(
                TrustRelationship(
                    id=f"trust-{code.id}",  # a code makes one
                    maker_id=code.device_id or own_id,
                    device_id=done.node.id,
                    trust_level=done.node.trust_level,
                    trust_data=trust_data,
                    created_at=use.clock.now(),
                )
            )
            await tx.trust.insert(left[0])

        with limits.attempt(device_id, call.source, code.format):
            redeemed = await use.redeeming.redeem(
                Redemption(
                    dialect=DIALECT,
                    format=code.format,
                    code=code.text,
                    claim=claim_of,
                    caller=caller_of(call),
                    within=leave_trust,
                )
            )
        (trust,) = left
        use.bus.publish(Event("mesh.pairing.trust", msgspec.to_builtins(_left(trust)), to=trust.maker_id))
        maker = redeemed.code.details
        return Paired(
            trust_relationship=TrustMade(
                id=trust.id, trust_level=trust.trust_level, created_at=format_time(trust.created_at)
            ),
            paired_device=PairedDevice(
                device_id=maker["device_id"],
                device_type=maker["device_type"],
                device_version=maker["device_version"],
            ),
            pairing_code_format=redeemed.code.format,
            device_token=str(redeemed.admitted.token),  # plain text on the wire
            node=encode_own_identity(use, call.reached_at),
        )

    async def read_trust(call: Call) -> Any:
        reader = own_id if call.principal.role is Role.OWNER else call.principal.node_id or ""
        async with use.store.read() as tx:
            row = await tx.nodes.get(reader)
            kept = await tx.trust.of_maker(reader)
        # what is older than the reader's row was left for another under that id
        mine = [t for t in kept if reader == own_id or (row is not None and t.created_at >= row.created_at)]
        return TrustLeft(
            trust_relationships=[_left(trust) for trust in mine],
            node=encode_own_identity(use, call.reached_at),
        )

    async def open_offer(lifetime_s: float | None, maker: str | None = None) -> dict[str, Any]:
        details: dict[str, Any] = {"device_id": maker or own_id, "device_type": None, "device_version": None}
        async with use.store.read() as tx:
            row = None if maker is None else await tx.nodes.get(maker)
        opened = await open_code("uuid", lifetime_s or settings.expiry_s("uuid"), row, details)
        return {
            "offer_id": opened.code.id,
            "code": str(opened.text),
            "format": opened.code.format,
            "expires_at": format_time(opened.code.expires_at),
        }

    return Wire(
        routes=(
            Route(
                method="POST",
                path=f"{PREFIX}/pairing-code",
                action=Action.OPEN_OFFER,
                answer=make_code,
                body=DECODERS[MakeCode],
                body_types=UNSTATED,
                listeners=frozenset({"public", "control"}),
                refusal=encode_refusal,
                result=CodeMade,
            ),
            Route(
                method="POST",
                path=f"{PREFIX}/pair",
                action=Action.PAIR_DEVICE,
                answer=pair,
                body=DECODERS[Pair],
                body_types=UNSTATED,
                listeners=frozenset({"public", "plain"}),
                is_local_only=True,
                body_max=BODY_MAX,
                refusal=encode_refusal,
                result=Paired,
            ),
            Route(
                method="GET",
                path=f"{PREFIX}/trust",
                action=Action.READ_TRUST_DATA,
                answer=read_trust,
                listeners=frozenset({"public", "control", "plain"}),
                refusal=encode_refusal,
                result=TrustLeft,
            ),
        ),
        open_offer=open_offer,
    )


def _check_names_itself(principal: Principal, device_id: str) -> None:
    """A device makes codes in its own name only. Raises `not_permitted`."""
    if principal.role is not Role.OWNER and device_id != principal.node_id:
        raise MeshError("not_permitted", "a device makes codes for itself only: deviceId must be its own")


async def _check_maker(tx: Transaction, code: DeviceCode, device_id: str) -> None:
    """Raise unless the maker still is paired, and somebody else than who redeems its code."""
    if code.device_id is None:
        return
    row = await tx.nodes.get(code.device_id)
    if row is None or row.trust != "paired":
        raise MeshError("offer_closed", "the device that made the code is no longer paired")
    if code.device_id == device_id:
        raise MeshError("identity_mismatch", "that device made the code itself")


def _left(trust: TrustRelationship) -> LeftTrust:
    return LeftTrust(
        id=trust.id,
        device_id=trust.device_id,
        trust_level=trust.trust_level,
        created_at=format_time(trust.created_at),
        encrypted_trust_data=trust.trust_data,
    )
