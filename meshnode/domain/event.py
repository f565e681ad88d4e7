"""Things that happened, as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """One thing that happened: a topic such as `mesh.node.paired`, and its data, never a secret.

    `to` names the one node it is meant for; None = everybody who may read the topic.
    """

    topic: str
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)
    to: str | None = None
