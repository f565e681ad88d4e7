"""/graphql of a running node: queries that schemathesis makes from its introspection, soup of words, odd variables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from graphql import get_introspection_query
from hypothesis import strategies as st
from schemathesis.graphql import nodes

from tests.fuzz.target import Caller, Target

# the node's own certificate, by a client that knows authorities only
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

ANSWER_S: Final = 10.0
EXAMPLES: Final = 100
STATUSES: Final = {200, 400, 413}
KINDS: Final = ("application/json", "application/problem+json")
CALLERS: Final = ("phone", "owner")
ANNOUNCE: Final = """mutation($input: AnnounceNodeInput!) {
  announceNode(input: $input) { success message node { id name hostname port metadata capabilities } } }"""
WORDS: Final = (
    *("{", "}", "(", ")", "[", "]", "!", "$", "...", ":", "=", "@", "|", "&", '"', '"""', "#", ",", "\\u0000"),
    *("query", "mutation", "subscription", "fragment", "on", "true", "null", "schema", "extend", "__typename"),
    *("currentNode", "nodes", "announceNode", "input", "id", "metadata", "Node", "Query", "f", "$v", "JSON"),
    *("@skip(if: true)", "@include(if: $v)", "@defer", "@stream", "{ id }", "...f", "fragment f on Node { ...f }"),
    *("{ currentNode { id } }", "{ nodes(first: -1) { id } }", "first: 99999999999999999999", "-0", "1e400", "0x1"),
    *("__schema { types { fields { type { ofType { name } } } } }", "{ a: nodes { id } b: nodes { id } }"),
)

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
schemathesis.graphql.scalar(
    "JSON",
    st.text(max_size=20).map(nodes.String)
    | st.integers().map(nodes.Int)
    | st.floats(allow_nan=False, allow_infinity=False).map(nodes.Float)
    | st.booleans().map(nodes.Boolean)
    | st.just(nodes.Null),
)


class Asker:
    """One caller's connection to /graphql; everything that comes back is judged."""

    def __init__(self, target: Target, caller: Caller) -> None:
        self.target = target
        self.caller = caller
        self.url = f"{caller.url}/graphql"
        self.session = requests.Session()
        self.asked = 0
        self.done = 0  # requests that were run without an error

    def post(self, body: bytes) -> dict[str, Any]:
        """Ask; the answer, in time and of a kind and status of ours, and without an error of our own making."""
        self.asked += 1
        headers = {**self.caller.headers, "Content-Type": "application/json"}
        began = time.monotonic()
        response = self.session.post(self.url, body, headers=headers, timeout=ANSWER_S, verify=False)
        assert time.monotonic() - began < ANSWER_S
        assert response.status_code in STATUSES, (response.status_code, response.text)
        assert response.headers["Content-Type"].partition(";")[0] in KINDS
        answer: dict[str, Any] = response.json()
        assert ("data" in answer) is (response.status_code == 200), answer
        assert "internal_error" not in response.text
        self.done += "data" in answer and "errors" not in answer
        return answer

    def run(self, made: st.SearchStrategy[Any], ask: Callable[..., None], effort: int) -> None:
        """Ask with everything that is made."""
        self.target.stand(self.caller, made, ask, EXAMPLES * effort)
        assert self.asked > EXAMPLES


@pytest.fixture(params=CALLERS)
def asker(request: pytest.FixtureRequest, target: Target) -> Iterator[Asker]:
    """Each who may ask, at a node of its own."""
    made = Asker(target, target.caller(request.param))
    yield made
    made.session.close()


def test_every_query_of_the_schema_is_answered(asker: Asker, effort: int) -> None:
    """What schemathesis makes of the introspection is run or refused, never broken by."""
    introspected = asker.post(json.dumps({"query": get_introspection_query()}).encode())["data"]
    schema = schemathesis.graphql.from_dict(introspected)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.label for operation in operations} == {
        "Query.currentNode", "Query.nodes", "Mutation.announceNode",
    }  # fmt: skip

    def ask(case: schemathesis.Case) -> None:
        asker.post(json.dumps({"query": case.body}).encode())

    asker.run(st.one_of([operation.as_strategy() for operation in operations]), ask, effort)
    assert asker.done > asker.asked / 2


def test_a_soup_of_words_breaks_nothing(asker: Asker, effort: int) -> None:
    """Words of the language in any order, cyclic fragments and deep nesting among them."""
    soup = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=40).map(" ".join)
    deep = st.builds(
        lambda depth, opening: opening * depth,
        st.integers(1, 4000),
        st.sampled_from(["{a", "[", "(", "{a(a:[", "...{"]),
    )
    repeated = st.builds(lambda word, times: f"{{ {word * times} }}", st.sampled_from(WORDS), st.integers(1, 400))
    whole = st.fixed_dictionaries({"query": soup | deep | repeated}, optional={"operationName": st.text(max_size=5)})

    def ask(body: dict[str, Any]) -> None:
        asker.post(json.dumps(body).encode())

    asker.run(whole, ask, effort)


def test_odd_variables_break_nothing(asker: Asker, effort: int) -> None:
    """`announceNode` with what JSON can hold in place of what it should, and about nodes it must not touch."""
    target = asker.target
    ids = st.sampled_from([*target.tokens, target.node.id, target.peer.id, "related", "new-1", "new-2"])
    said = st.fixed_dictionaries(
        {
            "node_id": ids | any_json,
            "name": st.text(max_size=20) | any_json,
            "hostname": st.sampled_from(["192.0.2.1", "a.b", "::1"]) | any_json,
            "port": st.integers(-1, 65536) | any_json,
        },
        optional={
            "capabilities": st.lists(st.sampled_from(["media.play", "a b", ""])) | any_json,
            "metadata": st.dictionaries(st.text(max_size=5), any_json, max_size=3) | any_json,
        },
    )
    likely = st.fixed_dictionaries(
        {
            "node_id": ids,
            "name": st.text(min_size=1, max_size=20),
            "hostname": st.just("192.0.2.1"),
            "port": st.integers(1, 65535),
        },
        optional={"metadata": st.dictionaries(st.text(max_size=5), any_json, max_size=3)},
    )

    def ask(variables: Any) -> None:
        asker.post(json.dumps({"query": ANNOUNCE, "variables": variables}).encode())

    asker.run(st.fixed_dictionaries({"input": likely | said}) | any_json, ask, effort)
    assert asker.done
