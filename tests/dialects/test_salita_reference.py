"""Every request that salita's handshake document prints, sent as printed, and the shape of its answer."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from uuid import UUID

from tests.dialects.salita_phone import Phone, start
from tests.fakes.local_node import LocalNode


def printed_body(offer: dict[str, str]) -> bytes:
    """Step 1 of the document, byte for byte but for the three secrets."""
    return b"""{
  "code": "%s",
  "pin": "%s",
  "linking_code": "%s",

  "node_identity": {
    "node_id": "phone-abc-123",
    "name": "Felix's iPhone",
    "capabilities": ["posting", "media.capture", "media.upload"],
    "device_info": {
      "platform": "ios",
      "os_version": "17.2",
      "app_version": "1.0.0"
    }
  }
}""" % tuple(offer[name].encode() for name in ("code", "pin", "linking_code"))


def test_pair_start_as_drawn(node: LocalNode) -> None:
    """`/auth/pair/start → { code, pin, url }`."""
    offer = start(node)
    assert UUID(offer["code"]).version == 4
    assert re.fullmatch(r"[0-9]{6}", offer["pin"])
    assert re.fullmatch(r"[A-Z]{4}-[0-9]{4}", offer["linking_code"])
    assert offer["url"].startswith("https://")


def test_pair_verify_as_printed(node: LocalNode) -> None:
    """`POST /auth/pair/verify` pairs: `ok`, `session_token`, `desktop_node` with five members, the cookie, the row."""
    phone = Phone(node)
    answer = phone.ask("POST", "/auth/pair/verify", printed_body(start(node)))
    assert answer.status == 200, answer
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json
    assert body["ok"] is True
    assert isinstance(body["session_token"], str)
    assert body["session_token"] in answer.headers["set-cookie"]
    assert set(body["desktop_node"]) == {"node_id", "name", "hostname", "port", "capabilities"}
    assert body["desktop_node"]["node_id"] == node.id
    assert body["desktop_node"]["hostname"] == "127.0.0.1"
    assert body["desktop_node"]["port"] == node.port
    assert all(isinstance(name, str) for name in body["desktop_node"]["capabilities"])
    row = node.row("phone-abc-123")
    assert row is not None
    assert (row["name"], row["hostname"], row["port"], row["status"]) == ("Felix's iPhone", "127.0.0.1", 6969, "online")
    assert [c["name"] for c in json.loads(row["capabilities"])] == ["posting", "media.capture", "media.upload"]
    assert json.loads(row["metadata"]) == {"platform": "ios", "os_version": "17.2", "app_version": "1.0.0"}
    assert row["is_current"] == 0


def test_the_phones_fetches_as_printed(node: LocalNode) -> None:
    """A page's `fetch()` names no type, so text/plain is sent; then it posts us back to ourselves, by cookie alone."""
    phone = Phone(node)
    offer = start(node)
    body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {
        "node_identity": {
            "node_id": "stored-id",
            "name": "Felix's iPhone",
            "capabilities": ["posting", "media.capture", "media.upload"],
            "device_info": {"platform": "Linux armv8l", "app_version": "1.0.0"},
        }
    }
    fetched = {"Content-Type": "text/plain;charset=UTF-8", "Origin": f"https://{node.address}"}
    answer = phone.ask("POST", "/auth/pair/verify", json.dumps(body).encode(), **fetched)
    assert answer.status == 200, answer
    result = answer.json
    assert result["ok"]
    cookie = answer.headers["set-cookie"].split(";")[0]
    before = node.dump("mesh_nodes")
    sent = {
        "query": """mutation AnnounceNode($input: AnnounceNodeInput!) {
        announceNode(input: $input) { success }
      }""",
        "variables": {"input": result["desktop_node"]},
    }
    answer = phone.ask("POST", "/graphql", json.dumps(sent).encode(), Cookie=cookie, **fetched)
    assert answer.status == 200, answer
    assert answer.json == {"data": {"announceNode": {"success": True}}}
    assert [{**r, "last_seen": 0} for r in node.rows()] == [{**r, "last_seen": 0} for r in before["mesh_nodes"]]


def test_the_schema_as_printed(node: LocalNode) -> None:
    """`announceNode(input: AnnounceNodeInput!): NodeOperationResult!` and the six input fields with their types."""
    phone = Phone(node).pair()
    answer = phone.query("""{
      input: __type(name: "AnnounceNodeInput") { inputFields { name type { kind name ofType { kind name } } } }
      json: __type(name: "JSON") { kind }
      __schema { mutationType { fields { name args { name type { kind ofType { name } } }
                                         type { kind ofType { name } } } } }
    }""")
    data = answer.json["data"]

    def written(kind: dict[str, object]) -> str:
        inner = kind.get("ofType")
        if kind["kind"] == "NON_NULL":
            return f"{inner['name']}!"  # type: ignore[index]
        if kind["kind"] == "LIST":
            return "[String!]" if inner["kind"] == "NON_NULL" else "[?]"  # type: ignore[index]
        return str(kind["name"])

    assert {f["name"]: written(f["type"]) for f in data["input"]["inputFields"]} == {
        "node_id": "String!",
        "name": "String!",
        "hostname": "String!",
        "port": "Int!",
        "capabilities": "[String!]",
        "metadata": "JSON",
    }
    assert data["json"] == {"kind": "SCALAR"}
    (field,) = data["__schema"]["mutationType"]["fields"]
    assert field["name"] == "announceNode"
    assert field["type"] == {"kind": "NON_NULL", "ofType": {"name": "NodeOperationResult"}}
    assert field["args"] == [{"name": "input", "type": {"kind": "NON_NULL", "ofType": {"name": "AnnounceNodeInput"}}}]


def test_the_own_row_can_be_selected_as_printed(node: LocalNode) -> None:
    """`SELECT id, name, hostname, port, capabilities FROM mesh_nodes WHERE is_current = 1` finds the node."""
    with closing(sqlite3.connect(node.data / "meshnode.db")) as database:
        rows = database.execute(
            "SELECT id, name, hostname, port, capabilities FROM mesh_nodes WHERE is_current = 1"
        ).fetchall()
    assert [row[0] for row in rows] == [node.id]


def test_node_identity_is_exposed(node: LocalNode) -> None:
    """`/api/node/identity` tells this node's id to anybody."""
    answer = Phone(node).ask("GET", "/api/node/identity")
    assert answer.status == 200
    assert answer.json["node_id"] == node.id


def test_heartbeat_with_updated_info(node: LocalNode) -> None:
    """`/api/node/heartbeat` that includes updated info updates the row."""
    phone = Phone(node).pair()
    answer = phone.ask("POST", "/api/node/heartbeat", {"hostname": "192.168.1.77", "port": 7000})
    assert answer.status == 200
    row = node.row("phone-abc-123")
    assert row is not None
    assert (row["hostname"], row["port"]) == ("192.168.1.77", 7000)
