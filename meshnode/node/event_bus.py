"""In-process publish and subscribe. It may drop events: nothing that must happen hangs on it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from typing import Final

from meshnode.domain.event import Event

QUEUE_MAX: Final = 256

log = logging.getLogger(__name__)


class Subscription:
    """A bounded queue; a slow reader loses the oldest and can see how many."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=QUEUE_MAX)
        self._arrived = asyncio.Event()
        self.lost = 0

    def put(self, event: Event) -> None:
        """Append; drops the oldest when full."""
        if len(self._events) == QUEUE_MAX:
            self.lost += 1
        self._events.append(event)
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            self._arrived.clear()
            await self._arrived.wait()


class EventBus:
    """One per node."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._reactions: list[Callable[[Event], None]] = []

    def publish(self, event: Event) -> None:
        """Tell everybody, now. A reaction that fails is logged and harms nobody."""
        for react in self._reactions:
            try:
                react(event)
            except Exception:
                log.exception("a reaction to %s failed", event.topic)
        for subscription in self._subscriptions:
            subscription.put(event)

    def react(self, reaction: Callable[[Event], None]) -> None:
        """Call `reaction` with every event, at once; for wiring within the process."""
        self._reactions.append(reaction)

    @contextmanager
    def subscribe(self):  # type: ignore[no-untyped-def]
        """A `Subscription` for the length of the block."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
