"""Serves `/ws`: takes the messages of each socket, limits, judges, decodes, calls, answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.principal import authorise
from meshnode.domain.rate_limit import Rate, RateLimiter, next_arrival
from meshnode.node.authenticate import Sessions
from meshnode.node.event_stream import EventStream
from meshnode.node.ports import Clock
from meshnode.node.roster import Entry
from meshnode.node.session import Session
from meshnode.transport.connections import NOT_TEXT, TOKEN_OVER, TOO_MANY_CALLS, LiveConnections
from meshnode.transport.http_server import Call
from meshnode.transport.rpc_message import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    Request,
    RpcError,
    decode_message,
    decode_params,
    encode_batch,
    encode_error,
    encode_result,
    error_of,
)
from meshnode.transport.rpc_socket import PING_S, Method, RpcCall, RpcSocket
from meshnode.transport.tls_listener import AdmittedHandler

AUTHENTICATE: Final = "session.authenticate"  # the one method a stranger may call on the control listener

log = logging.getLogger(__name__)


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a socket may cost. Source: docs/protocol.md; the rates are those of the socket as a whole."""

    anonymous_rate: Rate = Rate(60, 60.0, burst=60)  # calls
    known_rate: Rate = Rate(600, 60.0, burst=600)
    source_rate: Rate = Rate(600, 60.0, burst=150)  # anonymous ones, on all sockets of one source
    first_message_s: float = 10.0  # of a stranger
    anonymous_s: float = 600.0  # in all
    authenticate_s: float = 5.0  # on the control listener, where a stranger may do nothing else
    ping_s: float = PING_S
    sweep_s: float = 5.0  # between looks for sessions that have ended


DEFAULTS: Final = SocketLimits()


