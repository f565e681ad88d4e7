"""What the owner can set about mylzip, under its reference's own names too."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from meshnode.domain.pairing_code import CodeFormat

EXPIRY_MIN: Final = 30  # seconds, of every format
EXPIRY_MAX: Final[dict[CodeFormat, int]] = {"uuid": 3600, "short": 300, "legacy": 180}
Limit = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class MylzipSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[mylzip]`"""

    enabled: bool = True
    """Speak mylzip's pairing API: codes in three formats."""
    default_pairing_format: CodeFormat = "uuid"
    """The format of a code when none is asked for."""
    pairing_code_expiry_uuid: Annotated[int, msgspec.Meta(ge=EXPIRY_MIN, le=EXPIRY_MAX["uuid"])] = 600
    """Seconds a uuid code lives, unless asked otherwise; at most 3600."""
    pairing_code_expiry_short: Annotated[int, msgspec.Meta(ge=EXPIRY_MIN, le=EXPIRY_MAX["short"])] = 300
    """Seconds a short code lives, unless asked otherwise; at most 300."""
    pairing_code_expiry_legacy: Annotated[int, msgspec.Meta(ge=EXPIRY_MIN, le=EXPIRY_MAX["legacy"])] = 180
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

    def expiry_s(self, code_format: CodeFormat) -> int:
        """How long a code of that format lives when nothing is asked."""
        expiry: int = getattr(self, f"pairing_code_expiry_{code_format}")
        return expiry


# the reference's variables behind our prefix, beside MESHNODE_MYLZIP__…
ENVIRONMENT: Final = {
    f"MESHNODE_{name}".upper(): f"mylzip.{name}" for name in MylzipSettings.__struct_fields__ if name != "enabled"
}
