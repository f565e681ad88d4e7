"""The WebSocket `/ws`: JSON-RPC calls judged one by one, answered one after another, and notifications.

Nothing here waits for a peer that doesn't read: events go to a bounded queue, answers hold up its own calls only,
and a close frame that isn't answered is followed by an abort.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from meshnode.domain.principal import Action, ListenerName, Principal, Role
from meshnode.node.session import Session
from meshnode.transport.admission import Visitor
from meshnode.transport.connections import CLOSE_S, TOO_SLOW
from meshnode.transport.http_server import BODY_AFTER_MAX, BODY_BEFORE_MAX, Call
from meshnode.transport.rpc_message import encode_notification
from meshnode.transport.tls_listener import AdmittedHandler

PING_S: Final = 30.0  # and half of it for the answer
WRITE_S: Final = 30.0  # for a caller to take its answers
BUFFER_BYTES: Final = 64 * 1024  # on their way to a peer, before its events are kept back
PENDING_MAX: Final = 256  # events kept back
PENDING_BYTES_MAX: Final = 1024 * 1024
REASON_BYTES_MAX: Final = 123  # RFC 6455, 5.5

log = logging.getLogger(__name__)


class RpcCall(msgspec.Struct):
    """One method call that may be answered."""

    socket: RpcSocket
    principal: Principal  # as of now: its level may have changed since the upgrade
    session: Session | None
    address: str
    params: Any = None  # decoded
    then: Callable[[], Awaitable[None]] | None = None  # run after the answer has been sent

    @property
    def source(self) -> str:
        """What limits count by."""
        return self.socket.call.source


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON-RPC method: its Action is judged before it is answered, at every call."""

    name: str
    action: Action
    answer: Callable[[RpcCall], Awaitable[Any]]
    params: type[msgspec.Struct]
    is_local_only: bool = False
    listeners: frozenset[ListenerName] = frozenset({"public", "control"})


