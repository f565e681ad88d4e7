"""Bytes that are no message, sent to every route for strangers: a problem document, nothing changed, no 5xx."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.joiner import Joiner, b64, tls_context
from tests.fakes.local_node import LocalNode

STRANGERS = ("pair/begin", "pair/exchange", "pair/finish", "pair/ack", "nonce", "session")
LIMIT = 8 * 1024


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """One node for all of these: none of them changes it."""
    node = LocalNode(Path(tmp_path_factory.mktemp("hostile")) / "host")
    try:
        node.start()
        node.offer()
        yield node
    finally:
        node.close()


def valid(path: str, joiner: Joiner) -> dict[str, Any]:
    """A body of the right shape."""
    sid, any32, jws = b64(bytes(16)), b64(bytes(32)), joiner.announcement()
    bodies: dict[str, dict[str, Any]] = {
        "pair/begin": {"id": joiner.id, "public_key": b64(joiner.public), "protocols": [1], "way": "pin"},
        "pair/exchange": {"sid": sid, "share": any32},
        "pair/finish": {"sid": sid, "tag": b64(bytes(64)), "sealed": b64(bytes(64))},
        "pair/ack": {"sid": sid, "id": joiner.id, "jws": jws},
        "nonce": {},
        "session": {"caller": joiner.id, "jws": jws},
    }
    return bodies[path]


def raw_request(host: LocalNode, data: bytes) -> bytes:
    """What comes back for bytes of our own making, until the node hangs up."""
    with (
        socket.create_connection(("127.0.0.1", host.port), timeout=15) as plain,
        tls_context().wrap_socket(plain) as tls,
    ):
        answer = b""
        try:
            tls.sendall(data)
            while chunk := tls.recv(65536):
                answer += chunk
        except OSError:
            pass
        return answer


def problem(raw: bytes) -> tuple[int, str]:
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, raw
    return int(head.split()[1]), json.loads(body)["code"]


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST /mesh/v1/{path} HTTP/1.1", "Host: node", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


JSON = "Content-Type: application/json"
GARBAGE = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1e999",
    "text": b'"text"',
    "half an object": b'{"id": "node-',
    "no UTF-8": b'{"id": "\xff\xfe"}',
    "a lone surrogate": b'{"id": "\\ud800", "sid": "\\ud800", "caller": "\\ud800"}',
    "zero bytes": bytes(64),
    "deep lists": b"[" * 4000,
    "deep objects": b'{"a":' * 1300 + b"1" + b"}" * 1300,
    "deep inside": b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "a huge number": b'{"protocols": [' + b"9" * 5000 + b"]}",
}


@pytest.mark.parametrize("path", STRANGERS)
@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_invalid_params(host: LocalNode, path: str, name: str) -> None:
    """What is no message at all is refused by a code, never by a 5xx; unknown fields are ignored."""
    before = host.dump()
    answer = Joiner(host.port).post(path, GARBAGE[name])
    if path == "nonce" and answer.status == 200:
        assert GARBAGE[name].startswith(b"{")  # it needs no member and ignores all
    else:
        assert (answer.status, answer.code) == (400, "invalid_params")
    assert host.dump() == before


@pytest.mark.parametrize("path", STRANGERS)
def test_a_missing_or_mistyped_field_is_refused_by_name(host: LocalNode, path: str) -> None:
    """`field` says which one; every kind of JSON value is tried in every field."""
    joiner = Joiner(host.port)
    before = host.dump()
    for field in valid(path, joiner):
        body = valid(path, joiner)
        del body[field]
        answer = joiner.post(path, body)
        assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_params", field)
        for value in (None, True, 1, -1, 1.5, [], {}, [[]], "", "=", "AA==", "AB", "\u202e\x00", "x" * 7000):
            answer = joiner.post(path, valid(path, joiner) | {field: value})
            assert answer.status < 500, (field, value, answer)
            fine = ("invalid_params", "not_paired", "session_over", *(["ok"] if field == "id" else []))
            assert answer.code in fine, (field, value, answer)
    assert host.dump() == before


@pytest.mark.parametrize("path", STRANGERS)
def test_a_body_above_8_kib_is_too_large(host: LocalNode, path: str) -> None:
    """8 KiB pass the cap, one byte more does not; with a length announced and without one."""
    joiner = Joiner(host.port)
    body = json.dumps(valid(path, joiner)).encode()
    whole = body[:-1] + b" " * (LIMIT - len(body)) + b"}"
    assert len(whole) == LIMIT
    assert joiner.post(path, whole).status != 413
    answer = joiner.post(path, whole + b" ")
    assert (answer.status, answer.code) == (413, "body_too_large")
    chunked = post(path, b"", JSON, "Transfer-Encoding: chunked") + b"2001\r\n" + whole + b" \r\n0\r\n\r\n"
    assert problem(raw_request(host, chunked)) == (413, "body_too_large")
    promised = post(path, b"", JSON, "Content-Length: 99999999999")
    assert problem(raw_request(host, promised)) == (413, "body_too_large")


@pytest.mark.parametrize("path", STRANGERS)
def test_another_content_type_is_refused(host: LocalNode, path: str) -> None:
    """415 for a form, for plain text and for none: no browser's form reaches a step."""
    joiner = Joiner(host.port)
    body = json.dumps(valid(path, joiner)).encode()
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = joiner.request("POST", f"/mesh/v1/{path}", body, headers)
        assert (answer.status, answer.code) == (415, "unsupported_media_type")
    fine = joiner.request("POST", f"/mesh/v1/{path}", body, {"Content-Type": "application/json; charset=utf-8"})
    assert fine.status != 415


