"""The codes that pair thin clients, as values: what a dialect asks of one, its secrets, what its owner watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from meshnode.domain.device_code import DeviceCode
from meshnode.domain.pairing_code import CodeFormat, Hidden

Opens = Literal["beside", "instead of its format", "instead of all"]


class CodeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect asks of a code it has made."""

    dialect: str
    lifetime_s: float
    format: CodeFormat = "uuid"
    opens: Opens = "instead of all"  # which open codes of the dialect a new one ends
    is_token: bool = False  # spelled as 32 hex digits, 128 bits; counts as format uuid
    has_pin: bool = False  # and a linking code: both must match
    maker: str | None = None  # the device that asked for it; None = we
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


class CodeSecrets(Hidden, msgspec.Struct, frozen=True):
    """What is shown again, and rests sealed."""

    code: str
    pin: str = ""
    linking_code: str = ""


@dataclass(frozen=True, slots=True)
class OpenedCode:
    """What its maker is shown, once."""

    code: DeviceCode
    secrets: CodeSecrets

    @property
    def text(self) -> str:
        """The code itself."""
        return self.secrets.code


@dataclass(slots=True)
class WatchedCode:
    """A code as last committed, and what its owner sees happen to it."""

    code: DeviceCode
    digest: bytes = field(repr=False)
    activity: dict[str, Any] = field(default_factory=dict)
    visits: int = 0  # told of
