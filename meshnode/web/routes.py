"""The routes of the pages. They hold no data: anybody may read them, and what they ask the API for is judged there."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from meshnode.domain.errors import MeshError
from meshnode.domain.principal import Action, ListenerName
from meshnode.transport.http_problem import problem_response
from meshnode.transport.http_server import Call, Route
from meshnode.web.pages import HEADERS, TYPES, Asset, Pages

DASHBOARD: Final = "dashboard.html"
PHONE: Final = "phone.html"
ICON: Final = "favicon.ico"
BOTH: Final[frozenset[ListenerName]] = frozenset({"public", "control"})
PUBLIC: Final[frozenset[ListenerName]] = frozenset({"public"})
_BARE: Final = (DASHBOARD, PHONE)  # pages are served at their own addresses only


def serve_pages(pages: Pages | None = None) -> tuple[Route, ...]:
    """The dashboard at `/`, the phone page at `/p`, and all they are made of below `/static/`."""
    held = pages or Pages()

    async def answer(call: Call, path: str) -> web.Response:
        asset = held.cached(path) or await asyncio.to_thread(held.read, path)
        return _missing() if asset is None else respond(call.request, asset)

    async def dashboard(call: Call) -> web.Response:
        """The dashboard"""
        return await answer(call, DASHBOARD)

    async def phone(call: Call) -> web.Response:
        """What an invite opens in a browser: the phone page"""
        return await answer(call, PHONE)

    async def icon(call: Call) -> web.Response:
        """The icon of the pages"""
        return await answer(call, ICON)

    async def static(call: Call) -> web.Response:
        """A file of the pages"""
        path = call.request.match_info["path"]
        return _missing() if path in _BARE else await answer(call, path)

    html, image = (_bare(TYPES[".html"]),), (_bare(TYPES[".ico"]),)
    kinds = tuple(sorted({_bare(kind) for kind in TYPES.values()} | {"text/plain"}))
    return tuple(
        Route(
            method=method,
            path=path,
            action=Action.READ_PAGE,
            answer=handler,
            listeners=listeners,
            result=bytes,
            result_types=types,
        )
        for path, handler, listeners, types in (
            ("/", dashboard, BOTH, html),
            ("/p", phone, PUBLIC, html),
            ("/favicon.ico", icon, BOTH, image),
            ("/static/{path:.+}", static, BOTH, kinds),
        )
        for method in ("GET", "HEAD")
    )


def respond(request: web.Request, asset: Asset) -> web.Response:
    """The file, or that the browser's copy is the same."""
    headers = {**HEADERS, "Content-Security-Policy": asset.policy, "ETag": f'"{asset.etag}"'}
    body = asset.body
    if asset.packed is not None:
        headers["Vary"] = "Accept-Encoding"
        if _takes_gzip(request.headers.get("Accept-Encoding", "")):
            body = asset.packed
            headers["Content-Encoding"] = "gzip"
            headers["ETag"] = f'"{asset.etag}-gzip"'
    if _is_same(request.headers.get("If-None-Match", ""), headers["ETag"]):
        headers.pop("Content-Encoding", None)
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    return web.Response(body=body, headers=headers)  # aiohttp leaves the body of a HEAD away, and keeps its length


def _missing() -> web.Response:
    response = problem_response(MeshError("not_found", "nothing lives at this path"))
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _bare(content_type: str) -> str:
    return content_type.partition(";")[0]


def _takes_gzip(accepted: str) -> bool:
    """Whether `Accept-Encoding` names gzip and does not refuse it."""
    for part in accepted.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _is_same(condition: str, etag: str) -> bool:
    """Whether `If-None-Match` names this very version. RFC 9110, 13.1.2: compared weakly."""
    return condition.strip() == "*" or etag in [one.strip().removeprefix("W/") for one in condition.split(",")]