def test_a_truncated_body_is_dropped_quietly(host: LocalNode) -> None:
    """Half a message and a hang-up: no answer is owed, nothing changes, the node goes on."""
    before = host.dump()
    for path in STRANGERS:
        with socket.create_connection(("127.0.0.1", host.port), timeout=5) as plain:
            tls = tls_context().wrap_socket(plain)
            tls.sendall(post(path, b'{"id":', JSON, "Content-Length: 400"))
            tls.close()  # no close_notify, no rest
    assert Joiner(host.port).request("GET", "/healthz").status == 200
    assert host.dump() == before


def test_a_body_that_drips_is_cut_off_after_five_seconds(host: LocalNode) -> None:
    """Chunk by chunk for ever: the first request must be complete in five seconds."""
    with socket.create_connection(("127.0.0.1", host.port), timeout=15) as plain:
        tls = tls_context().wrap_socket(plain)
        tls.sendall(post("pair/begin", b"", JSON, "Transfer-Encoding: chunked"))
        tls.settimeout(0.2)
        started, ended = time.monotonic(), False
        while not ended and time.monotonic() - started < 12:
            try:
                tls.sendall(b"1\r\n \r\n")
                answer = tls.recv(4096)
                ended = not answer or problem(answer) == (408, "request_timeout")
            except TimeoutError:
                continue
            except OSError:
                ended = True
        tls.close()
    assert ended
    assert 4.5 < time.monotonic() - started < 8


@pytest.mark.parametrize(
    "head",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /mesh/v1/nonce HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /mesh/v1/nonce HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70000 + b"\r\n\r\n",
    ],
    ids=["no HTTP", "no version", "negative length", "two lengths", "long path", "many headers", "long header"],
)
def test_what_is_no_http_gets_a_400_and_a_hang_up(host: LocalNode, head: bytes) -> None:
    """aiohttp's own refusals are problem documents too."""
    answer = raw_request(host, head)
    if answer:
        status, code = problem(answer)
        assert (status, code) == (400, "invalid_params")
    assert Joiner(host.port).request("GET", "/healthz").status == 200
