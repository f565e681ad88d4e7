"""Where meshnode runs, and what a person should know at the start where it does so only with help."""

from __future__ import annotations

from typing import Final

WINDOWS: Final = (
    "meshnode does not run on Windows itself. Run it inside WSL2 (`wsl --install`), as on any Linux; "
    "docs/operations.md says how others reach it there."
)
_ANDROID: Final = (
    "Android stops what runs in the background: `termux-wake-lock` keeps this node awake, Termux:Boot starts it; "
    "docs/operations.md says more"
)
_MACOS: Final = "macOS is best effort, no release is tested there; docs/operations.md has a job for launchd"
_WSL2: Final = (
    "this is WSL2: unless its networking is mirrored, other machines can't reach this node; docs/operations.md says how"
)


def refusal(platform: str) -> str | None:
    """Why nothing runs on `sys.platform`, if nothing does."""
    return WINDOWS if platform in ("win32", "cygwin") else None


def advice(platform: str, release: str, *, is_android: bool) -> str | None:
    """What to know about a node there; `release` is the kernel's. Before Python 3.13 Android calls itself linux."""
    if platform == "android" or is_android:
        return _ANDROID
    if platform == "darwin":
        return _MACOS
    return _WSL2 if "microsoft" in release.lower() else None
