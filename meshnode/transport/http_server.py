"""From routes to an aiohttp application: local only, authenticate, authorise, limit, decode, call, encode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
import orjson
from aiohttp import web

from meshnode.crypto.token import is_same_token
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.principal import ANONYMOUS, OWNER, Action, Principal, Role, authorise
from meshnode.domain.rate_limit import Rate, RateLimiter
from meshnode.domain.source_address import IPNetwork, is_local, parse_ip, source_key
from meshnode.node.authenticate import Session, Sessions
from meshnode.transport.http_problem import JSON, problem_response
from meshnode.transport.tls_listener import AdmittedHandler, TlsContexts

BODY_BEFORE_MAX: Final = 8 * 1024  # bytes before authentication
BODY_AFTER_MAX: Final = 1024 * 1024
BODY_S: Final = 5.0
_FORWARDING: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")

log = logging.getLogger(__name__)

ListenerName = Literal["public", "control"]


class Call(msgspec.Struct):
    """A request that may be answered: who asks, from where, and the decoded body."""

    request: web.Request
    principal: Principal
    session: Session | None
    address: str  # of the caller
    tls: TlsContexts | None
    body: Any = None

    @property
    def certificate_hash(self) -> bytes:
        """SHA-256 of the certificate served on this very connection."""
        return bytes(32) if self.tls is None else self.tls.hash_of(self.request.transport)

    @property
    def source(self) -> str:
        """What limits count by."""
        return source_key(self.address)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP route: its Action is judged before its handler runs."""

    method: str
    path: str
    action: Action
    answer: Callable[[Call], Awaitable[Any]]
    body: Any = None  # a msgspec decoder; None = no body is read
    listeners: frozenset[ListenerName] = frozenset({"public"})
    is_local_only: bool = False


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner configured about callers."""

    lan_only: bool
    allowed_networks: tuple[IPNetwork, ...]
    trusted_proxies: tuple[IPNetwork, ...]
    on_link: Callable[[], Sequence[IPNetwork]]
    anonymous_rate: Rate


class Gate:
    """Judges the callers of one listener."""

    def __init__(
        self, name: ListenerName, sessions: Sessions, policy: Policy, tls: TlsContexts | None, owner_digest: bytes
    ) -> None:
        self._name = name
        self._sessions = sessions
        self._policy = policy
        self._tls = tls
        self._owner_digest = owner_digest
        self._limiter = RateLimiter(policy.anonymous_rate)
        self.hosts: frozenset[str] = frozenset()  # what Host may say on the control listener

    def admit(self, request: web.Request, route: Route) -> Call:
        """The call, if the caller may make it. Raises the refusal."""
        if self._name == "control":
            self._check_local_page(request)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        if peer is None:
            raise MeshError("request_timeout", "the connection is gone")
        address = peer[0]
        if route.is_local_only and self._policy.lan_only:
            address = self._local_address(request, address)
        try:
            principal, session = self._authenticate(request)
            authorise(principal, route.action)
        except MeshError:
            self._limit(address)  # a wrong token is no token
            raise
        if principal.role is Role.ANONYMOUS:
            self._limit(address)
        elif isinstance(request.protocol, AdmittedHandler):
            request.protocol.authenticated(principal.node_id)
        return Call(request, principal, session, address, self._tls)

    def _limit(self, address: str) -> None:
        """Count a request without a good token. Raises `rate_limited`."""
        wait = self._limiter.wait_s(source_key(address), asyncio.get_running_loop().time())
        if wait:
            raise MeshError("rate_limited", "too many requests without a token", retry_after_s=wait)

    def _authenticate(self, request: web.Request) -> tuple[Principal, Session | None]:
        header = request.headers.get("Authorization")
        if header is None:
            return ANONYMOUS, None
        scheme, _, token = header.partition(" ")
        if scheme not in ("Bearer", "Device") or not token:
            raise MeshError("token_required", "Authorization must be `Bearer TOKEN` or `Device TOKEN`")
        if self._name == "control":
            if not is_same_token(token, self._owner_digest):
                raise MeshError("token_required", "that is not the owner's token of this run")
            return OWNER, None
        session = self._sessions.find(token)
        return session.principal, session

    def _check_local_page(self, request: web.Request) -> None:
        """A page on another site, or a name that was pointed at us, must not reach the control listener."""
        if request.headers.get("Host", "").lower() not in self.hosts:
            raise MeshError("bad_origin", "this Host is not the control listener's")
        origin = request.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://").lower() not in self.hosts:
            raise MeshError("bad_origin", "requests from other sites are refused")

    def _local_address(self, request: web.Request, address: str) -> str:
        policy = self._policy
        forwarded = any(name in request.headers for name in _FORWARDING)
        if forwarded:
            if not _within(address, policy.trusted_proxies):
                raise MeshError("proxy_not_configured", "forwarding headers came from an unknown proxy")
            hops = [hop.strip() for hop in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
            untrusted = [hop for hop in hops if hop and not _within(hop, policy.trusted_proxies)]
            if not untrusted:
                raise MeshError("proxy_not_configured", "the proxy does not say for whom it asks")
            address = untrusted[-1]
        if not is_local(address, policy.on_link(), policy.allowed_networks):
            raise MeshError("not_local", "pairing is answered on the local network only")
        return address


def _within(address: str, networks: Iterable[IPNetwork]) -> bool:
    try:
        ip = parse_ip(address)
    except ValueError:
        return False
    return any(ip.version == network.version and ip in network for network in networks)


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
    if request.headers.get("Content-Type") != JSON and request.content_type != JSON:  # parsing it costs more
        raise MeshError("unsupported_media_type", "send application/json")
    try:
        return route.body.decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        if "missing required field `" in what:
            raise invalid(what.rsplit("`", 2)[1], "is missing") from error
        raise invalid(where.strip("`.") or "body", what) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", "is not JSON") from error


def _encode(result: Any) -> bytes:
    if isinstance(result, msgspec.Struct):
        return msgspec.json.encode(result)
    return orjson.dumps(result, default=msgspec.to_builtins)


def _answerer(route: Route, gate: Gate) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """The aiohttp handler of a route."""

    async def answer(request: web.Request) -> web.StreamResponse:
        protocol = request.protocol
        visitor = protocol.visitor if isinstance(protocol, AdmittedHandler) else None
        try:
            call = gate.admit(request, route)
            if visitor is not None:
                visitor.is_busy = True
            if route.body is not None:
                limit = BODY_BEFORE_MAX if call.principal.role is Role.ANONYMOUS else BODY_AFTER_MAX
                call.body = _decode(request, route, await _read_body(request, limit))
            if isinstance(protocol, AdmittedHandler):
                protocol.first_request_complete()
            result = await route.answer(call)
            if isinstance(result, web.StreamResponse):
                return result
            return web.Response(body=_encode(result), content_type=JSON)
        except MeshError as error:
            return problem_response(error)
        except (web.HTTPException, ConnectionError):
            raise  # aiohttp's own; AdmittedHandler answers it
        except Exception:
            log.exception("unexpected error at %s %s", request.method, request.path)
            return problem_response(MeshError("internal_error", "unexpected error; the node's log says more"))
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
    gate = Gate(name, sessions, policy, tls, owner_digest)
    app = web.Application(client_max_size=BODY_AFTER_MAX)
    for route in routes:
        if name in route.listeners:
            app.router.add_route(route.method, route.path, _answerer(route, gate))
    return app, gate
