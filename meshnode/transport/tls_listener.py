"""Sockets in: admission at TCP accept, TLS with the certificate of the moment, deadlines for the first request.

asyncio's own TLS server counts nobody before the handshake and zero-fills 256 KiB per connection, so the door is
ours and the protocol's buffer is 16 KiB (measured: 326 KiB against 83 KiB a connection).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from meshnode.crypto.certificate import certificate_hash
from meshnode.domain.errors import MeshError
from meshnode.domain.source_address import IPNetwork, source_key
from meshnode.transport.admission import Admission, Visitor
from meshnode.transport.connections import LiveConnections
from meshnode.transport.http_problem import problem_of_http, problem_response

HANDSHAKE_S: Final = 5
FIRST_REQUEST_S: Final = 5.0
KEEPALIVE_S: Final = 330.0  # beyond the longest heartbeat interval
TLS_BUFFER_BYTES: Final = 16 * 1024
BACKLOG: Final = 256

log = logging.getLogger(__name__)


class TlsContexts:
    """One SSLContext per certificate; a new one is swapped in for new handshakes while old connections live on."""

    def __init__(self, pem: Path, sha256: bytes, key: Path | None = None) -> None:
        self._hashes: WeakKeyDictionary[ssl.SSLContext, bytes] = WeakKeyDictionary()  # as long as a connection has it
        self.current = self._make(pem, sha256, key)

    @property
    def sha256(self) -> bytes:
        """The hash of the certificate that new handshakes get."""
        return self._hashes[self.current]

    def _make(self, pem: Path, sha256: bytes, key: Path | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET  # TLS 1.2 tickets
        context.num_tickets = 0  # TLS 1.3: a resumed session would outlive the checks of the first
        context.load_cert_chain(pem, key, password="")  # else OpenSSL asks on the terminal
        if certificate_hash(pem.read_bytes()) != sha256:
            raise OSError(f"{pem} changed while it was read")
        self._hashes[context] = sha256
        return context

    def swap(self, pem: Path, sha256: bytes, key: Path | None = None) -> None:
        """Serve another certificate from the next handshake on. Raises OSError; the former is served on then."""
        self.current = self._make(pem, sha256, key)

    def hash_of(self, transport: asyncio.BaseTransport | None) -> bytes:
        """The certificate hash served on a connection; 32 zero bytes where there is no TLS."""
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        return self._hashes.get(tls.context, bytes(32)) if tls is not None else bytes(32)


class AdmittedHandler(RequestHandler):
    """aiohttp's connection, with a visitor's place and a deadline for the first complete request."""

    __slots__ = ("_admission", "_connections", "_first_deadline", "_of_node", "visitor")

    def __init__(
        self, server: web.Server, admission: Admission, connections: LiveConnections, visitor: Visitor
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # switches it off; aiohttp's annotation is too narrow
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=2.0,
            auto_decompress=False,  # a compressed body is no JSON: a megabyte must not become a gigabyte of work
        )
        self._admission = admission
        self._connections = connections
        self._of_node: str | None = None
        self.visitor = visitor
        self._first_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS stands (or was never asked for): five seconds to a complete request."""
        super().connection_made(transport)
        self._first_deadline = asyncio.get_running_loop().call_later(FIRST_REQUEST_S, self.visitor.close)

    def first_request_complete(self) -> None:
        """A whole request has been read; from here on keep-alive rules."""
        if self._first_deadline is not None:
            self._first_deadline.cancel()
            self._first_deadline = None

    def authenticated(self, node_id: str | None) -> None:
        """The caller is known: its socket counts among its own from now on (the owner's, for nobody)."""
        if self._of_node is None:
            self._of_node = node_id or ""
            self._admission.release(self.visitor)
            if node_id:
                self._connections.add(node_id, self.visitor)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back."""
        self.first_request_complete()
        self._admission.release(self.visitor)
        if self._of_node:
            self._connections.discard(self._of_node, self.visitor)
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """aiohttp's own 404, 405 and 413 become problem documents here: a middleware would cost every heartbeat 5 %."""
        if isinstance(resp, web.HTTPException):
            resp = problem_of_http(resp)
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What could not be parsed gets a problem document; nothing of it is logged above debug."""
        log.debug("bad request from %s: %s", request.remote, message)
        code, detail = ("internal_error", "unexpected error") if status >= 500 else ("invalid_params", "malformed HTTP")
        response = problem_response(MeshError(code, detail))
        response.force_close()
        return response


class _GuardedTls(SSLProtocol):
    """TLS that gives the visitor's place back also when the handshake fails."""

    max_size = TLS_BUFFER_BYTES

    def __init__(self, handler: AdmittedHandler, admission: Admission, context: ssl.SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            handler,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=2,
        )
        self._admission = admission
        self._visitor = handler.visitor

    def connection_lost(self, exc: BaseException | None) -> None:
        self._admission.release(self._visitor)
        super().connection_lost(exc)


