"""What others call themselves is text: never markup, never longer than its place, never turned around."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.async_api import Page, expect

from tests.bench.seed import Seeded
from tests.browser.apps import WaitingApp
from tests.browser.guard import REFUSED, overflow
from tests.browser.pages import Pages
from tests.browser.steps import content, go, phone_offer, pin_field, rename, rows
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = {
    "html": "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>",
    "entities": "&lt;b&gt;&amp;&quot;\"'`${document.title='owned'}",
    "bidi": "Phone\u202egpj.exe\u2066\u200f",
    "control": "a\u0000b\u0007c\u001b[31mred\ndanger",
    "zalgo": "Z" + "\u0300\u0301\u0489" * 200,
    "long": "x" * 6_000,
    "too long": "y" * 10_000,
    "words": "very long name " * 400,
    "blank": " \u00a0\u200b\u2800",
    "emoji": "👩‍👩‍👧‍👦" * 60,
    "right": "مطبخ הבית",
}
PAIR = """async ({code, pin, linking_code, name, id}) => (await fetch("/auth/pair/verify", {
  method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({code, pin, linking_code,
    node_identity: {node_id: id, name, kind: "phone",
      device_info: {[name.slice(0, 60)]: name.slice(0, 60), platform: name.slice(0, 300)}}})})).status"""


async def crowd(pages: Pages, node: Machine, names: list[str]) -> None:
    """Pair devices that call themselves so; a name may be refused, but nothing worse."""
    page = await pages.blank("phone", "phone")
    pages.guard(page).allow(REFUSED)
    await page.goto(f"https://{network_address(node)}:6969/p")
    for number, name in enumerate(names):
        offer = phone_offer(node)
        status = await page.evaluate(PAIR, {**offer, "name": name, "id": f"hostile-{number}"})
        assert status in (200, 400, 413), (name[:20], status)


def network_address(node: Machine) -> str:
    return str(node.api("node")["node"]["hostname"])


async def unhurt(page: Page) -> None:
    """No markup came to life, and nothing sticks out."""
    assert await page.title() != "owned"
    assert await page.locator("img[src='x'], main script, main b").count() == 0
    text = await page.locator("body").inner_text()
    assert not set("\u202e\u2066\u200f\u0000\u0007\u001b") & set(text)
    assert await overflow(page) == []


async def test_hostile_names_are_text_everywhere(pages: Pages, node: Machine, network: Lab) -> None:
    """On every section, at 320 px, live and after a reload; the names of requests too."""
    dashboard = await pages.dashboard(node, "small phone")
    await expect(content(dashboard).get_by_role("heading", name="Nodes", level=1)).to_be_visible()
    await crowd(pages, node, list(HOSTILE.values()))
    listed = rows(dashboard)
    assert len(node.nodes()) >= 9  # what is too long for a request, or blank, may be refused
    await expect(listed).to_have_count(len(node.nodes()))
    await expect(listed.filter(has_text="<img src=x")).to_have_count(1)
    await unhurt(dashboard)
    for section in ("Nearby", "Activity", "This node", "Nodes"):
        await go(dashboard, section)
        await unhurt(dashboard)
    for name in ("<img src=x", "xxx"):
        await rows(dashboard).get_by_role("link", name=name).first.click()
        for dialog in ("Rename", "Change trust", "Revoke"):
            await content(dashboard).get_by_role("button", name=dialog).click()
            await unhurt(dashboard)
            await dashboard.keyboard.press("Escape")
        await go(dashboard, "Nodes")
    with WaitingApp(network, "other", "<b>Bold</b>"):
        await go(dashboard, "Requests")
        await expect(content(dashboard)).to_contain_text("<b>Bold</b>")
        await unhurt(dashboard)


async def test_a_node_with_a_hostile_name_is_text_on_the_phone(pages: Pages, node: Machine) -> None:
    """The heading that asks for the PIN, the mesh, and the page's title."""
    rename(node, HOSTILE["html"][:60])
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"], "small phone")
    await expect(phone.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    await unhurt(phone)
    await pin_field(phone).fill(offer["pin"])
    await pin_field(phone).press("Enter")
    await expect(phone.get_by_role("heading", level=1)).to_contain_text("Connected to <img")
    await unhurt(phone)
    dashboard = await pages.dashboard(node, "small phone")
    await expect(content(dashboard)).to_contain_text("<img src=x")
    await unhurt(dashboard)


async def test_two_hundred_nodes(pages: Pages, machines: Callable[..., Machine]) -> None:
    """All are in the list, the filter finds one, and nothing is slow or sticks out."""
    node = machines("node", "kitchen")
    Seeded.make(node.data, 200)
    node.start()
    dashboard = await pages.dashboard(node)
    listed = rows(dashboard)
    await expect(listed).to_have_count(201)
    await expect(content(dashboard)).to_contain_text("201 nodes")
    assert await overflow(dashboard) == []
    await content(dashboard).get_by_role("searchbox").fill("peer 137")
    await expect(rows(dashboard).get_by_role("link", name="peer 137", exact=True)).to_be_visible()
    assert await listed.count() < 10  # an id may hold the number, too
    await dashboard.set_viewport_size({"width": 320, "height": 568})
    assert await overflow(dashboard) == []
