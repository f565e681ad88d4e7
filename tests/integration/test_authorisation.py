"""Every entry point × every kind of caller, as the one authorisation table says, and as is written down here again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import pytest

from meshnode.dialects.salita.graphql import load_schema
from meshnode.domain.principal import NEEDS, Action, ListenerName, Need
from tests.fakes.joiner import Joiner
from tests.fakes.plain_http import ask_control
from tests.integration.callers import CALLERS, INVALID, LISTENERS, Principals, principals

PAIRED = {"device 1", "device 2", "peer 1", "peer 2", "owner", "plain device"}
MAY = {
    "anyone": {*PAIRED, "anonymous", "announced"},
    "peer": {"peer 1", "peer 2"},
    "device": {"device 1", "device 2", "plain device"},
    "paired": PAIRED,
    "operator": {"device 2", "peer 2", "owner"},
    "owner": {"owner"},
}
NODE, PAIRING, DEVICES = "/api/v1/nodes/{ref}", "/api/v1/pairing", "/api/v1/encrypted/devices"
P, C, T = "public", "control", "plain"
ROUTES: dict[str, tuple[str, str]] = {  # who may, and on which listeners
    "GET /ws": ("anyone", f"{P} {C} {T}"),
    "GET /healthz": ("anyone", f"{P} {C} {T}"),
    "GET /": ("anyone", f"{P} {C}"),
    "HEAD /": ("anyone", f"{P} {C}"),
    "GET /p": ("anyone", P),
    "HEAD /p": ("anyone", P),
    "GET /favicon.ico": ("anyone", f"{P} {C}"),
    "HEAD /favicon.ico": ("anyone", f"{P} {C}"),
    "GET /static/{path:.+}": ("anyone", f"{P} {C}"),
    "HEAD /static/{path:.+}": ("anyone", f"{P} {C}"),
    "GET /readyz": ("paired", f"{P} {C}"),
    "GET /metrics": ("operator", f"{P} {C}"),
    "GET /openapi.json": ("paired", f"{P} {C}"),
    "GET /mesh/v1/identity": ("anyone", P),
    "POST /mesh/v1/pair/begin": ("anyone", P),
    "POST /mesh/v1/pair/exchange": ("anyone", P),
    "POST /mesh/v1/pair/finish": ("anyone", P),
    "POST /mesh/v1/pair/ack": ("anyone", P),
    "POST /mesh/v1/nonce": ("anyone", P),
    "POST /mesh/v1/session": ("anyone", P),
    "POST /mesh/v1/heartbeat": ("peer", P),
    "GET /api/v1/node": ("operator", f"{P} {C}"),
    "PATCH /api/v1/node": ("owner", C),
    "GET /api/v1/nodes": ("operator", f"{P} {C}"),
    f"GET {NODE}": ("operator", f"{P} {C}"),
    f"PATCH {NODE}": ("operator", f"{P} {C}"),
    f"DELETE {NODE}": ("operator", f"{P} {C}"),
    f"POST {NODE}/revoke": ("operator", f"{P} {C}"),
    f"PUT {NODE}/trust": ("owner", C),
    f"POST {PAIRING}/offers": ("operator", f"{P} {C}"),
    f"GET {PAIRING}/offers": ("operator", f"{P} {C}"),
    f"DELETE {PAIRING}/offers": ("operator", f"{P} {C}"),
    f"GET {PAIRING}/offers/{{offer_id}}": ("operator", f"{P} {C}"),
    f"DELETE {PAIRING}/offers/{{offer_id}}": ("operator", f"{P} {C}"),
    f"GET {PAIRING}/requests": ("operator", f"{P} {C}"),
    f"POST {PAIRING}/requests/{{request_id}}/approve": ("operator", f"{P} {C}"),
    f"POST {PAIRING}/requests/{{request_id}}/reject": ("operator", f"{P} {C}"),
    f"POST {PAIRING}/unlock": ("owner", C),
    f"POST {PAIRING}/join": ("operator", f"{P} {C}"),
    "GET /api/v1/discovered": ("operator", f"{P} {C}"),
    "GET /api/v1/doctor": ("owner", C),
    "GET /api/v1/audit": ("operator", f"{P} {C}"),
    "POST /api/v1/notices/seen": ("owner", C),
    "POST /api/v1/tickets": ("owner", C),
    "DELETE /api/v1/tickets": ("owner", C),
    "POST /api/v1/tickets/redeem": ("anyone", C),
    "GET /api/v1/mesh": ("device", P),
    "DELETE /api/v1/session": ("device", P),
    "POST /auth/pair/start": ("operator", f"{P} {C}"),
    "POST /auth/pair/verify": ("anyone", f"{P} {T}"),
    "POST /p/opened": ("anyone", f"{P} {T}"),
    "GET /api/node/identity": ("anyone", f"{P} {T}"),
    "POST /api/node/heartbeat": ("paired", f"{P} {T}"),
    "POST /graphql": ("paired", f"{P} {C} {T}"),
    f"POST {DEVICES}/pairing-code": ("operator", f"{P} {C}"),
    f"POST {DEVICES}/pair": ("anyone", f"{P} {T}"),
    f"GET {DEVICES}/trust": ("paired", f"{P} {C} {T}"),
    "POST /api/pair": ("anyone", f"{P} {T}"),
    "GET /api/devices": ("operator", f"{P} {C}"),
}
METHODS: dict[str, tuple[str, str]] = {
    "session.authenticate": ("anyone", C),
    "node.describe": ("paired", f"{P} {C}"),
    "event.subscribe": ("paired", f"{P} {C} {T}"),
    "event.publish": ("paired", f"{P} {C} {T}"),
    "node.pair.request": ("anyone", f"{P} {C} {T}"),
    "node.pair.confirm": ("anyone", f"{P} {C} {T}"),
    "node.pair.revoke": ("paired", f"{P} {C} {T}"),
    "node.pair.list": ("operator", f"{P} {C}"),
    "node.pair.approve": ("operator", f"{P} {C}"),
    "node.pair.reject": ("operator", f"{P} {C}"),
    "node.token.refresh": ("device", f"{P} {C} {T}"),
}
FIELDS = {
    "Query.currentNode": ("paired", "{ currentNode { id } }"),
    "Query.nodes": ("paired", "{ nodes { id } }"),
    "Mutation.announceNode": (
        "paired",
        'mutation { announceNode(input: {node_id: "OWN", name: "x", hostname: "h", port: 1}) { success } }',
    ),
}
TOPICS = {"app.x": "paired", "mesh.node.online": "paired", "mesh.node.*": "paired", "mesh.pairing.*": "operator",
          "mesh.notice.raised": "operator", "mesh.notice.*": "operator",
          "mesh.*": "operator"}  # fmt: skip
REFUSALS = {"token_required", "token_expired", "not_permitted"}


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Principals]:
    """One node, asked by all."""
    with principals(tmp_path_factory.mktemp("authorisation")) as made:
        yield made


def expected(called: Principals, caller: str, listener: str, need: str) -> str:
    """The refusal, `` if there is none."""
    if caller != "anonymous" and (caller.startswith("revoked") or called.counts_on(caller) != listener):
        return "401"  # whoever shows a token is judged by it, where none is needed too
    if caller in MAY[need]:
        return ""
    return "token_required" if caller == "anonymous" else "not_permitted"


def written(entries: Mapping[tuple[ListenerName, str], Action]) -> dict[str, tuple[str, str]]:
    """What the program says, in the words of the tables above."""
    found: dict[str, tuple[str, str]] = {}
    for name in {name for _, name in entries}:
        (action,) = {entries[listener, name] for listener in LISTENERS if (listener, name) in entries}
        on = " ".join(listener for listener in LISTENERS if (listener, name) in entries)
        found[name] = NEEDS[action].name.lower(), on
    return found


def test_every_entry_point_is_written_down_here(called: Principals) -> None:
    """A new route, method or field, another listener, another need: somebody has to think, and change a row."""
    assert written(called.routes()) == ROUTES
    assert written(called.methods()) == METHODS
    schema = load_schema()
    roots = [schema.query_type, schema.mutation_type, schema.subscription_type]
    assert {f"{root.name}.{field}" for root in roots if root is not None for field in root.fields} == set(FIELDS)


def test_every_action_is_judged_and_every_need_has_callers() -> None:
    """The program's table is complete, and this one knows its words."""
    assert set(NEEDS) == set(Action)
    assert {need.name.lower() for need in Need} == set(MAY)
    assert {caller for callers in MAY.values() for caller in callers} | {"revoked device", "revoked peer"} == set(
        CALLERS
    )


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("entry", ROUTES)
def test_every_route_judges_every_caller(called: Principals, entry: str, caller: str) -> None:
    """Past the gate, or 401 without a token that counts and 403 with one; nothing at all on other listeners."""
    need, listeners = ROUTES[entry]
    method, path = entry.split(" ")
    path = re.sub(r"\{\w+\}", "id:nobody", path)
    for listener in LISTENERS:
        answer = called.ask(caller, listener, method, path)
        refusal = expected(called, caller, listener, need)
        where = (entry, caller, listener, answer)
        if method == "HEAD":  # has no body, and else is GET
            assert answer.status == called.ask(caller, listener, "GET", path).status, where
        elif listener not in listeners.split():
            assert answer.code in ("not_found", "method_not_allowed"), where
        elif refusal == "":
            assert answer.status < 500, where
            assert answer.code not in REFUSALS, where
        elif refusal == "401":
            assert (answer.status, answer.code in REFUSALS) == (401, True), where
        else:
            assert (answer.status, answer.code) == (401 if caller == "anonymous" else 403, refusal), where


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_judges_every_caller(called: Principals, method: str, caller: str) -> None:
    """The same over the socket; a token that doesn't count gets no socket."""
    need, listeners = METHODS[method]
    for listener in LISTENERS:
        code = called.call(caller, listener, method, json.loads(INVALID))
        refusal = expected(called, caller, listener, need)
        where = (method, caller, listener, code)
        if refusal == "401":
            assert code in REFUSALS, where
        elif caller == "anonymous" and listener == C and method != "session.authenticate":
            assert code == "token_required", where  # a stranger may do nothing else there
        elif listener not in listeners.split():
            assert code == "-32601", where
        else:
            assert code == (refusal or "invalid_params"), where


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("field", FIELDS)
def test_every_graphql_field_judges_every_caller(called: Principals, field: str, caller: str) -> None:
    """Refused before the query is parsed; and a level-1 device is shown nobody but us and itself."""
    need, query = FIELDS[field]
    own = called.ids.get(caller, called.host.id)
    body = json.dumps({"query": query.replace("OWN", own)}).encode()
    for listener in LISTENERS:
        answer = called.ask(caller, listener, "POST", "/graphql", body)
        if expected(called, caller, listener, need) != "":
            assert (answer.status, answer.code in REFUSALS) == (403 if caller == "announced" and listener == P else 401,
                                                                 True), (caller, listener)  # fmt: skip
            broken = called.ask(caller, listener, "POST", "/graphql", b'{"query": "{"}')
            assert (broken.status, broken.code) == (answer.status, answer.code)
            continue
        assert answer.status == 200, answer
        assert "errors" not in answer.json
        if field == "Query.nodes":
            seen = {node["id"] for node in answer.json["data"]["nodes"]}
            every = {row["id"] for row in called.host.rows()}
            assert seen == (every if caller in MAY["operator"] else {called.host.id, own})


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_judges_its_readers_and_writers(called: Principals, topic: str, caller: str) -> None:
    """What is said about pairing is for owner and level 2; mesh topics are nobody's to publish but the node's."""
    listener = called.counts_on(caller)
    may_read = caller in MAY[TOPICS[topic]]
    read = called.call(caller, listener, "event.subscribe", {"topics": [topic]})
    assert read == "ok" if may_read else read in REFUSALS
    sent = called.call(caller, listener, "event.publish", {"topic": topic.replace("*", "x"), "data": 1})
    assert sent == "ok" if topic == "app.x" and caller in PAIRED else sent in REFUSALS