class RpcServer:
    """The JSON-RPC methods of all listeners, and the sockets they are called on."""

    def __init__(
        self,
        methods: Iterable[Method],
        connections: LiveConnections,
        events: EventStream,
        sessions: Sessions,
        clock: Clock,
        *,
        on_opened: Callable[[Entry], None] = lambda _: None,
        on_closed: Callable[[Entry], None] = lambda _: None,
        on_limited: Callable[[str, str], None] = lambda _, __: None,
        lan_only_dialects: frozenset[str] = frozenset(),  # whose devices may connect from the local network only
        limits: SocketLimits = DEFAULTS,
    ) -> None:
        self._lan_only_dialects = lan_only_dialects
        self._methods = {(listener, method.name): method for method in methods for listener in method.listeners}
        self._connections = connections
        self._events = events
        self._sessions = sessions
        self._clock = clock
        self._on_opened = on_opened  # of each socket with a session
        self._on_closed = on_closed  # of a node's last one
        self._on_limited = on_limited  # as in `Gate`
        self._limits = limits
        self._sources = RateLimiter(limits.source_rate)
        self._sweeping: asyncio.TimerHandle | None = None

    async def serve(self, call: Call) -> web.WebSocketResponse:
        """Upgrade the request and answer calls until the socket ends."""
        entry = _entry_of(call.session)
        if entry is not None and call.far is not None and entry.node.dialect in self._lan_only_dialects:
            raise call.far
        protocol = call.request.protocol
        socket = RpcSocket(
            call, protocol.visitor if isinstance(protocol, AdmittedHandler) else None, self._limits.ping_s
        )
        if not socket.ws.can_prepare(call.request):
            raise invalid("Upgrade", "this address speaks WebSocket, version 13")
        if await socket.open():
            try:
                self._opened(socket)
                await self._take_messages(socket)
            finally:
                self._closed(socket)
        return socket.ws

    def _opened(self, socket: RpcSocket) -> None:
        if socket.visitor is not None:
            socket.visitor.is_busy = False
        self._connections.open_socket(socket.principal.node_id, socket, socket.visitor)
        if socket.is_anonymous:
            is_local = socket.call.listener == "control"
            wait_s = self._limits.authenticate_s if is_local else self._limits.first_message_s
            socket.end_in(wait_s, "no call came in time")
        if (entry := _entry_of(socket.session)) is not None:
            self._on_opened(entry)
        if self._sweeping is None:
            self._sweep_later()

    def _closed(self, socket: RpcSocket) -> None:
        socket.closed()
        self._events.drop(socket)
        is_last = self._connections.close_socket(socket.principal.node_id, socket)
        if is_last and (entry := _entry_of(socket.session)) is not None:
            self._on_closed(entry)

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(self._limits.sweep_s, self._sweep)

    def _sweep(self) -> None:
        """End what a revoked or expired token opened, and what a dead peer holds; while there are sockets."""
        self._sweeping = None
        for socket in self._connections:
            if isinstance(socket, RpcSocket):
                self._is_live(socket)
                socket.cut_off_if_stuck()
        if len(self._connections):
            self._sweep_later()

    def _is_live(self, socket: RpcSocket) -> bool:
        """Whether the socket's token still counts; ends the socket if it doesn't."""
        if socket.session is not None and not self._sessions.is_live(socket.session):
            socket.end("the token is not valid any more", TOKEN_OVER)
        return not socket.is_over

    # ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _take_messages(self, socket: RpcSocket) -> None:
        ws = socket.ws
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.TEXT:
                if self._is_live(socket):
                    self._has_spoken(socket)
                    await socket.answer(self._take(socket, message.data))
                    await asyncio.sleep(0)  # a caller with a full pipeline lets others in
            elif message.type is WSMsgType.BINARY:
                socket.end("only text frames are understood", NOT_TEXT)
            elif message.type is WSMsgType.PING:
                if self._wait_s(socket) == 0.0:
                    socket.pong(message.data)
            elif message.type is WSMsgType.CLOSE:
                if not socket.is_over:
                    await ws.close(drain=False)
                return
            elif message.type is not WSMsgType.PONG:
                return

    def _has_spoken(self, socket: RpcSocket) -> None:
        """A stranger that has called in time may stay for some minutes, though not where it must show a token."""
        self._sessions.spoke(socket.session)
        if not socket.has_spoken and socket.call.listener != "control":
            socket.has_spoken = True
            if socket.is_anonymous:
                socket.end_in(self._limits.anonymous_s, "a socket without a token ends after ten minutes")

    async def _take(self, socket: RpcSocket, text: str) -> None:
        """Answer one message, call after call."""
        try:
            message = decode_message(text)
        except RpcError as error:
            wait_s = self._wait_s(socket)
            await socket.send(encode_error(_too_often(wait_s, None) if wait_s else error))
            return
        answers: list[bytes] = []
        calls: list[RpcCall] = []
        for request in message.requests:
            if socket.is_over:
                break
            answered = await self._answer(socket, request, calls)
            if answered is not None:
                answers.append(answered)
        if answers:
            await socket.send(encode_batch(answers) if message.is_batch else answers[0])
        for call in calls:
            if call.then is not None and not socket.is_over:
                await call.then()

    async def _answer(self, socket: RpcSocket, request: Request | RpcError, calls: list[RpcCall]) -> bytes | None:
        wait_s = self._wait_s(socket)
        if isinstance(request, RpcError):
            return encode_error(_too_often(wait_s, request.id) if wait_s else request)
        try:
            if wait_s:
                raise _too_often(wait_s, request.id)
            result = await self._call(socket, request, calls)
            return None if request.is_notification else encode_result(request.id, result)
        except RpcError as error:
            refusal = error
        except MeshError as error:
            refusal = error_of(error, request.id)
        except Exception:
            log.exception("unexpected error in %.64r", request.method)
            refusal = RpcError(INTERNAL_ERROR, "unexpected error; the node's log says more", id=request.id)
        return None if request.is_notification else encode_error(refusal)

    async def _call(self, socket: RpcSocket, request: Request, calls: list[RpcCall]) -> Any:
        if socket.is_anonymous and socket.call.listener == "control" and request.method != AUTHENTICATE:
            socket.end("no token came first", TOKEN_OVER)
            raise MeshError("token_required", f"the first call on this listener must be {AUTHENTICATE}")
        method = self._methods.get((socket.call.listener, request.method))
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, "no such method here", id=request.id)
        if not self._is_live(socket):
            raise MeshError("token_expired", "the token is not valid any more")
        if method.is_local_only and socket.call.local_refusal is not None:
            raise socket.call.local_refusal
        principal = socket.principal
        authorise(principal, method.action)
        params = decode_params(request.params, method.params)
        call = RpcCall(socket, principal, socket.session, socket.address, params)
        calls.append(call)
        return await method.answer(call)

    def _wait_s(self, socket: RpcSocket) -> float:
        """0 and the call counted, or the seconds to wait; who is refused as often as it may call is ended."""
        rate = self._limits.anonymous_rate if socket.is_anonymous else self._limits.known_rate
        now = self._clock.monotonic()
        socket.arrival, wait_s = next_arrival(rate, socket.arrival, now)
        if not wait_s and socket.is_anonymous:  # a new socket brings no new calls
            wait_s = self._sources.wait_s(socket.call.source, now)
        if wait_s:
            self._on_limited("socket", "anonymous" if socket.is_anonymous else "known")
            socket.strike, is_out = next_arrival(rate, socket.strike, now)
            if is_out:
                socket.end("too many calls", TOO_MANY_CALLS)
        return wait_s


def _entry_of(session: Session | None) -> Entry | None:
    """The node whose sockets a session's count among; the owner's browsers are none."""
    return session.entry if session is not None and session.principal.node_id is not None else None


def _too_often(wait_s: float, id_: Any) -> RpcError:
    return error_of(MeshError("rate_limited", "too many calls on this socket", retry_after_s=wait_s), id_)
