"""A paired peer that means harm: what it says can't undo the owner's word, nor promote it, nor wear us out."""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from tests.fakes.host import BROKEN, NOT_PAIRED, PIN, RawHost
from tests.fakes.joiner import Joiner, b64, tls_context, unb64
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for


@pytest.fixture
def peer(host: LocalNode) -> Joiner:
    """A paired raw joiner with a session."""
    made = Joiner(host.port)
    made.pair(host.offer().pin)
    assert made.open_session().status == 200
    return made


def join(node: LocalNode, host: RawHost) -> None:
    node.join(f"127.0.0.1:{host.port}", PIN)


def decide(node: LocalNode, node_id: str, level: int, alias: str | None) -> None:
    """The owner's word about a node."""
    node.call("PUT", f"/api/v1/nodes/{node_id}/trust", {"level": level})
    node.call("PATCH", f"/api/v1/nodes/{node_id}", {"alias": alias})


# ── the owner's word stands ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "meanwhile", "after"),
    [
        ((2, "operator"), (1, "do not trust"), (1, "do not trust")),
        ((1, "old"), (2, "new"), (1, "new")),
        ((2, "operator"), (2, None), (2, None)),
    ],
)
def test_a_refused_acknowledge_keeps_what_the_owner_decided_meanwhile(
    beating: LocalNode,
    liar: RawHost,
    before: tuple[int, str],
    meanwhile: tuple[int, str | None],
    after: tuple[int, str | None],
) -> None:
    """The older pairing stands again, at the lower of the two levels and under the last alias, in table and list."""
    join(beating, liar)
    decide(beating, liar.id, *before)
    liar.deviate["ack"] = lambda _: BROKEN
    join(beating, liar)
    decide(beating, liar.id, *meanwhile)
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    wait_for("the join to be undone", lambda: beating.rows("pending_acks") == [])
    row = beating.row(liar.id)
    assert row is not None
    assert (row["trust"], row["trust_level"], row["alias"]) == ("paired", *after)
    shown = beating.shown(liar.id)
    assert (shown["trust_level"], shown["alias"]) == after


def test_a_refused_acknowledge_does_not_revive_a_node_revoked_meanwhile(host: LocalNode, liar: RawHost) -> None:
    """Paired before, joined again without an answer, then revoked: nothing is left to undo."""
    join(host, liar)
    liar.deviate["ack"] = lambda _: BROKEN
    join(host, liar)
    host.call("POST", f"/api/v1/nodes/{liar.id}/revoke")
    assert host.run(host.graph.use.joining.undo(liar.id)) is False
    row = host.row(liar.id)
    assert row is not None
    assert (row["trust"], row["trust_level"]) == ("revoked", 0)
    assert host.shown(liar.id)["trust"] == "revoked"


def test_a_peer_named_after_another_is_not_promoted_in_its_place(host: LocalNode, peer: Joiner) -> None:
    """Its name is the other's whole id, or its end: the owner is told both ids, and no level changes."""
    tail = peer.id[-6:]
    liars = [Joiner(host.port, name=name) for name in (tail, peer.id)]
    for liar in liars:
        liar.pair(host.offer().pin)
    with pytest.raises(MeshError) as refusal:
        host.call("PUT", f"/api/v1/nodes/{tail}/trust", {"level": 2})
    assert refusal.value.code == "node_unknown"
    assert peer.id in refusal.value.detail
    assert liars[0].id in refusal.value.detail
    assert host.call("PUT", f"/api/v1/nodes/{peer.id}/trust", {"level": 2})["node"]["id"] == peer.id
    assert [host.row(liar.id)["trust_level"] for liar in liars] == [1, 1]  # type: ignore[index]
    assert host.row(peer.id)["trust_level"] == 2  # type: ignore[index]


# ── sockets ────────────────────────────────────────────────────────────────────────────────────────────────────────


def connect(node: LocalNode) -> ssl.SSLSocket:
    return tls_context().wrap_socket(socket.create_connection(("127.0.0.1", node.port), timeout=10))


def head(peer: Joiner, line: str = "GET /readyz", more: str = "") -> bytes:
    return f"{line} HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {peer.token}\r\n{more}\r\n".encode()


def authenticated(node: LocalNode, peer: Joiner) -> ssl.SSLSocket:
    """A kept connection on which the peer has shown its token."""
    sock = connect(node)
    sock.sendall(head(peer))
    assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    return sock


def is_closed(sock: socket.socket) -> bool:
    if not select.select([sock], [], [], 0)[0]:
        return False
    try:
        return sock.recv(65536) == b""
    except (ConnectionError, ssl.SSLEOFError):
        return True


