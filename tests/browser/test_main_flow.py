"""From `meshnode open` to a phone in the mesh, as a person goes: in Chromium, past the real warning, by keyboard."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Error, expect

from tests.browser.pages import Pages
from tests.browser.steps import (
    AT_ONCE_MS,
    choose,
    content,
    dialog,
    focused,
    go,
    pair_phone,
    phone_offer,
    pin_field,
    rows,
    scan,
    seen,
    shown_pin,
    tab_to,
)
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually
from tests.e2e.terminal import screen
from tests.e2e.test_cli_terminal import needs_tmux, qr_text

pytestmark = pytest.mark.asyncio(loop_scope="session")


def stored(node: Machine) -> list[tuple[Any, ...]]:
    return sorted(node.rows("name, trust, status, is_current, dialect, hostname"), key=lambda row: -row[3])


async def test_a_phone_scans_the_dashboard_and_both_see_each_other(pages: Pages, node: Machine, network: Lab) -> None:
    """QR code and PIN are in sight together; phone and dashboard show each other at once; both rows are stored."""
    dashboard = await pages.blank("node", "desktop")
    await dashboard.goto(node.ask("open")["url"])
    await choose(dashboard, "Phone")
    pin = await shown_pin(dashboard)
    qr = content(dashboard).get_by_role("img", name=re.compile("QR"))
    await expect(qr).to_be_visible()
    for element in (qr, content(dashboard).get_by_text(re.compile(r"\d{3} \d{3}")).first):
        box = await element.bounding_box()
        assert box is not None
        assert min(box["x"], box["y"]) >= 0
        assert (box["x"] + box["width"] <= 1280, box["y"] + box["height"] <= 800) == (True, True), box
    await expect(content(dashboard).get_by_text(re.compile(r"\b(10:00|9:5\d)\b")).first).to_be_visible()
    url = await scan(dashboard)
    assert re.fullmatch(r"https://10\.77\.0\.1:6969/p#[\w-]{22}\.[\w-]{22}\.[A-Z0-9]{8}", url), url

    phone = await pages.phone(url)
    await seen(content(dashboard).get_by_text("is entering the PIN"))
    await expect(pin_field(phone)).to_be_focused()
    await pin_field(phone).fill(pin)
    await pin_field(phone).press("Enter")
    took_s = await asyncio.gather(
        seen(phone.get_by_role("heading", name="Connected to kitchen")),
        seen(phone.get_by_role("list").get_by_text("kitchen")),
        seen(content(dashboard).get_by_text(re.compile("Pixel.* is paired"))),
    )
    assert max(took_s) * 1000 < AT_ONCE_MS, took_s
    await go(dashboard, "Nodes")
    await expect(rows(dashboard).filter(has_text="Pixel 7")).to_contain_text("Online")
    assert stored(node) == [
        ("kitchen", "self", "online", 1, "mesh", network.address("node")),
        ("Pixel 7", "paired", "online", 0, "salita", network.address("phone")),
    ]


async def test_past_the_warning_of_a_real_browser(pages: Pages, node: Machine) -> None:
    """Nothing is trusted beforehand: the person clicks through, and page, socket and cookie work."""
    offer = phone_offer(node)
    phone = await pages.blank("phone", "phone", browser=await pages.browsers.launch("phone"))
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        await phone.goto(offer["url"])
    await expect(phone).to_have_title(re.compile("privacy", re.IGNORECASE))
    await phone.keyboard.type("thisisunsafe")
    await pair_phone(phone, offer["pin"])
    assert await phone.evaluate("isSecureContext")
    assert [row[:2] for row in stored(node)] == [("kitchen", "self"), ("Pixel 7", "paired")]
    await phone.reload()
    await expect(phone.get_by_role("heading", name="Connected to kitchen")).to_be_visible()
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    await phone.context.browser.close()  # type: ignore[union-attr]


@needs_tmux
async def test_a_phone_scans_the_terminal(pages: Pages, node: Machine) -> None:
    """`meshnode pair --phone` on 80×24: all of the QR code is there and leads in; the terminal says who came."""
    with screen(node, "pair", "--phone") as shown:
        lines = shown.wait_for("▀" * 30)  # the last line of the code
        pin = re.search(r"PIN  ([0-9]{3}) ([0-9]{3})\b", "\n".join(lines))
        assert pin
        phone = await pages.phone(qr_text(lines))
        await pair_phone(phone, pin[1] + pin[2])
        shown.wait_for("Paired with Pixel 7")
        assert shown.code() == 0


async def test_another_computer_joins_from_the_dashboard(
    pages: Pages, node: Machine, machines: Callable[..., Machine]
) -> None:
    """The QR code is the invite, the command beside it joins, and the dashboard says who came."""
    dashboard = await pages.dashboard(node)
    await choose(dashboard, "Another computer")
    pin = await shown_pin(dashboard)
    url = await scan(dashboard)
    await expect(content(dashboard).get_by_text(url).first).to_be_visible()
    other = machines("other", "attic").start()
    other.ask("join", url, "--pin", pin)
    await seen(content(dashboard).get_by_text("attic is paired"))
    await go(dashboard, "Nodes")
    await expect(rows(dashboard).filter(has_text="attic")).to_contain_text("Online")
    eventually(lambda: node.sees(other, "online") and other.sees(node, "online"), "they do not see each other")


async def test_with_the_keyboard_alone(pages: Pages, node: Machine) -> None:
    """Tab and Enter lead through both pages; a dialog holds the focus, Escape gives it back."""
    dashboard = await pages.dashboard(node)
    await expect(dashboard.get_by_role("button", name="Connect a device").first).to_be_visible()
    await tab_to(dashboard, "Connect a device")
    await dashboard.keyboard.press("Enter")
    await expect(content(dashboard).get_by_role("button", name="Phone")).to_be_visible()
    await tab_to(dashboard, "Phone")
    await dashboard.keyboard.press("Enter")
    pin = await shown_pin(dashboard)
    phone = await pages.phone(await scan(dashboard), "desktop")
    await expect(pin_field(phone)).to_be_focused()
    await phone.keyboard.type(pin)
    await phone.keyboard.press("Enter")
    await expect(phone.get_by_role("heading", name="Connected to kitchen")).to_be_visible()
    await seen(content(dashboard).get_by_text("is paired"))

    await tab_to(dashboard, "Show ")
    await dashboard.keyboard.press("Enter")
    await expect(content(dashboard).get_by_role("button", name="Rename")).to_be_visible()
    for page, opens in ((dashboard, "Revoke"), (phone, "Remove this device…")):
        await tab_to(page, opens)
        await page.keyboard.press("Enter")
        await expect(dialog(page)).to_be_visible()
        for _ in range(8):  # round and round, never out of the dialog into the page
            await page.keyboard.press("Tab")
            assert await page.evaluate(
                "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
            )
        await page.keyboard.press("Escape")
        await expect(dialog(page)).to_be_hidden()
        assert (await focused(page)).startswith(opens)
    assert len(node.rows("id")) == 2
