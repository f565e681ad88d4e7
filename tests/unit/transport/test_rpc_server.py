"""The socket's deadlines and ends, on a real listener with a server whose limits are a test's own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, web

from meshnode.domain.errors import MeshError
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import ANONYMOUS, OWNER, Action, ListenerName, Principal, Role
from meshnode.domain.rate_limit import Rate
from meshnode.node.event_stream import EventStream
from meshnode.node.roster import Entry
from meshnode.node.session import Session
from meshnode.transport.admission import Admission, Visitor
from meshnode.transport.connections import LiveConnections
from meshnode.transport.http_server import Call
from meshnode.transport.rpc_message import encode_notification
from meshnode.transport.rpc_server import AUTHENTICATE, RpcServer, SocketLimits
from meshnode.transport.rpc_socket import Method, RpcCall, RpcSocket
from meshnode.transport.tls_listener import AdmittedHandler, Listener, bind
from tests.fakes.clock import START, ManualClock
from tests.fakes.local_node import drain

PHONE = MeshNode(
    id="phone", name="Phone", hostname="127.0.0.1", port=1, status="offline", trust="paired", trust_level=1,
    created_at=datetime.fromisoformat(START.isoformat()),
)  # fmt: skip


class Nothing(msgspec.Struct):
    """No parameters."""


class Live:
    """`Sessions`, as far as a socket asks."""

    def __init__(self) -> None:
        self.is_over = False

    def is_live(self, _: Session) -> bool:
        return not self.is_over

    def spoke(self, _: Session | None) -> None:
        """Nothing slides here."""


class Host:
    """A listener with one socket route, and methods that do what the tests need."""

    def __init__(self, **limits: Any) -> None:
        self.connections = LiveConnections()
        self.clock = ManualClock()
        self.sessions = Live()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.local_refusal: MeshError | None = None
        self.listener: ListenerName = "public"
        self.entry = Entry(PHONE, 0.0)
        methods = [
            self._method("end.myself", self._end_myself, Action.PUBLISH),
            self._method("large", self._large, Action.PUBLISH),
            self._method("near", self._near, Action.PAIR_DEVICE, is_local_only=True),
            self._method(AUTHENTICATE, self._authenticate, Action.REDEEM_TICKET, listeners=frozenset({"control"})),
            self._method("control.only", self._near, Action.PAIR_DEVICE, listeners=frozenset({"control"})),
        ]
        self.rpc = RpcServer(
            methods,
            self.connections,
            EventStream(self.clock, "own", encode_notification),
            self.sessions,  # type: ignore[arg-type]
            self.clock,
            on_opened=lambda entry: self.opened.append(entry.node.id),
            on_closed=lambda entry: self.closed.append(entry.node.id),
            limits=SocketLimits(**limits),
        )

    def _method(self, name: str, answer: Any, action: Action, **more: Any) -> Method:
        return Method(name=name, action=action, answer=answer, params=Nothing, **more)

    async def _end_myself(self, call: RpcCall) -> Any:
        await self.connections.close("phone", "revoked by yourself")
        return "done"

    async def _large(self, _: RpcCall) -> Any:
        return "x" * 300_000

    async def _authenticate(self, call: RpcCall) -> Any:
        call.socket.take_session(Session(OWNER, self.entry, 0, listener="control"))
        return {}

    async def _near(self, call: RpcCall) -> Any:
        return [call.source, call.address]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        is_phone = "Authorization" in request.headers
        principal = Principal(Role.DEVICE, "phone", 1) if is_phone else ANONYMOUS
        session = Session(principal, self.entry, 0, 1e9) if is_phone else None
        assert isinstance(request.protocol, AdmittedHandler)
        request.protocol.first_request_complete()
        if is_phone:
            request.protocol.authenticated("phone")
        call = Call(request, principal, session, "127.0.0.1", None, self.listener, local_refusal=self.local_refusal)
        return await self.rpc.serve(call)

    @property
    def sockets(self) -> list[RpcSocket]:
        """The open ones."""
        return [socket for socket in self.connections if isinstance(socket, RpcSocket)]


@asynccontextmanager
async def serving(host: Host) -> AsyncIterator[Any]:
    """Yields a function that opens a socket."""
    app = web.Application()
    app.router.add_get("/ws", host.answer)
    listener = Listener(app, Admission(), host.connections, None)
    sock = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/ws"
    await listener.start([sock])
    opened: list[ClientWebSocketResponse] = []
    async with aiohttp.ClientSession() as client:

        async def connect(*, is_phone: bool = True, **options: Any) -> ClientWebSocketResponse:
            headers = {"Authorization": "Bearer T"} if is_phone else {}
            opened.append(await client.ws_connect(url, headers=headers, **options))
            return opened[-1]

        try:
            yield connect
        finally:
            await listener.stop()
            for ws in opened:
                await ws.close()
    await drain()


async def ask(ws: ClientWebSocketResponse, method: str) -> Any:
    await ws.send_str(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}))
    return json.loads(await ws.receive_str(timeout=5))


async def end_of(ws: ClientWebSocketResponse) -> tuple[int, str]:
    message = await ws.receive(timeout=5)
    assert message.type is WSMsgType.CLOSE, message
    return message.data, message.extra


async def until(what: str, look: Any) -> None:
    deadline = time.monotonic() + 5
    while not look():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


async def test_a_stranger_must_call_soon_and_may_not_stay() -> None:
    """Without a first call: closed after the first limit; with one: after the second. A ping is no call."""
    host = Host(first_message_s=1.0, anonymous_s=3.0)
    async with serving(host) as connect:
        started = time.monotonic()
        silent, speaking, known = await connect(is_phone=False), await connect(is_phone=False), await connect()
        await silent.ping()
        assert (await ask(speaking, "nope"))["error"]["code"] == -32601
        assert (await end_of(silent))[0] == 4408
        assert time.monotonic() - started < 2.5
        assert (await end_of(speaking))[0] == 4408
        assert time.monotonic() - started >= 3.0
        assert (await ask(known, "nope"))["error"]["code"] == -32601


async def test_on_the_control_listener_a_stranger_has_a_moment_to_show_a_token() -> None:
    """A ping is none, nor does any call win time; who has shown one stays, and is nobody's device."""
    host = Host(authenticate_s=0.3, first_message_s=60.0, anonymous_s=60.0)
    host.listener = "control"
    async with serving(host) as connect:
        started = time.monotonic()
        silent, known = await connect(is_phone=False), await connect(is_phone=False)
        assert (await ask(known, AUTHENTICATE))["result"] == {}
        await silent.ping()
        assert (await end_of(silent))[0] == 4408
        assert time.monotonic() - started >= 0.3
        assert (await ask(known, "control.only"))["result"]
        assert (await ask(known, "nope"))["error"]["code"] == -32601
        hasty = await connect(is_phone=False)
        assert (await ask(hasty, "control.only"))["error"]["data"]["code"] == "token_required"
        assert (await end_of(hasty))[0] == 4401
        host.sessions.is_over = True
        await known.send_str("{}")
        assert (await end_of(known))[0] == 4401
    assert host.opened == host.closed == []


