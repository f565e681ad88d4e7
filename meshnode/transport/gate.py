"""Who may knock at a listener: names and origins, local only, token or cookie, the rate of those without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from meshnode.crypto.token import is_same_token
from meshnode.domain.errors import MeshError
from meshnode.domain.principal import ANONYMOUS, NEEDS, OWNER, Action, ListenerName, Need, Principal, Role, authorise
from meshnode.domain.rate_limit import Rate, RateLimiter
from meshnode.domain.source_address import IPNetwork, is_local, parse_ip, source_key
from meshnode.node.authenticate import Sessions
from meshnode.node.session import Session
from meshnode.transport.http_problem import JSON
from meshnode.transport.interfaces import scoped
from meshnode.transport.peer_user import user_behind
from meshnode.transport.tls_listener import AdmittedHandler

COOKIE: Final = "__Host-meshnode"
_PAGE_RATE: Final = Rate(1200, 60.0, burst=400)
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ELSEWHERE: Final = frozenset({"cross-site", "same-site"})  # the same site: another port of this machine
_FORWARDING: Final = ("forwarded", "via", "x-real-ip")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner configured about callers."""

    lan_only: bool
    allowed_networks: tuple[IPNetwork, ...]
    trusted_proxies: tuple[IPNetwork, ...]
    on_link: Callable[[], Sequence[IPNetwork]]
    anonymous_rate: Rate
    own_names: Callable[[], frozenset[str]] = frozenset  # host names under which browsers may reach us


class Admitted(NamedTuple):
    """A caller that may go on."""

    principal: Principal
    session: Session | None
    address: str
    is_remote: bool  # a trusted proxy spoke for it
    local_refusal: MeshError | None  # why it may not do what is for the local network
    far: MeshError | None  # why it does not count as local, whatever `pairing.lan_only` allows; asked on sockets


