"""What a dialect is: a row of `DIALECTS`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire: its name and the routes it serves over the use cases."""

    name: str
    routes: Callable[[UseCases], Sequence[Route]]
    can_be_switched_off: bool = True
