"""Which dialects are switched on, and which of their entry points are also served without TLS."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from meshnode.config import Config
from meshnode.dialects.contract import Wire
from meshnode.dialects.table import DIALECTS
from meshnode.domain.principal import NEEDS, Need
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import Route
from meshnode.transport.rpc_socket import Method

Served = TypeVar("Served", Route, Method)


def serve_dialects(config: Config, use: UseCases) -> dict[str, Wire]:
    """What every dialect that is switched on serves; on the plain listener, what that allows."""
    wires: dict[str, Wire] = {}
    for dialect in DIALECTS:
        settings = getattr(config, dialect.name, None)
        if dialect.can_be_switched_off and not getattr(settings, "enabled", True):
            continue
        wire = dialect.serve(use, settings)
        if dialect.can_be_switched_off:
            is_named = dialect.name in config.listen.plain_dialects
            wire = msgspec.structs.replace(
                wire,
                routes=[_plain_if(is_named, route) for route in wire.routes],
                methods=[_plain_if(is_named, method) for method in wire.methods],
            )
        wires[dialect.name] = wire
        if wire.open_offer is not None:
            use.openers[dialect.name] = wire.open_offer
    return wires


def _plain_if(is_named: bool, entry: Served) -> Served:
    """On the plain listener if its dialect is named there, unless it asks for more than a thin client is."""
    is_thin = "public" in entry.listeners and NEEDS[entry.action] in (Need.ANYONE, Need.PAIRED, Need.DEVICE)
    listeners = entry.listeners | {"plain"} if is_named and is_thin else entry.listeners - {"plain"}
    return msgspec.structs.replace(entry, listeners=listeners)
