"""What the owner can set about abpa3."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Abpa3Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[abpa3]`"""

    enabled: bool = True
    """Speak abpa3's pairing API: a token in a QR code for a device key."""
    offer_s: Annotated[float, msgspec.Meta(ge=30, le=3600)] = 300.0
    """Seconds a QR code can be used."""
    lan_only: bool = True
    """Let its devices open the socket from the local network only."""
