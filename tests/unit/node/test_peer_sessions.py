"""What a node remembers of its peers' sessions."""

from meshnode.domain.peer import MeshNode
from meshnode.node.authenticate import SESSION_S, SESSIONS_PER_PEER
from tests.fakes.bare_node import BareNode


def _peer(core: BareNode) -> MeshNode:
    return MeshNode(
        id="a", name="a", hostname="192.0.2.1", port=6969, status="online", trust="paired", trust_level=1,
        public_key=b"k" * 32, created_at=core.clock.now(),
    )  # fmt: skip


async def test_sessions_that_have_ended_are_forgotten_when_the_next_is_opened(core: BareNode) -> None:
    """A peer that renews once an hour has one or two here, and no more than four however often it asks."""
    sessions = core.use.sessions
    entry = core.graph.roster.put(_peer(core), core.clock.monotonic())
    for _ in range(3):
        sessions._issue(entry, 1)
        core.clock.advance(SESSION_S)
    last = sessions._issue(entry, 1)
    assert len(sessions._sessions) == len(sessions._of_peer["a"]) == 1
    assert sessions.find(str(last)).entry is entry
    for _ in range(2 * SESSIONS_PER_PEER):
        sessions._issue(entry, 1)
    assert len(sessions._sessions) == SESSIONS_PER_PEER