async def test_a_session_that_ends_closes_its_idle_socket() -> None:
    """Nobody has to call first."""
    host = Host(sweep_s=0.05)
    async with serving(host) as connect:
        ws = await connect()
        assert (await ask(ws, "nope"))["error"]["code"] == -32601
        host.sessions.is_over = True
        assert await end_of(ws) == (4401, "the token is not valid any more")
        await until("it to be forgotten", lambda: not host.sockets)


async def test_who_ends_itself_gets_its_answer_first() -> None:
    """What closes the caller's own socket from within a call doesn't wait for it; its others are closed at once."""
    host = Host()
    async with serving(host) as connect:
        ws, other = await connect(), await connect()
        started = time.monotonic()
        others_end = asyncio.ensure_future(end_of(other))
        assert (await ask(ws, "end.myself"))["result"] == "done"
        assert await end_of(ws) == (4001, "revoked by yourself")
        assert (await others_end)[0] == 4001
        assert time.monotonic() - started < 0.9


async def test_presence_counts_from_the_first_socket_to_the_last() -> None:
    """Every opening is told, and the end of a node's last one; strangers make no difference."""
    host = Host()
    async with serving(host) as connect:
        first, second, stranger = await connect(), await connect(), await connect(is_phone=False)
        await first.close()
        await until("the first to be gone", lambda: len(host.sockets) == 2)
        assert (host.opened, host.closed) == (["phone", "phone"], [])
        assert host.connections.has_socket("phone")
        await second.close()
        await stranger.close()
        await until("all to be gone", lambda: not host.sockets)
    assert (host.opened, host.closed) == (["phone", "phone"], ["phone"])
    assert not host.connections.has_socket("phone")


