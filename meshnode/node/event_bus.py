"""In-process publish and react. Nothing that must happen hangs on it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from meshnode.domain.event import Event

log = logging.getLogger(__name__)


class EventBus:
    """One per node."""

    def __init__(self) -> None:
        self._reactions: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        """Tell everybody, now. A reaction that fails is logged and harms nobody."""
        for react in self._reactions:
            try:
                react(event)
            except Exception:
                log.exception("a reaction to %s failed", event.topic)

    def react(self, reaction: Callable[[Event], None]) -> None:
        """Call `reaction` with every event, at once."""
        self._reactions.append(reaction)
