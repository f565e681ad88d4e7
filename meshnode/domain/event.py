"""Things that happened, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that happened: a topic such as `mesh.node.paired`, and its data, never a secret."""

    topic: str
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)
