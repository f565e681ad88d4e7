"""salita's phone, written from the reference document's text: what it sends is printed there."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

NODE_IDENTITY: dict[str, Any] = {
    "node_id": "phone-abc-123",
    "name": "Felix's iPhone",
    "capabilities": ["posting", "media.capture", "media.upload"],
    "device_info": {"platform": "ios", "os_version": "17.2", "app_version": "1.0.0"},
}
ANNOUNCE = """mutation AnnounceNode($input: AnnounceNodeInput!) {
        announceNode(input: $input) { success }
      }"""


class Phone:
    """One phone, and the token it was given."""

    def __init__(self, node: LocalNode, node_id: str = "phone-abc-123", **said: Any) -> None:
        self.node = node
        self.identity: dict[str, Any] = NODE_IDENTITY | {"node_id": node_id} | said
        self.token: str | None = None
        self.paired: dict[str, Any] = {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request over TLS, with the token as a header unless others are given."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token is not None and not {"Cookie", "Authorization"} & set(sent):
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Joiner(self.node.port).request(method, path, body, sent)

    def verify(self, offer: dict[str, Any], **said: Any) -> Answer:
        """Redeem an offer; `said` replaces members of the body."""
        body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {"node_identity": self.identity}
        answer = self.ask("POST", "/auth/pair/verify", body | said)
        if answer.status == 200:
            self.paired = answer.json
            self.token = self.paired["session_token"]
        return answer

    def pair(self) -> Phone:
        """Pair by a new offer."""
        assert self.verify(start(self.node)).status == 200
        return self

    def query(self, query: str, **variables: Any) -> Answer:
        """POST /graphql."""
        return self.ask("POST", "/graphql", {"query": query, "variables": variables})

    def announce(self, **said: Any) -> dict[str, Any]:
        """announceNode; its result."""
        known = {"node_id": "tv-1", "name": "TV", "hostname": "192.0.2.9", "port": 6969} | said
        query = ANNOUNCE.replace("{ success }", "{ success message node { id name trust status hostname port } }")
        answer = self.query(query, input=known)
        assert answer.status == 200, answer
        result: dict[str, Any] = answer.json["data"]["announceNode"]
        return result

    def page(self, **more: str) -> dict[str, str]:
        """The headers of a request that a page of ours sends with its cookie."""
        return {"Cookie": f"__Host-meshnode={self.token}", "Origin": f"https://{self.node.address}", **more}


def owner(node: LocalNode, method: str, path: str, body: Any = None) -> Answer:
    """Ask over the control listener as the owner."""
    headers = {"Authorization": f"Bearer {node.owner_token}", "Content-Type": "application/json"}
    return ask_control(node.control_address, method, path, None if body is None else json.dumps(body).encode(), headers)


def start(node: LocalNode) -> dict[str, Any]:
    """The owner opens an offer."""
    answer = owner(node, "POST", "/auth/pair/start")
    assert answer.status == 200, answer
    offer: dict[str, Any] = answer.json
    return offer


def names_seen(phone: Phone) -> list[str]:
    """The ids that `nodes` shows to a phone."""
    return [node["id"] for node in phone.query("{ nodes { id } }").json["data"]["nodes"]]
