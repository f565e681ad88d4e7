"""/ws of a running node: JSON-RPC and frames as nobody should send them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import strategies as st

from tests.fakes.local_node import LocalNode
from tests.fuzz.raw_websocket import BINARY, PING, PONG, TEXT, HangError, RawSocket, encode_frame
from tests.fuzz.target import Target, dumped

EXAMPLES: Final = 100
CALLERS: Final = ("anonymous", "phone", "owner")
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
    "session.authenticate": {"token": st.text(min_size=1, max_size=130)},
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
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40).map(str.encode)
    | nested
    | twice
    | st.integers(1, 7000).map(lambda size: dump({"jsonrpc": "2.0", "id": "x" * size, "method": "node.describe"}))
)
Item = tuple[str, bytes, int]  # what it is, its payload, and into how many frames it is cut
item = (
    st.tuples(st.just("text"), (call | batch).map(dump), st.just(1))
    | st.tuples(st.just("text"), text, st.integers(1, 3))
    | st.tuples(st.just("ping"), st.binary(max_size=125), st.just(1))
)
fatal = (
    st.tuples(st.just("binary"), st.binary(max_size=20), st.just(1))
    | st.tuples(st.just("text"), st.binary(max_size=40), st.integers(1, 2))
    | st.tuples(st.just("text"), st.just('"\ud800"'.encode("utf-8", "surrogatepass")), st.just(1))
    | st.tuples(st.just("text"), st.integers(7000, 60_000).map(lambda size: b"1" * size), st.just(1))
)
conversation = st.builds(lambda items, last: items + last, st.lists(item, max_size=20), st.lists(fatal, max_size=1))


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
            said = Talk(socket, seen)
            for one in items:
                said.say(one)
            said.finish()
            answers += said.answers

    target.stand(target.caller(name), conversation, talk, EXAMPLES * effort)
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

    target.stand(target.caller(name), st.lists(bits, min_size=1, max_size=6), shout, EXAMPLES * effort)
