"""Who is looked for, when and where: over the real graph, with a clock held by the test and nobody to be found."""

import dataclasses
import ipaddress

import pytest

from meshnode.node.discover_peers import SIGHTINGS_MAX, Sighting
from meshnode.node.discovery_ladder import FIRST_S, LATER_MAX_S, PEERS_MAX, STEP_S
from meshnode.node.roster import Entry
from meshnode.node.saved_hosts import HOSTS_MAX, THEIRS_MAX, Place, SavedHosts
from meshnode.node.saved_hosts import PEERS_MAX as PEERS_AT_ONCE
from tests.fakes.bare_node import BareNode


@pytest.fixture
def turns(core: BareNode, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Who was climbed for, by turn."""
    turns: list[list[str]] = []
    core.use.discovery.has_heard_itself = True

    async def climb(missing: list[Entry]) -> None:
        turns.append([entry.node.id for entry in missing])

    monkeypatch.setattr(core.use.diagnosing.ladder, "climb", climb)
    return turns


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


def hosts_of_peers(core: BareNode) -> set[str]:
    return {host for entry in core.graph.roster if entry.is_peer for host in entry.node.addresses}


async def test_everybodys_best_place_is_asked_before_anybodys_last(core: BareNode) -> None:
    """Of as many peers as are looked for in one go, each with more addresses than there is room for."""
    missing = [
        core.put_peer(f"peer{n}", "offline", [f"10.0.{n}.{host}" for host in range(1, 9)]) for n in range(PEERS_MAX)
    ]
    places = SavedHosts(core.graph.roster).pick(missing)
    assert {(f"10.0.{n}.1", 6969) for n in range(PEERS_MAX)} <= set(places)
    assert len(places) == HOSTS_MAX


@pytest.mark.parametrize("count", [2, 31, 32, 33, 64, 128, 129, 256, 300])
@pytest.mark.parametrize("missing_count", [1, PEERS_MAX])
async def test_every_peers_hosts_are_asked_in_turn(core: BareNode, count: int, missing_count: int) -> None:
    """A missing one may be where any other was, but not where one is online now."""
    missing = [core.put_peer(f"missing{n}", "offline", [f"10.8.{n}.1", f"10.8.{n}.2"]) for n in range(missing_count)]
    for n in range(count):
        core.put_peer(f"online{n}", "online", [f"10.{home}.{n // 250}.{n % 250}" for home in (1, 2, 3)])
    hosts = SavedHosts(core.graph.roster)
    everywhere = {host for host in hosts_of_peers(core) if not host.startswith("10.1.")}
    picks = [hosts.pick(missing) for _ in range(2 + len(everywhere) // (HOSTS_MAX - THEIRS_MAX))]
    assert all(len(pick) <= HOSTS_MAX for pick in picks)
    assert all((entry.hostname, 6969) in pick for pick in picks for entry in missing)
    assert {host for pick in picks for host, _ in pick} == everywhere


async def test_who_is_no_peer_any_more_takes_nobodys_turn(core: BareNode) -> None:
    """Neither who was removed since the last time, nor who was revoked, nor phones."""
    gone = [core.put_peer(f"gone{n}") for n in range(2 * PEERS_AT_ONCE)]
    missing = core.put_peer("missing", "offline")
    core.put_peer("far", "offline", ["10.9.9.1", "10.9.9.2"])
    hosts = SavedHosts(core.graph.roster)
    hosts.pick([missing])
    for entry in gone[::2]:
        core.graph.roster.remove(entry.node.id)
    for entry in gone[1::2]:
        core.graph.roster.put(dataclasses.replace(entry.node, public_key=None), core.clock.monotonic())
    assert ("10.9.9.2", 6969) in hosts.pick([missing])


async def test_an_answer_of_somebody_elses_turn_is_used(core: BareNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A is looked for, and where it was is B, who is missing too; C, who says to be there as well, is not.

    B is in sight elsewhere, too: what was known of it is not forgotten for an answer.
    """
    ladder, found = core.use.diagnosing.ladder, []
    a, _, _ = core.put_peer("a", "offline", ["10.0.0.1"]), core.put_peer("b", "stale"), core.put_peer("c")

    async def ask(_: list[Place]) -> dict[str, tuple[Place, ...]]:
        return {"b": (("10.0.0.1", 6969),), "c": (("10.0.0.1", 7000),), "unknown": (("10.0.0.1", 7001),)}

    sighting = Sighting(
        instance="b", id="b", name="b", host="h", port=7002, addresses=("10.0.0.2",), pairing_open=False
    )
    core.use.discovery.seen(sighting)

    async def ask_link() -> None:
        """Nobody."""

    monkeypatch.setattr(ladder, "_ask", ask)
    monkeypatch.setattr(ladder, "ask_link", ask_link)
    ladder.on_found = lambda node_id, places: found.append((node_id, places))
    await ladder.climb([a])
    assert found == [("b", (("10.0.0.1", 6969), ("10.0.0.2", 7002)))]
    assert [rung.verdict for rung in ladder.records["a"]][-1] == "ask"
    assert "b" not in ladder.records


async def test_a_list_full_of_strangers_is_no_sign_that_multicast_is_blocked(core: BareNode) -> None:
    """Whoever announces hundreds of nodes keeps the peers off the list; that is not taken for silence."""
    ladder, discovery = core.use.diagnosing.ladder, core.use.discovery
    ladder._networks = lambda: [ipaddress.ip_network("192.0.2.0/24")]
    core.put_peer()
    assert ladder._why_deaf() is not None
    for n in range(SIGHTINGS_MAX):
        name = f"stranger{n}"
        discovery.seen(Sighting(instance=name, id=name, name=name, host="h", port=1, addresses=(), pairing_open=False))
    assert ladder._why_deaf() is None


async def test_an_old_doubt_about_multicast_does_not_outlive_the_sleep(core: BareNode) -> None:
    """What was on the way when the announcer said why is forgotten: the next doubt has its own time of grace."""
    ladder, status = core.use.diagnosing.ladder, core.use.status
    await ladder.step()
    assert ladder._deaf_since is not None
    status.degrade("no_multicast", "no network interface is up")
    core.use.discovery.has_heard_itself = True
    await ladder.step()
    assert ladder._deaf_since is None