async def test_a_local_method_is_refused_to_who_is_not_local() -> None:
    """As it was judged at the upgrade; others answer on the same socket, and what another listener serves doesn't."""
    host = Host()
    async with serving(host) as connect:
        near = await connect(is_phone=False)
        assert (await ask(near, "near"))["result"] == ["127.0.0.1", "127.0.0.1"]
        host.local_refusal = MeshError("not_local", "far away")
        far = await connect(is_phone=False)
        assert (await ask(far, "near"))["error"]["data"]["code"] == "not_local"
        assert (await ask(far, "large"))["error"]["data"]["code"] == "token_required"
        assert (await ask(far, "control.only"))["error"]["code"] == -32601


async def test_who_takes_no_answers_is_read_no_further_and_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers don't pile up: one is on its way, the rest isn't even worked on; and its time is limited."""
    monkeypatch.setattr("meshnode.transport.rpc_socket.WRITE_S", 0.3)
    host = Host(known_rate=Rate(10_000, 60.0, burst=10_000))
    async with serving(host) as connect:
        ws = await connect(max_msg_size=0)
        ws._conn.transport.pause_reading()
        (socket,) = host.sockets
        for _ in range(200):
            await ws.send_str(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "large"}))
        await until("answers to pile up", lambda: socket._protocol.writing_paused)
        assert socket._transport.get_write_buffer_size() < 2 * 300_100
        await until("it to be cut off", lambda: not host.sockets)
        ws._conn.transport.abort()


async def test_a_dead_peer_is_given_up() -> None:
    """No answer to a ping in half the time again: the socket ends."""
    host = Host(ping_s=0.2)
    async with serving(host) as connect:
        dead, alive = await connect(autoping=False), await connect()
        receiving = asyncio.ensure_future(alive.receive())
        started = time.monotonic()
        await until("it to be given up", lambda: len(host.sockets) == 1)
        assert time.monotonic() - started < 2
        await until("more pings", lambda: time.monotonic() - started > 0.8)
        assert len(host.sockets) == 1
        assert dead is not alive
        receiving.cancel()


@pytest.mark.parametrize("is_faulty", [False, True])
async def test_a_given_up_socket_whose_bytes_nobody_takes_is_aborted(is_faulty: bool) -> None:
    """No pong, or a faulty frame: aiohttp closes politely, its buffer would never be empty, so it is cut."""
    host = Host(ping_s=30.0 if is_faulty else 0.2, sweep_s=0.1)
    async with serving(host) as connect:
        ws = await connect(is_phone=False, autoping=False, max_msg_size=0)
        ws._conn.transport.pause_reading()
        (socket,) = host.sockets
        for n in range(400):
            await socket.notify("x", {"n": n, "payload": "x" * 60_000})
        assert socket._pending
        assert socket._lost > 0
        if is_faulty:
            await ws.send_str("x" * 9000)
        await until("it to be gone", lambda: not host.sockets)
        await until("its task to end", lambda: socket._emptying is None)
        assert socket._transport.is_closing()
        assert not socket._pending
        ws._conn.transport.abort()


async def test_nothing_opens_while_the_node_stops() -> None:
    """A connection that upgrades too late is told at once."""
    host = Host()
    async with serving(host) as connect:
        await host.connections.stop()
        assert await end_of(await connect()) == (1001, "the node is stopping")


async def test_revoking_cuts_plain_connections_too() -> None:
    """All of that node's, nobody else's, and each but once."""
    connections, cut = LiveConnections(), []
    for node_id in ("phone", "phone", "other"):
        connections.add(node_id, Visitor("s", lambda node_id=node_id: cut.append(node_id)))
    await connections.close("phone")
    await connections.close("phone")
    assert cut == ["phone", "phone"]
