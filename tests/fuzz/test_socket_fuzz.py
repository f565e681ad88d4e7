"""/ws and the bare listener of a running node: JSON-RPC, frames and HTTP as nobody should send them."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for
from tests.fuzz.raw_websocket import BINARY, PING, PONG, TEXT, HangError, RawSocket, connect, encode_frame
from tests.fuzz.target import Caller, Target, dumped

pytestmark = pytest.mark.timeout(7200)  # with --long

WARM_UP: Final = 25  # examples
EXAMPLES: Final = 60
CALLERS: Final = ("anonymous", "phone", "owner")
FIRST_REQUEST_S: Final = 5.0  # what the node gives a stranger for a whole request
ERRORS: Final = {-32700, -32600, -32601, -32602, -32003}  # all but -32603, which is a fault of ours
SAID: Final = {"event", "event.lost", "node.pair.approved", "node.pair.rejected"}
# why the node may end a socket: not text, not UTF-8, calls too many, message too large, token over, another socket
CLOSES: Final = {1003, 1007, 1008, 1009, 4401, 4409}
MESSAGE_MAX: Final = 8 * 1024  # of a stranger
PROTOCOL_ERRORS: Final = CLOSES | {1000, 1002, 1006}

DEVICE_IDS: Final = tuple(f"00000000-0000-4000-8000-00000000000{n}" for n in range(4))
LAST_CODE, LAST_REQUEST, LAST_SEQUENCE = "$code", "$request", "$sequence"  # what the node has said last


# ── what is sent ───────────────────────────────────────────────────────────────────────────────────────────────────

odd_text = st.text(max_size=30) | st.sampled_from(["", "\x00", "\u202e", "x" * 3000, "null", "2.0", "app.x", "\ud800"])
odd_number = st.integers() | st.floats() | st.sampled_from([2**53, 2**64, -(2**63) - 1, 10**400, 1e308, -0.0])
any_json = st.recursive(
    st.none() | st.booleans() | odd_number | odd_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_text, inner, max_size=4),
    max_leaves=10,
)
topics = st.sampled_from(["app.x", "app.*", "app.x.y", "mesh.node.*", "mesh.pairing.*", "mesh.*", "*", "app.", "a.b"])
device_ids = st.sampled_from([*DEVICE_IDS, "phone", "bystander", "operator", DEVICE_IDS[0].replace("-", "")])
decided = {"request_id": st.just(LAST_REQUEST) | odd_text}
PARAMS: Final[dict[str, dict[str, st.SearchStrategy[Any]]]] = {
    "node.describe": {},
    "event.subscribe": {"topics": st.lists(topics, max_size=70), "since": st.sampled_from([None, 0, 1, LAST_SEQUENCE])},
    "event.publish": {"topic": topics, "data": any_json},
    "node.pair.request": {
        "device_name": st.text(min_size=1, max_size=30),
        "device_type": st.sampled_from(["ios", "android", "desktop"]),
        "client_version": st.text(max_size=10),
        "device_id": device_ids,
    },
    "node.pair.confirm": {"pairing_code": st.sampled_from([LAST_CODE, "000000"]), "device_id": device_ids},
    "node.pair.revoke": {"device_id": device_ids},
    "node.pair.list": {},
    "node.pair.approve": decided,
    "node.pair.reject": decided,
    "node.token.refresh": {},
}


def _calls(method: str) -> st.SearchStrategy[dict[str, Any]]:
    """Calls of a method, mostly with the right parameters."""
    right = st.fixed_dictionaries(PARAMS[method])
    nearly = st.fixed_dictionaries({name: made | any_json for name, made in PARAMS[method].items()})
    return st.fixed_dictionaries(
        {"jsonrpc": st.just("2.0"), "method": st.just(method), "params": right | right | nearly | any_json},
        optional={"id": st.integers(1, 9) | odd_number | odd_text | st.none()},
    )


call = st.sampled_from(sorted(PARAMS)).flatmap(_calls)
odd_call = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": any_json,
        "method": any_json | st.sampled_from(sorted(PARAMS)),
        "params": any_json,
        "id": any_json,
    },
)
message = call | call | odd_call | any_json
batch = st.lists(message, max_size=24)


def dump(value: Any) -> bytes:
    """JSON, of what is none too."""
    return json.dumps(value).encode()


def _cut(text: bytes, at: float) -> bytes:
    return text[: int(len(text) * at)]


nested = st.builds(
    lambda depth, pair: (pair[0] * depth + pair[1] * depth).encode(),
    st.integers(1, 3000),
    st.sampled_from(
        [("[", "]"), ('{"a":', "}"), ("[", ""), ('{"jsonrpc":"2.0","id":1,"method":"node.describe","params":', "}")]
    ),
)
twice = st.just(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"node.describe","method":"nothing","params":{},"params":[]}')
text = (
    (message | batch).map(dump)
    | st.builds(_cut, message.map(dump), st.floats(0, 1))
    | st.text(max_size=40).map(lambda made: made.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=40)
    | nested
    | twice
    | st.integers(1, 60_000).map(lambda size: dump({"jsonrpc": "2.0", "id": "x" * size, "method": "node.describe"}))
)
Item = tuple[str, bytes, int]  # what it is, its payload, and into how many frames it is cut
item = (
    st.tuples(st.just("text"), text, st.integers(1, 3))
    | st.tuples(st.just("text"), (call | batch).map(dump), st.just(1))
    | st.tuples(st.just("ping"), st.binary(max_size=125), st.just(1))
    | st.tuples(st.just("binary"), st.binary(max_size=20), st.just(1))
)


# ── who sends and judges ───────────────────────────────────────────────────────────────────────────────────────────


class Talk:
    """One socket's conversation; every message from the node is judged."""

    def __init__(self, socket: RawSocket, seen: dict[str, str]) -> None:
        self._socket = socket
        self._seen = seen
        self._ids: list[Any] = [None]
        self._is_failed = False  # what was said ends a WebSocket at once: a close frame may be lost with it
        self.answers = 0

    def say(self, one: Item) -> None:
        """Send an item."""
        kind, payload, pieces = one
        if kind == "ping":
            self._socket.send(encode_frame(payload, PING))
            return
        for placeholder, value in self._seen.items():
            payload = payload.replace(json.dumps(placeholder).encode(), value.encode())
        try:
            payload.decode()
        except ValueError:
            self._is_failed = True
        self._is_failed |= len(payload) > MESSAGE_MAX
        with suppress(ValueError, RecursionError):
            self._ids += _ids(json.loads(payload))
        size = len(payload) // pieces + 1
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            if number:
                self._socket.send(encode_frame(b"between", PING))
            opcode = 0 if number else BINARY if kind == "binary" else TEXT
            self._socket.send(encode_frame(part, opcode, is_last=number == len(parts) - 1))

    def finish(self) -> None:
        """One more call: it is answered, or the node has closed for a reason it may have."""
        last = "the last call"
        self.say(("text", dump({"jsonrpc": "2.0", "id": last, "method": "node.describe", "params": {}}), 1))
        while (frame := self._socket.receive()) is not None:
            opcode, payload = frame
            if opcode == PONG:
                continue
            assert opcode == TEXT, frame
            found = json.loads(payload)
            for message in found if isinstance(found, list) else [found]:
                self._judge(message)
                if message.get("id") == last:
                    return
        assert self._socket.closed_by in CLOSES | ({1006} if self._is_failed else set()), self._socket.closed_by

    def _judge(self, said: dict[str, Any]) -> None:
        """An answer to something that was asked, or a notification of ours."""
        assert said["jsonrpc"] == "2.0"
        if "method" in said:
            assert said["method"] in SAID, said
            assert "id" not in said
            return
        self.answers += 1
        assert said["id"] in self._ids, dumped((said, self._ids))
        assert ("result" in said) != ("error" in said), said
        if "error" in said:
            assert said["error"]["code"] in ERRORS, said
            assert said["error"]["message"], said
            return
        result = said["result"]
        if "pairing_code" in result:
            self._seen[LAST_CODE] = json.dumps(result["pairing_code"])
        if "sequence" in result:
            self._seen[LAST_SEQUENCE] = json.dumps(result["sequence"])
        for pending in result.get("pending", ()):
            self._seen[LAST_REQUEST] = json.dumps(pending["id"])


