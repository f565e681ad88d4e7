"""The event stream: who is told what, numbers, and resuming without a loss or a double."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.domain.principal import OWNER, Principal, Role
from meshnode.domain.topic import TOPICS_MAX
from meshnode.node.event_stream import DATA_MAX, EventStream
from meshnode.transport.rpc_message import encode_notification
from tests.fakes.clock import START, ManualClock

OWN_ID = "node-own"
BASE = int(START.timestamp()) << 20


def device(node_id: str = "phone", level: int = 1) -> Principal:
    return Principal(Role.DEVICE, node_id, level)


class Listener:
    """A subscriber that keeps what it is told; `gate` holds back what is sent with backpressure."""

    def __init__(self, principal: Principal = OWNER) -> None:
        self.principal = principal
        self.told: list[dict[str, Any]] = []
        self.lost = 0
        self.gate: asyncio.Event | None = None
        self.is_gone = False

    def deliver(self, frame: bytes) -> None:
        message = json.loads(frame)
        assert message["method"] == "event"
        self.told.append(message["params"])

    def lose(self, count: int) -> None:
        self.lost += count

    async def send(self, frame: bytes) -> bool:
        if self.gate is not None:
            await self.gate.wait()
        if not self.is_gone:
            self.deliver(frame)
        return not self.is_gone

    @property
    def numbers(self) -> list[int]:
        """The `n` of everything told."""
        return [event["data"]["n"] for event in self.told]


def make(ring: int = 1024) -> EventStream:
    return EventStream(ManualClock(), OWN_ID, encode_notification, ring)


@asynccontextmanager
async def running(stream: EventStream) -> AsyncIterator[None]:
    task = asyncio.create_task(stream.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle(stream: EventStream) -> None:
    """Until everything taken has been told."""
    for _ in range(10_000):
        if stream._told == stream._head:
            return
        await asyncio.sleep(0)
    raise AssertionError("the stream does not get on")


def node_event(n: int, topic: str = "mesh.node.online", to: str | None = None) -> Event:
    return Event(topic, {"n": n}, to)


async def test_every_subscriber_of_a_topic_is_told_once_with_a_growing_number() -> None:
    """Exact topics and patterns, overlapping ones too; others hear nothing; numbers begin at the start's second."""
    stream, exact, double, other = make(), Listener(), Listener(), Listener()
    stream.subscribe(exact, ["mesh.node.online"])
    stream.subscribe(double, ["mesh.*", "mesh.node.*", "mesh.node.online"])
    stream.subscribe(other, ["mesh.node.offline", "app.*"])
    async with running(stream):
        stream.take(node_event(1))
        stream.take(node_event(2))
        await settle(stream)
    assert exact.told == double.told
    assert [event["sequence"] for event in exact.told] == [BASE + 1, BASE + 2]
    assert exact.told[0] == {
        "topic": "mesh.node.online",
        "data": {"n": 1},
        "at": "2026-03-14T09:26:53.589793Z",
        "sequence": BASE + 1,
    }
    assert other.told == []


async def test_applications_events_reach_all_but_the_publisher() -> None:
    """The same device's other sockets included; no number; not kept for later."""
    stream, publisher, twin, stranger = make(), Listener(device()), Listener(device()), Listener(device("other"))
    for listener in (publisher, twin, stranger):
        stream.subscribe(listener, ["app.*"])
    await stream.publish("app.voice.state", {"n": [1, None]}, by=publisher)
    assert publisher.told == []
    assert twin.told == stranger.told == [
        {"topic": "app.voice.state", "data": {"n": [1, None]}, "at": "2026-03-14T09:26:53.589793Z"}
    ]  # fmt: skip
    late = Listener(device())
    assert stream.subscribe(late, ["app.*"], since=0).missed
    assert late.told == []


@pytest.mark.parametrize("data", ["x" * (DATA_MAX - 1), [["x"] * 10] * 2000])
async def test_too_much_data_is_refused(data: object) -> None:
    """64 KiB as JSON, counted as it will be sent; a little less goes through."""
    stream, listener = make(), Listener()
    stream.subscribe(listener, ["app.*"])
    with pytest.raises(MeshError, match="data") as refusal:
        await stream.publish("app.x", data, by=Listener())
    assert refusal.value.code == "invalid_params"
    await stream.publish("app.x", "x" * (DATA_MAX - 2), by=Listener())
    assert len(listener.told) == 1


