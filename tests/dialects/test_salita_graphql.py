"""salita's GraphQL endpoint: who may announce what, and what a device sees."""

from __future__ import annotations

import json

import pytest

from tests.dialects.salita_phone import Phone, names_seen, owner, start
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode

# ── announceNode ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_our_own_id_is_nothing_new(node: LocalNode, phone: Phone) -> None:
    """The reference's phone posts us back to ourselves: success, our node, nothing changed."""
    before = node.shown(node.id)
    result = phone.announce(node_id=node.id, name="Renamed", hostname="evil", port=1)
    assert result["success"] is True
    assert (result["node"]["name"], result["node"]["hostname"]) == (before["name"], "127.0.0.1")
    assert {**node.shown(node.id), "last_seen": 0} == {**before, "last_seen": 0}


def test_its_own_id_is_an_update(node: LocalNode, phone: Phone) -> None:
    """What was not said stays."""
    result = phone.announce(node_id="phone-abc-123", name="New", hostname="10.0.0.9", port=7)
    assert result["success"] is True
    shown = node.shown("phone-abc-123")
    assert (shown["name"], shown["hostname"], shown["port"], shown["trust"]) == ("New", "10.0.0.9", 7, "paired")
    assert (len(shown["capabilities"]), shown["metadata"]["platform"]) == (3, "ios")
    phone.announce(node_id="phone-abc-123", capabilities=[], metadata={"a": [1, {"b": None}]})
    shown = node.shown("phone-abc-123")
    assert (shown["capabilities"], shown["metadata"]) == ([], {"a": [1, {"b": None}]})


def test_an_unknown_id_is_known_from_then_on(node: LocalNode, phone: Phone) -> None:
    """`announced`: offline, never seen, no rights, by the phone; it may say so again, and pairing takes it up."""
    result = phone.announce(capabilities=["media.play"], metadata={"room": "\u202eattic"})
    assert (result["success"], result["node"]["trust"], result["node"]["status"]) == (True, "announced", "offline")
    row = node.row("tv-1")
    assert row is not None
    assert (row["trust"], row["trust_level"], row["last_seen"], row["status"]) == ("announced", 0, None, "offline")
    assert (row["introduced_by"], row["dialect"], row["hostname"]) == ("phone-abc-123", "salita", "192.0.2.9")
    assert json.loads(row["metadata"]) == {"room": "attic"}
    assert not [t for t in node.rows("device_tokens") if t["node_id"] == "tv-1"]
    assert phone.announce(name="Bigger TV")["success"] is True
    assert node.shown("tv-1")["name"] == "Bigger TV"
    node.restart()
    assert node.shown("tv-1")["status"] == "offline"
    assert Phone(node, "tv-1").verify(start(node)).status == 200
    assert node.trust("tv-1") == "paired"


@pytest.mark.parametrize("by", ["phone", "owner"])
def test_another_nodes_id_is_refused(node: LocalNode, phone: Phone, by: str) -> None:
    """A peer's, another phone's, a revoked one's, and to a phone what another phone announced: nothing changes."""
    joiner = Joiner(node.port)
    joiner.pair(node.offer().pin)
    other = Phone(node, "other").pair()
    Phone(node, "gone").pair()
    node.call("POST", "/api/v1/nodes/gone/revoke")
    other.announce(node_id="theirs")
    before = node.dump("mesh_nodes")
    for node_id in (joiner.id, "other", "gone", *(["theirs"] if by == "phone" else [])):
        if by == "phone":
            result = phone.announce(node_id=node_id)
        else:
            known = {"node_id": node_id, "name": "x", "hostname": "x", "port": 1}
            query = "mutation($i: AnnounceNodeInput!) { announceNode(input: $i) { success message node { id } } }"
            answer = owner(node, "POST", "/graphql", {"query": query, "variables": {"i": known}})
            result = answer.json["data"]["announceNode"]
        assert (result["success"], result["node"]) == (False, None)
        assert result["message"]
    assert [{**r, "last_seen": 0} for r in node.rows()] == [{**r, "last_seen": 0} for r in before["mesh_nodes"]]