def _ids(found: Any) -> list[Any]:
    """The ids in a message; json and orjson read the same numbers out of it."""
    calls = found if isinstance(found, list) else [found]
    return [one["id"] for one in calls if isinstance(one, dict) and "id" in one]


def run(
    target: Target, caller: Caller, effort: int, given_by: st.SearchStrategy[Any], try_: Callable[..., None]
) -> None:
    """Warm up, run, look around."""
    for examples, seed_ in ((WARM_UP, 1), (EXAMPLES * effort, 2)):
        if seed_ == 2:
            warm = target.rss_bytes
        rules = settings(
            max_examples=examples,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        seed(seed_)(rules(given(made)(try_)))()
    wait_for("all sockets to be gone", lambda: "meshnode_sockets 0.0" in target.metrics())
    target.check(caller, warm)


# ── tests ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_method_is_tried(tmp_path: Path) -> None:
    """What is called here is what a node has."""
    node = LocalNode(tmp_path / "node").start()
    try:
        assert {method.name for method in node.graph.methods} == PARAMS.keys()
    finally:
        node.close()


@pytest.mark.parametrize("name", CALLERS)
def test_every_message_is_answered_or_ends_the_socket(target: Target, name: str, effort: int) -> None:
    """Garbage, batches, odd ids, right and wrong parameters, cut and nested: answered by the book, no error of ours."""
    seen: dict[str, str] = {}
    answers = 0

    def talk(items: list[Item]) -> None:
        nonlocal answers
        with RawSocket(target.live(name)) as socket:
            assert socket.status == 101
            conversation = Talk(socket, seen)
            for one in items:
                conversation.say(one)
            conversation.finish()
            answers += conversation.answers

    run(target, target.caller(name), effort, st.lists(item, min_size=1, max_size=12), talk)
    assert answers > EXAMPLES


@pytest.mark.parametrize("name", ["anonymous", "phone"])
def test_every_frame_is_taken_or_ends_the_socket(target: Target, name: str, effort: int) -> None:
    """Opcodes, reserved bits, masks and lengths as they must not be: a close, or a pong to the ping that follows."""
    whole = st.builds(
        encode_frame,
        st.binary(max_size=200),
        st.integers(0, 15),
        is_last=st.booleans(),
        reserved=st.sampled_from([0, 0, 1, 4, 7]),
        is_masked=st.sampled_from([True, True, False]),
    )
    bits = whole | st.builds(_cut, whole, st.floats(0, 1)) | st.binary(max_size=50)

    def shout(bits: list[bytes]) -> None:
        with RawSocket(target.live(name)) as socket:
            assert socket.status == 101
            for some in bits:
                socket.send(some)
            socket.send(encode_frame(b"still there?", PING))
            with suppress(HangError):  # the ping may have become the payload of what came before
                while (frame := socket.receive(0.1)) not in (None, (PONG, b"still there?")):
                    assert frame is not None
                    assert frame[0] in (TEXT, PONG), frame
                assert socket.closed_by is None or socket.closed_by in PROTOCOL_ERRORS

    run(target, target.caller(name), effort, st.lists(bits, min_size=1, max_size=6), shout)


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

    run(target, caller, effort, st.lists(request, min_size=1, max_size=3), shout)
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