def test_the_plain_listener_has_nothing_of_owners_or_peers(called: Principals) -> None:
    """Whatever dialects it is given: what is read on the wire must open nothing of an owner's."""
    entries = [name for on, name in (*called.routes(), *called.methods()) if on == T]
    assert entries
    assert not [name for name in entries if "/mesh/" in name]
    needs = {NEEDS[action] for (on, _), action in {**called.routes(), **called.methods()}.items() if on == T}
    assert needs <= {Need.ANYONE, Need.PAIRED, Need.DEVICE}


@pytest.mark.parametrize(
    ("listener", "token"),
    [("public", "x"), ("public", ""), ("public", "\u00e9"), ("control", "x"), ("control", "A" * 5000)],
)
@pytest.mark.parametrize("scheme", ["Bearer", "Device", "Basic", "bearer", ""])
def test_a_wrong_token_is_401_even_where_none_is_needed(
    called: Principals, listener: str, token: str, scheme: str
) -> None:
    """Whoever shows a token is judged by it."""
    headers = {"Authorization": f"{scheme} {token}".encode("latin-1").decode("latin-1")}
    if listener == "public":
        answer = Joiner(called.host.port).request("GET", "/healthz", None, headers)
    else:
        answer = ask_control(called.host.control_address, "GET", "/healthz", None, headers)
    assert answer.status == 401
    assert answer.code in ("token_required", "token_expired")
    assert answer.headers["www-authenticate"].startswith("Bearer")