def test_a_peers_ninth_socket_ends_its_oldest_idle_one(host: LocalNode, peer: Joiner) -> None:
    """The one in the middle of a request stays, and so do another peer's."""
    other = Joiner(host.port)
    other.pair(host.offer().pin)
    assert other.open_session().status == 200
    sockets = [authenticated(host, other)]
    try:
        sockets += [authenticated(host, peer) for _ in range(8)]
        body = json.dumps({"half": "a body"}).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        sockets[1].sendall(head(peer, "POST /mesh/v1/heartbeat", kind) + body[:5])
        own = host.graph.public._connections._of_node[peer.id]
        wait_for("the request to be under way", lambda: own[0].is_busy, 4)
        assert not any(is_closed(sock) for sock in sockets)
        sockets.append(authenticated(host, peer))
        wait_for("the oldest idle one to be ended", lambda: is_closed(sockets[2]), 4)
        assert not any(is_closed(sock) for sock in (*sockets[:2], *sockets[3:]))
        sockets[1].sendall(body[5:])
        assert sockets[1].recv(65536).startswith(b"HTTP/1.1 400")
    finally:
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("verb", ["revoke", "forget"])
def test_revoking_and_forgetting_close_every_socket_of_the_node(host: LocalNode, peer: Joiner, verb: str) -> None:
    """When the owner has the answer, the node has no connection left; another's live on."""
    other = Joiner(host.port)
    other.pair(host.offer().pin)
    assert other.open_session().status == 200
    kept = authenticated(host, other)
    sockets = [authenticated(host, peer) for _ in range(3)]
    try:
        if verb == "revoke":
            host.call("POST", f"/api/v1/nodes/{peer.id}/revoke")
        else:
            host.call("DELETE", f"/api/v1/nodes/{peer.id}")
        wait_for("its sockets to be closed", lambda: [s for s in sockets if not is_closed(s)] == [], 1)
        assert not is_closed(kept)
        kept.sendall(head(other))
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for sock in (kept, *sockets):
            sock.close()


# ── what it says about us ──────────────────────────────────────────────────────────────────────────────────────────


def lie_about_our_epoch(liar: RawHost, held: Any) -> None:
    """Open sessions that end at once, each claiming to hold what `held` makes of the epoch the caller states."""

    def session(_: Any) -> dict[str, Any]:
        stated = json.loads(unb64(liar.bodies[-1]["jws"].split(".")[1]))["epoch"]
        epoch_held = held(stated)
        return {"token": "t", "expires_in": 0, "epoch_held": epoch_held, "revision_held": 0, "known_sha256": None}

    def heartbeat(_: Any) -> dict[str, Any]:
        told = {"epoch": 1, "sequence": liar.bodies[-1]["sequence"], "announcement_sha256": "A" * 43}
        return told | {"known_sha256": None}

    liar.deviate |= {"nonce": lambda _: {"nonce": b64(bytes(32))}, "session": session, "heartbeat": heartbeat}


def test_lying_peers_raise_our_epoch_once_in_ten_seconds(beating: LocalNode, tmp_path: Path) -> None:
    """Two of them, each claiming to hold a later state in every session; the exchange goes on all the same."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with RawHost(folders[0], PIN) as first, RawHost(folders[1], PIN) as second:
        for liar in (first, second):
            lie_about_our_epoch(liar, lambda stated: stated + 1)
        me, started = beating.graph.use.me, time.monotonic()
        born = me.epoch
        for liar in (first, second):
            join(beating, liar)
        for liar in (first, second):
            wait_for("four heartbeats", lambda liar=liar: liar.calls.count("heartbeat") >= 4)
        assert time.monotonic() - started < 10, "too slow a machine to tell"
        assert me.epoch == born + 2
        beating.clock.step(10)
        wait_for("the next raise", lambda: me.epoch == born + 4)
        before = [liar.calls.count("heartbeat") for liar in (first, second)]
        wait_for("two heartbeats more", lambda: first.calls.count("heartbeat") >= before[0] + 2)
        assert me.epoch == born + 4


def test_a_state_far_in_the_future_is_not_believed(beating: LocalNode, liar: RawHost) -> None:
    """A lie can't use up the counter: the epoch stays, and heartbeats pass."""
    lie_about_our_epoch(liar, lambda _: int(time.time()) + 2**33 + 3600)
    born = beating.graph.use.me.epoch
    join(beating, liar)
    wait_for("three heartbeats", lambda: liar.calls.count("heartbeat") >= 3)
    assert beating.graph.use.me.epoch == born
    assert beating.row(beating.id)["epoch"] == born  # type: ignore[index]
    assert beating.is_online(liar.id)


def test_the_bound_on_a_believed_state_is_2_to_the_33_seconds_from_now(host: LocalNode) -> None:
    """A clock once wrong by two centuries is still made good."""
    me = host.graph.use.me
    limit = int(host.clock.now().timestamp()) + 2**33
    assert host.run(me.raise_epoch(limit + 60)) is False
    assert host.run(me.raise_epoch(limit - 60)) is True
    assert me.epoch == host.row(host.id)["epoch"] == limit - 59  # type: ignore[index]
    assert (host.data / "epoch").read_text().strip() == str(limit - 59)
