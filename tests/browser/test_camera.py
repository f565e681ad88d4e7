"""Scanning another node's QR code in the page joins this node to that one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.camera import film
from tests.browser.guard import REFUSED
from tests.browser.pages import Pages
from tests.browser.steps import computer_offer, content, dialog, go, pair_phone, phone_offer, rows, trust
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def operator(pages: Pages, node: Machine, network: Lab, video: Path) -> Page:
    """The dashboard on a level-2 phone whose camera shows the video; the page's camera dialog is open."""
    browser = await pages.browsers.camera("phone", video)
    page = await pages.blank("phone", "phone", browser=browser)
    offer = phone_offer(node)
    await page.goto(offer["url"])
    await pair_phone(page, offer["pin"])
    (row_id,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita"]
    trust(node, row_id, 2)
    await page.goto(f"https://{network.address('node')}:6969/")
    await go(page, "Nearby")
    await content(page).get_by_role("button", name="Scan a QR code").click()
    return page


async def test_a_scanned_invite_joins(
    pages: Pages, node: Machine, machines: Callable[..., Machine], network: Lab, tmp_path: Path
) -> None:
    """The camera finds the other node's invite, the PIN is asked for, and both are paired."""
    other = machines("other", "attic").start()
    offer = computer_offer(other)
    page = await operator(pages, node, network, film(offer["url"], tmp_path / "invite.y4m"))
    pin = dialog(page).get_by_label("PIN")
    await expect(pin).to_be_visible(timeout=20_000)
    await pin.fill(offer["pin"])
    await page.keyboard.press("Enter")
    await expect(dialog(page)).to_be_hidden(timeout=20_000)
    await go(page, "Nodes")
    await expect(rows(page).filter(has_text="attic")).to_contain_text("Online")
    eventually(lambda: other.sees(node, "online") and node.sees(other, "online"), "they do not see each other")
    await page.context.browser.close()  # type: ignore[union-attr]


async def test_another_code_is_told_and_the_looking_goes_on(
    pages: Pages, node: Machine, network: Lab, tmp_path: Path
) -> None:
    """A phone's invite is not for this; cancelling ends the camera."""
    offer = phone_offer(node)
    page = await operator(pages, node, network, film(offer["url"], tmp_path / "phone.y4m"))
    pages.guard(page).allow(REFUSED)
    await expect(dialog(page).get_by_text("That code is for a phone.")).to_be_visible(timeout=20_000)
    live = "document.querySelector('video').srcObject.getTracks().map(track => track.readyState).join()"
    await page.evaluate("window.seen = document.querySelector('video').srcObject")
    assert await page.evaluate(live) == "live"
    await dialog(page).get_by_role("button", name="Cancel").click()
    await expect(dialog(page)).to_be_hidden()
    await page.wait_for_function("window.seen.getTracks().map(track => track.readyState).join() === 'ended'")
    await page.context.browser.close()  # type: ignore[union-attr]
