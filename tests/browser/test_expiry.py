"""An offer that ends while both pages show it: the clocks of node and browsers are set ahead together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web_response
from playwright.async_api import Page, expect

from tests.browser.guard import REFUSED
from tests.browser.pages import Pages
from tests.browser.steps import choose, content, enter_pin, pin_field, scan, shown_pin
from tests.e2e.lab import Lab
from tests.e2e.machine import in_namespace
from tests.fakes.local_node import LocalNode

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def local(network: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalNode]:
    """A node with a clock set by hand, in the network of the host `node`; its answers are dated by that clock."""
    node = LocalNode(tmp_path / "local")
    monkeypatch.setattr(web_response, "rfc822_formatted_time", lambda: format_datetime(node.clock.now(), usegmt=True))
    in_namespace(network.namespace("node"), node.start)
    yield node
    node.close()


@pytest.fixture
def ask(network: Lab, local: LocalNode) -> Any:
    """The control API of that node, asked from its own network."""
    return lambda *call: in_namespace(network.namespace("node"), lambda: local.call(*call))


async def on_its_host(pages: Pages, url: str, kind: str = "desktop") -> Page:
    page = await pages.blank("node", kind)
    pages.guard(page).allow(REFUSED)
    await page.clock.install()
    await page.goto(url)
    return page


async def test_both_pages_say_that_the_code_has_expired(local: LocalNode, ask: Any, pages: Pages) -> None:
    """The countdown runs out on both; no PIN can be entered any more, and a new code is a click away."""
    dashboard = await on_its_host(pages, ask("POST", "/api/v1/tickets")["url"])
    await choose(dashboard, "Phone")
    pin = await shown_pin(dashboard)
    phone = await on_its_host(pages, await scan(dashboard), "phone")
    await expect(pin_field(phone)).to_be_visible()
    local.clock.step(570)
    for page in (dashboard, phone):
        await page.clock.fast_forward(570_000)
        await expect(content(page).get_by_role("timer")).to_have_text(re.compile(r"^0:[0-3]\d left"))
    local.clock.step(31)
    for page in (dashboard, phone):
        await page.clock.fast_forward(31_000)
    await expect(content(dashboard).get_by_role("heading", name="The code has expired")).to_be_visible()
    await expect(phone.get_by_role("heading", name="This QR code has expired")).to_be_visible()
    await expect(pin_field(phone)).to_be_hidden()
    await content(dashboard).get_by_role("button", name="Make a new code").click()
    assert await shown_pin(dashboard) != "" != pin


async def test_a_pin_that_comes_too_late(local: LocalNode, ask: Any, pages: Pages) -> None:
    """A phone whose clock runs behind still shows the field; the node says that it is over."""
    offer = ask("POST", "/api/v1/pairing/offers", {"dialect": "salita"})
    phone = await on_its_host(pages, offer["url"], "phone")
    await expect(pin_field(phone)).to_be_visible()
    local.clock.step(601)
    await enter_pin(phone, offer["pin"])
    await expect(phone.get_by_role("heading", name="This QR code has expired")).to_be_visible()
