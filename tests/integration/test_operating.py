"""What an operator sees: the API's description, the counts, and dialects switched off."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import schemathesis
from prometheus_client.parser import text_string_to_metric_families

from meshnode.dialects.table import DIALECTS
from meshnode.domain.errors import MeshError
from tests.fakes.joiner import Answer, Joiner, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for
from tests.fakes.plain_http import ask_control

SWITCHABLE = [dialect.name for dialect in DIALECTS if dialect.can_be_switched_off]
METHODS = {"get", "put", "post", "delete", "patch", "options", "head", "trace"}


def owner(node: LocalNode, path: str, method: str = "GET") -> Answer:
    """What the owner is answered on the control listener."""
    return ask_control(node.control_address, method, path, None, {"Authorization": f"Bearer {node.owner_token}"})


def entry_points(node: LocalNode) -> set[tuple[str, str]]:
    """(method, path) of every route, in OpenAPI's spelling."""
    return {(route.method.lower(), re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)) for route in node.graph.routes}


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    """(method, path) of every operation in the document."""
    return {(method, path) for path, item in document["paths"].items() for method in item if method in METHODS}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node that speaks everything."""
    started = LocalNode(Path(tmp_path_factory.mktemp("operating")) / "host")
    try:
        yield started.start()
    finally:
        started.close()


@pytest.fixture(scope="module")
def document(node: LocalNode) -> dict[str, Any]:
    """Its description."""
    answer = owner(node, "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return dict(answer.json)


# ── /openapi.json ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_route_is_described_and_nothing_else(node: LocalNode, document: dict[str, Any]) -> None:
    """The probes, the socket and the description itself too."""
    assert described(document) == entry_points(node)
    always = {"/healthz", "/readyz", "/ws", "/metrics", "/openapi.json", "/mesh/v1/pair/begin"}
    assert always <= document["paths"].keys()


def test_the_description_holds_together(document: dict[str, Any]) -> None:
    """Every reference leads somewhere, ids are unique, path parameters are declared, security is known."""
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(document)):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]
    ids = []
    for path, item in document["paths"].items():
        for operation in item.values():
            ids.append(operation["operationId"])
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert declared == set(re.findall(r"\{(\w+)\}", path))
            schemes = document["components"]["securitySchemes"]
            assert all(scheme in schemes for choice in operation["security"] for scheme in choice)
            assert {"default"} < operation["responses"].keys()
    assert len(ids) == len(set(ids))
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.validator_for({**schema, "components": document["components"]})


def test_schemathesis_can_load_it(node: LocalNode, document: dict[str, Any]) -> None:
    """As many operations as we have, each of which it can make a case of."""
    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {(operation.method, operation.path) for operation in operations} == entry_points(node)


def test_answers_are_as_described(node: LocalNode, document: dict[str, Any]) -> None:
    """Asked for real: two answers with a type, one refusal."""
    identity = Joiner(node.port).request("GET", "/mesh/v1/identity")
    for answer, path, key in (
        (identity, "/mesh/v1/identity", "200"),
        (owner(node, "/api/v1/nodes"), "/api/v1/nodes", "200"),
        (owner(node, "/api/v1/nodes/nobody"), "/api/v1/nodes/{ref}", "default"),
    ):
        response = document["paths"][path]["get"]["responses"][key]
        if "$ref" in response:
            response = document["components"]["responses"]["Problem"]
        media_type = answer.headers["content-type"].partition(";")[0]
        schema = response["content"][media_type]["schema"]
        jsonschema_rs.validate({**schema, "components": document["components"]}, answer.json)


@pytest.mark.parametrize("path", ["/openapi.json", "/metrics"])
def test_strangers_and_paired_nodes_see_what_is_for_them(node: LocalNode, path: str) -> None:
    """The description is for any paired node, the counts for level 2."""
    joiner = Joiner(node.port)
    assert joiner.request("GET", path).code == "token_required"
    joiner.pair(node.offer().pin)
    assert joiner.open_session().status == 200
    bearer = {"Authorization": f"Bearer {joiner.token}"}
    answer = joiner.request("GET", path, None, bearer)
    assert answer.code == ("ok" if path == "/openapi.json" else "not_permitted")
    node.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
    assert joiner.request("GET", path, None, bearer).status == 200


# ── /metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(node: LocalNode) -> Samples:
    """Every sample by name and labels."""
    answer = owner(node, "/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def outcome(what: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The sample that counts a mesh pairing's outcome."""
    return "meshnode_pairing_outcomes_total", (("dialect", "mesh"), ("format", "pin"), ("outcome", what))


def test_mesh_pairings_are_counted(host: LocalNode) -> None:
    """Offers made, wrong PINs, no offer, a pairing and how long it took; the node stands among the nodes."""
    joiner = Joiner(host.port)
    assert joiner.begin().code == "no_open_offer"
    offer = host.offer()
    for answer in (joiner.begin(), joiner.exchange(offer.wrong_pin)):
        assert answer.code == "ok"
    assert joiner.finish().code == "bad_pin"
    host.clock.step(20)
    joiner.pair(offer.pin)
    seen = scrape(host)
    assert seen["meshnode_pairing_codes_made_total", (("dialect", "mesh"), ("format", "pin"))] == 1
    assert (seen[outcome("no_open_offer")], seen[outcome("bad_pin")], seen[outcome("paired")]) == (1, 1, 1)
    mesh = ("dialect", "mesh")
    assert seen["meshnode_pairing_duration_seconds_count", (mesh,)] == 1
    assert 20 <= seen["meshnode_pairing_duration_seconds_sum", (mesh,)] < 40
    assert seen["meshnode_pairing_duration_seconds_bucket", (mesh, ("le", "15.0"))] == 0
    assert sum(value for (name, _), value in seen.items() if name == "meshnode_nodes") == 2


