"""salita on our wire: decode, call a use case, encode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import msgspec
from aiohttp import web

from meshnode.dialects.contract import Wire, caller_of, encode_own_identity
from meshnode.dialects.qr_code import encode_qr_svg
from meshnode.dialects.salita.codec import (
    DECODERS,
    DesktopNode,
    DeviceHeartbeat,
    GraphQLAnswer,
    GraphQLRefusal,
    GraphQLRequest,
    HeartbeatAnswer,
    OfferSeen,
    Opened,
    OwnRow,
    PublicIdentity,
    Started,
    StartedWithQr,
    Verified,
    Verify,
    clean_changes,
    decode_claim,
    parse_offer_code,
)
from meshnode.dialects.salita.graphql import BODY_MAX as GRAPHQL_BODY_MAX
from meshnode.dialects.salita.graphql import DIALECT, GRAPHQL_JSON, serve_graphql
from meshnode.dialects.salita.settings import SalitaSettings
from meshnode.domain.announcement import PROTOCOLS
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import format_fingerprint
from meshnode.domain.invite import parse_host_port
from meshnode.domain.pairing_code import parse_linking_code, parse_pin
from meshnode.domain.principal import Action, Role
from meshnode.domain.timestamps import format_time
from meshnode.domain.untrusted_text import clean_text
from meshnode.node.code_records import CodeRules
from meshnode.node.device_tokens import DeviceSession
from meshnode.node.pair_device import TokenRules
from meshnode.node.redeem_code import Redemption
from meshnode.node.update_device import DeviceUpdate
from meshnode.node.use_cases import UseCases
from meshnode.transport.gate import COOKIE
from meshnode.transport.http_problem import JSON
from meshnode.transport.http_server import UNSTATED, Call, Route

VERIFY_BODY_MAX: Final = 24 * 1024  # a name of 10 kB is cut, not refused


def serve_salita(use: UseCases, settings: SalitaSettings) -> Wire:
    """What salita serves."""
    session = TokenRules(kind="session", lifetime_s=settings.session_hours * 3600)

    async def open_offer(lifetime_s: float | None, maker: str | None = None) -> dict[str, Any]:
        return msgspec.to_builtins(await opened(lifetime_s, maker))  # type: ignore[no-any-return]

    async def opened(lifetime_s: float | None, maker: str | None) -> Started:
        rules = CodeRules(dialect=DIALECT, lifetime_s=lifetime_s or use.offer_s, has_pin=True, maker=maker)
        offer = await use.codes.open(rules)
        secrets = offer.secrets
        return Started(
            offer_id=offer.code.id,
            code=str(secrets.code),
            pin=str(secrets.pin),
            linking_code=str(secrets.linking_code),
            url=use.invite_url(UUID(secrets.code).bytes, secrets.linking_code),
            expires_at=format_time(offer.code.expires_at),
        )

    async def start(call: Call) -> Any:
        """Open an offer: a PIN, a linking code, and a QR code for a phone"""
        offer = await opened(None, call.principal.node_id)
        return StartedWithQr(**msgspec.structs.asdict(offer), qr_svg=encode_qr_svg(offer.url))

    async def verify(call: Call) -> Any:
        """Pair a phone by code, PIN and linking code"""
        body: Verify = call.body
        asked = Redemption(
            dialect=DIALECT,
            format="uuid",
            code=parse_offer_code(body.code),
            pin=parse_pin(body.pin),
            linking_code=parse_linking_code(body.linking_code),
            claim=decode_claim(body.node_identity, call.address),
            caller=caller_of(call),
            token=session,
        )
        done = await use.redeeming.redeem(asked)
        node = encode_own_identity(use, reached_at(use, call))
        answer = Verified(
            session_token=str(done.admitted.token),  # plain text on the wire
            desktop_node=DesktopNode(
                node_id=node["id"], name=node["name"], hostname=node["hostname"], port=node["port"],
                capabilities=node["capabilities"],
            ),
            node=node,
        )  # fmt: skip
        return _with_cookie(call, answer, answer.session_token, settings.session_hours * 3600)

    async def opened_page(call: Call) -> Any:
        """A phone has opened its invite: the owner is told, nothing is spent"""
        body: Opened = call.body
        code = use.codes.visit(DIALECT, parse_offer_code(body.code), clean_text(body.name), call.source)
        return OfferSeen(
            state=code.state.value,
            expires_at=format_time(code.expires_at),
            expires_in=max(0.0, round(use.codes.expiries.left_s(code), 1)),
            attempts_left=code.attempts,
        )

    async def identity(call: Call) -> Any:
        """Who this node is"""
        me = use.me.identity
        is_known = call.principal.role is not Role.ANONYMOUS
        return PublicIdentity(
            node_id=me.id,
            name=me.name,
            fingerprint=format_fingerprint(me.public_key),
            public_key=encode_base64url(me.public_key),
            protocol=f"meshnode/{PROTOCOLS[-1]}",
            tls_sha256=use.me.announcement.tls_sha256 if call.tls is None else encode_base64url(call.certificate_hash),
            capabilities=[c.name for c in use.me.facts.capabilities] if is_known else None,
        )

    async def heartbeat(call: Call) -> Any:
        """A phone lives, and says what has changed about it"""
        body: DeviceHeartbeat = call.body
        node = await use.updating.update(call.principal, DeviceUpdate(**clean_changes(body)))
        row = OwnRow(id=node.id, name=node.name, trust_level=node.trust_level)
        answer = HeartbeatAnswer(device=row, status=node.status, node=encode_own_identity(use, reached_at(use, call)))
        token = call.request.cookies.get(COOKIE)
        if token is None or "Authorization" in call.request.headers or not isinstance(call.session, DeviceSession):
            return answer
        return _with_cookie(call, answer, token, call.session.lifetime_s)  # the session has slid; the cookie follows

    def route(path: str, action: Action, answer: Any, body: type[Any] | None = None, **more: Any) -> Route:
        decoder = None if body is None else DECODERS[body]
        return Route(
            method="GET" if action is Action.READ_PUBLIC_IDENTITY else "POST", path=path, action=action,
            answer=answer, body=decoder, refusal=_refusal, **more,
        )  # fmt: skip

    both = frozenset({"public", "control"})
    routes = (
        route("/auth/pair/start", Action.OPEN_OFFER, start, listeners=both, result=StartedWithQr),
        route(
            "/auth/pair/verify", Action.PAIR_DEVICE, verify, Verify,
            body_types=UNSTATED, body_max=VERIFY_BODY_MAX, is_local_only=True, result=Verified,
        ),
        route("/p/opened", Action.PAIR_DEVICE, opened_page, Opened, is_local_only=True, result=OfferSeen),
        route("/api/node/identity", Action.READ_PUBLIC_IDENTITY, identity, result=PublicIdentity),
        route("/api/node/heartbeat", Action.UPDATE_DEVICE, heartbeat, DeviceHeartbeat, result=HeartbeatAnswer),
        route(
            "/graphql", Action.QUERY_GRAPHQL, serve_graphql(use), GraphQLRequest,
            listeners=both, body_types=UNSTATED, body_max=GRAPHQL_BODY_MAX,
            result=GraphQLAnswer, result_types=(JSON, GRAPHQL_JSON), refused=GraphQLRefusal,
        ),
    )  # fmt: skip
    return Wire(routes=routes, open_offer=open_offer)


def reached_at(use: UseCases, call: Call) -> tuple[str, int]:
    """Where the phone reaches us: our end of its connection, or through a proxy our public URL."""
    url = use.me.facts.public_url
    if call.is_remote and url is not None:
        return parse_host_port(url.removeprefix("https://").rstrip("/"), 443)
    return call.reached_at


def _refusal(_: MeshError) -> Mapping[str, Any]:
    return {"ok": False}


def _with_cookie(call: Call, answer: msgspec.Struct, token: str, lifetime_s: float | None) -> web.Response:
    """The answer, and for browsers the session; over TLS only."""
    response = web.Response(body=msgspec.json.encode(answer), content_type=JSON)
    response.headers["Cache-Control"] = "no-store"
    if call.listener == "public" and lifetime_s is not None:
        response.set_cookie(
            COOKIE, token, path="/", secure=True, httponly=True, samesite="Strict", max_age=int(lifetime_s)
        )
    return response
