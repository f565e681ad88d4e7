"""Whom a live token belongs to."""

from __future__ import annotations

import math

import msgspec

from meshnode.domain.principal import ListenerName, Principal
from meshnode.node.roster import Entry


class Session(msgspec.Struct):
    """A live token's owner."""

    principal: Principal
    entry: Entry
    epoch: int
    expires_mono: float = math.inf  # a peer's; a device's token has `ends`
    listener: ListenerName = "public"  # where alone the token counts
