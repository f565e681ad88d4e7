"""Sightings by mDNS: hints only, never a row of `mesh_nodes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

SIGHTINGS_MAX: Final = 256


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What mDNS says about a node; anybody on the link can say anything."""

    instance: str
    id: str
    name: str
    host: str
    port: int
    addresses: tuple[str, ...]
    pairing_open: bool


class DiscoverPeers:
    """The nodes in sight."""

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self._sightings: dict[str, Sighting] = {}
        self.has_heard_itself = False  # our own announcement came back: multicast works, on this machine at least
        self.on_sighting: Callable[[Sighting], None] = lambda _: None

    def seen(self, sighting: Sighting) -> None:
        """A service was resolved or has changed."""
        if sighting.id == self._own_id:
            self.has_heard_itself = True
            return
        if sighting.instance in self._sightings or not self.is_full:
            self._sightings[sighting.instance] = sighting
        self.on_sighting(sighting)  # also when the list is full of forged ones: it may be a peer that moved

    @property
    def is_full(self) -> bool:
        """Whether nobody else is let into the list: a network of hundreds of nodes, or forged ones."""
        return len(self._sightings) >= SIGHTINGS_MAX

    def gone(self, instance: str) -> None:
        """A goodbye, or its records ran out."""
        self._sightings.pop(instance, None)

    def clear(self) -> None:
        """Forget everybody: nobody listens any more, so no goodbye would be heard."""
        self._sightings.clear()

    def list(self) -> list[Sighting]:
        """The nodes in sight, those that wait for a PIN first."""
        return sorted(self._sightings.values(), key=lambda s: (not s.pairing_open, s.name, s.id))
