"""What the owner can set about aisopod."""

from __future__ import annotations

from typing import Annotated

import msgspec


class AisopodSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[aisopod]`"""

    enabled: bool = True
    """Speak aisopod's pairing methods: devices ask, the owner approves."""
    request_s: Annotated[float, msgspec.Meta(ge=30, le=3600)] = 300.0
    """Seconds a device's request waits for the owner."""
    require_approval: bool = True
    """Whether the owner must approve. Without it any device on the local network pairs itself."""
    pairing_cleanup_interval: Annotated[float, msgspec.Meta(ge=1, le=86400)] = 300.0
    """Seconds between the sweeps that end expired requests."""
