"""The open sockets of authenticated callers: few each, and all closed at once when their node is revoked."""

from __future__ import annotations

from typing import Final

from meshnode.transport.admission import Visitor

PER_NODE: Final = 8  # a peer needs one, and one more while an old one dies


class LiveConnections:
    """Sockets by node; see `node.ports.Connections`."""

    def __init__(self) -> None:
        self._of_node: dict[str, list[Visitor]] = {}  # oldest first

    def add(self, node_id: str, visitor: Visitor) -> None:
        """Take a socket over from admission. The node's oldest idle one makes room for its ninth."""
        own = self._of_node.setdefault(node_id, [])
        if visitor in own:
            return
        if len(own) >= PER_NODE:
            oldest = next((v for v in own if not v.is_busy), own[0])
            own.remove(oldest)
            oldest.close()
        own.append(visitor)

    def discard(self, node_id: str, visitor: Visitor) -> None:
        """The socket closed; harmless when repeated."""
        own = self._of_node.get(node_id, [])
        if visitor in own:
            own.remove(visitor)
            if not own:
                del self._of_node[node_id]

    def close(self, node_id: str) -> None:
        """See `Connections`."""
        for visitor in self._of_node.pop(node_id, []):
            visitor.close()
