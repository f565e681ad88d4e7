"""UTC times as text: RFC 3339 with a Z, on every wire and in every table."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(at: datetime) -> str:
    """`2026-01-31T12:00:00.123456Z`; sorts as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The time in `text`. Raises ValueError, also for one without a zone."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time needs its zone")
    return at.astimezone(UTC)
