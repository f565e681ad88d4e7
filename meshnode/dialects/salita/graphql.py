"""salita's GraphQL endpoint: `schema.graphql` is the contract. graphql-core is loaded by the first request."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from meshnode.dialects.salita.codec import GraphQLRequest, decode_announced, encode_graphql_node
from meshnode.domain.errors import MeshError
from meshnode.domain.json_text import dump_json
from meshnode.domain.peer import MeshNode
from meshnode.domain.principal import Action, authorise
from meshnode.node.update_device import DeviceUpdate
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_problem import JSON
from meshnode.transport.http_server import Call

if TYPE_CHECKING:
    from graphql import ExecutionResult, GraphQLError, GraphQLSchema

DIALECT: Final = "salita"
GRAPHQL_JSON: Final = "application/graphql-response+json"
SCHEMA_FILE: Final = Path(__file__).with_name("schema.graphql")
BODY_MAX: Final = 32 * 1024
TOKENS_MAX: Final = 500  # the usual introspection query has 183
COST_MAX: Final = 20_000  # of one request, see `_cost`: a page of 500 nodes has some 10 000, introspection 1000
PAGE_MAX: Final = 500

log = logging.getLogger(__name__)


class TooMuch(BaseException):
    """A query wants more than one request may; not an Exception, so that the execution ends there."""


@functools.cache
def load_schema() -> GraphQLSchema:
    """The schema of the SDL file."""
    from graphql import build_schema

    return build_schema(SCHEMA_FILE.read_text("utf-8"))


def serve_graphql(use: UseCases) -> Callable[[Call], Awaitable[web.Response]]:
    """What answers `POST /graphql`."""

    async def graphql(call: Call) -> web.Response:
        """Run a GraphQL request."""
        asked: GraphQLRequest = call.body
        if call.request.content_type != JSON and "Authorization" in call.request.headers:
            raise MeshError("unsupported_media_type", "send application/json")  # else: a page of ours, by fetch()
        if (call.request.content_length or 0) > BODY_MAX:
            raise MeshError("body_too_large", f"at most {BODY_MAX} bytes here")
        status, answer = await run_query(asked, _roots(use, call))
        accepted = call.request.headers.get("Accept", "")
        kind = GRAPHQL_JSON if GRAPHQL_JSON in accepted else JSON
        return web.Response(status=status, body=dump_json(answer), content_type=kind)

    return graphql


async def run_query(asked: GraphQLRequest, roots: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and answer. 400 = the request itself is wrong and nothing was run."""
    from graphql import GraphQLError, execute, parse, validate

    spent = 0

    def count(resolve: Callable[..., Any], source: Any, info: Any, **arguments: Any) -> Any:
        nonlocal spent
        value = resolve(source, info, **arguments)
        spent += _cost(info.field_name, value)
        if spent > COST_MAX:
            raise TooMuch
        return value

    try:
        document = parse(asked.query, max_tokens=TOKENS_MAX)
        errors = validate(load_schema(), document, max_errors=5)
        if errors:
            return _refusal(errors)
        result = execute(
            load_schema(),
            document,
            root_value=roots,
            variable_values=asked.variables,
            operation_name=asked.operationName,
            middleware=[count],
        )
        done: ExecutionResult = await result if isinstance(result, Awaitable) else result
    except GraphQLError as error:
        return _refusal([error])
    except RecursionError:
        return _refusal([GraphQLError("the query is nested too deeply")])
    except TooMuch:
        return _refusal([GraphQLError("the query asks for too much at once; ask for fewer nodes or fields")])
    if done.data is None and not any(error.path for error in done.errors or ()):
        return _refusal(done.errors or [])
    answer: dict[str, Any] = {"data": done.data}
    if done.errors:
        answer["errors"] = [_format_error(error) for error in done.errors]
    return 200, answer


def _cost(field: str, value: Any) -> int:
    """What a field adds to the work of a request: itself, its items, its length."""
    if field == "metadata":
        return 1 + len(dump_json(value)) // 50
    return 1 + len(value) if isinstance(value, list) else 1


def _refusal(errors: list[GraphQLError]) -> tuple[int, dict[str, Any]]:
    return 400, {"errors": [_format_error(e) for e in errors], "extensions": {"code": "invalid_params"}}


def _format_error(error: GraphQLError) -> dict[str, Any]:
    """An error as the specification has it; what went wrong inside stays inside."""
    cause = error.original_error
    formatted: dict[str, Any] = dict(error.formatted)
    if isinstance(cause, MeshError):
        formatted["message"], formatted["extensions"] = cause.detail, {"code": cause.code}
    elif error.path and cause is not None:
        log.error("unexpected error in GraphQL at %s", error.path, exc_info=cause)
        formatted["message"], formatted["extensions"] = "internal error", {"code": "internal_error"}
    return formatted


def _roots(use: UseCases, call: Call) -> dict[str, Any]:
    """The resolvers of one request; each asks the authorisation table."""
    caller = call.principal

    def show(node: MeshNode) -> dict[str, Any]:
        if node.is_current and call.listener != "control":  # where the caller reaches us
            hostname, port = call.reached_at
            node = replace(node, hostname=hostname, port=port)
        return encode_graphql_node(node)

    def is_visible(node: MeshNode) -> bool:
        """To a device that is no operator: we, itself, and what it told us of."""
        return node.is_current or node.id == caller.node_id or _is_told_by(node, caller.node_id)

    def current_node(_: Any) -> dict[str, Any]:
        authorise(caller, Action.QUERY_GRAPHQL)
        return show(use.nodes.find(use.me.identity.id).snapshot())

    def nodes(_: Any, first: int | None = PAGE_MAX, after: str | None = None) -> list[dict[str, Any]]:
        authorise(caller, Action.QUERY_GRAPHQL)
        known = use.nodes.list()
        try:
            authorise(caller, Action.READ_NODES)
        except MeshError:
            known = [node for node in known if is_visible(node)]
        if after is not None:
            ids = [node.id for node in known]
            known = known[ids.index(after) + 1 :] if after in ids else []
        return [show(node) for node in known[: max(0, min(PAGE_MAX if first is None else first, PAGE_MAX))]]

    async def announce_node(_: Any, **arguments: Any) -> dict[str, Any]:
        try:
            claim, changes = decode_announced(arguments["input"])
            node = await use.announcing.announce(caller, claim, DIALECT, DeviceUpdate(**changes))
        except MeshError as error:
            return {"success": False, "message": error.detail, "node": None}
        return {"success": True, "message": None, "node": show(node)}

    return {"currentNode": current_node, "nodes": nodes, "announceNode": announce_node}


def _is_told_by(node: MeshNode, node_id: str | None) -> bool:
    return node_id is not None and node.trust == "announced" and node.introduced_by == node_id
