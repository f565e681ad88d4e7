"""kill -9 of either side at every await of the ceremony: afterwards both agree, and nobody trusts alone for good."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from tests.fakes.nodes import Node, Nodes, running_nodes, wait_for

DYING = (str(Path(__file__).parents[1] / "fakes" / "dying_node.py"),)
NEVER = 1_000_000
POINTS = 6  # of each side and way, in a short run
AGREE_S = 20.0


class Attempt(threading.Thread):
    """A join in the background; `refusal` is what it ended with."""

    def __init__(self, joiner: Node, to: str, pin: str) -> None:
        super().__init__(name="join")
        self._join = partial(joiner.join, to, pin)
        self.refusal: MeshError | None = None

    def run(self) -> None:
        try:
            self._join()
        except MeshError as error:
            self.refusal = error


def start_dying(nodes: Nodes, die_at: int) -> Node:
    node = nodes.make()
    return node.start(DYING, DIE_AT=str(die_at), DIE_COUNT=str(node.folder / "count"))


def trusts(one: Node, other_id: str) -> bool:
    return one.trust(other_id) == "paired"


def count_awaits(nodes: Nodes, side: str, way: str) -> int:
    """How many moments there always are at which that side can die; waiting for a busy writer adds some."""
    return min(count_once(nodes, side, way) for _ in range(3))


def count_once(nodes: Nodes, side: str, way: str) -> int:
    """How many there were in one ceremony."""
    survivor, mortal = nodes.start(), start_dying(nodes, NEVER)
    host, joiner = (mortal, survivor) if side == "host" else (survivor, mortal)
    offer = host.offer()
    joiner.join(offer.url if way == "invite" else host.address, offer.pin)
    wait_for("the pairing", lambda: trusts(host, joiner.id) and trusts(joiner, host.id))
    mortal.stop()
    survivor.stop()
    count = int((mortal.folder / "count").read_text())
    assert count > 30
    return count


def die_and_mend(nodes: Nodes, survivor: Node, side: str, way: str, die_at: int) -> bool:
    """One ceremony in which `side` dies; whether it did. Both agree afterwards, and can be paired."""
    mortal = start_dying(nodes, die_at)
    host, joiner = (mortal, survivor) if side == "host" else (survivor, mortal)
    host_id, joiner_id = host.id, joiner.id

    def agreement() -> str | None:
        held = trusts(host, joiner_id), trusts(joiner, host_id)
        return {(True, True): "paired", (False, False): "strangers"}.get(held)

    offer = host.offer()
    attempt = Attempt(joiner, offer.url if way == "invite" else host.address, offer.pin)
    attempt.start()
    assert mortal.process is not None
    wait_for("death or an answer", lambda: not mortal.is_running or not attempt.is_alive(), 40)
    died = has_ended(mortal.process)
    mortal.restart()
    attempt.join(40)
    assert not attempt.is_alive()
    if attempt.refusal is None:
        wait_for(f"both paired after the join was told so ({die_at})", lambda: agreement() == "paired", AGREE_S)
    settled = wait_for(f"both to agree ({die_at})", agreement, AGREE_S)
    if settled == "strangers":
        offer = host.offer()
        joiner.join(offer.url if way == "invite" else host.address, offer.pin)
    wait_for(f"both paired ({die_at})", lambda: agreement() == "paired", AGREE_S)
    wait_for(f"both online ({die_at})", lambda: host.is_online(joiner_id) and joiner.is_online(host_id), AGREE_S)
    wait_for(f"nothing pending ({die_at})", lambda: joiner.rows("pending_acks") == [], AGREE_S)
    survivor.call("DELETE", f"/api/v1/nodes/{mortal.id}")
    mortal.close()
    return died


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether it was killed: the other side may hear of it before the kernel has told us."""
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        return False
    return True


def sweep(folder: Path, side: str, way: str, choose: Callable[[int], list[int]]) -> None:
    with running_nodes(folder) as nodes:
        count = count_awaits(nodes, side, way)
        survivor = nodes.start()
        missed = [point for point in choose(count) if not die_and_mend(nodes, survivor, side, way, point)]
        assert all(point > count - 8 for point in missed), (count, missed)  # a socket ready at once is not waited for


@pytest.mark.timeout(120)
@pytest.mark.parametrize("side", ["host", "joiner"])
def test_both_agree_after_kill_9_at_awaits_all_over_the_ceremony(tmp_path: Path, side: str) -> None:
    """Moments spread evenly over the ceremony, the last commits included."""
    sweep(tmp_path, side, "pin", lambda count: [1 + count * k // POINTS for k in range(POINTS)])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", ["invite", "pin"])
@pytest.mark.parametrize("side", ["host", "joiner"])
def test_both_agree_after_kill_9_at_every_await(tmp_path: Path, side: str, way: str) -> None:
    """Every suspension and every resumption."""
    sweep(tmp_path, side, way, lambda count: list(range(1, count + 1)))
