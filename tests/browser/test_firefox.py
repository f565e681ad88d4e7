"""The way from the dashboard to a paired phone in another engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import firefox
from tests.browser.firefox import Firefox
from tests.browser.steps import read_qr
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually


@pytest.mark.timeout(120)
def test_in_firefox(network: Lab, machines: Callable[..., Machine], tmp_path: Path) -> None:
    """The same way in another engine, which nobody here looks at every day."""
    why = firefox.missing()
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    node = machines("node", "kitchen").start()
    with (
        Firefox(network, "node", tmp_path, (1280, 800)) as desk,
        Firefox(network, "phone", tmp_path, (390, 844)) as hand,
    ):
        desk.goto(node.ask("open")["url"])
        desk.click("button", "Connect a device")
        desk.click("button", "Phone")
        pin = desk.wait_for(r"\b(\d{3}) (\d{3})\b")
        desk.find("img", "QR code")
        desk.run("document.querySelector('main img').decode().then(() => '')")
        url = read_qr(desk.screenshot())
        hand.goto(url)
        desk.wait_for("is entering the PIN")
        hand.find("input", "PIN")
        eventually(lambda: hand.run("document.activeElement.id") == "pin", "the field has not the focus")
        hand.type(pin[1] + pin[2] + "\ue007")
        hand.wait_for("Connected to kitchen")
        desk.wait_for("is paired")
        assert sorted(node.rows("trust, dialect")) == [("paired", "salita"), ("self", "mesh")]
        assert (desk.faults, hand.faults) == ([], [])
        assert (desk.reached, hand.reached) == ({"127.0.0.1:6970"}, {"10.77.0.1:6969"})
