"""The socket of a whole node: JSON-RPC to the letter, judged at every message, events, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType

from meshnode.transport.connections import SOCKETS_PER_NODE
from meshnode.transport.rpc_socket import BUFFER_BYTES, PENDING_BYTES_MAX, PENDING_MAX, RpcSocket
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode, drain

WAIT_S = 10.0


class Talker:
    """One end of a socket: calls by number, notifications kept apart."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.said: list[dict[str, Any]] = []  # notifications that came while an answer was awaited
        self._next = 0

    async def send(self, message: Any) -> None:
        await self.ws.send_str(message if isinstance(message, str) else json.dumps(message))

    async def receive(self) -> Any:
        """The next message."""
        return json.loads(await self.ws.receive_str(timeout=WAIT_S))

    async def answer_to(self, message: Any) -> Any:
        """Send a message as it is; what is answered."""
        await self.send(message)
        while "method" in (found := await self.receive()):
            self.said.append(found)
        return found

    async def ask(self, method: str, **params: Any) -> Any:
        """Call a method; its answer."""
        self._next += 1
        return await self.answer_to({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params})

    async def notification(self) -> dict[str, Any]:
        """The next notification."""
        found = self.said.pop(0) if self.said else await self.receive()
        assert "id" not in found
        return found

    async def event(self) -> dict[str, Any]:
        """The next event."""
        found = await self.notification()
        assert found["method"] == "event"
        return found["params"]

    async def end(self) -> tuple[int, str]:
        """Code and reason; nothing else comes before."""
        message = await self.ws.receive(timeout=WAIT_S)
        assert message.type is WSMsgType.CLOSE, message
        return message.data, message.extra or ""


class Door:
    """Opens sockets to one node."""

    def __init__(self, host: LocalNode, client: aiohttp.ClientSession) -> None:
        self.host = host
        self._client = client
        self._talkers: list[Talker] = []

    async def open(self, token: str | None = None, **options: Any) -> Talker:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        url = f"https://127.0.0.1:{self.host.port}/ws"
        return self._keep(await self._client.ws_connect(url, headers=headers, ssl=False, **options))

    async def open_owner(self) -> Talker:
        headers = {"Authorization": f"Bearer {self.host.owner_token}"}
        return self._keep(await self._client.ws_connect(f"http://{self.host.control_address}/ws", headers=headers))

    def _keep(self, ws: ClientWebSocketResponse) -> Talker:
        self._talkers.append(Talker(ws))
        return self._talkers[-1]

    async def close(self) -> None:
        """Close what is open."""
        await asyncio.gather(*(talker.ws.close() for talker in self._talkers))

    async def do(self, method: str, path: str, body: Any = None) -> Any:
        """The owner's API, without holding up this loop."""
        return await asyncio.to_thread(self.host.call, method, path, body)


@pytest.fixture
async def door(host: LocalNode) -> AsyncIterator[Door]:
    """Sockets that are closed with the test."""
    async with aiohttp.ClientSession() as client:
        door = Door(host, client)
        yield door
        await door.close()
    await drain()


@pytest.fixture
def joiner(host: LocalNode) -> Joiner:
    """A paired peer at level 1, with a session."""
    made = Joiner(host.port)
    made.pair(host.offer().pin)
    assert made.open_session().status == 200
    return made


