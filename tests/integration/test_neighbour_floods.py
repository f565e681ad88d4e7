"""Neighbours that send much: compressed bombs, sightings by the hundred, news without end; it costs little."""

from __future__ import annotations

import logging
import os
import socket
import time
import zlib
from pathlib import Path

import pytest

from meshnode.node.discover_peers import SIGHTINGS_MAX, DiscoverPeers, Sighting
from tests.fakes.joiner import Answer, Joiner, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Node, Nodes
from tests.fakes.plain_http import ask_control

MIB = 1 << 20


@pytest.fixture
def peer(host: LocalNode) -> Joiner:
    """A paired raw joiner with a session."""
    made = Joiner(host.port)
    made.pair(host.offer().pin)
    assert made.open_session().status == 200
    return made


def bomb(mebibytes: int) -> bytes:
    """A zlib stream (unended) of that many MiB of zeros; every full flush starts the same bytes anew."""
    made = zlib.compressobj(9)
    first, again = (made.compress(bytes(MIB)) + made.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (mebibytes - 1)


def cpu_s(node: Node) -> float:
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(node: Node) -> float:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def send_all(port: int, path: str, body: bytes, headers: str = "") -> bytes:
    """The beginning of the answer to a chunked body that is sent to its end, or until the node hangs up."""
    head = f"POST {path} HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\n{headers}"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    with tls_context().wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10)) as sock:
        try:
            sock.sendall(head.encode() + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        except OSError:
            assert sock.fileno() >= 0  # refused while we were sending: the answer may still be there
        try:
            return sock.recv(65536)
        except OSError:
            return b""


@pytest.mark.parametrize("encoding", ["deflate", "gzip", "br", "zstd", "identity, deflate"])
def test_an_encoded_body_is_refused(host: LocalNode, peer: Joiner, encoding: str) -> None:
    """400 or 415, whoever sends it, however small, and on the control listener too."""
    body = zlib.compress(b"{}", wbits=31 if encoding == "gzip" else 15)
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answers: list[Answer] = [peer.request("POST", "/mesh/v1/nonce", body, headers)]
    known = headers | {"Authorization": f"Bearer {peer.token}"}
    answers.append(peer.request("POST", "/mesh/v1/heartbeat", body, known))
    owners = headers | {"Authorization": f"Bearer {host.owner_token}"}
    answers.append(ask_control(host.control_address, "POST", "/api/v1/pairing/offers", body, owners))
    assert [answer.status for answer in answers if answer.status not in (400, 415)] == []
    assert host.rows("pairing_codes") != []
    assert len([row for row in host.rows("pairing_codes") if not row["is_used"]]) == 0


def test_a_bomb_costs_nothing(nodes: Nodes) -> None:
    """Four times 1 GiB of zeros in 1 MiB: no CPU, no memory, on a path that exists and on one that doesn't."""
    node = nodes.start()
    body = bomb(1024)
    assert len(body) < 2 * MIB
    send_all(node.port, "/mesh/v1/nonce", b"{}")  # what any request costs once
    cpu, peak, started = cpu_s(node), peak_mib(node), time.monotonic()
    for path in ("/mesh/v1/nonce", "/nowhere"):
        for kind in ("deflate", "gzip"):
            answer = send_all(node.port, path, body, f"Content-Encoding: {kind}\r\n")
            assert answer[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 415 ", b"HTTP/1.1 413 "), answer
    assert time.monotonic() - started < 8
    assert cpu_s(node) - cpu < 0.5
    assert peak_mib(node) - peak < 16
    assert node.call("GET", "/api/v1/node")["node"]["id"] == node.id


def sighting(n: int) -> Sighting:
    return Sighting(
        instance=f"Node {n}._meshnode._tcp.local.",
        id=f"node-{n}",
        name=f"Node {n}",
        host=f"h{n}.local.",
        port=6969,
        addresses=("192.0.2.7",),
        pairing_open=False,
    )


def test_a_full_list_of_sightings_hides_no_peer() -> None:
    """Whoever fills it can't keep us from calling a peer at its new address; the list itself stays bounded."""
    discovery = DiscoverPeers("node-own")
    noted: list[str] = []
    discovery.on_sighting = lambda seen: noted.append(seen.id)
    for n in range(SIGHTINGS_MAX + 1):
        discovery.seen(sighting(n))
    assert noted == [f"node-{n}" for n in range(SIGHTINGS_MAX + 1)]
    assert len(discovery.list()) == SIGHTINGS_MAX == 256


def test_leaving_and_coming_back_all_the_time_fills_no_log(
    host: LocalNode, peer: Joiner, caplog: pytest.LogCaptureFixture
) -> None:
    """Each beat counts; a person reads a few lines of them, and one again later."""
    caplog.set_level(logging.INFO, "meshnode")
    assert peer.beat(leaving=True).status == 200
    caplog.clear()
    for _ in range(20):
        assert peer.beat().status == 200
        assert host.shown(peer.id)["status"] == "online"
        assert peer.beat(leaving=True).status == 200
        assert host.shown(peer.id)["status"] == "offline"
    told = [record for record in caplog.records if peer.name in record.getMessage()]
    assert len(told) <= 5
    host.clock.step(5)
    caplog.clear()
    assert peer.beat().status == 200
    assert [record.getMessage() for record in caplog.records] == [f"{peer.name} is online"]


def test_a_peer_is_learned_anew_once_a_second(host: LocalNode, peer: Joiner) -> None:
    """More announcements are refused for the rest of that second, and change nothing; repeating one is free."""

    def announce(name: str) -> tuple[int, str]:
        peer.revision, peer.name = peer.revision + 1, name
        answer = peer.beat(announcement=peer.announcement())
        return answer.status, answer.code

    assert announce("first") == (200, "ok")
    refused = 0
    for n in range(10):
        before = host.dump("mesh_nodes")
        answer = announce(f"again {n}")
        if answer == (200, "ok"):  # a second has passed
            continue
        assert answer == (429, "rate_limited")
        assert host.dump("mesh_nodes") == before
        refused += 1
    assert refused >= 5
    host.clock.step(1)
    assert announce("last") == (200, "ok")
    assert host.shown(peer.id)["name"] == "last"
    assert peer.beat(announcement=peer.announcement()).status == 200
