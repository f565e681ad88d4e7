"""aisopod's JSON-RPC methods: decode, call a use case, encode. Source: SPEC.md of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from meshnode.dialects.aisopod.codec import (
    DIALECT,
    Decide,
    Nothing,
    PairConfirm,
    PairRequest,
    PairRevoke,
    decode_request,
    encode_confirmed,
    encode_decided,
    encode_paired,
    encode_pending,
    encode_requested,
    parse_device_id,
)
from meshnode.dialects.aisopod.settings import AisopodSettings
from meshnode.dialects.contract import caller_of, encode_own_identity
from meshnode.domain.device_request import RequestingDevice
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.principal import Action, Principal, authorise
from meshnode.node.device_tokens import DeviceSession
from meshnode.node.use_cases import UseCases
from meshnode.transport.rpc_message import encode_notification
from meshnode.transport.rpc_socket import Method, RpcCall, RpcSocket

_NOTIFIED: Final = {
    "mesh.pairing.approved": "node.pair.approved",
    "mesh.pairing.rejected": "node.pair.rejected",
}


class AskingSockets:
    """Which open socket made which request; a socket that is gone is forgotten with all its requests."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[RpcSocket, dict[str, str]] = WeakKeyDictionary()  # device id → request id

    def __len__(self) -> int:
        return sum(len(asked) for asked in self._asked.values())

    def request_of(self, socket: RpcSocket, device_id: str) -> str | None:
        """The request that this very socket made for a device."""
        return self._asked.get(socket, {}).get(device_id)

    def add(self, socket: RpcSocket, device_id: str, request_id: str) -> None:
        """A socket has asked; it hears of the decision."""
        self._asked.setdefault(socket, {})[device_id] = request_id

    def react(self, event: Event) -> None:
        """Tell the socket what was decided, and forget requests that are over."""
        request_id = event.data.get("request_id")
        if request_id is None:
            return
        method = _NOTIFIED.get(event.topic)
        is_over = event.topic == "mesh.pairing.rejected" or event.data.get("state") in ("used", "expired")
        for socket, asked in list(self._asked.items()):
            for device_id in [d for d, r in asked.items() if r == request_id]:
                # who decides on the socket that asked reads it in the answer
                if method is not None and asyncio.current_task() is not socket.task:
                    socket.deliver(encode_notification(method, {"device_id": device_id}))
                if is_over:
                    del asked[device_id]


def aisopod_methods(use: UseCases, settings: AisopodSettings, asking: AskingSockets) -> Sequence[Method]:
    """`node.pair.…` and `node.token.refresh`."""

    async def request(call: RpcCall) -> Any:
        params: PairRequest = call.params
        device = decode_request(
            params,
            address=call.address,
            source=call.source,
            listener=_listener(call),
            is_remote=call.socket.call.is_remote,
        )
        return encode_requested(await _ask(use, settings, asking, call.socket, device))

    async def confirm(call: RpcCall) -> Any:
        params: PairConfirm = call.params
        device_id = parse_device_id(params.device_id)
        done = await use.requests.confirm(
            DIALECT,
            params.pairing_code.strip(),
            device_id,
            caller_of(call.socket.call),
            by_owner=_decider(call.principal, device_id),
            needs_approval=settings.require_approval,
        )
        return encode_confirmed(done.token, done.node, encode_own_identity(use, call.socket.call.reached_at))

    async def revoke(call: RpcCall) -> Any:
        params: PairRevoke = call.params
        device_id = parse_device_id(params.device_id)
        if call.principal.node_id != device_id:
            authorise(call.principal, Action.REVOKE_NODE)  # before looking: strangers learn no ids
            return {"revoked": await use.nodes.revoke_device(call.principal, device_id, DIALECT)}
        if call.session is None or call.session.entry.node.dialect != DIALECT:
            return {"revoked": False}
        await use.nodes.revoke_itself(call.principal)
        await use.nodes.hang_up(device_id, "revoked")  # this socket's end comes after the answer
        return {"revoked": True}

    async def show(_: RpcCall) -> Any:
        pending = await use.requests.pending(DIALECT)
        return {"pending": [encode_pending(p) for p in pending], "paired": encode_paired(use.nodes.list())}

    async def approve(call: RpcCall) -> Any:
        params: Decide = call.params
        return {"approved": encode_decided(await use.requests.approve(call.principal, params.request_id))}

    async def reject(call: RpcCall) -> Any:
        params: Decide = call.params
        return {"rejected": encode_decided(await use.requests.reject(call.principal, params.request_id))}

    async def refresh(call: RpcCall) -> Any:
        if not isinstance(call.session, DeviceSession):
            raise MeshError("not_permitted", "only a device's own token can be refreshed")
        return {"device_token": await use.tokens.refresh(call.session)}

    return (
        Method(
            name="node.pair.request",
            action=Action.PAIR_DEVICE,
            answer=request,
            params=PairRequest,
            is_local_only=True,
        ),
        Method(
            name="node.pair.confirm",
            action=Action.PAIR_DEVICE,
            answer=confirm,
            params=PairConfirm,
            is_local_only=True,
        ),
        Method(name="node.pair.revoke", action=Action.REVOKE_DEVICE, answer=revoke, params=PairRevoke),
        Method(name="node.pair.list", action=Action.DECIDE_REQUEST, answer=show, params=Nothing),
        Method(name="node.pair.approve", action=Action.DECIDE_REQUEST, answer=approve, params=Decide),
        Method(name="node.pair.reject", action=Action.DECIDE_REQUEST, answer=reject, params=Decide),
        Method(name="node.token.refresh", action=Action.REFRESH_TOKEN, answer=refresh, params=Nothing),
    )


async def _ask(
    use: UseCases, settings: AisopodSettings, asking: AskingSockets, socket: RpcSocket, device: RequestingDevice
) -> Any:
    """The request this socket made for that device, if it is still open; else a new one."""
    before = asking.request_of(socket, device.id)
    again = await use.requests.again(before) if before is not None else None
    if again is not None:
        return again
    asked = await use.requests.ask(device, settings.request_s)
    asking.add(socket, device.id, asked.id)
    return asked


def _listener(call: RpcCall) -> Literal["public", "plain"]:
    return "plain" if call.socket.call.listener == "plain" else "public"


def _decider(principal: Principal, device_id: str) -> Principal | None:
    """The caller where it may decide; a device never decides on itself."""
    try:
        authorise(principal, Action.DECIDE_REQUEST)
    except MeshError:
        return None
    return principal if principal.node_id != device_id else None
