"""The owner's API: on the control listener for the owner, on the public one for level 2 where §7 allows it."""

from __future__ import annotations

import re
from typing import Any, Final

from meshnode.dialects.contract import Wire
from meshnode.dialects.control.browsers import browser_methods, browser_routes
from meshnode.dialects.control.codec import (
    DECODERS,
    Alias,
    Join,
    Level,
    Name,
    Seen,
    encode_certificate,
    encode_diagnosis,
    encode_node,
    encode_request,
)
from meshnode.dialects.control.offers import offer_routes
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.invite import parse_host_port, parse_invite
from meshnode.domain.notice import encode_notice
from meshnode.domain.pairing_code import parse_pin
from meshnode.domain.principal import Action, ListenerName
from meshnode.domain.timestamps import format_time
from meshnode.node.join_peer import Invitation
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import Call, Route

BOTH: Final[frozenset[ListenerName]] = frozenset({"public", "control"})
CONTROL: Final[frozenset[ListenerName]] = frozenset({"control"})
EVERYWHERE: Final[frozenset[ListenerName]] = frozenset({"public", "control", "plain"})
AUDIT_MAX: Final = 1000


def serve_control(use: UseCases, _: None) -> Wire:
    """The routes of /api/v1/ and the probes."""

    async def health(_: Call) -> Any:
        return {"status": "ok"}

    async def ready(_: Call) -> Any:
        if not use.status.is_ready:
            raise MeshError("starting", "the node is starting or stopping")
        if use.status.store_trouble is not None:
            raise MeshError(use.status.store_trouble.code, use.status.store_trouble.detail)
        async with use.store.read() as tx:
            await tx.nodes.get(use.me.identity.id)
        return {"status": "ok", "degraded": use.status.degraded()}

    async def status(call: Call) -> Any:
        own = use.nodes.find(use.me.identity.id).snapshot()
        return {
            "node": {
                **encode_node(own),
                "version": use.me.facts.version,
                "platform": use.me.facts.platform,
            },
            "listeners": use.status.listeners,
            "peers": use.status.peers(),
            "certificate": encode_certificate(use.status.certificate),
            "degraded": use.status.degraded(),
            "notices": [encode_notice(notice) for notice in await use.notices.unseen()],
            "caller": {
                "role": call.principal.role.name.lower(),
                "node_id": call.principal.node_id,
                "level": call.principal.level,
            },
        }

    async def notices_seen(call: Call) -> Any:
        body: Seen = call.body
        return {"seen": await use.notices.seen(up_to=body.up_to, only=body.id)}

    async def rename_self(call: Call) -> Any:
        body: Name = call.body
        identity = await use.renaming.rename(body.name)
        return {"node": {"id": identity.id, "name": identity.name}}

    async def list_nodes(_: Call) -> Any:
        return {"nodes": [encode_node(node) for node in use.nodes.list()]}

    def reference(call: Call) -> str:
        return call.request.match_info["ref"]

    async def show_node(call: Call) -> Any:
        return {"node": encode_node(use.nodes.find(reference(call)).snapshot())}

    async def alias_node(call: Call) -> Any:
        body: Alias = call.body
        return {"node": encode_node(await use.nodes.set_alias(call.principal, reference(call), body.alias))}

    async def trust_node(call: Call) -> Any:
        body: Level = call.body
        return {"node": encode_node(await use.nodes.set_trust(call.principal, reference(call), body.level))}

    async def revoke_node(call: Call) -> Any:
        keeps = call.request.query.get("keep_introduced") == "true"
        revoked = await use.nodes.revoke(call.principal, reference(call), keeps_introduced=keeps)
        node, *introduced = [encode_node(row) for row in revoked]
        return {"node": node, "introduced": introduced}

    async def forget_node(call: Call) -> Any:
        return {"node": encode_node(await use.nodes.forget(call.principal, reference(call)))}

    async def list_requests(_: Call) -> Any:
        return {"requests": [encode_request(request) for request in await use.requests.pending()]}

    async def approve_request(call: Call) -> Any:
        request = await use.requests.approve(call.principal, call.request.match_info["request_id"])
        return {"request": encode_request(request)}

    async def reject_request(call: Call) -> Any:
        request = await use.requests.reject(call.principal, call.request.match_info["request_id"])
        return {"request": encode_request(request)}

    async def unlock(_: Call) -> Any:
        await use.budget.unlock()
        return {}

    async def join(call: Call) -> Any:
        body: Join = call.body
        pin = parse_pin(body.pin)
        if "://" in body.to:
            invite = parse_invite(body.to)
            invitation = Invitation(invite.host, invite.port, pin, invite.code, invite.cert)
        else:
            host, port = parse_host_port(body.to)
            invitation = Invitation(host, port, pin)
        joined = await use.joining.join(invitation)
        return {"node": encode_node(joined.node), "was": joined.was}

    async def discovered(_: Call) -> Any:
        sightings = use.discovery.list()
        return {
            "nodes": [
                {"id": s.id, "name": s.name, "host": s.host, "port": s.port, "pairing_open": s.pairing_open}
                for s in sightings
            ]
        }

    async def doctor(call: Call) -> Any:
        is_short = call.request.query.get("stages") == "network"
        found = await use.diagnosing.diagnose(network_only=is_short)
        return encode_diagnosis(found.findings, found.ladder)

    async def audit(call: Call) -> Any:
        text = call.request.query.get("limit", "100")
        if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= AUDIT_MAX:
            raise invalid("limit", f"a number from 1 to {AUDIT_MAX}")
        async with use.store.read() as tx:
            entries = await tx.audit.latest(int(text))
        return {
            "entries": [
                {
                    "at": format_time(e.at), "event": e.event, "node_id": e.node_id, "node_name": e.node_name,
                    "address": e.address, "dialect": e.dialect, "detail": e.detail, "times": e.times,
                }
                for e in entries
            ]
        }  # fmt: skip

    def route(
        method: str, path: str, action: Action, answer: Any, body: Any = None, listeners: frozenset[ListenerName] = BOTH
    ) -> Route:
        decoder = DECODERS[body] if body is not None else None
        return Route(method=method, path=path, action=action, answer=answer, body=decoder, listeners=listeners)

    node, requests = "/api/v1/nodes/{ref}", "/api/v1/pairing/requests"
    routes = (
        route("GET", "/healthz", Action.CHECK_HEALTH, health, None, EVERYWHERE),
        route("GET", "/readyz", Action.CHECK_READINESS, ready),
        route("GET", "/api/v1/node", Action.READ_NODES, status),
        route("PATCH", "/api/v1/node", Action.RENAME_SELF, rename_self, Name, CONTROL),
        route("GET", "/api/v1/nodes", Action.READ_NODES, list_nodes),
        route("GET", node, Action.READ_NODES, show_node),
        route("PATCH", node, Action.ALIAS_NODE, alias_node, Alias),
        route("DELETE", node, Action.FORGET_NODE, forget_node),
        route("POST", f"{node}/revoke", Action.REVOKE_NODE, revoke_node),
        route("PUT", f"{node}/trust", Action.SET_TRUST, trust_node, Level, CONTROL),
        *offer_routes(use),
        route("GET", requests, Action.DECIDE_REQUEST, list_requests),
        route("POST", requests + "/{request_id}/approve", Action.DECIDE_REQUEST, approve_request),
        route("POST", requests + "/{request_id}/reject", Action.DECIDE_REQUEST, reject_request),
        route("POST", "/api/v1/pairing/unlock", Action.UNLOCK_PAIRING, unlock, None, CONTROL),
        route("POST", "/api/v1/pairing/join", Action.JOIN_NODE, join, Join),
        route("POST", "/api/v1/notices/seen", Action.DISMISS_NOTICES, notices_seen, Seen, CONTROL),
        route("GET", "/api/v1/discovered", Action.READ_NODES, discovered),
        Route(
            method="GET",
            path="/api/v1/doctor",
            action=Action.DIAGNOSE_NODE,
            answer=doctor,
            listeners=CONTROL,
            query={"stages": "`network`: only what keeps nodes from seeing each other; takes less than three seconds"},
        ),
        Route(
            method="GET",
            path="/api/v1/audit",
            action=Action.READ_NODES,
            answer=audit,
            listeners=BOTH,
            query={"limit": f"how many, 1 to {AUDIT_MAX}; 100 unless said"},
        ),
    )
    return Wire(routes=(*routes, *browser_routes(use)), methods=browser_methods(use))
