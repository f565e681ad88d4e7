"""kill -9 and restart of the node between every two steps of every way to pair: real processes, nothing half done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dialects.asking import Outcome, get
from tests.dialects.conformance import Device, Driver, RefusedError, Step
from tests.fakes.nodes import Node, Nodes

STEPS_MAX = 8


def take(step: Step) -> Outcome:
    """One step; a refusal is an outcome too."""
    try:
        return step()
    except RefusedError as refused:
        return refused.outcome


def crash(node: Node) -> None:
    """kill -9, and the same daemon again."""
    node.kill()
    node.start()


def travel(steps: Iterator[Step], node: Node, deaths: set[int]) -> tuple[Outcome, int]:
    """Take the steps, dying before those numbered; the last outcome (the first refusal), and how many were taken."""
    outcome, taken = Outcome("ok", 200), 0
    for number, step in enumerate(steps):
        if number in deaths:
            crash(node)
        outcome, taken = take(step), taken + 1
        if not outcome.is_ok:
            break
    return outcome, taken


def check_whole(driver: Driver, node: Node, device: Device, outcome: Outcome) -> None:
    """Either paired with a token that lasts, or clearly refused and without a right."""
    held = node.row(outcome.node_id or device.id)
    if outcome.is_ok:
        assert held is not None
        assert (held["trust"], held["dialect"], held["trust_level"]) == ("paired", driver.dialect, 1)
        assert get(node, "/readyz", outcome.token).status == 200
    else:
        assert outcome.status in (401, 404, 409, 410), outcome
        assert held is None or held["trust"] != "paired"
    live = [t for t in node.rows("device_tokens") if t["revoked_at"] is None and t["node_id"] == device.id]
    assert len(live) == (1 if outcome.is_ok and not driver.is_keyed and driver.picks_its_id else 0)


@pytest.mark.timeout(120)
def test_a_death_between_two_steps_leaves_nothing_half_done(row: type[Driver], nodes: Nodes) -> None:
    """Before each step in turn, and before all: whole or refused, then the next pairing works; codes stay used."""
    node = nodes.start()
    driver = row(node)
    count = len(list(driver.journey(driver.fresh())))
    assert 2 <= count <= STEPS_MAX
    for deaths in ({count}, *({number} for number in range(1, count)), set(range(1, count))):
        device = driver.fresh()
        outcome, _ = travel(driver.journey(device), node, deaths)
        check_whole(driver, node, device, outcome)
        # codes, requests, approvals and answers outlive a death; only a peer's run up to its tag lives in memory
        assert outcome.is_ok == (not driver.is_keyed or deaths.isdisjoint({2, 3})), (deaths, outcome)
    assert driver.paired()[1].is_ok


@pytest.mark.timeout(120)
def test_what_was_granted_or_taken_lasts(row: type[Driver], nodes: Nodes) -> None:
    """Across two deaths: the token counts, a used code stays used, a revoked token stays dead."""
    node = nodes.start()
    driver = row(node)
    device = driver.fresh()
    ticket = driver.open(device)
    done = driver.pair(ticket, device)
    assert done.is_ok
    crash(node)
    token = done.token
    if device.joiner is not None:  # a session dies with the run, the key opens another
        assert get(node, "/readyz", token).status == 401
        assert device.joiner.open_session().status == 200
        token = device.joiner.token
    assert get(node, "/readyz", token).status == 200
    again = driver.pair(ticket, driver.fresh())
    assert again.code in (driver.used_code, driver.unknown_code)
    node.call("POST", f"/api/v1/nodes/id:{done.node_id}/revoke")
    crash(node)
    assert get(node, "/readyz", token).status == 401
    assert node.trust(done.node_id) == "revoked"
    assert driver.pair(ticket, driver.fresh()).status in (404, 409, 410)


@pytest.mark.timeout(120)
def test_attempts_are_spent_for_good(row: type[Driver], nodes: Nodes) -> None:
    """A death gives no attempt back: the third wrong secret burns, the tenth code-less failure locks."""
    node = nodes.start()
    driver = row(node)
    device = driver.fresh()
    ticket = driver.open(device)
    if driver.burns_after is not None:
        for left in (2, 1, 0):
            outcome = driver.pair(driver.wrong(ticket), driver.fresh())
            assert (outcome.code, outcome.body["attempts_left"]) == ("bad_pin", left)
            if left != 1:
                crash(node)
        assert driver.pair(ticket, device).status in (404, 410)
    if not driver.is_codeless:
        assert driver.paired()[1].is_ok
        return
    failures = driver.failures()
    for number in range(10 - (driver.burns_after or 0)):
        assert next(failures).code == driver.wrong_code
        if number == 4:
            crash(node)
    crash(node)
    locked = driver.attempt(driver.fresh())
    assert (locked.code, locked.status) == ("locked_out", 429)
