"""A node with nothing to do does nothing; whatever there is to do wakes the loop that does it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from meshnode.daemon import keep_house
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from meshnode.node import discovery_ladder
from meshnode.node.code_records import CodeRules
from meshnode.node.tables import StoredAnswer
from tests.fakes.bare_node import BareNode

DAY_S = 86400.0
TURNS = 50  # of the loop: enough for a task that never waits to be seen by its many steps


async def open_offer(core: BareNode) -> None:
    await core.use.offers.open(300.0)


async def open_code(core: BareNode) -> None:
    await core.use.codes.open(CodeRules(dialect="salita", lifetime_s=300.0))


async def use_token(core: BareNode) -> None:
    core.session(await core.pair())


async def use_ended_token(core: BareNode) -> None:
    """It is to be written that it is dead."""
    token = await core.pair()
    core.session(token).ends = None
    await core.use.tokens.flush()
    digest = next(iter(core.use.tokens._live))
    core.use.tokens._left_s = lambda _: 0.0  # type: ignore[method-assign]
    core.graph.house._begun.clear()
    assert core.use.tokens.find(digest) is None


async def use_browser(core: BareNode) -> None:
    await core.use.browsers.redeem(str(core.use.browsers.issue().text), "127.0.0.1")
    (session,) = core.use.browsers._live.values()
    core.graph.house._begun.clear()
    core.clock.advance(61)  # more often than once a minute it is not written
    core.use.browsers.touch(session)


async def answer_joiner(core: BareNode) -> None:
    """What `finish` leaves behind."""
    async with core.database.write():
        pass
    answer = StoredAnswer(
        offer_id="o", offer_created_at=core.clock.now(), sid=bytes(16), finish_sha256=bytes(32), finish_answer=b"",
        peer_id="peer", peer_key=bytes(32), peer_hostname="192.0.2.1", peer_announcement="",
        answered_at=core.clock.now(),
    )  # fmt: skip
    core.use.confirmations.expect(answer, None)


async def break_disk(core: BareNode) -> None:
    """Seen by whoever reads, too."""
    core.database._begin_trouble(MeshError("database_error", "an I/O error"))


async def fail_to_flush(core: BareNode) -> None:
    """A database that is locked for long is no trouble of the disk."""
    with pytest.raises(MeshError):
        async with core.database.write():
            raise MeshError("database_error", "locked")
    core.graph.sweeper.is_failing = True


@pytest.mark.parametrize(
    "begin",
    [open_offer, open_code, use_token, use_ended_token, use_browser, answer_joiner, break_disk, fail_to_flush],
)
async def test_what_is_to_end_wakes_the_housekeeping(
    core: BareNode, begin: Callable[[BareNode], Awaitable[None]]
) -> None:
    """And keeps it awake until it has ended."""
    house = core.graph.house
    await house.step()
    assert not house.is_needed
    house._begun.clear()
    await begin(core)
    assert house._begun.is_set()
    assert house.is_needed
    core.clock.advance(DAY_S)
    core.graph.sweeper.is_failing = False
    await house.step()
    assert not house.is_needed


async def test_the_housekeeping_sleeps_until_an_offer_opens(core: BareNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """One look after the start; then none, until there is an offer to close."""
    house, closed, looks = core.graph.house, asyncio.Event(), 0
    monkeypatch.setattr(keep_house, "EVERY_S", 0.0)
    step = house.step

    async def count() -> None:
        nonlocal looks
        looks += 1
        await step()

    def react(event: Event) -> None:
        if event.data.get("state") == "expired":
            closed.set()

    monkeypatch.setattr(house, "step", count)
    core.use.bus.react(react)
    running = asyncio.create_task(house.run())
    await turn()
    assert looks == 1
    await core.use.offers.open(300.0)
    core.clock.advance(301)
    async with asyncio.timeout(10):
        await closed.wait()
    running.cancel()


async def test_beats_that_could_not_be_written_are_forgotten_with_their_peer(core: BareNode) -> None:
    """The peer was removed before the next try: there is nothing left that fails."""
    sweeper = core.graph.sweeper
    sweeper.is_failing = True
    running = asyncio.create_task(sweeper.run())
    await turn()
    assert not sweeper.is_failing
    running.cancel()


async def test_nobody_is_looked_for_until_there_is_a_peer(core: BareNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Multicast is heard: one step after the start, then none, until somebody pairs."""
    ladder, steps = core.use.diagnosing.ladder, 0
    monkeypatch.setattr(discovery_ladder, "STEP_S", 0.0)

    async def count() -> None:
        nonlocal steps
        steps += 1

    monkeypatch.setattr(ladder, "step", count)
    core.use.discovery.has_heard_itself = True
    running = asyncio.create_task(ladder.run())
    await turn()
    assert steps == 1
    peer = core.put_peer().node.id
    core.use.confirmations.on_confirmed(peer)
    await turn()
    assert steps > 2
    core.graph.roster.remove(peer)
    await turn()
    so_far = steps
    await turn()
    assert steps == so_far
    running.cancel()


async def test_multicast_is_judged_until_it_is_heard(core: BareNode) -> None:
    """Without a peer too: our own announcement has to come back."""
    ladder = core.use.diagnosing.ladder
    assert ladder.is_needed
    core.use.discovery.has_heard_itself = True
    assert not ladder.is_needed
    ladder._has_degraded = True  # and what was said of it is to be taken back
    assert ladder.is_needed
    await ladder.step()
    assert not ladder.is_needed


async def turn() -> None:
    """Let every task go on."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
