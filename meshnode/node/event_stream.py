"""Events for the open sockets: who subscribed to what, fan-out, and a ring of the node's own events to resume from.

The node's own events carry a sequence, applications' don't: they are live only. An event is encoded once.
Handing it to a subscriber never waits, so one that reads slowly holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from meshnode.domain.errors import invalid
from meshnode.domain.event import Event
from meshnode.domain.json_text import Encoded, dump_json
from meshnode.domain.principal import Principal, Role
from meshnode.domain.timestamps import format_time
from meshnode.domain.topic import TOPICS_MAX, check_reader, level_to_read, parse_app_topic, parse_pattern, patterns_of
from meshnode.node.ports import Clock

RING: Final = 1024  # of the node's own events
DATA_MAX: Final = 64 * 1024  # bytes of an application's event
EPOCH_BITS: Final = 20  # a start's sequences begin at its second, shifted: they grow over restarts


class Subscriber(Protocol):
    """Somebody who listens; compared by identity."""

    @property
    def principal(self) -> Principal:
        """Who it is as of now."""

    def deliver(self, frame: bytes) -> None:
        """Send now, or keep for later, or drop and count; never waits."""

    def lose(self, count: int) -> None:
        """Tell it that it missed `count` events."""

    async def send(self, frame: bytes) -> bool:
        """Send when there is room; whether it still listens."""


class Subscribed(NamedTuple):
    """The answer to a subscription; `replay` is to be awaited once that answer is out."""

    sequence: int
    missed: bool  # events after `since` are no longer known
    replay: Callable[[], Awaitable[None]] | None


class _Record(msgspec.Struct, frozen=True, eq=False):
    topic: str
    frame: bytes
    to: str | None
    sequence: int


class EventStream:
    """One per node. `encode` makes the notification of a method name and its parameters."""

    def __init__(self, clock: Clock, own_id: str, encode: Callable[[str, Any], bytes], ring: int = RING) -> None:
        self._clock = clock
        self._own_id = own_id
        self._encode = encode
        self._head = self._told = self._floor = int(clock.now().timestamp()) << EPOCH_BITS
        self._ring: deque[_Record] = deque(maxlen=ring)  # up to `_head`; `_told` = the last that was fanned out
        self._wake = asyncio.Event()
        self._of_pattern: dict[str, dict[Subscriber, None]] = {}
        self._topics: dict[Subscriber, dict[str, int]] = {}  # pattern → the sequence it is served from
        self._held: dict[Subscriber, tuple[int, int]] = {}  # replays under way, and where live events wait

    def __len__(self) -> int:
        return len(self._topics)

    # ── the node's own events ──────────────────────────────────────────────────────────────────────────────────────

    def take(self, event: Event) -> None:
        """Number an event of the node's, remember it, and have it told; for `EventBus.react`."""
        sequence = self._head + 1
        params = {"topic": event.topic, "data": event.data, "at": self._now(), "sequence": sequence}
        self._ring.append(_Record(event.topic, self._encode("event", params), event.to, sequence))
        self._head = sequence
        self._wake.set()

    async def run(self) -> None:
        """Tell every subscriber what `take` was given, in order, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._told < self._head:
                self._tell_next()
                await asyncio.sleep(0)

    def _tell_next(self) -> None:
        """One event to all; nothing may come in between, or a replay would miss it."""
        dropped = self._ring[0].sequence - self._told - 1
        if dropped > 0:  # more at once than the ring holds
            self._told += dropped
            for subscriber, topics in list(self._topics.items()):
                if subscriber not in self._held and any(not topic.startswith("app.") for topic in topics):
                    subscriber.lose(dropped)
        self._told += 1
        record = self._ring[self._told - self._ring[0].sequence]
        self._fan_out(record.topic, record.frame, to=record.to, but=self._held)

    # ── applications' events ───────────────────────────────────────────────────────────────────────────────────────

    async def publish(self, topic: str, data: Any, by: Subscriber) -> None:
        """Tell everybody but the publisher. Raises `invalid_params` or `not_permitted`."""
        parse_app_topic("topic", topic)
        try:
            encoded = dump_json(data)
        except TypeError as error:
            raise invalid("data", "is nested too deep") from error
        if len(encoded) > DATA_MAX:
            raise invalid("data", f"is more than {DATA_MAX} bytes of JSON")
        params = {"topic": topic, "data": Encoded(encoded), "at": self._now()}
        self._fan_out(topic, self._encode("event", params), but=(by,))
        await asyncio.sleep(0)  # others' turn, however many events one frame carries

    def _fan_out(self, topic: str, frame: bytes, *, but: Iterable[Subscriber], to: str | None = None) -> None:
        groups = [group for pattern in patterns_of(topic) if (group := self._of_pattern.get(pattern))]
        if not groups:
            return
        level = level_to_read(topic)
        for subscriber in list(groups[0]) if len(groups) == 1 else dict.fromkeys(s for group in groups for s in group):
            principal = subscriber.principal
            if principal.level >= level and subscriber not in but and (to is None or self._is_for(to, principal)):
                subscriber.deliver(frame)

    def _is_for(self, to: str, principal: Principal) -> bool:
        return principal.node_id == to or (principal.role is Role.OWNER and to == self._own_id)

    # ── subscriptions ──────────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, subscriber: Subscriber, patterns: Sequence[str], since: int | None = None) -> Subscribed:
        """Add topics to a subscriber's own. With `since`, what those cover after it is told again, in order.

        No event gets lost in between, nor told twice: what an earlier subscription of the same subscriber covers is
        not repeated. Raises `invalid_params` or `not_permitted`; nothing has changed then.
        """
        for pattern in patterns:
            check_reader(subscriber.principal, parse_pattern("topics", pattern))
        before = self._topics.get(subscriber, {})
        added = [pattern for pattern in dict.fromkeys(patterns) if pattern not in before]
        if len(before) + len(added) > TOPICS_MAX:
            raise invalid("topics", f"at most {TOPICS_MAX} on one socket")
        replays, start = self._held.get(subscriber, (0, self._told))
        oldest = self._ring[0].sequence if self._ring else self._head + 1
        missed = since is not None and not oldest - 1 <= since <= self._head
        if since is not None and since > self._head:  # of a run with a faster clock: all of ours is new
            since = self._floor
        after = start if since is None else min(since, start)
        self._topics[subscriber] = before | dict.fromkeys(added, after)
        for pattern in added:
            self._of_pattern.setdefault(pattern, {})[subscriber] = None
        if after >= start or not added:
            return Subscribed(start, missed, None)
        again = [record for record in self._ring if after < record.sequence <= start]
        again = [record for record in again if _covers(added, record) and not _serves(before, record)]
        self._held[subscriber] = (replays + 1, start)
        return Subscribed(start, missed, lambda: self._replay(subscriber, again))

    def drop(self, subscriber: Subscriber) -> None:
        """It listens no more; harmless when repeated."""
        self._held.pop(subscriber, None)
        for pattern in self._topics.pop(subscriber, {}):
            group = self._of_pattern[pattern]
            del group[subscriber]
            if not group:
                del self._of_pattern[pattern]

    async def _replay(self, subscriber: Subscriber, again: Iterable[_Record]) -> None:
        """Send the past, then what came meanwhile, then let it have the live events."""
        for record in again:
            await self._send(subscriber, record)
        while subscriber in self._held:
            replays, position = self._held[subscriber]
            if replays > 1:  # another one follows
                self._held[subscriber] = (replays - 1, position)
                return
            if position == self._told:
                del self._held[subscriber]
                return
            dropped = self._ring[0].sequence - position - 1
            if dropped > 0:
                subscriber.lose(dropped)
                position += dropped
            record = self._ring[position + 1 - self._ring[0].sequence]
            self._held[subscriber] = (replays, position + 1)
            if _serves(self._topics[subscriber], record):
                await self._send(subscriber, record)

    async def _send(self, subscriber: Subscriber, record: _Record) -> None:
        principal = subscriber.principal
        readable = principal.level >= level_to_read(record.topic)
        if (
            readable
            and (record.to is None or self._is_for(record.to, principal))
            and not await subscriber.send(record.frame)
        ):
            self.drop(subscriber)

    def _now(self) -> str:
        return format_time(self._clock.now())


def _covers(patterns: Iterable[str], record: _Record) -> bool:
    """Whether one of the patterns covers the record's topic."""
    return not set(patterns_of(record.topic)).isdisjoint(patterns)


def _serves(topics: dict[str, int], record: _Record) -> bool:
    """Whether subscriptions made so far bring the record."""
    return any(pattern in topics and record.sequence > topics[pattern] for pattern in patterns_of(record.topic))