async def test_data_nested_deeper_than_can_be_written_is_refused() -> None:
    """It could be read, but not sent on."""
    data: list[Any] = []
    for _ in range(900):
        data = [data]
    with pytest.raises(MeshError, match="nested"):
        await make().publish("app.x", data, by=Listener())


async def test_nobody_is_told_more_than_its_level_of_this_moment_may_read() -> None:
    """Refused at subscription; and a level that falls later ends delivery, without another word."""
    stream, listener = make(), Listener(device(level=1))
    for pattern in ("mesh.*", "mesh.pairing.opened", "mesh.pairing.*"):
        with pytest.raises(MeshError) as refusal:
            stream.subscribe(listener, ["mesh.node.*", pattern])
        assert refusal.value.code == "not_permitted"
    assert len(stream) == 0
    listener.principal = device(level=2)
    stream.subscribe(listener, ["mesh.*"])
    async with running(stream):
        stream.take(node_event(1, "mesh.pairing.opened"))
        await settle(stream)
        listener.principal = device(level=1)
        stream.take(node_event(2, "mesh.pairing.opened"))
        stream.take(node_event(3))
        await settle(stream)
        listener.principal = device(level=0)
        stream.take(node_event(4))
        await settle(stream)
    assert listener.numbers == [1, 3]


async def test_an_event_for_one_node_reaches_that_node_alone() -> None:
    """Live and replayed; what is for this node itself goes to its owner."""
    stream = make()
    owner, maker, other = Listener(), Listener(device("maker", 2)), Listener(device("other", 2))
    for listener in (owner, maker, other):
        stream.subscribe(listener, ["mesh.*"])
    late = Listener(device("maker", 2))
    async with running(stream):
        stream.take(node_event(1, "mesh.pairing.trust", to="maker"))
        stream.take(node_event(2, "mesh.pairing.trust", to=OWN_ID))
        await settle(stream)
        replay = stream.subscribe(late, ["mesh.*"], since=BASE).replay
        assert replay is not None
        await replay()
    assert (owner.numbers, maker.numbers, other.numbers, late.numbers) == ([2], [1], [], [1])


async def test_resuming_brings_what_was_missed_in_order_before_what_comes() -> None:
    """Events taken before, during and after the replay: each once, by number; nothing before the answer is out."""
    stream, listener = make(), Listener()
    async with running(stream):
        for n in range(1, 6):
            stream.take(node_event(n))
        await settle(stream)
        stream.take(node_event(6))  # numbered, not yet told
        subscribed = stream.subscribe(listener, ["mesh.node.*"], since=BASE + 2)
        assert (subscribed.sequence, subscribed.missed) == (BASE + 5, False)
        stream.take(node_event(7))
        await settle(stream)
        assert listener.told == []
        listener.gate = asyncio.Event()
        assert subscribed.replay is not None
        replaying = asyncio.ensure_future(subscribed.replay())
        await asyncio.sleep(0)
        stream.take(node_event(8))
        await settle(stream)
        listener.gate.set()
        await replaying
        stream.take(node_event(9))
        await settle(stream)
    assert listener.numbers == [3, 4, 5, 6, 7, 8, 9]
    assert [event["sequence"] - BASE for event in listener.told] == listener.numbers


async def test_resuming_does_not_repeat_what_the_socket_has_already() -> None:
    """A second subscription replays only what none of the first covered, and two in one batch don't overlap."""
    stream, listener = make(), Listener()
    async with running(stream):
        for n in range(1, 5):
            stream.take(node_event(n, "mesh.node.online" if n % 2 else "mesh.node.offline"))
        await settle(stream)
        first = stream.subscribe(listener, ["mesh.node.online"], since=BASE)
        second = stream.subscribe(listener, ["mesh.node.*"], since=BASE)
        stream.take(node_event(5))
        await settle(stream)
        for subscribed in (first, second):
            assert subscribed.replay is not None
            await subscribed.replay()
        assert stream.subscribe(listener, ["mesh.node.*"], since=BASE).replay is None
        stream.take(node_event(6))
        await settle(stream)
    assert listener.numbers == [1, 3, 2, 4, 5, 6]


