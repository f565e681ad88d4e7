"""The API description: every part of a route is in it, and nothing else."""

import re
from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest

from meshnode.domain.errors import CODES, NEVER_SENT
from meshnode.domain.pairing_code import Secret
from meshnode.domain.principal import Action
from meshnode.transport.http_server import Call, Route
from meshnode.transport.openapi import describe_routes, openapi_route


class Inner(msgspec.Struct):
    """A part of a body."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Asked(msgspec.Struct):
    """A body."""

    name: Annotated[str, msgspec.Meta(max_length=5)]
    pin: Secret
    inner: Inner | None = None


class Answered(msgspec.Struct):
    """An answer."""

    id: str


async def answer(_: Call) -> Any:
    """What it does

    And more.
    """


async def silent(_: Call) -> Any:
    pass


ROUTES = (
    Route(
        method="PUT",
        path=r"/things/{ref}/parts/{part:[0-9]+}",
        action=Action.REVOKE_NODE,
        answer=answer,
        body=msgspec.json.Decoder(Asked),
        result=Answered,
        query={"limit": "how many"},
        listeners=frozenset({"public", "control"}),
        is_local_only=True,
    ),
    Route(method="GET", path="/healthz", action=Action.CHECK_HEALTH, answer=silent),
    Route(method="PATCH", path="/self", action=Action.RENAME_SELF, answer=silent, listeners=frozenset({"control"})),
    Route(method="GET", path="/ws", action=Action.CONNECT, answer=silent),
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The description of four routes."""
    return describe_routes(ROUTES, "1.2.3")


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """A validator of a schema with the document's components in reach."""
    return jsonschema_rs.validator_for({**schema, "components": document["components"]})


def test_it_says_what_it_describes(document: dict[str, Any]) -> None:
    """OpenAPI 3.1, our version, one path item a path."""
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"
    assert {path: sorted(item) for path, item in document["paths"].items()} == {
        "/things/{ref}/parts/{part}": ["put"],
        "/healthz": ["get"],
        "/self": ["patch"],
        "/ws": ["get"],
    }


def test_parameters_come_from_path_and_query(document: dict[str, Any]) -> None:
    """A path's are required, a query's are not; aiohttp's patterns are left out."""
    operation = document["paths"]["/things/{ref}/parts/{part}"]["put"]
    found = [(p["name"], p["in"], p["required"]) for p in operation["parameters"]]
    assert found == [("ref", "path", True), ("part", "path", True), ("limit", "query", False)]
    assert operation["parameters"][2]["description"] == "how many"


def test_bodies_and_answers_are_the_types_of_the_route(document: dict[str, Any]) -> None:
    """The schema accepts what the decoder accepts, and refuses what it refuses."""
    operation = document["paths"]["/things/{ref}/parts/{part}"]["put"]
    body = operation["requestBody"]
    assert body["required"] is True
    validator = resolved(document, body["content"]["application/json"]["schema"])
    assert validator.is_valid({"name": "abc", "inner": {"port": 1}, "pin": "042137"})
    pin = {"pin": "042137"}
    for wrong in ({}, pin, [], {"name": "a", "pin": 42137}, {"name": "abcdef", **pin}):
        assert not validator.is_valid(wrong), wrong
    assert not validator.is_valid({"name": "a", "inner": {"port": 0}, **pin})
    answered = resolved(document, operation["responses"]["200"]["content"]["application/json"]["schema"])
    assert answered.is_valid({"id": "x"})
    assert not answered.is_valid({})


def test_a_route_without_types_promises_an_object(document: dict[str, Any]) -> None:
    """No body is described where none is read."""
    operation = document["paths"]["/healthz"]["get"]
    assert "requestBody" not in operation
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {"type": "object"}


