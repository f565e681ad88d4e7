"""`/openapi.json`: OpenAPI 3.1, made from the routes themselves when it is first asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from meshnode.domain.errors import CODES, NEVER_SENT
from meshnode.domain.json_text import dump_json
from meshnode.domain.principal import NEEDS, Action, Need
from meshnode.transport.gate import COOKIE
from meshnode.transport.http_problem import JSON, PROBLEM
from meshnode.transport.http_server import Call, Route

_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^{}]*)?\}")  # as aiohttp writes them
_REF: Final = "#/components/schemas/{name}"
_CALLERS: Final = {
    Need.ANYONE: "anyone",
    Need.PEER: "a peer, with the token of its own session",
    Need.DEVICE: "a paired device",
    Need.PAIRED: "any paired device or peer",
    Need.OPERATOR: "the owner, or trust level 2",
    Need.OWNER: "the owner",
}
_SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The owner's token on the control listener; a device's or a session's on the others.",
    },
    "device": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Device TOKEN`; the same tokens as with `Bearer`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "A browser's session on the public listener; what changes anything needs Origin as well.",
    },
}
_BAD_GATEWAY: Final = 502
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "RFC 9457; some refusals carry members of their own, such as `attempts_left` or `field`.",
    "required": ["type", "title", "status", "code", "detail", "next_step"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"enum": sorted(set(CODES) - NEVER_SENT)},
        "detail": {"type": "string"},
        "next_step": {"type": "string"},
        "retry_after": {"type": "integer", "description": "seconds; as the header Retry-After"},
    },
}

_OTHER_SIDE: Final = {
    **_PROBLEM,
    "description": "What is wrong with the node that was to be joined.",
    "properties": {
        **_PROBLEM["properties"],
        "code": {"enum": sorted(code for code in CODES if CODES[code].status == _BAD_GATEWAY)},
    },
}


def openapi_route(others: Sequence[Route], version: str) -> Route:
    """`GET /openapi.json`, which describes `others` and itself."""
    others, made = tuple(others), list[bytes]()

    async def openapi(_: Call) -> web.Response:
        """This description"""
        if not made:
            made.append(dump_json(describe_routes([*others, own], version)))
        return web.Response(body=made[0], content_type=JSON)

    own = Route(
        method="GET",
        path="/openapi.json",
        action=Action.READ_API,
        answer=openapi,
        listeners=frozenset({"public", "control"}),
        result=dict[str, Any],
    )
    return own


def describe_routes(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The OpenAPI document of some routes."""
    routes = list(routes)
    types = [kind for route in routes for kind in (_body_type(route), route.result, route.refused) if kind is not None]
    schemas, components = msgspec.json.schema_components(
        list(dict.fromkeys(types)), schema_hook=_schema_of_text, ref_template=_REF
    )
    schema_of = dict(zip(dict.fromkeys(types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "meshnode",
            "version": version,
            "description": "What this node answers over HTTP. `x-listeners` says on which of its listeners.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM, "OtherSide": _OTHER_SIDE},
            "securitySchemes": _SECURITY_SCHEMES,
            "responses": {
                "Problem": {
                    "description": "A refusal. 429 carries `Retry-After`, 405 `Allow`.",
                    "content": {PROBLEM: {"schema": {"$ref": _REF.format(name="Problem")}}},
                }
            },
        },
    }


def _operation(route: Route, schema_of: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    need = NEEDS[route.action]
    listeners = sorted(route.listeners)
    note = " From the local network only, unless configured otherwise." if route.is_local_only else ""
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": (route.answer.__doc__ or route.action.value.replace("_", " ").capitalize()).partition("\n")[0],
        "description": f"For {_CALLERS[need]}; on the {' and '.join(listeners)} listener.{note}",
        "x-listeners": listeners,
        "security": _security(need, route),
        "responses": {**_answers(route, schema_of), "default": {"$ref": "#/components/responses/Problem"}},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": what}
        for name, what in route.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    kind = _body_type(route)
    if kind is not None:
        content = {media_type: {"schema": schema_of[kind]} for media_type in sorted(route.body_types)}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answers(route: Route, schema_of: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    """By status: what is answered beside the problem that every route has."""
    if route.action is Action.CONNECT:
        return {"101": {"description": "The connection is a WebSocket now and speaks JSON-RPC 2.0."}}
    if route.result is str:
        return {"200": {"description": "Done.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    if route.result is bytes:  # files: HEAD has the same headers, 304 = the caller's copy is the same
        content = (
            {} if route.method == "HEAD" else {kind: {"schema": {"type": "string"}} for kind in route.result_types}
        )
        return {"200": {"description": "Done.", "content": content}, "304": {"description": "Not modified."}}
    schema = {"type": "object"} if route.result is None else schema_of[route.result]
    answers = {"200": {"description": "Done.", "content": {kind: {"schema": schema} for kind in route.result_types}}}
    if route.refused is not None:
        content = {kind: {"schema": schema_of[route.refused]} for kind in route.result_types}
        content[PROBLEM] = {"schema": {"$ref": _REF.format(name="Problem")}}
        answers["400"] = {"description": "It was not done.", "content": content}
    if route.action is Action.JOIN_NODE:
        content = {PROBLEM: {"schema": {"$ref": _REF.format(name="OtherSide")}}}
        answers[str(_BAD_GATEWAY)] = {"description": "The other node did not answer as it should.", "content": content}
    return answers


def _security(need: Need, route: Route) -> list[dict[str, list[str]]]:
    """Any one of these; `{}` = none is needed."""
    schemes: list[dict[str, list[str]]] = [{"bearer": []}, {"device": []}]
    if "public" in route.listeners:
        schemes.append({"cookie": []})
    return [{}, *schemes] if need is Need.ANYONE else schemes


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", _PARAMETER.sub(r"by_\1", route.path))
    return "_".join((route.method.lower(), *words))


def _body_type(route: Route) -> Any:
    return None if route.body is None else route.body.type


def _schema_of_text(kind: type) -> dict[str, Any]:
    """Of the types that msgspec doesn't know: text with a meaning of its own."""
    if issubclass(kind, str):
        return {"type": "string"}
    raise NotImplementedError(f"no schema for {kind!r}")