@pytest.mark.parametrize(
    ("since", "missed", "numbers"),
    [
        (BASE + 6, False, []),
        (BASE + 3, False, [4, 5, 6]),
        (BASE + 2, False, [3, 4, 5, 6]),
        (BASE + 1, True, [3, 4, 5, 6]),
        (0, True, [3, 4, 5, 6]),
        (BASE + 7, True, [3, 4, 5, 6]),
    ],
)
async def test_what_is_no_longer_known_is_said(since: int, missed: bool, numbers: list[int]) -> None:
    """Older than the ring, of a run before this one, or of one whose clock was ahead; what is left is told."""
    stream, listener = make(ring=4), Listener()
    async with running(stream):
        for n in range(1, 7):
            stream.take(node_event(n))
            await settle(stream)
        subscribed = stream.subscribe(listener, ["mesh.node.*"], since=since)
        assert (subscribed.sequence, subscribed.missed) == (BASE + 6, missed)
        if subscribed.replay is not None:
            await subscribed.replay()
    assert listener.numbers == numbers


async def test_more_at_once_than_the_ring_holds_is_counted_as_lost() -> None:
    """Live listeners and one in the middle of a replay are told how many; those of other topics aren't."""
    stream, live, late, apps = make(ring=4), Listener(), Listener(), Listener()
    stream.subscribe(live, ["mesh.node.*"])
    stream.subscribe(apps, ["app.*"])
    stream.take(node_event(0))
    async with running(stream):
        await settle(stream)
        subscribed = stream.subscribe(late, ["mesh.node.*"], since=BASE)
        for n in range(1, 11):
            stream.take(node_event(n))
        await settle(stream)
        assert subscribed.replay is not None
        await subscribed.replay()
    assert (live.numbers, live.lost) == ([0, 7, 8, 9, 10], 6)
    assert (late.numbers, late.lost) == ([0, 7, 8, 9, 10], 6)
    assert apps.lost == 0


async def test_who_leaves_is_forgotten() -> None:
    """Also in the middle of a replay; a second time does no harm."""
    stream, listener = make(), Listener()
    async with running(stream):
        stream.take(node_event(1))
        await settle(stream)
        subscribed = stream.subscribe(listener, ["mesh.node.*", "app.x"], since=BASE)
        listener.is_gone = True
        assert subscribed.replay is not None
        await subscribed.replay()
        stream.drop(listener)
        stream.take(node_event(2))
        await settle(stream)
    assert len(stream) == 0
    assert listener.told == []
    assert stream._of_pattern == {}


def test_a_subscriber_may_hold_so_many_topics_and_no_more() -> None:
    """Repeating one costs nothing; a refusal changes nothing."""
    stream, listener = make(), Listener()
    many = [f"app.t{n}" for n in range(TOPICS_MAX)]
    stream.subscribe(listener, many)
    stream.subscribe(listener, many[:3] * 2)
    with pytest.raises(MeshError) as refusal:
        stream.subscribe(listener, ["app.one-more"])
    assert refusal.value.code == "invalid_params"
    assert "app.one-more" not in stream._of_pattern


def test_an_event_that_is_no_json_uses_up_no_number() -> None:
    """The next one follows the last without a gap."""
    stream = make()
    with pytest.raises(TypeError):
        stream.take(Event("mesh.node.online", {"n": object()}))
    stream.take(node_event(1))
    assert [record.sequence for record in stream._ring] == [BASE + 1]


def test_numbers_grow_over_a_restart() -> None:
    """A node that starts a second later begins above all it can have given out."""
    clock = ManualClock()
    before = EventStream(clock, OWN_ID, encode_notification)
    before.take(node_event(1))
    clock.advance(1)
    after = EventStream(clock, OWN_ID, encode_notification)
    listener = Listener()
    assert after.subscribe(listener, ["mesh.node.*"], since=before._head).missed
    after.take(node_event(2))
    assert after._head > before._head
