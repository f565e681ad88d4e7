"""Where a peer that is out of reach may be: any host where any peer ever was, for nodes exchange addresses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from typing import Final

from meshnode.node.roster import Entry, Roster

HOSTS_MAX: Final = 32  # in one go
THEIRS_MAX: Final = 16  # of them where the missing ones themselves were, before everybody's in turn
PEERS_MAX: Final = 128  # whose hosts come into question in one go; the next ones at the next time
DEFAULT_PORT: Final = 6969

Place = tuple[str, int]


class SavedHosts:
    """Picks the hosts to ask next; everyone's turn comes."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._in_turn = self._everywhere()

    def pick(self, missing: list[Entry]) -> list[Place]:
        """Where the missing ones were, best places first, then where any peer was; not where one is online."""
        peers = [entry for entry in self._roster if entry.is_peer]
        taken = {(entry.hostname, entry.port) for entry in peers if entry.status == "online"}
        theirs = dict.fromkeys(chain.from_iterable(zip_longest(*map(_places, missing))))
        places = dict.fromkeys(islice((place for place in theirs if place and place not in taken), THEIRS_MAX))
        peers_left = min(PEERS_MAX, len(peers))
        while len(places) < HOSTS_MAX and peers_left:
            place = next(self._in_turn)
            if place is None:
                peers_left -= 1
            elif place not in taken:
                places[place] = None
        return list(places)

    def _everywhere(self) -> Iterator[Place | None]:
        """Where one peer after the other was, round and round; None after each."""
        start = 0
        while True:
            some = [entry.node.id for entry in islice(self._roster, start, start + PEERS_MAX)]
            start = start + len(some) if some else 0
            for node_id in some:
                entry = self._roster.get(node_id)
                if entry is not None and entry.is_peer:
                    yield from _places(entry)
                    yield None


def _places(entry: Entry) -> Iterator[Place]:
    port = entry.announcement.port if entry.announcement else entry.port
    for host in (entry.hostname, *entry.node.addresses):
        yield from dict.fromkeys([(host, entry.port), (host, port), (host, DEFAULT_PORT)])
