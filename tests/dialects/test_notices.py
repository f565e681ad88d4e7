"""Whatever the dialect, the owner is told of a pairing and of a burned offer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dialects.conformance import Driver, MeshByPin
from tests.fakes.local_node import LocalNode


def notices(host: LocalNode) -> list[dict[str, Any]]:
    """What `status` shows."""
    found: list[dict[str, Any]] = host.call("GET", "/api/v1/node")["notices"]
    return found


def test_a_pairing_is_told_of_and_a_second_says_again(driver: Driver, host: LocalNode) -> None:
    """With the dialect, the device, and no secret of the pairing."""
    device = driver.fresh()
    ticket = driver.open(device)
    paired = driver.pair(ticket, device)
    assert paired.is_ok
    (told,) = notices(host)
    assert (told["code"], told["times"]) == ("paired", 1)
    assert told["node"]["id"] == paired.node_id
    assert f"({driver.dialect})" in told["detail"]
    secrets = {str(secret) for secret in ticket.secrets.values()} | {paired.token}
    secrets.discard(device.id)
    assert not [secret for secret in secrets if secret and len(secret) > 3 and secret in str(told)]
    if driver.picks_its_id:
        device, again = driver.paired(device, paired.token)
        assert again.node_id == paired.node_id
        assert notices(host)[-1]["detail"].endswith("(paired again)")


def test_wrong_pins_that_burn_an_offer_are_told_of(driver: Driver, host: LocalNode) -> None:
    """Where a dialect has offers that burn."""
    if not driver.burns_after or isinstance(driver, MeshByPin):
        pytest.skip(f"{driver.name}: no offer burns; guesses are for the code-less lock")
    device = driver.fresh()
    ticket = driver.open(device)
    for _ in range(driver.burns_after):
        assert [notice["code"] for notice in notices(host)] == []
        driver.pair(driver.wrong(ticket), device)
    assert [notice["code"] for notice in notices(host)] == ["offer_burned"]
