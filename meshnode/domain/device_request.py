"""A thin client asks and the owner decides: what it says, and what the owner sees. Source: the dialects' SPEC.md."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from meshnode.domain.device import DeviceClaim, kind_of
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.pairing_code import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestingDevice:
    """What a device says when it asks; checked and cleaned."""

    dialect: str
    id: str
    name: str
    type: str
    version: str
    address: str
    source: str
    listener: Literal["public", "plain"] = "public"  # where it asked, and where its token will count
    is_remote: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """A request as the owner sees it."""

    id: str
    dialect: str
    device_id: str
    device_name: str
    device_type: str
    client_version: str
    address: str
    code: str = field(repr=False)
    created_at: datetime
    expires_at: datetime
    is_approved: bool
    is_duplicate: bool  # another request names the same device id: one of the two is somebody else
    was: str | None = None  # what the device id is here already: "paired" or "revoked"


def is_of(code: DeviceCode, device_id: str) -> bool:
    """Whether `code` is the request of that very device; constant time."""
    return code.kind == "request" and hmac.compare_digest((code.device_id or "").encode(), device_id.encode())


def claim_of(code: DeviceCode) -> DeviceClaim:
    """What the asking device said about itself."""
    details = code.details
    return DeviceClaim(
        id=code.device_id or "",
        name=details["name"],
        hostname=details["address"],
        kind=kind_of(details["type"]),
        metadata={"device_type": details["type"], "client_version": details["version"]},
    )


def pending_of(code: DeviceCode, text: str, *, is_duplicate: bool, was: str | None = None) -> PendingRequest:
    """The request as the owner sees it; `text` is its code, empty where it isn't shown."""
    details = code.details
    return PendingRequest(
        id=code.id,
        dialect=code.dialect,
        device_id=code.device_id or "",
        device_name=details["name"],
        device_type=details["type"],
        client_version=details["version"],
        address=details["address"],
        code=Secret(text),
        created_at=code.created_at,
        expires_at=code.expires_at,
        is_approved=code.approved_at is not None,
        is_duplicate=is_duplicate,
        was=was,
    )
