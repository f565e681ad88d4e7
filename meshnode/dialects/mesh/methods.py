"""The mesh methods of the socket: what this node is, and events in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from meshnode.dialects.contract import encode_own_identity
from meshnode.domain.principal import Action, ListenerName
from meshnode.domain.topic import TOPICS_MAX
from meshnode.node.use_cases import UseCases
from meshnode.transport.rpc_socket import Method, RpcCall

EVERYWHERE: Final[frozenset[ListenerName]] = frozenset({"public", "control", "plain"})


class Describe(msgspec.Struct):
    """`node.describe` needs nothing."""


class Subscribe(msgspec.Struct):
    """`event.subscribe`."""

    topics: Annotated[list[str], msgspec.Meta(max_length=TOPICS_MAX)]
    since: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Publish(msgspec.Struct):
    """`event.publish`."""

    topic: str
    data: Any


def mesh_methods(use: UseCases) -> Sequence[Method]:
    """`node.describe`, `event.subscribe` and `event.publish`."""

    async def describe(call: RpcCall) -> Any:
        capabilities = [{"name": c.name, "version": c.version} for c in use.me.facts.capabilities]
        return {**encode_own_identity(use, call.socket.call.reached_at), "capabilities": capabilities}

    async def subscribe(call: RpcCall) -> Any:
        params: Subscribe = call.params
        subscribed = use.events.subscribe(call.socket, params.topics, params.since)
        call.then = subscribed.replay
        return {"sequence": subscribed.sequence, **({"missed": True} if subscribed.missed else {})}

    async def publish(call: RpcCall) -> Any:
        params: Publish = call.params
        await use.events.publish(params.topic, params.data, by=call.socket)
        return {}

    return (
        Method(name="node.describe", action=Action.DESCRIBE_NODE, answer=describe, params=Describe),
        Method(
            name="event.subscribe", action=Action.SUBSCRIBE, answer=subscribe, params=Subscribe, listeners=EVERYWHERE
        ),
        Method(name="event.publish", action=Action.PUBLISH, answer=publish, params=Publish, listeners=EVERYWHERE),
    )
