"""The ends of offers, codes and answers, by both clocks, for as long as this process knows them."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final, Protocol

from meshnode.domain.expiry import Expiry, expiry_of
from meshnode.node.ports import Clock

_REMEMBERED: Final = 1024  # more than can be open at once


class Ends(Protocol):
    """What has an end."""

    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime: ...


class Expiries:
    """By id; the monotonic end is fixed when a thing is first seen: when it is made, or loaded."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Expiry] = OrderedDict()

    def of(self, thing: Ends) -> Expiry:
        """Its end by both clocks."""
        known = self._known.get(thing.id)
        if known is None or known.at != thing.expires_at:
            now, mono = self._clock.now(), self._clock.monotonic()
            known = self._known[thing.id] = expiry_of(thing.created_at, thing.expires_at, now, mono)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return known

    def as_of(self, thing: Ends) -> datetime:
        """The time by which it is to be judged."""
        return self.of(thing).as_of(self._clock.now(), self._clock.monotonic())

    def left_s(self, thing: Ends) -> float:
        """Seconds that remain."""
        return self.of(thing).left_s(self._clock.now(), self._clock.monotonic())

    def is_over(self, thing: Ends) -> bool:
        """Whether its time has come."""
        return self.left_s(thing) <= 0
