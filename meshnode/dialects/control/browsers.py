"""What browsers need: the owner's way in by a ticket, a device's view of the mesh, and its own way out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from meshnode.domain.errors import MeshError
from meshnode.domain.json_text import dump_json
from meshnode.domain.pairing_code import Hidden
from meshnode.domain.principal import Action, ListenerName
from meshnode.domain.timestamps import format_time
from meshnode.node.use_cases import UseCases
from meshnode.transport.connections import TOKEN_OVER
from meshnode.transport.gate import COOKIE
from meshnode.transport.http_problem import JSON
from meshnode.transport.http_server import Call, Route
from meshnode.transport.peer_user import user_behind
from meshnode.transport.rpc_server import AUTHENTICATE
from meshnode.transport.rpc_socket import Method, RpcCall

CONTROL: Final[frozenset[ListenerName]] = frozenset({"control"})
ROOT: Final = 0  # a ticket asked for by root is for whom root gives it to


class RedeemTicket(Hidden, msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Trade the ticket of a link for a token."""

    ticket: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Authenticate(Hidden, msgspec.Struct, kw_only=True):
    """`session.authenticate`: a token where a browser cannot send it with the upgrade."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Leave(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A device leaves; there is nothing to say about it."""


_LEAVE: Final = msgspec.json.Decoder(Leave)
_TICKET: Final = msgspec.json.Decoder(RedeemTicket)


def browser_routes(use: UseCases) -> Sequence[Route]:
    """Tickets on the control listener; the mesh as any paired device may see it; a device leaves."""

    async def issue(call: Call) -> Any:
        """A link for the owner's browser"""
        user = await _user_of(call)
        ticket = use.browsers.issue(None if user == ROOT else user)
        url = f"http://{call.request.host}/#ticket={ticket.text}"
        return _secret({"ticket": str(ticket.text), "url": url, "expires_at": format_time(ticket.expires_at)})

    async def redeem(call: Call) -> Any:
        """Trade a ticket for the owner's token, once"""
        body: RedeemTicket = call.body
        signed_in = await use.browsers.redeem(body.ticket, call.address, await _user_of(call))
        return _secret({"token": str(signed_in.token), "expires_at": format_time(signed_in.expires_at)})

    async def sign_out(_: Call) -> Any:
        """Sign every browser of the owner out"""
        return {"ended": await use.browsers.end_all()}

    async def mesh(call: Call) -> Any:
        """Who is in the mesh"""
        nodes = [node for node in use.nodes.list() if node.trust in ("self", "paired")]
        return {
            "nodes": [
                {
                    "id": node.id, "name": node.name, "kind": node.kind, "status": node.status,
                    "status_reason": node.status_reason,
                    "last_seen": None if node.last_seen is None else format_time(node.last_seen),
                    "is_current": node.is_current, "is_you": node.id == call.principal.node_id,
                }
                for node in nodes
            ]
        }  # fmt: skip

    async def leave(call: Call) -> Any:
        """A device gives up its own trust"""
        await use.nodes.leave(call.principal)
        response = web.json_response({})
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    return (
        Route(
            method="POST", path="/api/v1/tickets", action=Action.ISSUE_TICKET, answer=issue, listeners=CONTROL
        ),
        Route(
            method="DELETE", path="/api/v1/tickets", action=Action.ISSUE_TICKET, answer=sign_out, listeners=CONTROL
        ),
        Route(
            method="POST", path="/api/v1/tickets/redeem", action=Action.REDEEM_TICKET, answer=redeem, body=_TICKET,
            listeners=CONTROL,
        ),
        Route(method="GET", path="/api/v1/mesh", action=Action.READ_MESH, answer=mesh),
        Route(method="DELETE", path="/api/v1/session", action=Action.LEAVE_MESH, answer=leave, body=_LEAVE),
    )  # fmt: skip


def browser_methods(use: UseCases) -> Sequence[Method]:
    """`session.authenticate`, on the control listener."""

    async def authenticate(call: RpcCall) -> Any:
        params: Authenticate = call.params
        user = await _user_of(call.socket.call)
        session = use.sessions.find_browser(params.token, lambda: user)
        if session is None:
            call.socket.end("that token is not valid", TOKEN_OVER)
            raise MeshError("token_required", "that is no token of `meshnode open`, or it is over")
        call.socket.take_session(session)
        return {}

    return (
        Method(
            name=AUTHENTICATE, action=Action.REDEEM_TICKET, answer=authenticate, params=Authenticate, listeners=CONTROL
        ),
    )


async def _user_of(call: Call) -> int | None:
    """Who on this machine calls, where it can be known: all its users see a ticket in the browser's command line."""
    return await asyncio.to_thread(user_behind, call.request.transport)


def _secret(answer: dict[str, Any]) -> web.Response:
    """An answer that nothing may keep."""
    return web.Response(body=dump_json(answer), content_type=JSON, headers={"Cache-Control": "no-store"})
