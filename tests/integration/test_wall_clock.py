"""A real daemon whose wall clock is stepped under it by libfaketime: both sides go on seeing each other as they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.timestamps import parse_time
from tests.fakes.nodes import Node, Nodes, wait_for
from tests.integration.test_liveness import DAY_S, I_S, hear_afresh, holds, pair, seen_within

PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")


def library() -> str | None:
    """libfaketime, if the package is installed."""
    found = [path for pattern in PLACES for path in Path("/").glob(pattern.lstrip("/"))]
    return str(found[0]) if found else None


@pytest.fixture
def stepped(nodes: Nodes, tmp_path: Path) -> tuple[Node, Callable[[float], None]]:
    """A process, started, and what sets its wall clock ahead by seconds. Skipped without libfaketime."""
    preload = library()
    if preload is None:
        reason = "libfaketime is missing: install the package `faketime`"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    step = tmp_path / "step"
    step.write_text("+0\n")

    def set_ahead(seconds: float) -> None:
        new = step.with_suffix(".new")
        new.write_text(f"{seconds:+.0f}\n")
        new.replace(step)

    node = nodes.start(
        LD_PRELOAD=preload, FAKETIME_TIMESTAMP_FILE=str(step), FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1"
    )
    return node, set_ahead


def ahead_s(node: Node, peer_id: str) -> float:
    """How far the node's wall clock is ahead, by when it last heard a peer that is online."""
    return (parse_time(node.shown(peer_id)["last_seen"]) - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
def test_a_wall_clock_stepped_by_a_day_changes_nothing_about_liveness(
    nodes: Nodes, stepped: tuple[Node, Callable[[float], None]], step_s: float
) -> None:
    """On neither side; a crash and a return are seen as ever, and the clock set right again changes nothing either."""
    node, set_ahead = stepped
    peer = nodes.start()
    pair(peer, node)
    peer_id = peer.id
    set_ahead(step_s)
    wait_for("the step to be seen", lambda: abs(ahead_s(node, peer_id) - step_s) < 5)
    for at, of in ((node, peer_id), (peer, node.id)):
        holds("stepped", at, of, ("online", None), 4 * I_S)
    hear_afresh(node, peer_id)
    since = time.monotonic()
    peer.kill()
    seen_within(node, peer_id, ("stale", "silent"), since, 1.5 * I_S, 2.5 * I_S)
    set_ahead(0)
    seen_within(node, peer_id, ("offline", "silent"), since, 5 * I_S, 6 * I_S)
    peer.start()
    seen_within(node, peer_id, ("online", None), time.monotonic(), 0, 0)
    assert "awake again" not in node.log()


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S])
def test_an_offer_ends_by_the_sooner_clock(
    nodes: Nodes, stepped: tuple[Node, Callable[[float], None]], step_s: float
) -> None:
    """Set ahead over its end it is closed; set back it stays open for its five minutes, and pairs."""
    node, set_ahead = stepped
    joiner = nodes.start()
    offer = node.offer()
    set_ahead(step_s)
    if step_s < 0:
        joiner.join(offer.url, offer.pin)
        wait_for("a peer online", lambda: node.is_online(joiner.id))
        return
    with pytest.raises(MeshError) as caught:
        joiner.join(offer.url, offer.pin)
    assert caught.value.code == "code_expired"
