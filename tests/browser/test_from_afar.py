"""The dashboard over TLS, from a paired browser: level 2 manages, level 1 and strangers are told what to do."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.guard import REFUSED, UNREACHED
from tests.browser.pages import Pages
from tests.browser.steps import AT_ONCE_MS, content, go, pair_phone, phone_offer, revoke, rows, seen, trust
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def paired(pages: Pages, node: Machine, kind: str = "phone") -> tuple[Page, str]:
    """A browser that has paired, and its node id."""
    offer = phone_offer(node)
    page = await pages.phone(offer["url"], kind)
    await pair_phone(page, offer["pin"])
    (row_id,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita"]
    return page, row_id


async def test_a_stranger_is_told_how_to_get_in(pages: Pages, node: Machine, network: Lab) -> None:
    """Nothing of the mesh is shown, and nothing of it was fetched."""
    page = await pages.blank("phone", "phone")
    pages.guard(page).allow(REFUSED)
    await page.goto(f"https://{network.address('node')}:6969/")
    heading = content(page).get_by_role("heading", name="This browser is not paired with this node")
    await expect(heading).to_be_visible()
    await expect(content(page)).to_contain_text("meshnode open")


async def test_level_1_is_refused_with_what_to_do(pages: Pages, node: Machine, network: Lab) -> None:
    """The page says who can change that, where; after that is done, looking again opens the dashboard."""
    page, row_id = await paired(pages, node)
    pages.guard(page).allow(REFUSED)
    await page.goto(f"https://{network.address('node')}:6969/")
    heading = content(page).get_by_role("heading", name="This browser is paired, but may not manage this node")
    await expect(heading).to_be_visible()
    trust(node, row_id, 2)
    await page.get_by_role("button", name="Look again").click()
    await expect(content(page).get_by_role("heading", name="Nodes", level=1)).to_be_visible()


async def test_level_2_manages_from_afar(pages: Pages, node: Machine, network: Lab) -> None:
    """By its cookie, live, without a ticket; what only the owner may is not offered, and its reason is said."""
    offer = phone_offer(node)
    second = await pages.blank("other", "phone")
    await second.goto(offer["url"])
    await second.get_by_label(re.compile("name")).fill("Tablet")
    await pair_phone(second, offer["pin"])
    pages.guard(second).allow(REFUSED, UNREACHED)
    (second_id,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita"]
    offer = phone_offer(node)
    page = await pages.phone(offer["url"], "desktop")
    await pair_phone(page, offer["pin"])
    (row_id,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita" and one["id"] != second_id]
    trust(node, row_id, 2)
    await page.goto(f"https://{network.address('node')}:6969/")
    await expect(page.get_by_role("banner")).to_contain_text("Live")
    await rows(page).get_by_role("link", name="Tablet").click()
    await expect(content(page).get_by_role("button", name="Change trust")).to_be_hidden()
    await expect(content(page)).to_contain_text("run meshnode open there")
    await content(page).get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke Tablet").click()
    await expect(second.get_by_role("heading", name="This device was removed")).to_be_visible(timeout=AT_ONCE_MS)
    assert node.nodes()[second_id]["revoked_by"] == row_id
    await go(page, "This node")
    await expect(content(page)).to_contain_text("the node’s own computer")

    pages.guard(page).allow(REFUSED, UNREACHED)
    revoke(node, row_id)
    await seen(page.get_by_role("heading", name=re.compile("revoked|not paired")))
    await expect(page.get_by_text("Tablet")).to_be_hidden()
