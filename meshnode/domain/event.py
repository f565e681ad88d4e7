"""Things that happened, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: a topic such as `mesh.node.paired`, and its data, never a secret."""

    topic: str
    data: Mapping[str, Any] = field(default_factory=dict)
