"""What a dialect is: a row of `DIALECTS`, and what it serves once it has been given the use cases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from meshnode.domain.identity import format_fingerprint
from meshnode.node.pair_device import Caller
from meshnode.node.use_cases import OpenOffer, UseCases
from meshnode.transport.http_server import Call, Route
from meshnode.transport.rpc_socket import Method


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """Work that a dialect does by itself, again and again."""

    name: str
    interval_s: float
    work: Callable[[], Awaitable[Any]]


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect serves."""

    routes: Sequence[Route] = ()
    methods: Sequence[Method] = ()
    services: Sequence[Service] = ()
    open_offer: OpenOffer | None = None


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One wire: its name, and how it serves the use cases with its own settings (a section of the configuration)."""

    name: str
    serve: Callable[[UseCases, Any], Wire]
    can_be_switched_off: bool = True


def encode_own_identity(use: UseCases, reached_at: tuple[str, int]) -> dict[str, Any]:
    """`node`, as every answer to a thin client's pairing carries it; `reached_at` is where it reached us."""
    me = use.me
    return {
        "id": me.identity.id,
        "name": me.identity.name,
        "kind": me.facts.kind,
        "version": me.facts.version,
        "hostname": reached_at[0],
        "port": reached_at[1],
        "capabilities": [c.name for c in me.facts.capabilities],
        "fingerprint": format_fingerprint(me.identity.public_key),
    }


def caller_of(call: Call) -> Caller:
    """Who asks to pair, by an HTTP request or by the one that opened its socket."""
    return Caller(
        address=call.address,
        source=call.source,
        listener="plain" if call.listener == "plain" else "public",
        session=call.session,
        is_remote=call.is_remote,
    )