def call(id_: object, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def told(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


async def until(what: str, look: Any) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + WAIT_S
    while not look():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.005)


# ── JSON-RPC ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_error_has_its_code(door: Door, joiner: Joiner, monkeypatch: pytest.MonkeyPatch) -> None:
    """-32700, -32600, -32601, -32602 naming the field, -32003 with our code, -32603 with nothing leaked."""
    talker = await door.open(joiner.token)
    assert (await talker.answer_to("{"))["error"]["code"] == -32700
    for text in ("[]", "7", '{"id": 1}', json.dumps([told("x")] * 21)):
        assert (await talker.answer_to(text))["error"]["code"] == -32600
    assert (await talker.ask("no.such"))["error"]["code"] == -32601
    for params in ({}, {"topics": "app.*"}, {"topics": ["app.*", 1]}, {"topics": ["Nope"]}, {"topics": ["app.x"] * 65}):
        error = (await talker.ask("event.subscribe", **params))["error"]
        assert (error["code"], error["data"]["field"]) == (-32602, "topics")
        assert "topics" in error["message"]
    positional = {"jsonrpc": "2.0", "id": 1, "method": "event.subscribe", "params": [["app.*"]]}
    assert (await talker.answer_to(positional))["error"]["code"] == -32602
    error = (await talker.ask("event.publish", topic="mesh.node.paired", data=1))["error"]
    assert (error["code"], error["data"]["code"], error["data"]["status"]) == (-32003, "not_permitted", 403)

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret 4711")

    monkeypatch.setattr(door.host.graph.use.events, "publish", fail)
    answer = await talker.ask("event.publish", topic="app.x", data=1)
    assert answer["error"]["code"] == -32603
    assert "4711" not in json.dumps(answer)
    assert "result" in await talker.ask("node.describe")


async def test_a_batch_is_answered_as_one_and_notifications_not_at_all(door: Door, joiner: Joiner) -> None:
    """Each call is judged alone, in order; a batch of notifications is executed in silence, their errors too."""
    talker, other = await door.open(joiner.token), await door.open(joiner.token)
    await other.ask("event.subscribe", topics=["app.*"])
    answers = await talker.answer_to(
        [
            call("a", "node.describe"),
            told("event.publish", topic="app.x", data=1),
            5,
            call(None, "nope"),
            call(2, "event.publish", topic="app.y", data=2),
        ]
    )
    assert [answer["id"] for answer in answers] == ["a", None, None, 2]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, -32601, None]
    await talker.send([told("event.publish", topic="app.z", data=3), told("nope"), told("event.publish", topic=7)])
    await talker.send(told("event.publish", topic="app.z", data=4))
    assert (await talker.ask("node.describe"))["result"]["id"] == door.host.id
    assert [(await other.event())["data"] for _ in range(4)] == [1, 2, 3, 4]
    assert talker.said == []


async def test_what_a_node_says_of_itself(door: Door, joiner: Joiner) -> None:
    """Identity, kind, version, and capabilities with their versions."""
    found = (await (await door.open(joiner.token)).ask("node.describe"))["result"]
    assert found["id"] == door.host.id
    assert {"name", "kind", "version", "fingerprint"} <= found.keys()
    assert {"name": "system.ping", "version": "1"} in found["capabilities"]


@pytest.mark.parametrize("id_", ["", "x" * 200, 0, -3, 2**63, 1.5, None])
async def test_ids_come_back(door: Door, joiner: Joiner, id_: object) -> None:
    """Text, numbers and null."""
    assert (await (await door.open(joiner.token)).answer_to(call(id_, "nope")))["id"] == id_


async def test_a_plain_request_for_the_socket_is_told_so(door: Door) -> None:
    """400 with a code, not a page of aiohttp's."""
    answer = await asyncio.to_thread(Joiner(door.host.port).request, "GET", "/ws")
    assert (answer.status, answer.code) == (400, "invalid_params")


# ── who may call ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stranger_may_connect_and_nothing_else(door: Door) -> None:
    """Known methods need a token, unknown ones don't exist; a wrong token doesn't get as far."""
    talker = await door.open()
    for method, params in (
        ("node.describe", {}),
        ("event.subscribe", {"topics": ["app.*"]}),
        ("event.publish", {"topic": "app.x", "data": 1}),
    ):
        assert (await talker.ask(method, **params))["error"]["data"]["code"] == "token_required"
    assert (await talker.ask("nope"))["error"]["code"] == -32601
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await door.open("wrong")
    assert refusal.value.status == 401


