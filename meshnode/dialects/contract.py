"""What a dialect is: a row of `DIALECTS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import Route


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One wire: its name and the routes it serves over the use cases."""

    name: str
    routes: Callable[[UseCases], Sequence[Route]]
    can_be_switched_off: bool = True
