"""Codes that pair one thin client: an offer we show, or a request that a device made. Source: the dialects' SPEC.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import ATTEMPTS, CLOSED_CODE, OfferState
from meshnode.domain.pairing_code import CodeFormat

_CLOSED: Final = CLOSED_CODE | {OfferState.USED: "code_used"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What is known of a code but its secret; consumed by one device."""

    id: str
    dialect: str
    kind: Literal["offer", "request"]
    format: CodeFormat
    created_at: datetime
    expires_at: datetime
    state: OfferState = OfferState.OPEN
    attempts: int = ATTEMPTS  # wrong PINs that the code survives
    device_id: str | None = None  # an offer: who made it, None = we; a request: who asks
    approved_at: datetime | None = None  # a request: when the owner said yes
    details: Mapping[str, Any] = field(default_factory=dict)  # of the maker or the asker, cleaned

    @property
    def is_codeless(self) -> bool:
        """Whether it can be guessed, so that failures spend the code-less budget."""
        return self.format != "uuid"

    @property
    def made_by(self) -> str | None:
        """The device in whose name somebody comes in: the offer is its, or it approved the request; None = ours."""
        return self.device_id if self.kind == "offer" else self.details.get("approved_by")

    @property
    def opened_by(self) -> str | None:
        """The operator whose word stands behind it; None = the owner, who may open a code in any device's name."""
        return None if self.details.get("by_owner") else self.made_by


def approve(code: DeviceCode, now: datetime, by: str | None) -> DeviceCode:
    """The request with a yes of the operator `by`, None = of the owner."""
    return replace(code, approved_at=now, details={**code.details, "approved_by": by})


def check_redeemable(code: DeviceCode, as_of: datetime) -> None:
    """Raise the code that says why nobody can pair by it any more, if so; `as_of` its expiry."""
    if code.state is OfferState.OPEN and as_of >= code.expires_at:
        raise MeshError("code_expired", "the code has expired")
    if code.state is not OfferState.OPEN:
        raise MeshError(_CLOSED[code.state], f"the code is {code.state.value}")


def spend_wrong(code: DeviceCode) -> DeviceCode:
    """The code after a wrong PIN: the third burns it."""
    left = code.attempts - 1
    return replace(code, attempts=left, state=OfferState.BURNED if left <= 0 else code.state)
