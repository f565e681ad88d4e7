"""The public listener of a running node, below HTTP: requests that are none, and connections that say nothing."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import Final

from hypothesis import strategies as st

from tests.fuzz.raw_websocket import connect
from tests.fuzz.target import Caller, Target

EXAMPLES: Final = 100
FIRST_REQUEST_S: Final = 5.0  # what the node gives a stranger for a whole request
LINES: Final = (
    *(b"GET /healthz HTTP/1.1", b"POST /api/pair HTTP/1.1", b"GET /ws HTTP/1.1", b"PRI * HTTP/2.0", b"GET / HTTP/9.9"),
    *(
        b"OPTIONS * HTTP/1.1",
        b"CONNECT a:1 HTTP/1.1",
        b"GET http://a/healthz HTTP/1.1",
        b"get /healthz",
        b"\x16\x03\x01",
    ),
    *(b"GET /%00 HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET /" + b"a" * 9000 + b" HTTP/1.1", b"TRACE / HTTP/1.1"),
    *(b"GET //healthz?%zz#x HTTP/1.1", b"HEAD /healthz HTTP/1.0", b"GET /api/v1/nodes/%2e%2e%2f HTTP/1.1"),
)
HEADERS: Final = (
    *(b"Host: a", b"Host: a\r\nHost: b", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 6"),
    *(b"Content-Length: 99999999999999999999", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked, identity"),
    *(b"Expect: 100-continue", b"Expect: x", b"Connection: Upgrade", b"Upgrade: websocket", b"Upgrade: h2c"),
    *(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 99", b"Sec-WebSocket-Key: x", b"Range: bytes=9-1"),
    *(b"Authorization: Bearer \xff\xfe", b"Authorization: Device", b"Authorization: Bearer " + b"a" * 7000),
    *(b"Cookie: __Host-meshnode=x; =; ;;", b"Cookie: " + b"a=b; " * 1000, b"Content-Type: application/json"),
    *(b"Content-Encoding: gzip", b"Content-Type: ;;;", b"X-Forwarded-For: x", b"Origin: null", b" folded: x", b": x"),
    *(b"A\x00B: c", b"Accept: " + b"*" * 8000, b"Content-Type: multipart/form-data; boundary="),
)
BODIES: Final = (b"", b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n", b"\x1f\x8b\x08\x00" * 9)


def test_every_request_that_is_none_is_refused(target: Target, effort: int) -> None:
    """HTTP that no client writes, whole or in part: an answer below 500, or the node hangs up; pipelines too."""
    request = st.builds(
        lambda line, headers, ending, body: b"\r\n".join([line, *headers]) + ending + body,
        st.sampled_from(LINES) | st.binary(max_size=60),
        st.lists(st.sampled_from(HEADERS) | st.binary(max_size=40), max_size=6),
        st.sampled_from([b"\r\n\r\n", b"\r\n\r\n", b"\n\n", b"\r\n"]),
        st.sampled_from(BODIES) | st.binary(max_size=60),
    )
    caller = target.caller("anonymous")
    answers = 0

    def shout(requests: list[bytes]) -> None:
        nonlocal answers
        with connect(caller) as tls:
            received = b""
            with suppress(OSError):
                tls.sendall(b"".join(requests))
                tls.settimeout(0.1)  # an incomplete one is waited for longer than this
                while more := tls.recv(65536):
                    received += more
        if received:
            answers += 1
            assert received.startswith(b"HTTP/1."), received[:200]
            status = int(received[9:12])
            assert 100 <= status < 500, received[:500]

    target.stand(caller, st.lists(request, min_size=1, max_size=3), shout, EXAMPLES * effort)
    assert answers > EXAMPLES / 4


def test_what_never_becomes_a_request_is_hung_up(target: Target) -> None:
    """Bytes that are no TLS, a handshake left alone, half a request: all gone within the node's deadlines."""
    caller = target.caller("anonymous")
    plain = Caller("bare", "bare", caller.url, {})
    halves = [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: ", b"POST /api/pair HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"]
    no_tls = [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"]
    waiting = [connect(caller) for _ in halves] + [connect(plain) for _ in no_tls]
    began = time.monotonic()
    try:
        for one, data in zip(
            waiting, [*halves, b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"], strict=True
        ):
            if data:
                one.sendall(data)
        left = list(waiting)
        while left:
            assert time.monotonic() - began < 3 * FIRST_REQUEST_S, f"{len(left)} still stand"
            readable, _, _ = select.select(left, [], [], 1.0)
            for one in readable:
                one.settimeout(1.0)
                try:
                    is_over = not one.recv(65536)
                except OSError:
                    is_over = True
                if is_over:
                    left.remove(one)
    finally:
        for one in waiting:
            one.close()
    target.check(caller, target.rss_bytes)