class Gate:
    """Judges the callers of one listener."""

    def __init__(self, name: ListenerName, sessions: Sessions, policy: Policy, owner_digest: bytes) -> None:
        self.name = name
        self._sessions = sessions
        self._policy = policy
        self._owner_digest = owner_digest
        self._limiter = RateLimiter(policy.anonymous_rate)
        self._page_limiter = RateLimiter(_PAGE_RATE)  # a page is some dozen files: they must not use up the other
        self.hosts: frozenset[str] = frozenset()  # what Host may say on the control listener
        self.on_limited: Callable[[str, str], None] = lambda _, __: None  # to be counted: where, by which limit

    def admit(
        self, request: web.Request, action: Action, *, is_local_only: bool, body_types: Collection[str] = (JSON,)
    ) -> Admitted:
        """The caller, if it may do `action`. Raises the refusal."""
        if self.name == "control":
            self._check_local_page(request)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        if peer is None:
            raise MeshError("request_timeout", "the connection is gone")
        direct = scoped(peer)
        address, far = direct, None
        if self._policy.trusted_proxies and _within(direct, self._policy.trusted_proxies):
            address = self._forwarded_address(request, address)
        if is_local_only or action is Action.CONNECT or self.name == "plain":
            try:
                self._check_local(request, direct, address)
            except MeshError as error:
                if (is_local_only and self._policy.lan_only) or self.name == "plain":
                    raise
                far = error  # the socket stands; its local-only methods will say so
        try:
            principal, session = self._authenticate(request, action, body_types=body_types)
            authorise(principal, action)
        except MeshError:
            self._limit(address, action)  # a wrong token is no token
            raise
        if principal.role is Role.ANONYMOUS:
            self._limit(address, action)
        elif isinstance(request.protocol, AdmittedHandler):
            request.protocol.authenticated(principal.node_id)
        return Admitted(principal, session, address, address != direct, far if self._policy.lan_only else None, far)

    def source_of(self, address: str) -> str:
        """What limits count this caller by."""
        return source_key(address, self._policy.on_link())

    def _limit(self, address: str, action: Action) -> None:
        """Count a request without a good token. Raises `rate_limited`."""
        limiter = self._page_limiter if action is Action.READ_PAGE else self._limiter
        wait = limiter.wait_s(self.source_of(address), asyncio.get_running_loop().time())
        if wait:
            self.on_limited("http", "anonymous")
            raise MeshError("rate_limited", "too many requests without a token", retry_after_s=wait)

    def judge_again(self, session: Session, action: Action) -> Principal:
        """The caller as of now, after it has kept us waiting. Raises the refusal: it may have lost token or level."""
        if not self._sessions.is_live(session):
            raise MeshError("token_expired", "the token is not valid any more")
        authorise(session.principal, action)
        return session.principal

    # ── who ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _authenticate(
        self, request: web.Request, action: Action, *, body_types: Collection[str]
    ) -> tuple[Principal, Session | None]:
        header = request.headers.get("Authorization")
        if header is None:
            token = request.cookies.get(COOKIE) if self.name == "public" and "Cookie" in request.headers else None
            if token is None:
                return ANONYMOUS, None
            self._check_page(request, body_types=body_types)
            try:
                return self._session(token)
            except MeshError:
                # a browser keeps its cookie longer than we do, and must be able to pair again; a socket is told
                if NEEDS[action] is Need.ANYONE and action is not Action.CONNECT:
                    return ANONYMOUS, None
                raise
        scheme, _, token = header.partition(" ")
        if scheme not in ("Bearer", "Device") or not token:
            raise MeshError("token_required", "Authorization must be `Bearer TOKEN` or `Device TOKEN`")
        if self.name == "control":
            if is_same_token(token, self._owner_digest):
                return OWNER, None
            browser = self._sessions.find_browser(token, lambda: user_behind(request.transport))
            if browser is None:
                raise MeshError(
                    "token_required", "that is not the owner's token of this run, nor one of `meshnode open`"
                )
            return browser.principal, browser
        return self._session(token)

    def _session(self, token: str) -> tuple[Principal, Session]:
        session = self._sessions.find(token)
        if session.listener != self.name:
            raise MeshError("token_required", f"that token counts on the {session.listener} listener only")
        return session.principal, session

    # ── from which page ────────────────────────────────────────────────────────────────────────────────────────────

    def _check_local_page(self, request: web.Request) -> None:
        """A page on another site, or a name that was pointed at us, must not reach the control listener."""
        headers = request.headers
        host = headers.get("Host", "").lower()
        if host not in self.hosts:
            raise MeshError("bad_origin", "this Host is not the control listener's")
        origin = headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host}":
            raise MeshError("bad_origin", "requests from other sites are refused")
        # pictures and the like come without Origin: they would use up the limit of who has no token yet
        if headers.get("Sec-Fetch-Site") in _ELSEWHERE and headers.get("Sec-Fetch-Dest") != "document":
            raise MeshError("bad_origin", "requests from other sites are refused")

    def _check_page(self, request: web.Request, *, body_types: Collection[str]) -> None:
        """A cookie comes by itself, so what changes anything must come from a page of ours. Raises `bad_origin`."""
        host = request.headers.get("Host", "").lower()
        if not _is_own_host(host, self._policy.own_names()):
            raise MeshError("bad_origin", "this Host is not this node's")
        is_upgrade = "Upgrade" in request.headers
        if request.method in _SAFE and not is_upgrade:
            return
        if request.headers.get("Origin", "").lower() != f"https://{host}":
            raise MeshError("bad_origin", "requests from other sites are refused")
        if not is_upgrade and request.content_type not in body_types:  # Origin holds; this is a second wall
            raise MeshError("bad_origin", "a request with a cookie must carry application/json")

    # ── from where ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_local(self, request: web.Request, peer: str, address: str) -> None:
        """Raise `not_local` or `proxy_not_configured` unless the caller is on our own network."""
        policy = self._policy
        origin = request.headers.get("Origin")
        if origin is not None and _is_foreign_page(origin, request.headers.get("Host", ""), policy.own_names()):
            raise MeshError("bad_origin", "a page of another site is not on the local network, though its browser is")
        if _is_forwarded(request) and not _within(peer, policy.trusted_proxies):
            raise MeshError("proxy_not_configured", "forwarding headers came from an unknown proxy")
        if not is_local(address, policy.on_link(), policy.allowed_networks):
            raise MeshError("not_local", "pairing is answered on the local network only")

    def _forwarded_address(self, request: web.Request, address: str) -> str:
        """For whom a trusted proxy asks: the right-most address that isn't one. Raises `proxy_not_configured`."""
        proxies = self._policy.trusted_proxies
        hops = [hop.strip() for hop in ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")]
        untrusted = [hop for hop in hops if hop and not _within(hop, proxies)]
        if untrusted:
            try:
                return str(parse_ip(untrusted[-1]))
            except ValueError as error:
                raise MeshError("proxy_not_configured", "the proxy gives no address for whom it asks") from error
        if _is_forwarded(request):
            raise MeshError("proxy_not_configured", "the proxy does not say for whom it asks")
        return address


def _is_forwarded(request: web.Request) -> bool:
    """Whether somebody says that it passes the request on."""
    return any(name.startswith("x-forwarded-") or name in _FORWARDING for name in map(str.lower, request.headers))


def _is_foreign_page(origin: str, host: str, names: frozenset[str]) -> bool:
    """Whether a web page sends this that we did not serve. Apps with an Origin of their own kind are none."""
    try:
        page = urlsplit(origin.lower())
        name, _ = page.hostname or "", page.port  # a port that is none raises
    except ValueError:
        return True
    if page.scheme not in ("http", "https"):
        return origin == "null"  # any page can have that one, in a sandbox
    if name == "localhost" or name.endswith(".localhost") or name in names:  # apps on a device's own web view; ours
        return False
    return name != _name_of(host.lower()) or not _is_own_host(host.lower(), names)


def _name_of(host: str) -> str:
    """A Host header without its port and brackets."""
    return (host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host).strip("[]")


def _within(address: str, networks: Iterable[IPNetwork]) -> bool:
    try:
        ip = parse_ip(address)
    except ValueError:
        return False
    return any(ip.version == network.version and ip in network for network in networks)


def _is_own_host(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header can be ours: an address (a page can't point one elsewhere), or one of our names."""
    name = _name_of(host)
    try:
        parse_ip(name)
    except ValueError:
        return name in names
    return True
