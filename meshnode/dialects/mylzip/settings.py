"""What the owner can set about mylzip, under its reference's own names too."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from meshnode.domain.pairing_code import CodeFormat

Expiry = Annotated[int, msgspec.Meta(ge=30, le=3600)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class MylzipSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[mylzip]`"""

    enabled: bool = True
    """Speak mylzip's pairing API: codes in three formats."""
    default_pairing_format: CodeFormat = "uuid"
    """The format of a code when none is asked for."""
    pairing_code_expiry_uuid: Expiry = 600
    """Seconds a uuid code lives, unless asked otherwise; at most 3600."""
    pairing_code_expiry_short: Annotated[int, msgspec.Meta(ge=30, le=300)] = 300
    """Seconds a short code lives, unless asked otherwise; at most 300."""
    pairing_code_expiry_legacy: Annotated[int, msgspec.Meta(ge=30, le=180)] = 180
    """Seconds a legacy code lives, unless asked otherwise; at most 180."""
    pairing_code_rate_limit: Limit = 10
    """Codes that one device may make in an hour."""
    pairing_code_rate_limit_uuid: Limit | None = None
    """The same for uuid codes alone."""
    pairing_code_rate_limit_short: Limit | None = None
    """The same for short codes alone."""
    pairing_code_rate_limit_legacy: Limit | None = None
    """The same for legacy codes alone."""
    pairing_attempt_rate_limit: Limit = 3
    """Pairing attempts that one device may make in an hour."""
    pairing_attempt_rate_limit_uuid: Limit | None = None
    """The same with uuid codes alone."""
    pairing_attempt_rate_limit_short: Limit | None = None
    """The same with short codes alone."""
    pairing_attempt_rate_limit_legacy: Limit | None = None
    """The same with legacy codes alone."""


# the reference's variables behind our prefix, beside MESHNODE_MYLZIP__…
ENVIRONMENT: Final = {
    f"MESHNODE_{name}".upper(): f"mylzip.{name}" for name in MylzipSettings.__struct_fields__ if name != "enabled"
}