def test_every_refusal_is_a_problem_with_a_known_code(document: dict[str, Any]) -> None:
    """The default answer of each operation; its codes are those that travel."""
    for item in document["paths"].values():
        for operation in item.values():
            assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
    content = document["components"]["responses"]["Problem"]["content"]
    problem = resolved(document, content["application/problem+json"]["schema"])
    good = {"type": "about:blank", "title": "t", "status": 404, "detail": "d", "next_step": "n"}
    for code in CODES:
        assert problem.is_valid({**good, "code": code}) is (code not in NEVER_SENT)
    assert problem.is_valid({**good, "code": "bad_pin", "attempts_left": 2, "success": False})


def test_other_answers_of_a_route_are_told() -> None:
    """A refusal with a shape of its own beside the problem, other content types, what `join` finds elsewhere."""
    kinds = ("application/json", "application/x+json")
    route = msgspec.structs.replace(
        ROUTES[0], action=Action.JOIN_NODE, refused=Inner, result_types=kinds, path="/other", query={}
    )
    described = describe_routes([route], "1")
    answers = described["paths"]["/other"]["put"]["responses"]
    assert answers.keys() == {"200", "400", "502", "default"}
    assert tuple(answers["200"]["content"]) == kinds
    assert tuple(answers["400"]["content"]) == (*kinds, "application/problem+json")
    refused = resolved(described, answers["400"]["content"][kinds[1]]["schema"])
    assert refused.is_valid({"port": 1})
    assert not refused.is_valid({"port": 0})
    elsewhere = resolved(described, answers["502"]["content"]["application/problem+json"]["schema"])
    problem = {"type": "about:blank", "title": "t", "status": 502, "detail": "d", "next_step": "n"}
    assert {code for code in CODES if elsewhere.is_valid({**problem, "code": code})} == {
        "unreachable", "bad_answer", "certificate_mismatch", "wrong_node_at_address",
    }  # fmt: skip


def test_security_and_listeners_are_told(document: dict[str, Any]) -> None:
    """Who may call, with which token, where."""
    paths = document["paths"]
    assert {} in paths["/healthz"]["get"]["security"]
    part = paths["/things/{ref}/parts/{part}"]["put"]
    assert part["security"] == [{"bearer": []}, {"device": []}, {"cookie": []}]
    assert part["x-listeners"] == ["control", "public"]
    assert "local network" in part["description"]
    assert paths["/self"]["patch"]["security"] == [{"bearer": []}, {"device": []}]
    assert paths["/self"]["patch"]["x-listeners"] == ["control"]
    schemes = document["components"]["securitySchemes"]
    assert schemes.keys() == {"bearer", "device", "cookie"}
    assert schemes["cookie"]["name"] == "__Host-meshnode"


def test_the_socket_answers_with_an_upgrade(document: dict[str, Any]) -> None:
    """101, and no JSON."""
    assert document["paths"]["/ws"]["get"]["responses"].keys() == {"101", "default"}


def test_operations_are_named_once_and_summed_up(document: dict[str, Any]) -> None:
    """Ids are unique words; a summary is the answer's own first line, or its action."""
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"\w+", one) for one in ids)
    assert [operation["summary"] for operation in operations] == [
        "What it does", "Check health", "Rename self", "Connect",
    ]  # fmt: skip


async def test_it_is_made_once_and_describes_itself() -> None:
    """At the first request; the second gets the same bytes."""
    route = openapi_route(ROUTES, "1.2.3")
    first, second = await route.answer(None), await route.answer(None)  # type: ignore[arg-type]
    assert first.body is second.body
    assert set(msgspec.json.decode(first.body)["paths"]) == {*describe_routes(ROUTES, "")["paths"], "/openapi.json"}
    assert (route.action, route.listeners) == (Action.READ_API, {"public", "control"})


def test_a_type_without_schema_is_an_error() -> None:
    """Rather than a description that leaves something out."""
    route = msgspec.structs.replace(ROUTES[0], result=complex)
    with pytest.raises(TypeError):
        describe_routes([route], "1.2.3")