class _Door(asyncio.Protocol):
    """Takes a TCP connection, admits it, then hands it to TLS or HTTP."""

    def __init__(
        self,
        server: web.Server,
        admission: Admission,
        connections: LiveConnections,
        tls: TlsContexts | None,
        on_link: Callable[[], Sequence[IPNetwork]],
    ) -> None:
        self._server = server
        self._on_link = on_link
        self._admission = admission
        self._connections = connections
        self._tls = tls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream transport is needed")
        peer = transport.get_extra_info("peername") or ("?",)
        visitor = Visitor(source_key(str(peer[0]), self._on_link()), transport.abort)
        self._admission.admit(visitor)
        handler = AdmittedHandler(self._server, self._admission, self._connections, visitor)
        inner: asyncio.BaseProtocol = handler
        if self._tls is not None:
            inner = _GuardedTls(handler, self._admission, self._tls.current)
        transport.set_protocol(inner)
        inner.connection_made(transport)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `port_in_use` or `bad_config` naming the address."""
    try:
        # as bytes: text would load the idna codec and its tables, 1 MiB, for an address
        infos = socket.getaddrinfo(
            host.encode() if host.isascii() else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise MeshError("bad_config", f"cannot listen on {host}: {error.strerror}") from error
    family, kind, protocol, _, address = infos[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        code = "port_in_use" if error.errno in (98, 48) else "bad_config"
        reason = "is in use by another program" if code == "port_in_use" else f"cannot be used ({error.strerror})"
        raise MeshError(code, f"{host}:{port} {reason}") from error
    return sock


Answerer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _shortcut(app: web.Application, otherwise: Answerer) -> Answerer:
    """One lookup for paths without variables; aiohttp's router, a tenth of a heartbeat's cost, for all else.

    A request that took the shortcut has no `match_info`: there are no variables to match.
    """
    exact: dict[tuple[str, str], Answerer] = {
        (route.method, route.resource.canonical): route.handler
        for route in app.router.routes()
        if isinstance(route.resource, web.PlainResource)
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        found = exact.get((request.method, request.path))
        return await (otherwise if found is None or "Expect" in request.headers else found)(request)

    return answer


class Listener:
    """One aiohttp application on one or more bound sockets."""

    def __init__(
        self,
        app: web.Application,
        admission: Admission,
        connections: LiveConnections,
        tls: TlsContexts | None,
        on_link: Callable[[], Sequence[IPNetwork]] = tuple,
    ) -> None:
        self._app = app
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        self._admission = admission
        self._connections = connections
        self._tls = tls
        self._on_link = on_link
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: list[socket.socket]) -> None:
        """Accept from now on."""
        await self._runner.setup()
        server: Any = self._runner.server
        server.request_handler = _shortcut(self._app, server.request_handler)
        loop = asyncio.get_running_loop()

        def door() -> _Door:
            return _Door(server, self._admission, self._connections, self._tls, self._on_link)

        for sock in sockets:
            # one accept a turn: asyncio would try `backlog` times, and log each, when file descriptors run out
            self._servers.append(await loop.create_server(door, sock=sock, backlog=1))
            sock.listen(BACKLOG)

    async def stop(self) -> None:
        """Accept no more, finish what is being answered, close the rest."""
        for server in self._servers:
            server.close()
        await self._connections.stop()  # before aiohttp stops reading: their close frames would go unanswered
        handlers: Any = self._runner.server
        if handlers is not None:
            handlers.pre_shutdown()
            await handlers.shutdown(1.0)
        await self._runner.cleanup()
