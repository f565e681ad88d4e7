"""Whom a live token belongs to."""

from __future__ import annotations

import msgspec

from meshnode.domain.principal import ListenerName, Principal
from meshnode.node.roster import Entry


class Session(msgspec.Struct):
    """A live token's owner."""

    principal: Principal
    entry: Entry
    epoch: int
    expires_mono: float
    listener: ListenerName = "public"  # where alone the token counts