def test_strangers_over_their_rate_are_counted(tmp_path: Path) -> None:
    """429s of the HTTP gate, without a word about who."""
    node = LocalNode(tmp_path / "host", **{"http.anonymous_per_minute": 10})
    try:
        node.start()
        asked = [Joiner(node.port).request("GET", "/healthz").status for _ in range(13)]
        limited = (("dialect", "http"), ("limit", "anonymous"))
        assert asked.count(429) == scrape(node)["meshnode_limit_hits_total", limited] > 0
    finally:
        node.close()


async def test_calls_over_a_sockets_rate_are_counted(host: LocalNode) -> None:
    """A stranger's 61st call in a minute."""
    url = f"https://127.0.0.1:{host.port}/ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=tls_context()) as ws:
        for number in range(62):
            await ws.send_json({"jsonrpc": "2.0", "id": number, "method": "no.such", "params": {}})
        codes = [(await ws.receive_json(timeout=10))["error"]["code"] for _ in range(62)]
    limited = (("dialect", "socket"), ("limit", "anonymous"))
    assert codes.count(-32003) == (await asyncio.to_thread(scrape, host))["meshnode_limit_hits_total", limited] > 0


async def test_open_sockets_are_counted(host: LocalNode) -> None:
    """While they are open."""
    assert scrape(host)["meshnode_sockets", ()] == 0
    headers = {"Authorization": f"Bearer {host.owner_token}"}
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://{host.control_address}/ws", headers=headers):
            assert (await asyncio.to_thread(scrape, host))["meshnode_sockets", ()] == 1
        await asyncio.to_thread(wait_for, "the socket to go", lambda: scrape(host)["meshnode_sockets", ()] == 0)


def test_labels_tell_nothing_about_anybody(node: LocalNode) -> None:
    """Words of our own only: no id, no address, no name, no path."""
    joiner = Joiner(node.port)
    joiner.pair(node.offer().pin)
    for name, labels in scrape(node):
        for label, value in labels:
            assert label in ("version", "le") or re.fullmatch(r"[a-z0-9_]+", value), (name, label, value)
            assert joiner.id not in value


def test_the_first_asking_imports_prometheus() -> None:
    """Not the start: a node that nobody measures doesn't pay for it."""
    import subprocess
    import sys

    code = "import sys, meshnode.daemon.compose; print('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


# ── switched off ───────────────────────────────────────────────────────────────────────────────────────────────────


async def call_methods(node: LocalNode, names: list[str]) -> dict[str, int]:
    """The error code of each JSON-RPC method, asked by the owner."""
    headers = {"Authorization": f"Bearer {node.owner_token}"}
    codes = {}
    url = f"http://{node.control_address}/ws"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as ws:
        for name in names:
            await ws.send_json({"jsonrpc": "2.0", "id": name, "method": name, "params": {}})
            codes[name] = (await ws.receive_json(timeout=10)).get("error", {}).get("code")
    return codes


@pytest.mark.parametrize("name", SWITCHABLE)
def test_a_dialect_that_is_switched_off_is_not_there(tmp_path: Path, node: LocalNode, name: str) -> None:
    """Its paths 404, its methods -32601, no word in the description, no offer; the others stay."""
    off = LocalNode(tmp_path / "host", **{f"{name}.enabled": False})
    try:
        off.start()
        gone = entry_points(node) - entry_points(off)
        lost_methods = {m.name for m in node.graph.methods} - {m.name for m in off.graph.methods}
        assert gone or lost_methods, "it serves nothing even when it is on"
        assert entry_points(off) < entry_points(node) or not gone
        document = owner(off, "/openapi.json").json
        assert described(document) == entry_points(off)
        stranger = Joiner(off.port)
        for method, path in gone:
            if path not in document["paths"]:
                concrete = re.sub(r"\{\w+\}", "x", path)
                assert stranger.request(method.upper(), concrete).code == "not_found"
                assert owner(off, concrete, method.upper()).code == "not_found"
        assert set(asyncio.run(call_methods(off, sorted(lost_methods))).values()) <= {-32601}
        assert name not in off.graph.use.openers
        with pytest.raises(MeshError) as refusal:
            off.call("POST", "/api/v1/pairing/offers", {"dialect": name})
        assert refusal.value.code == "invalid_params"
        for other in set(node.graph.use.openers) - {name}:
            assert off.call("POST", "/api/v1/pairing/offers", {"dialect": other})["offer_id"]
    finally:
        with suppress(RuntimeError):
            off.close()


def test_codes_of_a_dialect_die_while_it_is_off(tmp_path: Path) -> None:
    """Whoever holds one finds nobody to give it to."""
    node = LocalNode(tmp_path / "host")
    try:
        node.start()
        token = node.call("POST", "/api/v1/pairing/offers", {"dialect": "abpa3"})["qr"]["pairToken"]
        node.close()
        node = LocalNode(tmp_path / "host", **{"abpa3.enabled": False}).start()
        body = json.dumps({"pairToken": token, "deviceInfo": {"name": "Pixel 7", "type": "android"}}).encode()
        answer = Joiner(node.port).request("POST", "/api/pair", body, {"Content-Type": "application/json"})
        assert answer.code == "not_found"
        assert len(node.rows()) == 1
    finally:
        node.close()


def test_mesh_and_control_cannot_be_switched_off() -> None:
    """There would be no node left."""
    assert {"mesh", "control"}.isdisjoint(SWITCHABLE)
    assert set(SWITCHABLE) == {"salita", "aisopod", "mylzip", "abpa3"}
