"""From routes to an aiohttp application: local only, authenticate, authorise, limit, decode, call, encode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import orjson
from aiohttp import web

from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.principal import Action, ListenerName, Principal, Role
from meshnode.domain.source_address import parse_ip, source_key
from meshnode.node.authenticate import Sessions
from meshnode.node.session import Session
from meshnode.transport.gate import Gate, Policy
from meshnode.transport.http_problem import JSON, problem_response
from meshnode.transport.tls_listener import AdmittedHandler, TlsContexts

BODY_BEFORE_MAX: Final = 8 * 1024  # bytes before authentication
BODY_AFTER_MAX: Final = 1024 * 1024
BODY_S: Final = 5.0
# where a client's own document names no Content-Type: fetch() says text/plain of a string, others nothing at all
UNSTATED: Final = frozenset({JSON, "text/plain", "application/octet-stream"})

log = logging.getLogger(__name__)


class Call(msgspec.Struct):
    """A request that may be answered: who asks, from where, and the decoded body."""

    request: web.Request
    principal: Principal
    session: Session | None
    address: str  # of the caller
    tls: TlsContexts | None
    listener: ListenerName
    is_remote: bool = False  # a trusted proxy spoke for the caller
    local_refusal: MeshError | None = None  # on a socket: why it may not call what is for the local network
    far: MeshError | None = None  # on a socket: why the caller isn't on the local network, if it isn't
    source_of: Callable[[str], str] = source_key
    body: Any = None

    @property
    def certificate_hash(self) -> bytes:
        """SHA-256 of the certificate served on this very connection."""
        return bytes(32) if self.tls is None else self.tls.hash_of(self.request.transport)

    @property
    def reached_at(self) -> tuple[str, int]:
        """Our own address and port on this connection: where the caller reaches us."""
        name = self.request.transport.get_extra_info("sockname") if self.request.transport is not None else None
        host, port = name[:2] if name else ("localhost", 0)
        return str(parse_ip(host)) if name else host, port

    @property
    def source(self) -> str:
        """What limits count by."""
        return self.source_of(self.address)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP route: its Action is judged before its handler runs."""

    method: str
    path: str
    action: Action
    answer: Callable[[Call], Awaitable[Any]]
    body: Any = None  # a msgspec decoder; None = no body is read
    body_types: frozenset[str] = frozenset({JSON})  # what Content-Type may say
    listeners: frozenset[ListenerName] = frozenset({"public"})
    is_local_only: bool = False
    body_max: int | None = None  # bytes before authentication, where it must be more than elsewhere
    refusal: Callable[[MeshError], Mapping[str, Any]] | None = None  # what a dialect's own clients read in a problem
    result: Any = None  # the type of the answer, for /openapi.json
    result_types: tuple[str, ...] = (JSON,)  # what its Content-Type may say
    refused: Any = None  # the type of a 400 of the same Content-Type, beside the problem
    query: Mapping[str, str] = msgspec.field(default_factory=dict)  # parameter → what it is


async def _read_body(request: web.Request, limit: int) -> bytes:
    content = request.content
    if content.is_eof():  # whole already, as nearly always: no timer needed
        body = content.read_nowait()
    elif (request.content_length or 0) > limit:
        raise MeshError("body_too_large", f"at most {limit} bytes here")
    else:
        try:
            async with asyncio.timeout(BODY_S):
                chunks = []
                size = 0
                async for chunk in content.iter_any():
                    size += len(chunk)
                    if size > limit:
                        raise MeshError("body_too_large", f"at most {limit} bytes here")
                    chunks.append(chunk)
                body = b"".join(chunks)
        except TimeoutError as error:
            raise MeshError("request_timeout", "the body did not arrive in five seconds") from error
    if len(body) > limit:
        raise MeshError("body_too_large", f"at most {limit} bytes here")
    return body


def _decode(request: web.Request, route: Route, body: bytes) -> Any:
    if request.headers.get("Content-Type") != JSON and request.content_type not in route.body_types:  # parsing costs
        raise MeshError("unsupported_media_type", "send application/json")
    try:
        return route.body.decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        field = where.strip("`.")
        if "missing required field `" in what:
            name = what.rsplit("`", 2)[1]
            raise invalid(f"{field}.{name}" if field else name, "is missing") from error
        raise invalid(field or "body", what) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", "is not JSON") from error


def _encode(result: Any) -> bytes:
    if isinstance(result, msgspec.Struct):
        return msgspec.json.encode(result)
    return orjson.dumps(result, default=msgspec.to_builtins)


def _answerer(
    route: Route, gate: Gate, tls: TlsContexts | None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        protocol = request.protocol
        visitor = protocol.visitor if isinstance(protocol, AdmittedHandler) else None
        try:
            admitted = gate.admit(request, route.action, is_local_only=route.is_local_only, body_types=route.body_types)
            call = Call(
                request, admitted.principal, admitted.session, admitted.address, tls, gate.name, admitted.is_remote,
                admitted.local_refusal, admitted.far, gate.source_of,
            )  # fmt: skip
            if visitor is not None:
                visitor.is_busy = True
            if route.body is not None:
                before = route.body_max or BODY_BEFORE_MAX
                limit = before if call.principal.role is Role.ANONYMOUS else BODY_AFTER_MAX
                is_whole = request.content.is_eof()
                call.body = _decode(request, route, await _read_body(request, limit))
                if not is_whole and call.session is not None:
                    call.principal = gate.judge_again(call.session, route.action)
            if isinstance(protocol, AdmittedHandler):
                protocol.first_request_complete()
            result = await route.answer(call)
            if isinstance(result, web.StreamResponse):
                return result
            return web.Response(body=_encode(result), content_type=JSON)
        except MeshError as error:
            return problem_response(error, route.refusal(error) if route.refusal is not None else None)
        except (web.HTTPException, ConnectionError):
            raise  # aiohttp's own; AdmittedHandler answers it
        except Exception:
            log.exception("unexpected error at %s %s", request.method, request.path)
            unexpected = MeshError("internal_error", "unexpected error; the node's log says more")
            return problem_response(unexpected, route.refusal(unexpected) if route.refusal is not None else None)
        finally:
            if visitor is not None:
                visitor.is_busy = False

    return answer


def build_app(
    name: ListenerName,
    routes: Iterable[Route],
    sessions: Sessions,
    policy: Policy,
    *,
    tls: TlsContexts | None = None,
    owner_digest: bytes = b"",
) -> tuple[web.Application, Gate]:
    """The application of one listener, and the gate whose `hosts` are set once its port is known."""
    gate = Gate(name, sessions, policy, owner_digest)
    app = web.Application(client_max_size=BODY_AFTER_MAX)
    for route in routes:
        if name in route.listeners:
            app.router.add_route(route.method, route.path, _answerer(route, gate, tls))
    return app, gate
