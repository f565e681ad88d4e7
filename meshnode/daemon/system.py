"""The real clock, the real randomness, and what kind of machine this is."""

from __future__ import annotations

import os
import random
import secrets
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal

_BOOT: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """`node.ports.Clock`."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def boot_s(self) -> float:
        """See `Clock`. Linux has it; elsewhere only a look that comes late tells that the machine slept."""
        return time.clock_gettime(_BOOT) if _BOOT is not None else time.monotonic()


class SystemEntropy:
    """`node.ports.Entropy`."""

    def draw(self, size_bytes: int) -> bytes:
        """See `Entropy`."""
        return secrets.token_bytes(size_bytes)

    def fraction(self) -> float:
        """See `Entropy`."""
        return random.random()  # noqa: S311 - jitter, not a secret


def detect_kind(environ: Mapping[str, str] = os.environ) -> Literal["desktop", "phone", "server"]:
    """Termux is a phone; a system service, or no display, a server; else a desktop."""
    if "com.termux" in environ.get("PREFIX", ""):
        return "phone"
    if environ.get("STATE_DIRECTORY", "").startswith("/var/lib/"):
        return "server"
    if sys.platform != "darwin" and not environ.get("DISPLAY") and not environ.get("WAYLAND_DISPLAY"):
        return "server"
    return "desktop"


def describe_platform() -> str:
    """`linux x86_64` and the like."""
    return f"{sys.platform} {os.uname().machine}"
