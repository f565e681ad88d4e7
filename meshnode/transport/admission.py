"""Who gets a socket: anonymous ones are few per source and few in all, and each has five seconds to say something.

Counts from TCP accept on, before TLS; a socket whose caller has authenticated counts no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

PER_SOURCE: Final = 8
IN_ALL: Final = 128


class Visitor(msgspec.Struct, eq=False):
    """One anonymous socket."""

    source: str
    close: Callable[[], None]
    is_busy: bool = False  # a request is being answered


class Admission:
    """The anonymous sockets of a listener."""

    def __init__(self, per_source: int = PER_SOURCE, in_all: int = IN_ALL) -> None:
        self._per_source = per_source
        self._in_all = in_all
        self._visitors: dict[str, list[Visitor]] = {}  # by source, oldest first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def admit(self, visitor: Visitor) -> None:
        """Let a socket in. The source's oldest idle one makes room for its ninth, the crowd's largest for all."""
        own = self._visitors.setdefault(visitor.source, [])
        if len(own) >= self._per_source:
            self._expel(next((v for v in own if not v.is_busy), own[0]))
        if self._count >= self._in_all:
            self._expel(max(self._visitors.values(), key=len)[0])
        self._visitors.setdefault(visitor.source, []).append(visitor)
        self._count += 1

    def release(self, visitor: Visitor) -> None:
        """The socket closed, or its caller authenticated; harmless when repeated."""
        own = self._visitors.get(visitor.source)
        if own is None or visitor not in own:
            return
        own.remove(visitor)
        self._count -= 1
        if not own:
            del self._visitors[visitor.source]

    def _expel(self, visitor: Visitor) -> None:
        self.release(visitor)
        visitor.close()
