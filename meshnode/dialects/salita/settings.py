"""What the owner can set about salita."""

from __future__ import annotations

from typing import Annotated

import msgspec


class SalitaSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[salita]`"""

    enabled: bool = True
    """Speak salita's pairing API: phones' browsers pair by PIN and linking code."""
    session_hours: Annotated[float, msgspec.Meta(ge=1, le=8760)] = 720.0
    """Hours after which a phone that has not called is signed out; every call starts them anew."""
