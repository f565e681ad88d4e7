"""The page of a paired phone: the mesh in words, its name, its heartbeats, and how it ends."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from tests.browser.guard import REFUSED, UNREACHED, axe
from tests.browser.pages import Pages
from tests.browser.phone_steps import kept, paired, shows
from tests.browser.steps import AT_ONCE_MS, SOON_MS, enter_pin, pair_phone, phone_offer
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_mesh_is_told_in_words_and_live(pages: Pages, node: Machine) -> None:
    """Every node with its kind and status; a second phone comes, goes and is removed before the first one's eyes."""
    first = await paired(pages, node, name="Old phone")
    rows = first.get_by_role("list").get_by_role("listitem")
    await expect(rows).to_have_count(2)
    await expect(rows.nth(0)).to_contain_text("kitchen")
    await expect(rows.nth(0)).to_contain_text("this node")
    await expect(rows.nth(1)).to_contain_text("Old phone")
    await expect(rows.nth(1)).to_contain_text("this device")
    second = await paired(pages, node, "small phone", name="New phone")
    newcomer = rows.filter(has_text="New phone")
    await expect(newcomer).to_contain_text("Online", timeout=AT_ONCE_MS)
    await second.get_by_role("button", name="Rename").click()
    await second.get_by_label("Name of this device").fill("Renamed")
    await second.keyboard.press("Enter")
    await expect(rows.filter(has_text="Renamed")).to_be_visible(timeout=AT_ONCE_MS)
    (row,) = [one for one in node.nodes().values() if one["name"] == "Renamed"]
    assert node.run("node", "revoke", row["id"], "--yes").returncode == 0
    await expect(rows).to_have_count(2, timeout=AT_ONCE_MS)


async def test_what_is_shown_while_nobody_answers_is_marked_as_old(pages: Pages, node: Machine) -> None:
    """No node is called online by a page that knows nothing."""
    phone = await paired(pages, node)
    pages.guard(phone).allow(UNREACHED, REFUSED)
    node.stop()
    await expect(phone.get_by_text("Reconnecting…")).to_be_visible()
    rows = phone.get_by_role("listitem")
    await expect(rows.nth(0)).to_contain_text("Last known: online")
    assert await axe(phone) == []
    node.start()
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible(timeout=20_000)
    await expect(rows.nth(0)).not_to_contain_text("Last known")


async def test_a_refused_name_is_explained_and_escape_leaves_it(pages: Pages, node: Machine) -> None:
    """Nothing is sent for an empty one; Escape gives the focus back to the button."""
    phone = await paired(pages, node)
    await phone.get_by_role("button", name="Rename").click()
    field = phone.get_by_label("Name of this device")
    await expect(field).to_be_focused()
    await field.fill("")
    await phone.keyboard.press("Enter")
    await expect(phone.get_by_text("Give this device a name.")).to_be_visible()
    await expect(field).to_be_focused()
    await phone.keyboard.press("Escape")
    await expect(phone.get_by_role("button", name="Rename")).to_be_focused()


async def test_heartbeats_come_while_the_page_is_seen(pages: Pages, node: Machine) -> None:
    """One at once, one a minute, one on every return; none while hidden."""
    phone = await pages.blank("phone", "phone")
    pages.guard(phone).allow(UNREACHED)  # minutes that pass at once leave a socket no time
    await phone.clock.install()
    offer = phone_offer(node)
    await phone.goto(offer["url"])
    await pair_phone(phone, offer["pin"])
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()

    def beats() -> int:
        return sum("/api/node/heartbeat" in one.url for one in pages.guard(phone).requests)

    async def turn(state: str) -> None:
        await phone.evaluate(
            """hidden => { Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
              document.dispatchEvent(new Event("visibilitychange")); }""",
            state == "hidden",
        )

    assert beats() == 1
    async with phone.expect_request("**/api/node/heartbeat"):
        await phone.clock.run_for(60_500)
    await turn("hidden")
    before = beats()
    await phone.clock.run_for(180_000)
    assert beats() == before
    async with phone.expect_request("**/api/node/heartbeat"):
        await turn("visible")


async def test_a_device_that_lost_its_storage_keeps_its_row(pages: Pages, node: Machine) -> None:
    """The cookie tells who it is: id and name come back from the node."""
    phone = await paired(pages, node, name="Forgetful")
    own = (await kept(phone))[0]["meshnode.device"]
    await phone.evaluate("localStorage.clear()")
    await phone.goto(phone.url)
    await expect(phone.locator(".own-name")).to_have_text("Forgetful")
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()  # leaving while it connects is a warning
    assert json.loads((await kept(phone))[0]["meshnode.device"])["id"] == json.loads(own)["id"]


async def test_an_operator_is_led_to_the_dashboard(pages: Pages, node: Machine) -> None:
    """Level 2 sees the link, as soon as it has the level; level 1 does not."""
    phone = await paired(pages, node)
    await expect(phone.get_by_role("link", name="Open the dashboard")).to_be_hidden()
    (row,) = [one for one in node.nodes().values() if not one["is_current"]]
    assert node.run("node", "trust", row["id"], "2").returncode == 0
    await expect(phone.get_by_role("link", name="Open the dashboard")).to_be_visible()
    assert node.run("node", "trust", row["id"], "1").returncode == 0
    await expect(phone.get_by_role("link", name="Open the dashboard")).to_be_hidden()


async def test_a_phone_revoked_while_it_was_away_has_to_pair_again(pages: Pages, node: Machine) -> None:
    """It is told so when it comes back, not greeted like a stranger."""
    phone = await paired(pages, node)
    pages.guard(phone).allow(REFUSED, UNREACHED)
    url = phone.url
    await phone.goto("about:blank")
    (row,) = [one for one in node.nodes().values() if not one["is_current"]]
    assert node.run("node", "revoke", row["id"], "--yes").returncode == 0
    await phone.goto(url)
    await expect(phone.get_by_role("heading", name="This device has to pair again")).to_be_focused()


async def test_two_pages_of_a_browser_outlive_a_new_pairing(pages: Pages, node: Machine) -> None:
    """Pairing again in one tab ends the other's socket; it goes on with the new cookie, even if that comes late."""
    first = await paired(pages, node)
    pages.guard(first).allow(REFUSED, UNREACHED)
    second = await pages.another(first.context)
    offer = phone_offer(node)
    await second.goto(offer["url"])
    await shows(second, "asking")
    await first.route("**/api/node/identity", lambda route: route.fulfill(json={"name": "kitchen"}), times=1)
    async with first.expect_event("websocket", timeout=20_000):
        await pair_phone(second, offer["pin"])
    await expect(first.get_by_text("Live", exact=True)).to_be_visible()
    await shows(first, "mesh")


async def test_without_a_socket_the_page_asks_every_few_seconds(pages: Pages, node: Machine) -> None:
    """Where something between refuses sockets, the page says how fresh it is, and follows all the same."""
    phone = await pages.blank("phone", "phone")
    pages.guard(phone).allow(UNREACHED, REFUSED)
    await phone.route_web_socket("**/ws", lambda socket: socket.close())
    offer = phone_offer(node)
    await phone.goto(offer["url"])
    await enter_pin(phone, offer["pin"])
    await expect(phone.get_by_text("Updated every five seconds")).to_be_visible()
    await paired(pages, node, name="Newcomer")
    await expect(phone.get_by_role("listitem").filter(has_text="Newcomer")).to_be_visible(timeout=2 * SOON_MS)
