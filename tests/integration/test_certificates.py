"""A peer's certificate may change without pairing again; another node at its address is never taken for it."""

from __future__ import annotations

from tests.fakes.nodes import Node, Nodes, wait_for


def pair(nodes: Nodes) -> tuple[Node, Node]:
    host, joiner = nodes.start(), nodes.start()
    offer = host.offer()
    joiner.join(offer.url, offer.pin)
    wait_for("both online", lambda: host.is_online(joiner.id) and joiner.is_online(host.id))
    return host, joiner


def test_a_new_certificate_is_pinned_when_the_key_proves_it(nodes: Nodes) -> None:
    """Restarted with another TLS key: both come back online by themselves, and the row holds the new hash."""
    host, joiner = pair(nodes)
    host_id, joiner_id = host.id, joiner.id
    old = joiner.row(host_id)
    host.stop()
    (pem,) = host.data.glob("*.pem")
    pem.unlink()
    host.start()
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    fresh = host.row(host_id)["tls_sha256"]
    assert fresh != old["tls_sha256"]
    wait_for("the new hash", lambda: joiner.row(host_id)["tls_sha256"] == fresh)
    assert joiner.trust(host_id) == "paired"


def test_another_node_at_the_address_is_not_taken_for_the_peer(nodes: Nodes) -> None:
    """The peer stays in the table, offline, trusted and pinned as before, and comes back when it does."""
    host, joiner = pair(nodes)
    host_id = host.id
    before = joiner.row(host_id)
    host.stop()
    impostor = nodes.make()
    impostor.port = host.port
    impostor.start()
    wait_for("the reason", lambda: joiner.shown(host_id)["status_reason"] == "wrong_node_at_address")
    row = joiner.row(host_id)
    same = ("trust", "trust_level", "public_key", "tls_sha256", "name", "announcement")
    assert {key: row[key] for key in same} == {key: before[key] for key in same}
    assert joiner.shown(host_id)["status"] != "online"
    assert len(impostor.rows()) == 1
