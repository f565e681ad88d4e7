"""Who is looked for, and when: over the real graph, with a clock held by the test and nobody to be found."""

from meshnode.domain.peer import MeshNode
from meshnode.node.discovery_ladder import FIRST_S, PEERS_MAX, STEP_S
from meshnode.node.roster import Entry
from tests.fakes.bare_node import BareNode


async def test_many_missing_peers_are_looked_for_in_turn(core: BareNode) -> None:
    """A few in one go, whoever has waited longest; nobody a second time before everybody had a turn."""
    ladder, turns = core.use.diagnosing.ladder, []

    async def climb(missing: list[Entry]) -> None:
        turns.append([entry.node.id for entry in missing])

    ladder.climb = climb  # type: ignore[method-assign]
    names = [f"peer{number}" for number in range(3 * PEERS_MAX)]
    for name in names:
        node = MeshNode(
            id=name, name=name, hostname="192.0.2.1", port=6969, status="offline", status_reason="silent",
            trust="paired", trust_level=1, public_key=bytes(32), created_at=core.clock.now(),
        )  # fmt: skip
        core.graph.roster.put(node, core.clock.monotonic())
    await ladder.step()
    assert turns == []
    core.clock.advance(FIRST_S)
    for _ in range(4):
        await ladder.step()
        core.clock.advance(STEP_S)
    assert [len(turn) for turn in turns] == [PEERS_MAX, PEERS_MAX, PEERS_MAX]
    assert [name for turn in turns for name in turn] == names
    core.clock.advance(2 * FIRST_S)
    await ladder.step()
    assert turns[3] == turns[0]
