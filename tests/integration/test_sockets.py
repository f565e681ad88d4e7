"""Who gets a socket and for how long; TLS without tickets; another certificate without a restart."""

from __future__ import annotations

import hashlib
import select
import socket
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meshnode.crypto.certificate import certificate_hash, make_certificate
from tests.fakes.joiner import Joiner, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

GET = b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n"


def connect(node: LocalNode, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", node.port), timeout=10)
    return (context or tls_context()).wrap_socket(plain)


def is_closed(sock: socket.socket) -> bool:
    """Whether the other side has hung up; takes nothing away from an open connection that is silent."""
    if not select.select([sock], [], [], 0)[0]:
        return False
    try:
        return sock.recv(65536) == b""
    except (ConnectionError, ssl.SSLEOFError):
        return True


def seconds_until_closed(sock: socket.socket) -> float:
    started = time.monotonic()
    wait_for("the node to hang up", lambda: is_closed(sock), 12)
    return time.monotonic() - started


def answer_of(sock: ssl.SSLSocket) -> bytes:
    sock.sendall(GET)
    return sock.recv(65536)


def test_a_ninth_anonymous_socket_ends_the_oldest_idle_one(host: LocalNode) -> None:
    """Eight for a source: the newcomer is served, the oldest goes, the others stay."""
    sockets = [connect(host) for _ in range(8)]
    try:
        assert all(answer_of(sock).startswith(b"HTTP/1.1 200") for sock in sockets)
        assert not any(is_closed(sock) for sock in sockets)
        sockets.append(connect(host))
        assert answer_of(sockets[8]).startswith(b"HTTP/1.1 200")
        wait_for("the oldest to be ended", lambda: is_closed(sockets[0]))
        assert not any(is_closed(sock) for sock in sockets[1:])
    finally:
        for sock in sockets:
            sock.close()


def test_sockets_of_authenticated_callers_are_not_counted(host: LocalNode) -> None:
    """A peer keeps its connection however many strangers come."""
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    assert joiner.open_session().status == 200
    known = connect(host)
    strangers = []
    try:
        head = f"GET /readyz HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {joiner.token}\r\n\r\n".encode()
        known.sendall(head)
        assert known.recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(12):
            strangers.append(connect(host))
            assert answer_of(strangers[-1]).startswith(b"HTTP/1.1 200")
        wait_for("four strangers to be ended", lambda: all(is_closed(sock) for sock in strangers[:4]))
        assert not any(is_closed(sock) for sock in strangers[4:])
        known.sendall(head)
        assert known.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for sock in (known, *strangers):
            sock.close()


@pytest.mark.timeout(30)
def test_tls_and_the_first_request_have_five_seconds_each(host: LocalNode) -> None:
    """Silence before TLS, silence after it, half a request: hung up on after five seconds. Keep-alive is longer."""
    silent = socket.create_connection(("127.0.0.1", host.port))
    handshaken, half, alive = connect(host), connect(host), connect(host)
    try:
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: no")
        assert answer_of(alive).startswith(b"HTTP/1.1 200")
        assert 4 < seconds_until_closed(silent) < 7
        assert seconds_until_closed(handshaken) < 2
        assert seconds_until_closed(half) < 2
        assert not is_closed(alive)
        assert answer_of(alive).startswith(b"HTTP/1.1 200")
    finally:
        for sock in (silent, handshaken, half, alive):
            sock.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_tls_session_can_be_resumed(host: LocalNode, version: ssl.TLSVersion) -> None:
    """No ticket is handed out: a resumed session would skip the checks of the first."""
    context = tls_context()
    context.minimum_version = context.maximum_version = version
    with connect(host, context) as first:
        assert answer_of(first).startswith(b"HTTP/1.1 200")
        session = first.session
        assert session is None or not session.has_ticket
    plain = socket.create_connection(("127.0.0.1", host.port))
    with context.wrap_socket(plain, session=session) as second:
        assert answer_of(second).startswith(b"HTTP/1.1 200")
        assert not second.session_reused


def test_old_tls_is_refused(host: LocalNode) -> None:
    """TLS 1.2 at least."""
    context = tls_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", host.port)) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)


def test_a_swapped_certificate_serves_new_connections_and_ends_ceremonies(host: LocalNode, tmp_path: Path) -> None:
    """Old connections live on; a ceremony begun under the old certificate is over, one under the new one passes."""
    pem, key = make_certificate(host.id, datetime.now(UTC))
    file = tmp_path / "new.pem"
    file.write_bytes(pem + key)
    new = certificate_hash(pem)
    offer = host.offer()
    joiner = Joiner(host.port)
    assert joiner.begin(offer.code).status == 200
    old = joiner.certificate_hash
    with connect(host) as kept:
        assert answer_of(kept).startswith(b"HTTP/1.1 200")
        contexts = host.graph.public._tls
        assert contexts is not None
        host.run(_call(lambda: contexts.swap(file, new)))
        assert answer_of(kept).startswith(b"HTTP/1.1 200")
        assert hashlib.sha256(kept.getpeercert(binary_form=True)).digest() == old
    before = host.dump()
    assert joiner.exchange(offer.pin).code == "session_over"
    assert joiner.certificate_hash == new != old
    assert host.dump() == before
    identity = joiner.request("GET", "/mesh/v1/identity").json
    assert identity["tls_sha256"] == joiner.statement()["tls_sha256"]
    assert joiner.begin(offer.code).status == 200
    assert joiner.exchange(offer.pin).status == 200


async def _call(action):  # type: ignore[no-untyped-def]
    return action()
