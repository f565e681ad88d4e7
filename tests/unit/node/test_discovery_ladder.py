"""Who is looked for, when and where: over the real graph, with a clock held by the test and nobody to be found."""

import pytest

from meshnode.node.discovery_ladder import FIRST_S, HOSTS_MAX, LATER_MAX_S, OTHERS_MAX, PEERS_MAX, STEP_S
from meshnode.node.roster import Entry
from tests.fakes.bare_node import BareNode

Place = tuple[str, int]


@pytest.fixture
def turns(core: BareNode, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Who was climbed for, by turn."""
    turns: list[list[str]] = []
    core.use.discovery.has_heard_itself = True

    async def climb(missing: list[Entry]) -> None:
        turns.append([entry.node.id for entry in missing])

    monkeypatch.setattr(core.use.diagnosing.ladder, "climb", climb)
    return turns


@pytest.fixture
def asked(core: BareNode, monkeypatch: pytest.MonkeyPatch) -> list[list[Place]]:
    """Which hosts were asked who they are, by climb; nobody answers."""
    asked: list[list[Place]] = []
    core.use.discovery.has_heard_itself = True

    async def ask(places: list[Place]) -> dict[Place, str]:
        asked.append(places)
        return {}

    async def ask_link() -> None:
        """By multicast: nobody there either."""

    monkeypatch.setattr(core.use.diagnosing.ladder, "_ask", ask)
    monkeypatch.setattr(core.use.diagnosing.ladder, "ask_link", ask_link)
    return asked


async def steps(core: BareNode, seconds: float) -> None:
    """Time passes, step by step."""
    for _ in range(round(seconds / STEP_S)):
        await core.use.diagnosing.ladder.step()
        core.clock.advance(STEP_S)


async def test_many_missing_peers_are_looked_for_in_turn(core: BareNode, turns: list[list[str]]) -> None:
    """A few in one go; nobody a second time before everybody had a turn."""
    names = [f"peer{number}" for number in range(3 * PEERS_MAX)]
    for name in names:
        core.put_peer(name, "offline")
    await steps(core, FIRST_S)
    assert turns == []
    await steps(core, 4 * STEP_S)
    assert [len(turn) for turn in turns] == [PEERS_MAX, PEERS_MAX, PEERS_MAX]
    assert [name for turn in turns for name in turn] == names
    core.clock.advance(2 * FIRST_S)
    await core.use.diagnosing.ladder.step()
    assert turns[3] == turns[0]


async def test_who_went_missing_just_now_waits_behind_nobody(core: BareNode, turns: list[list[str]]) -> None:
    """However many are gone for good."""
    for number in range(10 * PEERS_MAX):
        core.put_peer(f"gone{number}", "offline")
    await steps(core, FIRST_S + 10 * STEP_S)  # everybody had a turn
    core.clock.advance(LATER_MAX_S)  # and is due again, for longer than who goes missing now
    core.put_peer("new", "offline")
    turns.clear()
    await steps(core, FIRST_S + STEP_S)
    assert "new" not in turns[0]
    assert turns[-1][0] == "new"


async def test_everybodys_best_place_is_asked_before_anybodys_last(core: BareNode, asked: list[list[Place]]) -> None:
    """Of as many peers as are looked for in one go, each with more addresses than there is room for."""
    for number in range(PEERS_MAX):
        core.put_peer(f"peer{number}", "offline", addresses=[f"10.0.{number}.{n}" for n in range(1, 9)])
    await steps(core, FIRST_S + STEP_S)
    (places,) = asked
    assert len(places) == HOSTS_MAX
    assert {(f"10.0.{number}.1", 6969) for number in range(PEERS_MAX)} <= set(places)


async def test_every_peers_hosts_are_asked_in_turn(core: BareNode, asked: list[list[Place]]) -> None:
    """The missing one may be where any other was; those that are online where they were don't fill the list."""
    core.put_peer("missing", "offline", addresses=["10.8.8.8"])
    for number in range(2 * OTHERS_MAX):
        core.put_peer(f"online{number}", "online", [f"10.1.{number // 250}.{number % 250 + 1}"])
    core.put_peer("far", "online", ["10.9.9.1", "10.9.9.9"])
    await steps(core, 2 * LATER_MAX_S)
    assert len(asked) > 3
    assert all(("10.8.8.8", 6969) in places for places in asked)
    assert any(("10.9.9.9", 6969) in places for places in asked[:3])


async def test_an_old_doubt_about_multicast_does_not_outlive_the_sleep(core: BareNode) -> None:
    """What was on the way when the announcer said why is forgotten: the next doubt has its own time of grace."""
    ladder, status = core.use.diagnosing.ladder, core.use.status
    await ladder.step()
    assert ladder._deaf_since is not None
    status.degrade("no_multicast", "no network interface is up")
    core.use.discovery.has_heard_itself = True
    await ladder.step()
    assert ladder._deaf_since is None