def test_a_peer_is_what_it_signs(node: LocalNode, phone: Phone) -> None:
    """A peer may not rewrite its own row by GraphQL."""
    joiner = Joiner(node.port)
    joiner.pair(node.offer().pin)
    joiner.open_session()
    phone.token = joiner.token
    assert phone.announce(node_id=joiner.id)["success"] is False
    assert node.shown(joiner.id)["name"] == joiner.name


@pytest.mark.parametrize(
    "said",
    [
        {"node_id": "../x"}, {"node_id": ""}, {"node_id": "a" * 129}, {"port": 0}, {"port": 65536}, {"hostname": ""},
        {"capabilities": ["A B"]}, {"metadata": "text"}, {"metadata": {"x": "y" * 5000}}, {"metadata": {"x": 2**60}},
    ],
)  # fmt: skip
def test_a_malformed_announcement_is_refused_in_the_answer(
    node: LocalNode, phone: Phone, said: dict[str, object]
) -> None:
    """200, `success: false`, a message that names the member."""
    result = phone.announce(**said)
    assert result["success"] is False
    assert next(iter(said)) in result["message"]
    assert node.row("tv-1") is None


def test_announced_nodes_are_few(node: LocalNode, phone: Phone) -> None:
    """20 a device; another device has its own; 200 in all, for the owner too."""
    results = [phone.announce(node_id=f"tv-{i}")["success"] for i in range(21)]
    assert results == [True] * 20 + [False]
    assert phone.announce(node_id="tv-3", name="again")["success"] is True
    other = Phone(node, "other").pair()
    assert other.announce(node_id="theirs")["success"] is True
    fields = [
        f'a{i}: announceNode(input: {{node_id: "o-{i}", name: "o", hostname: "o", port: 1}}) {{ success }}'
        for i in range(20)
    ]
    query = "mutation {" + " ".join(fields) + "}"
    for page in range(9):
        asked = query.replace('"o-', f'"o{page}-')
        answers = owner(node, "POST", "/graphql", {"query": asked}).json["data"].values()
    assert [a["success"] for a in answers] == [True] * 19 + [False]
    assert sum(row["trust"] == "announced" for row in node.rows()) == 200
    assert other.announce(node_id="theirs-2")["success"] is False


def test_revoking_a_phone_ends_what_it_announced(node: LocalNode, phone: Phone) -> None:
    """What it introduced goes with it."""
    phone.announce()
    node.call("POST", "/api/v1/nodes/phone-abc-123/revoke")
    assert node.trust("tv-1") == "revoked"


# ── currentNode, nodes ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_device_sees_itself_us_and_what_it_announced(node: LocalNode, phone: Phone) -> None:
    """An operator and the owner see all; nobody sees more by its level-1 token."""
    other = Phone(node, "other").pair()
    other.announce(node_id="theirs")
    phone.announce(node_id="mine")
    assert names_seen(phone) == [node.id, "phone-abc-123", "mine"]
    assert [n["id"] for n in owner(node, "POST", "/graphql", {"query": "{nodes{id}}"}).json["data"]["nodes"]] == (
        [node.id, "phone-abc-123", "other", "theirs", "mine"]
    )
    node.call("PUT", "/api/v1/nodes/phone-abc-123/trust", {"level": 2})
    assert len(names_seen(phone)) == 5
    page = phone.query('{ nodes(first: 2, after: "other") { node_id } }').json["data"]["nodes"]
    assert page == [{"node_id": "theirs"}, {"node_id": "mine"}]


def test_current_node_is_where_the_caller_reached_it(node: LocalNode, phone: Phone) -> None:
    """Every field of the schema has a value."""
    fields = (
        "id node_id name hostname port status trust kind dialect capabilities metadata last_seen created_at is_current"
    )
    current = phone.query("{ currentNode {" + fields + "} }").json["data"]["currentNode"]
    assert (current["id"], current["hostname"], current["port"]) == (node.id, "127.0.0.1", node.port)
    assert (current["trust"], current["is_current"], current["status"]) == ("self", True, "online")
