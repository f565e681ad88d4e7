"""What the sending side remembers of one peer."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from meshnode.domain.peer_address import Place, rank_places
from meshnode.domain.source_address import IPNetwork
from meshnode.node.roster import Entry


@dataclass(slots=True)
class Link:
    """What we remember of one peer between heartbeats."""

    node_id: str
    due: float
    token: str = field(default="", repr=False)
    token_until: float = 0.0
    epoch: int = 0  # of ours, in which the session was opened
    sequence: int = 0
    known_sha256: str | None = None  # of our announcement, as the peer holds it
    failures: int = 0
    is_busy: bool = False
    is_again: bool = False  # due again as soon as the try under way has ended
    poked_at: float = -math.inf  # ahead of now: a try is owed then
    hints: tuple[Place, ...] = ()  # from mDNS: to try, never to believe
    heard_from: str | None = None  # where its last authenticated request came from
    dropped: set[Place] = field(default_factory=set)  # another node answers there

    def places(
        self, entry: Entry, ours: Collection[Place], on_link: Callable[[], Collection[IPNetwork]]
    ) -> Iterator[Place]:
        """Where to try the peer, best first; never where we are ourselves. Mostly the first is enough.

        None if another node answered at every place: then all count again the next time.
        """
        last = (entry.hostname, entry.port)
        is_usable = not entry.has_moved and last not in self.dropped and last not in ours
        if is_usable:
            yield last
        announced = entry.announcement
        for place in rank_places(
            last=last,
            sighted=self.hints,
            announced=entry.node.addresses,
            port=announced.port if announced else entry.port,
            heard_from=self.heard_from,
            public_url=announced.public_url if announced else None,
            has_moved=entry.has_moved,
            on_link=on_link(),
        ):
            if (place != last or entry.has_moved) and place not in self.dropped and place not in ours:
                is_usable = True
                yield place
        if not is_usable:
            self.dropped.clear()