class RpcSocket:
    """One open socket; compared by identity. A `Subscriber` of events."""

    def __init__(self, call: Call, visitor: Visitor | None, ping_s: float = PING_S) -> None:
        self.call = call
        self.session = call.session
        self._principal = call.principal
        self.address = call.address
        self.visitor = visitor
        self.is_over = False  # no further call is taken, no event sent
        self.arrival: float | None = None  # of the next call, by its rate
        self.strike: float | None = None  # of the next refusal, by its rate
        self.has_spoken = False
        self.ws = web.WebSocketResponse(
            heartbeat=ping_s,
            timeout=CLOSE_S,
            autoping=False,  # a pong is not sent to who doesn't read
            autoclose=False,
            compress=False,  # nothing is inflated, and no frame waits for a compressor
            max_msg_size=BODY_BEFORE_MAX if self.is_anonymous else BODY_AFTER_MAX,
            writer_limit=sys.maxsize,  # sending never waits; `_room` does
        )
        self.task: asyncio.Task[None]
        self._writer: AbstractStreamWriter
        self._transport: asyncio.Transport
        self._protocol = call.request.protocol
        self._is_answering = False
        self._farewell: tuple[str, int] | None = None  # for after the answer
        self._deadline: asyncio.TimerHandle | None = None
        self._was_closed = False
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._lost = 0
        self._emptying: asyncio.Task[None] | None = None

    async def open(self) -> bool:
        """Upgrade the connection; False if it is gone."""
        request = self.call.request
        self._writer = await self.ws.prepare(request)
        transport, task = request.transport, asyncio.current_task()
        if transport is None or task is None:
            return False
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        self._transport, self.task = transport, task
        return True

    @property
    def principal(self) -> Principal:
        """Who calls, as of now."""
        return self.session.principal if self.session is not None else self._principal

    @property
    def is_anonymous(self) -> bool:
        """Whether no token has come, neither with the upgrade nor since."""
        return self.principal.role is Role.ANONYMOUS

    def take_session(self, session: Session) -> None:
        """Its caller has shown a token since: no stranger's limits any more."""
        self.session = session
        if self._deadline is not None:
            self._deadline.cancel()
        if isinstance(self._protocol, AdmittedHandler):
            self._protocol.authenticated(session.principal.node_id)

    # ── answers ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def answer(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work of one message; a farewell asked for meanwhile by that work itself comes after it."""
        self._is_answering = True
        if self.visitor is not None:
            self.visitor.is_busy = True
        try:
            await work
        finally:
            self._is_answering = False
            if self.visitor is not None:
                self.visitor.is_busy = False
            if self._farewell is not None:
                self._part(*self._farewell)

    async def send(self, frame: bytes) -> bool:
        """Send when there is room; whether the socket still stands. A peer that makes none for 30 s is cut off."""
        if self._protocol.writing_paused:
            timer = asyncio.get_running_loop().call_later(WRITE_S, self._transport.abort)
            try:
                await self._writer.drain()
            finally:
                timer.cancel()
        if self.is_over and self._farewell is None:
            return False
        self._send_now(frame, WSMsgType.TEXT)
        return self._protocol.connected

    def pong(self, data: bytes) -> None:
        """Answer a ping, unless its sender doesn't read."""
        if not self._protocol.writing_paused and not self.is_over:
            self._send_now(data, WSMsgType.PONG)

    def _send_now(self, frame: bytes, kind: WSMsgType) -> None:
        try:
            self.ws.send_frame(frame, kind).send(None)  # it never waits: no compression, no limit
        except StopIteration:
            pass
        except ConnectionError:  # going down; the reading side will notice
            log.debug("nothing more can be sent to %s", self.address)

    # ── what is said unasked ───────────────────────────────────────────────────────────────────────────────────────

    async def notify(self, method: str, params: Any) -> None:
        """Say something unasked; never waits for the peer."""
        self.deliver(encode_notification(method, params))

    def deliver(self, frame: bytes) -> None:
        """Send a notification, or keep it while the peer reads slowly; the oldest kept ones are lost first."""
        if self.is_over:
            return
        if self._pending or self._protocol.writing_paused:
            self._keep(frame)
        else:
            self._send_now(frame, WSMsgType.TEXT)

    def lose(self, count: int) -> None:
        """Tell the peer that it missed `count` events, before the next one."""
        self._lost += count
        self._start_emptying()

    def _keep(self, frame: bytes) -> None:
        self._pending.append(frame)
        self._pending_bytes += len(frame)
        while len(self._pending) > PENDING_MAX or self._pending_bytes > PENDING_BYTES_MAX:
            self._pending_bytes -= len(self._pending.popleft())
            self._lost += 1
        self._start_emptying()

    def _start_emptying(self) -> None:
        if self._emptying is None and not self.is_over:
            self._emptying = asyncio.create_task(self._empty())

    async def _empty(self) -> None:
        """Send what was kept back whenever there is room, first of all how much of it was lost."""
        try:
            while (self._lost or self._pending) and not self.is_over and self._protocol.connected:
                await self._writer.drain()
                while (self._lost or self._pending) and not self._protocol.writing_paused and not self.is_over:
                    if self._lost:
                        lost, self._lost = self._lost, 0
                        frame = encode_notification("event.lost", {"count": lost})
                    else:
                        frame = self._pending.popleft()
                        self._pending_bytes -= len(frame)
                    self._send_now(frame, WSMsgType.TEXT)
        except (ConnectionError, asyncio.CancelledError):  # the connection ended while it was full
            self._pending.clear()
        finally:
            self._emptying = None

    # ── the end ────────────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, reason: str, code: int) -> None:
        """See `connections.Socket`. Where the call being answered asks for it, its answer is sent first."""
        if self.is_over:
            return
        self.is_over = True
        self._pending.clear()
        if self._is_answering and asyncio.current_task() is self.task:
            self._farewell = (reason, code)
        else:
            self._part(reason, code)

    def _part(self, reason: str, code: int) -> None:
        self._farewell = None
        text = reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
        self._send_now(code.to_bytes(2, "big") + text, WSMsgType.CLOSE)
        asyncio.get_running_loop().call_later(CLOSE_S, self._transport.abort)

    def end_in(self, seconds: float, reason: str) -> None:
        """Its time is limited; replaces an earlier limit."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.end, reason, TOO_SLOW)

    def cut_off_if_stuck(self) -> None:
        """Abort a connection that aiohttp gave up some time ago but whose last bytes nobody takes."""
        if self._was_closed:
            self._transport.abort()
        self._was_closed = self.ws.closed

    def closed(self) -> None:
        """Nothing more comes from the peer: let go of everything, and of the connection soon."""
        self.is_over = True
        self._pending.clear()
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport.close()
        asyncio.get_running_loop().call_later(CLOSE_S, self._transport.abort)
