"""abpa3 on our wire: decode, call a use case, encode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from meshnode.dialects.abpa3.codec import (
    DIALECT,
    KEY_PREFIX,
    PAIR,
    Pair,
    decode_claim,
    encode_devices,
    encode_offer,
    encode_refusal,
)
from meshnode.dialects.abpa3.settings import Abpa3Settings
from meshnode.dialects.contract import Wire, caller_of, encode_own_identity
from meshnode.domain.device import DeviceClaim
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.principal import Action, ListenerName
from meshnode.node.code_records import CodeRules
from meshnode.node.pair_device import TokenRules
from meshnode.node.redeem_code import Redemption
from meshnode.node.session import Session
from meshnode.node.tables import NodeTable, Transaction
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import UNSTATED, Call, Route

OWNERS: Final[frozenset[ListenerName]] = frozenset({"public", "control"})


def serve_abpa3(use: UseCases, settings: Abpa3Settings) -> Wire:
    """What abpa3 serves."""
    use.tokens.prefixes[DIALECT] = KEY_PREFIX

    async def open_offer(lifetime_s: float | None, maker: str | None = None) -> dict[str, Any]:
        rules = CodeRules(dialect=DIALECT, lifetime_s=lifetime_s or settings.offer_s, is_token=True, maker=maker)
        opened = await use.codes.open(rules)
        port = use.status.plain_port or use.me.port
        return encode_offer(opened.code.id, opened.text, use.best_address(), port, opened.code.expires_at)

    async def pair(call: Call) -> Any:
        body: Pair = call.body
        claim = decode_claim(body.device_info, call.address)

        async def unique(tx: Transaction, _: DeviceCode) -> DeviceClaim:
            own = await _paired_row(tx.nodes, call.session)
            return replace(claim, id=own or await _free_id(tx.nodes, claim.id))

        redeemed = await use.redeeming.redeem(
            Redemption(
                dialect=DIALECT,
                format="uuid",
                code=body.pair_token.strip().lower(),
                claim=unique,
                caller=caller_of(call),
                token=TokenRules(prefix=KEY_PREFIX),
            )
        )
        done = redeemed.admitted
        node = encode_own_identity(use, call.reached_at)
        return {"deviceId": done.node.id, "deviceKey": done.token, "node": node}

    async def devices(_: Call) -> Any:
        return encode_devices(use.nodes.list())

    return Wire(
        routes=(
            Route(
                method="POST",
                path="/api/pair",
                action=Action.PAIR_DEVICE,
                answer=pair,
                body=PAIR,
                body_types=UNSTATED,
                is_local_only=True,
                refusal=encode_refusal,
            ),
            Route(
                method="GET",
                path="/api/devices",
                action=Action.READ_NODES,
                answer=devices,
                listeners=OWNERS,
                refusal=encode_refusal,
            ),
        ),
        open_offer=open_offer,
    )


async def _paired_row(nodes: NodeTable, session: Session | None) -> str | None:
    """The id of the abpa3 device whose live key was presented: it pairs again, and stays who it is."""
    if session is None:
        return None
    node = await nodes.get(session.entry.node.id)
    return node.id if node is not None and node.dialect == DIALECT and node.trust == "paired" else None


async def _free_id(nodes: NodeTable, slug: str) -> str:
    """`slug`, or the first of `slug-2`, `slug-3` … that no row has; nobody becomes another by its name."""
    device_id, count = slug, 1
    while await nodes.get(device_id) is not None:
        count += 1
        device_id = f"{slug}-{count}"
    return device_id
