"""What salita's GraphQL endpoint refuses to run, how it says so, and what no query can do."""

from __future__ import annotations

import json

import pytest
from graphql import get_introspection_query

from meshnode.dialects.salita.graphql import GRAPHQL_JSON
from tests.dialects.salita_phone import Phone, names_seen
from tests.fakes.local_node import LocalNode


def test_strangers_are_refused_before_anything_is_parsed(node: LocalNode) -> None:
    """401 whatever the body is; GET is not known."""
    stranger = Phone(node)
    for body in (b"{", b"not json", json.dumps({"query": "{"}).encode()):
        assert stranger.ask("POST", "/graphql", body).status == 401
    assert stranger.ask("GET", "/graphql?query={nodes{id}}").status == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([{"query": "{nodes{id}}"}], 400), ({}, 400), ({"query": 1}, 400), ({"query": "x" * 17_000}, 400),
        ({"query": "{nodes{id}}", "variables": {"x": "y" * 40_000}}, 413),
        ({"query": "{nodes{id}}", "variables": 1}, 400),
    ],
)  # fmt: skip
def test_a_body_that_is_no_request_is_a_problem(phone: Phone, body: object, status: int) -> None:
    """Batches, no query, too much of it."""
    answer = phone.ask("POST", "/graphql", body)
    assert answer.status == status
    assert answer.code in ("invalid_params", "body_too_large")


def test_only_json_is_read(phone: Phone) -> None:
    """From who sends a token; a page's text/plain counts with its cookie and Origin."""
    query = json.dumps({"query": "{ currentNode { id } }"}).encode()
    for kind in ("text/plain", "application/graphql", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert phone.ask("POST", "/graphql", query, Content_Type=kind).status == 415
    assert phone.ask("POST", "/graphql", query, **phone.page(), Content_Type="text/plain").status == 200
    assert phone.ask("POST", "/graphql", query, **phone.page(), Content_Type="application/graphql").code == "bad_origin"


@pytest.mark.parametrize(
    "query",
    [
        "", "{", "{ nope }", "query A { nodes { id } } query B { nodes { id } }", "subscription { x }",
        "{ nodes { id } } " * 100, "{ a(x: " + "[" * 200 + "1" + "]" * 200 + ") }",
        "fragment A on Node { ...A } { nodes { ...A } }", "{ nodes { id { id } } }",
        "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        "mutation($i: AnnounceNodeInput!) { announceNode(input: $i) { success } }",
        'mutation { announceNode(input: {node_id: "x"}) { success } }',
        '{ nodes(first: 99999999999) { id } }',
    ],
)  # fmt: skip
def test_a_wrong_query_is_400_with_errors(node: LocalNode, phone: Phone, query: str) -> None:
    """As the specification has it, and nothing is run."""
    rows = len(node.rows())
    answer = phone.query(query)
    assert answer.status == 400
    body = answer.json
    assert body["errors"][0]["message"]
    assert body["extensions"] == {"code": "invalid_params"}
    assert "data" not in body
    assert len(node.rows()) == rows


def aliases(field: str, count: int) -> str:
    """A field again and again."""
    return " ".join(f"a{i}: {field}" for i in range(count))


TYPES = "{ __schema {" + aliases("types { ...T }", 10) + "} }"
NODES = "{" + aliases("nodes { ...N }", 40) + "}"


@pytest.mark.parametrize(
    "query",
    [
        TYPES + "fragment T on __Type { fields { type { fields {" + aliases("name", 40) + "} } } }",
        NODES + "fragment N on Node {" + aliases("capabilities", 60) + "}",
        NODES + "fragment N on Node {" + aliases("metadata", 60) + "}",
    ],
    ids=["introspection", "lists", "metadata"],
)
def test_a_costly_query_ends_early(phone: Phone, query: str) -> None:
    """Within tokens and depth, but more than one request may have: 400, and the next request is answered."""
    for i in range(2):
        phone.announce(node_id=f"tv-{i}", capabilities=[f"c{n}" for n in range(128)], metadata={"x": "y" * 4000})
    answer = phone.query(query)
    assert answer.status == 400
    assert "too much" in answer.json["errors"][0]["message"]
    assert names_seen(phone)


def test_the_usual_introspection_is_allowed(phone: Phone) -> None:
    """Tools load the schema from the endpoint."""
    answer = phone.query(get_introspection_query())
    assert answer.status == 200
    assert "errors" not in answer.json


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        (f"{GRAPHQL_JSON}, application/json;q=0.9", GRAPHQL_JSON),
    ],
)
@pytest.mark.parametrize("query", ["{ nodes { id } }", "{"])
def test_the_answer_is_called_as_asked(phone: Phone, query: str, accept: str, kind: str) -> None:
    """application/json unless the client knows the newer name."""
    answer = phone.ask("POST", "/graphql", {"query": query}, Accept=accept)
    assert answer.headers["content-type"].split(";")[0] == kind


def test_what_breaks_inside_stays_inside(node: LocalNode, phone: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error is an `internal error`, not its text, and no 5xx."""

    def broken() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(node.graph.use.nodes, "list", broken)
    answer = phone.query("{ nodes { id } }")
    assert answer.status == 200
    assert answer.json["errors"][0]["extensions"] == {"code": "internal_error"}
    assert b"a secret" not in answer.body
