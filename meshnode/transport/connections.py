"""The open connections of authenticated callers: few each, and all closed at once when their node is revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from meshnode.transport.admission import Visitor

PER_NODE: Final = 8  # a peer needs one, and one more while an old one dies
SOCKETS_PER_NODE: Final = 4  # JSON-RPC sockets
CLOSE_S: Final = 1.0  # for the other side to answer a close frame

# WebSocket close codes of ours; 4000 and up are an application's own
GOING_AWAY: Final = 1001
NOT_TEXT: Final = 1003
TOO_MANY_CALLS: Final = 1008
REVOKED: Final = 4001
TOKEN_OVER: Final = 4401
TOO_SLOW: Final = 4408
ANOTHER_SOCKET: Final = 4409


class Socket(Protocol):
    """A JSON-RPC socket."""

    task: asyncio.Task[None]  # its connection's

    def end(self, reason: str, code: int) -> None:
        """Send a close frame, take and send nothing more, and be gone within `CLOSE_S`; harmless when repeated."""


class LiveConnections:
    """Connections by node; see `node.ports.Connections`."""

    def __init__(self) -> None:
        self._of_node: dict[str, list[Visitor]] = {}  # oldest first
        self._sockets_of_node: dict[str, list[Socket]] = {}  # oldest first
        self._sockets: dict[Socket, None] = {}  # strangers' and the owner's too
        self._is_stopping = False

    # ── plain requests ─────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, node_id: str, visitor: Visitor) -> None:
        """Take a connection over from admission. The node's oldest idle one makes room for its ninth."""
        own = self._of_node.setdefault(node_id, [])
        if visitor in own:
            return
        if len(own) >= PER_NODE:
            oldest = next((v for v in own if not v.is_busy), own[0])
            own.remove(oldest)
            oldest.close()
        own.append(visitor)

    def discard(self, node_id: str, visitor: Visitor) -> None:
        """The connection closed; harmless when repeated."""
        own = self._of_node.get(node_id, [])
        if visitor in own:
            own.remove(visitor)
            if not own:
                del self._of_node[node_id]

    # ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────

    def __iter__(self) -> Iterator[Socket]:
        return iter(list(self._sockets))

    def __len__(self) -> int:
        return len(self._sockets)

    def open_socket(self, node_id: str | None, socket: Socket, visitor: Visitor | None) -> None:
        """A connection has become a socket; None = a stranger's or the owner's. A node's fifth ends its oldest."""
        self._sockets[socket] = None
        if self._is_stopping:
            socket.end("the node is stopping", GOING_AWAY)
        if node_id is None:
            return
        if visitor is not None:
            self.discard(node_id, visitor)  # it counts among the sockets now
        own = self._sockets_of_node.setdefault(node_id, [])
        own.append(socket)
        if len(own) > SOCKETS_PER_NODE:
            own.pop(0).end("this device opened another socket", ANOTHER_SOCKET)

    def close_socket(self, node_id: str | None, socket: Socket) -> bool:
        """The socket is gone; whether its node has none left. Harmless when repeated."""
        self._sockets.pop(socket, None)
        own = self._sockets_of_node.get(node_id or "", [])
        if socket in own:
            own.remove(socket)
        if own:
            return False
        self._sockets_of_node.pop(node_id or "", None)
        return True

    def has_socket(self, node_id: str) -> bool:
        """Whether the node holds an open socket."""
        return bool(self._sockets_of_node.get(node_id))

    # ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def close(self, node_id: str, reason: str = "revoked", others: Iterable[str] = ()) -> None:
        """See `Connections`."""
        ids = (node_id, *others)
        for visitor in [visitor for one in ids for visitor in self._of_node.pop(one, [])]:
            visitor.close()
        await _end([socket for one in ids for socket in self._sockets_of_node.get(one, ())], reason, REVOKED)

    async def end_sockets(self, node_id: str, reason: str, *, is_revoked: bool = False) -> None:
        """See `Connections`."""
        await _end(self._sockets_of_node.get(node_id, ()), reason, REVOKED if is_revoked else TOKEN_OVER)

    async def stop(self) -> None:
        """The node stops: every socket is told, and those that come late are ended too."""
        self._is_stopping = True
        await _end(self._sockets, "the node is stopping", GOING_AWAY)


async def _end(sockets: Iterable[Socket], reason: str, code: int) -> None:
    """End them all, and wait until they are gone; not for the caller's own, whose answer is still to be sent."""
    ending = list(sockets)
    for socket in ending:
        socket.end(reason, code)
    tasks = {socket.task for socket in ending} - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=CLOSE_S + 0.5)
