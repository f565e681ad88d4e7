"""Which came first, an offer or a node's revocation: by their order in this process, whatever the wall clock said.

An offer must not bring back a node that was revoked after it was opened. Times would not tell: a clock once in 2099
would keep a node out until then. An offer from before the last start brings no revoked node back at all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_REMEMBERED: Final = 1024  # more than can be open at once


class Revocations:
    """Told within the transaction that writes them down, so that their order is that of the commits."""

    def __init__(self) -> None:
        self.turn = 0  # so many things have happened; a moment to compare with
        self._opened: OrderedDict[str, int] = OrderedDict()
        self._revoked: dict[str, int] = {}

    def opened(self, offer_id: str) -> None:
        """An offer or code is opened now, or a request approved."""
        self.turn += 1
        self._opened[offer_id] = self.turn
        self._opened.move_to_end(offer_id)
        if len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)

    def revoked(self, node_id: str) -> None:
        """A node is revoked now."""
        self.turn += 1
        self._revoked[node_id] = self.turn

    def forgotten(self, node_id: str) -> None:
        """Its row is gone, and with it what could be brought back."""
        self._revoked.pop(node_id, None)

    def is_since(self, node_id: str, turn: int) -> bool:
        """Whether a revoked node was revoked after that moment of this process."""
        return self._revoked.get(node_id, 0) > turn

    def is_since_opened(self, node_id: str, offer_id: str) -> bool:
        """Whether a revoked node was, or may have been, revoked after the offer was opened."""
        opened = self._opened.get(offer_id)
        return opened is None or self.is_since(node_id, opened)