async def test_a_level_counts_from_the_moment_it_changes(door: Door, joiner: Joiner) -> None:
    """Raised: the open socket may read about pairing. Lowered: it may no more, and is told nothing either."""
    talker = await door.open(joiner.token)
    assert (await talker.ask("event.subscribe", topics=["mesh.*"]))["error"]["data"]["code"] == "not_permitted"
    await door.do("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
    assert "result" in await talker.ask("event.subscribe", topics=["mesh.pairing.*", "mesh.node.*"])
    await door.do("POST", "/api/v1/pairing/offers", {})
    assert (await talker.event())["topic"] == "mesh.pairing.opened"
    await door.do("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 1})
    await door.do("DELETE", "/api/v1/pairing/offers")
    await door.do("PATCH", f"/api/v1/nodes/{joiner.id}", {"alias": "marker"})
    topics = [(await talker.event())["topic"] for _ in range(2)]  # of the level, of the alias; none of pairing
    assert topics == ["mesh.node.updated", "mesh.node.updated"]


async def test_revoking_closes_the_socket_with_a_reason(door: Door, joiner: Joiner) -> None:
    """At once; what is on its way is not answered, and there is no coming back."""
    talkers = [await door.open(joiner.token) for _ in range(2)]
    for talker in talkers:
        await talker.ask("node.describe")
    await door.do("POST", f"/api/v1/nodes/{joiner.id}/revoke")
    for talker in talkers:
        assert await talker.end() == (4001, "revoked")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await door.open(joiner.token)


async def test_a_token_that_has_expired_is_not_answered(door: Door, joiner: Joiner) -> None:
    """Judged at the message, not at the upgrade only."""
    talker = await door.open(joiner.token)
    await talker.ask("node.describe")
    door.host.clock.step(3601)
    await talker.send(call(9, "node.describe"))
    assert await talker.end() == (4401, "the token is not valid any more")


async def test_a_fifth_socket_ends_the_oldest(door: Door, joiner: Joiner) -> None:
    """With a reason; the other four live, and plain requests don't count among them."""
    talkers = [await door.open(joiner.token) for _ in range(SOCKETS_PER_NODE)]
    for _ in range(SOCKETS_PER_NODE * 3):
        assert (await asyncio.to_thread(joiner.beat)).status == 200
    assert "result" in await talkers[0].ask("node.describe")
    talkers.append(await door.open(joiner.token))
    assert (await talkers[0].end())[0] == 4409
    for talker in talkers[1:]:
        assert "result" in await talker.ask("node.describe")


async def test_strangers_sockets_count_as_strangers_connections(door: Door) -> None:
    """A ninth ends the oldest; one that has been idle for a while too."""
    talkers = [await door.open() for _ in range(9)]
    message = await talkers[0].ws.receive(timeout=WAIT_S)
    assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR, WSMsgType.CLOSE)
    for talker in talkers[1:]:
        assert (await talker.ask("nope"))["error"]["code"] == -32601


# ── limits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("is_known", "cap"), [(False, 60), (True, 600)])
async def test_who_floods_is_refused_then_ended(door: Door, joiner: Joiner, is_known: bool, cap: int) -> None:
    """The cap counts every call of a batch; refusals name the wait; as many again and the socket is closed."""
    talker = await door.open(joiner.token if is_known else None)
    answers: list[Any] = []
    for _ in range(cap // 20):
        answers += await talker.answer_to([call(n, "nope") for n in range(20)])
    assert {answer["error"]["code"] for answer in answers} == {-32601}
    refused = 0
    while not talker.ws.closed:
        await talker.send([call(n, "nope") for n in range(20)])
        message = await talker.ws.receive(timeout=WAIT_S)
        if message.type is WSMsgType.CLOSE:
            assert message.data == 1008
            break
        for answer in json.loads(message.data):
            if answer["error"]["code"] == -32003:
                refused += 1
                assert answer["error"]["data"]["code"] == "rate_limited"
                assert answer["error"]["data"]["retry_after"] >= 1
    assert cap <= refused <= cap + 40


async def test_messages_have_a_size(door: Door, joiner: Joiner) -> None:
    """8 KiB before authentication, 1 MiB after; text only."""
    stranger, known, binary = await door.open(), await door.open(joiner.token), await door.open(joiner.token)
    assert (await stranger.answer_to(call(1, "n" * 7000)))["error"]["code"] == -32601
    assert (await known.answer_to(call(1, "n" * 1_000_000)))["error"]["code"] == -32601
    await stranger.send(call(1, "n" * 9000))
    assert (await stranger.end())[0] == 1009
    await known.send(call(1, "n" * 1_100_000))
    assert (await known.end())[0] == 1009
    await binary.ws.send_bytes(b"{}")
    assert (await binary.end())[0] == 1003


# ── events ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_published_events_reach_every_other_socket(door: Door, joiner: Joiner) -> None:
    """The same node's others and the owner's, not the publishing one; without a sequence."""
    publisher, twin, owner = await door.open(joiner.token), await door.open(joiner.token), await door.open_owner()
    for talker in (publisher, twin, owner):
        await talker.ask("event.subscribe", topics=["app.agent.*"])
    assert (await publisher.ask("event.publish", topic="app.agent.state", data={"n": 1}))["result"] == {}
    await publisher.ask("event.publish", topic="app.other", data=None)
    await publisher.ask("event.publish", topic="app.agent.end", data=[])
    for talker in (twin, owner):
        first = await talker.event()
        assert (first["topic"], first["data"]) == ("app.agent.state", {"n": 1})
        assert first.keys() == {"topic", "data", "at"}
        assert (await talker.event())["topic"] == "app.agent.end"
    assert publisher.said == []


async def test_the_nodes_own_events_carry_a_sequence_and_can_be_resumed(door: Door, joiner: Joiner) -> None:
    """What happened while the socket was down comes first, in order; then what happens; nothing twice, none missing."""
    first = await door.open(joiner.token)
    await first.ask("event.subscribe", topics=["mesh.node.*"])

    async def rename(n: int) -> None:
        await door.do("PATCH", f"/api/v1/nodes/{joiner.id}", {"alias": f"n{n}"})

    await rename(0)
    seen = (await first.event())["sequence"]
    await first.ws.close()
    for n in range(5):
        await rename(n)
    second = await door.open(joiner.token)
    renaming = asyncio.gather(*(rename(n) for n in range(5)))
    answer = (await second.ask("event.subscribe", topics=["mesh.node.*"], since=seen))["result"]
    assert second.said == []
    assert answer["sequence"] >= seen + 5
    assert "missed" not in answer
    await renaming
    await rename(9)
    events = [await second.event() for _ in range(11)]
    assert [event["sequence"] for event in events] == list(range(seen + 1, seen + 12))
    assert (await second.ask("event.subscribe", topics=["app.x"], since=1))["result"]["missed"]


async def test_a_restarted_node_says_that_events_were_missed(door: Door, joiner: Joiner) -> None:
    """Its numbers go on above the old ones."""
    owner = await door.open_owner()
    before = (await owner.ask("event.subscribe", topics=["mesh.*"]))["result"]["sequence"]
    restarted_at = time.time()
    await asyncio.to_thread(door.host.close)
    assert await owner.end() == (1001, "the node is stopping")
    await until("the next second", lambda: int(time.time()) > int(restarted_at))
    await asyncio.to_thread(door.host.start)
    answer = (await (await door.open_owner()).ask("event.subscribe", topics=["mesh.*"], since=before))["result"]
    assert answer["missed"]
    assert answer["sequence"] > before


async def test_a_reader_that_does_not_read_holds_up_nobody_and_is_told_what_it_lost(door: Door, joiner: Joiner) -> None:
    """Its memory stays bounded; the others get everything at once; it gets the oldest, the count, and the newest."""
    slow = await door.open(joiner.token, max_msg_size=0)
    await slow.ask("event.subscribe", topics=["app.*"])
    transport = slow.ws._conn.transport
    transport.pause_reading()
    brisk, publisher = await door.open(joiner.token), await door.open(joiner.token)
    await brisk.ask("event.subscribe", topics=["app.*"])
    sent, payload = 400, "x" * 60_000
    for n in range(sent):
        started = time.monotonic()
        assert "result" in await publisher.ask("event.publish", topic="app.x", data={"n": n, "payload": payload})
        assert (await brisk.event())["data"]["n"] == n
        assert time.monotonic() < started + 5
    (stuck,) = [s for s in door.host.graph.connections if isinstance(s, RpcSocket) and s._pending]
    assert 0 < stuck._pending_bytes <= PENDING_BYTES_MAX
    assert len(stuck._pending) <= PENDING_MAX
    assert stuck._transport.get_write_buffer_size() <= BUFFER_BYTES + 2 * len(payload)
    assert stuck._lost > 0
    transport.resume_reading()
    numbers, lost_at, lost = [], 0, 0
    while not numbers or numbers[-1] != sent - 1:
        found = await slow.notification()
        if found["method"] == "event.lost":
            lost, lost_at = lost + found["params"]["count"], len(numbers)
        else:
            numbers.append(found["params"]["data"]["n"])
    assert len(numbers) + lost == sent
    assert numbers == [*range(lost_at), *range(lost_at + lost, sent)]
    await publisher.ask("event.publish", topic="app.x", data={"n": sent})
    assert (await slow.event())["data"]["n"] == sent


# ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def raw_socket(door: Door, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An upgraded connection that does only what the test does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", door.host.port, ssl=context)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: node\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_peer_that_answers_no_close_frame_is_cut_off(door: Door, joiner: Joiner) -> None:
    """Revoking takes a second or two, whatever the other side does; it got its close frame."""
    reader, writer = await raw_socket(door, joiner.token)
    started = time.monotonic()
    await door.do("POST", f"/api/v1/nodes/{joiner.id}/revoke")
    assert time.monotonic() < started + 4
    assert len(door.host.graph.connections) == 0
    found = await asyncio.wait_for(reader.read(), WAIT_S)
    assert found.startswith(b"\x88\x09\x0f\xa1revoked")
    writer.close()


async def test_the_node_stops_at_once_whoever_is_connected(door: Door, joiner: Joiner) -> None:
    """Every socket is told 1001; one that doesn't listen costs a second or two."""
    talkers = [await door.open(), await door.open(joiner.token), await door.open_owner()]
    _, writer = await raw_socket(door, joiner.token)
    started = time.monotonic()
    await asyncio.gather(asyncio.to_thread(door.host.close), *(talker.end() for talker in talkers))
    assert time.monotonic() < started + 5
    assert [talker.ws.close_code for talker in talkers] == [1001] * 3
    writer.close()


async def test_pings_are_answered_but_not_without_limit(door: Door) -> None:
    """A stranger's pings count as calls do."""
    talker = await door.open()
    pongs, close = 0, None
    for _ in range(200):
        await talker.ws.ping(b"p")
    ws = talker.ws
    ws._autoping = False
    while close is None:
        message = await ws.receive(timeout=WAIT_S)
        if message.type is WSMsgType.PONG:
            assert message.data == b"p"
            pongs += 1
        elif message.type is WSMsgType.CLOSE:
            close = message.data
    assert 60 <= pongs <= 70
    assert close == 1008


async def test_a_socket_makes_its_device_online_and_its_end_does_not_revoke_it(door: Door, joiner: Joiner) -> None:
    """The node keeps no open socket of one that has left."""
    talker = await door.open(joiner.token)
    await talker.ask("node.describe")
    await until("it to be online", lambda: door.host.is_online(joiner.id))
    await talker.ws.close()
    await until("the socket to be forgotten", lambda: len(door.host.graph.connections) == 0)
    assert "result" in await (await door.open(joiner.token)).ask("node.describe")
