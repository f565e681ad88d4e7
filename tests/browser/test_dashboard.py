"""The dashboard on the node's own machine: signing in, the nodes, what can be done with them, losing the node."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.async_api import Page, WebSocketRoute, expect

from tests.browser.guard import REFUSED, UNREACHED
from tests.browser.owner import call
from tests.browser.pages import Pages
from tests.browser.steps import (
    AT_ONCE_MS,
    choose,
    computer_offer,
    content,
    dialog,
    enter_pin,
    go,
    pair_phone,
    phone_offer,
    rename,
    revoke,
    rows,
    seen,
    shown_pin,
    trust,
    wrong,
)
from tests.e2e.machine import Machine, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


SHIFTS = """window.shifts = [];
new PerformanceObserver(list => window.shifts.push(...list.getEntries().map(entry => entry.value)))
  .observe({type: "layout-shift", buffered: true});"""


async def test_the_ticket_dies_on_use(pages: Pages, node: Machine) -> None:
    """The link works once; the token stays in the tab, over a reload, and is nowhere in the address."""
    url = node.ask("open")["url"]
    page = await pages.blank("node", "desktop")
    await page.goto(url)
    await expect(content(page).get_by_role("heading", name="Nodes", level=1)).to_be_visible()
    assert "ticket" not in page.url
    assert await page.evaluate("localStorage.length") == 0
    assert await page.context.cookies() == []
    await page.reload()
    await expect(content(page).get_by_role("heading", name="Nodes", level=1)).to_be_visible()

    late = await pages.blank("node", "desktop")
    pages.guard(late).allow(REFUSED)
    await late.goto(url)
    await expect(content(late).get_by_role("heading", name="This page is not signed in")).to_be_visible()
    await expect(content(late)).to_contain_text("meshnode open")
    await expect(content(late)).not_to_contain_text("kitchen")

    bare = await pages.blank("node", "desktop")
    await bare.goto("http://127.0.0.1:6970/")
    await expect(content(bare)).to_contain_text("meshnode open")


async def test_no_secret_is_in_an_address(pages: Pages, node: Machine) -> None:
    """Ticket, token, PIN and code stand in no request line and in no address of the history."""
    url = node.ask("open")["url"]
    dashboard = await pages.blank("node", "desktop")
    await dashboard.goto(url)
    await choose(dashboard, "Phone")
    pin = await shown_pin(dashboard)
    token = await dashboard.evaluate("Object.values({...sessionStorage}).join()")
    ticket = url.partition("ticket=")[2]
    assert token
    assert ticket
    for request in pages.guard(dashboard).requests:
        assert not any(secret in request.url for secret in (token, pin)), request.url
        assert ticket not in request.url.partition("#")[0]
    assert not any(secret in dashboard.url for secret in (token, ticket, pin))


async def test_another_dashboard_and_the_command_line_are_followed_live(pages: Pages, node: Machine) -> None:
    """What the owner does elsewhere is seen at once: rename, trust, revoke."""
    dashboard, phone = await with_phone(pages, node)
    pages.guard(phone).allow(REFUSED, UNREACHED)
    row = rows(dashboard).filter(has_text="Pixel 7")
    await expect(row).to_contain_text("Online")
    (row_id,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita"]
    call(node, "PATCH", f"nodes/{row_id}", {"alias": "Mina’s phone"})
    await seen(rows(dashboard).get_by_role("link", name="Mina’s phone"), AT_ONCE_MS)
    trust(node, row_id, 2)
    await seen(content(dashboard).get_by_text("Operator"), AT_ONCE_MS)
    revoke(node, row_id)
    await seen(content(dashboard).locator("summary", has_text="Revoked"), AT_ONCE_MS)
    await expect(phone.get_by_role("heading", name="This device was removed")).to_be_visible(timeout=AT_ONCE_MS)


async def test_rename_trust_revoke_forget(pages: Pages, node: Machine) -> None:
    """Each asks in a dialog first, does it, and says so; the phone's open page is told at once."""
    dashboard, phone = await with_phone(pages, node)
    pages.guard(phone).allow(REFUSED, UNREACHED)
    (row_id,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita"]
    await rows(dashboard).get_by_role("link", name="Pixel 7").click()
    for fact in (row_id, "Level 1", "10.77.0.2", "with a PIN, as a phone"):
        await expect(content(dashboard)).to_contain_text(fact)

    await act(dashboard, "Rename", "Save", lambda: dialog(dashboard).get_by_label("Name").fill("Old phone"))
    await expect(content(dashboard).get_by_role("heading", name="Old phone", level=1)).to_be_visible()
    assert node.nodes()[row_id]["alias"] == "Old phone"

    await act(dashboard, "Change trust", "Save", lambda: dialog(dashboard).get_by_label("Level 2").check())
    await expect(content(dashboard)).to_contain_text("Level 2, operator")
    assert node.nodes()[row_id]["trust_level"] == 2

    await content(dashboard).get_by_role("button", name="Revoke").click()
    await dialog(dashboard).get_by_role("button", name="Cancel").click()
    assert node.nodes()[row_id]["trust"] == "paired"
    await act(dashboard, "Revoke", "Revoke Old phone")
    await expect(phone.get_by_role("heading", name="This device was removed")).to_be_visible(timeout=AT_ONCE_MS)
    await expect(content(dashboard)).to_contain_text("no access")
    assert node.nodes()[row_id]["trust"] == "revoked"

    await act(dashboard, "Forget", "Forget Old phone")
    await expect(content(dashboard).get_by_role("heading", name="Nodes", level=1)).to_be_visible()
    assert row_id not in node.nodes()
    await go(dashboard, "Activity")
    for words in ("was given trust level 2", "was revoked", "was forgotten"):
        await expect(content(dashboard)).to_contain_text(words)


async def test_wrong_pins_are_shown_where_the_code_is(pages: Pages, node: Machine) -> None:
    """Each with the attempts left; the third closes the code, and a new one is a click away."""
    dashboard = await pages.dashboard(node)
    await choose(dashboard, "Phone")
    pin = await shown_pin(dashboard)
    url = node.api("pairing/offers")["offers"] and await link(dashboard)
    phone = await pages.phone(url)
    pages.guard(phone).allow(REFUSED)
    for number, left in ((1, "2 attempts left"), (2, "1 attempt left")):
        await enter_pin(phone, wrong(pin, number))
        await expect(phone.get_by_text(left).first).to_be_visible()
        await seen(content(dashboard).get_by_text(re.compile(f"Wrong PIN.*{left}")), AT_ONCE_MS)
    await enter_pin(phone, wrong(pin, 3))
    await seen(content(dashboard).get_by_role("heading", name="Too many wrong PINs"), AT_ONCE_MS)
    await content(dashboard).get_by_role("button", name="Make a new code").click()
    assert await shown_pin(dashboard)
    await go(dashboard, "Activity")
    await expect(content(dashboard)).to_contain_text("wrong PIN")


async def test_a_restart_of_the_node_is_survived(pages: Pages, node: Machine) -> None:
    """It says that it is not connected; the same token counts afterwards, and what happened meanwhile is there."""
    dashboard, phone = await with_phone(pages, node)
    for page in (dashboard, phone):
        pages.guard(page).allow(UNREACHED, REFUSED)
    await expect(dashboard.get_by_role("banner")).to_contain_text("Live")
    node.stop()
    await expect(dashboard.get_by_text("Not connected to the node.")).to_be_visible()
    await expect(phone.get_by_text("Reconnecting…")).to_be_visible()
    assert node.run("identity", "rename", "pantry").returncode == 0
    node.start()
    await expect(dashboard.get_by_role("banner")).to_contain_text("Live", timeout=25_000)
    await expect(dashboard.get_by_text("Not connected to the node.")).to_be_hidden()
    await expect(rows(dashboard).get_by_role("link", name="pantry")).to_be_visible()
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible(timeout=25_000)
    await expect(rows(dashboard).filter(has_text="Pixel 7")).to_contain_text("Online")


async def test_where_a_socket_is_refused_the_page_asks_instead(pages: Pages, node: Machine) -> None:
    """Without /ws everything still arrives, some seconds later, and the page says how it does that."""
    dashboard = await pages.blank("node", "desktop")
    pages.guard(dashboard).allow(REFUSED, UNREACHED, re.compile("WebSocket"))
    await dashboard.route_web_socket("**/ws", lambda socket: socket.close(code=1011))
    await dashboard.goto(call(node, "POST", "tickets")["url"])
    await expect(dashboard.get_by_role("banner")).to_contain_text("every five seconds")
    rename(node, "pantry")
    await seen(rows(dashboard).get_by_role("link", name="pantry"), 12_000)


async def test_a_laptop_that_slept_catches_up(pages: Pages, node: Machine) -> None:
    """Its socket looks open and is dead; the page notices the time that has passed, and asks anew."""
    dashboard = await pages.blank("node", "desktop")
    is_dead = False

    def through(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        was_dead = is_dead
        socket.on_message(lambda message: None if is_dead != was_dead else server.send(message))
        server.on_message(lambda message: None if is_dead != was_dead else socket.send(message))

    await dashboard.route_web_socket("**/ws", through)
    await dashboard.clock.install()
    await dashboard.goto(call(node, "POST", "tickets")["url"])
    await expect(dashboard.get_by_role("banner")).to_contain_text("Live")
    is_dead = True
    rename(node, "pantry")
    await dashboard.clock.fast_forward("10:00:00")
    await dashboard.clock.fast_forward("00:10")  # no answer for that long
    await seen(rows(dashboard).get_by_role("link", name="pantry"))
    await expect(dashboard.get_by_role("banner")).to_contain_text("Live")


async def test_a_notice_stands_until_it_is_seen(pages: Pages, node: Machine) -> None:
    """A pairing is told on every dashboard and in `status`; dismissing it ends it in all of them."""
    one, other = await pages.dashboard(node), await pages.dashboard(node)
    offer = phone_offer(node)
    await pair_phone(await pages.phone(offer["url"]), offer["pin"])
    (notice,) = [notice for notice in node.api("node")["notices"] if "Pixel 7" in notice["detail"]]
    seen_button = re.compile("Dismiss|Seen")
    for dashboard in (one, other):
        await expect(content(dashboard).get_by_role("button", name=seen_button)).to_have_count(1)
        await expect(content(dashboard)).to_contain_text(notice["detail"][1:40])
    await content(one).get_by_role("button", name=seen_button).click()
    for dashboard in (one, other):
        await expect(content(dashboard).get_by_role("button", name=seen_button)).to_have_count(0)
    assert node.ask("status")["notices"] == []


async def test_nothing_jumps(pages: Pages, node: Machine) -> None:
    """Neither while the page loads nor when the connection is lost does anything move."""
    dashboard = await pages.blank("node", "desktop")
    pages.guard(dashboard).allow(UNREACHED, REFUSED)
    await dashboard.add_init_script(SHIFTS)
    await dashboard.goto(call(node, "POST", "tickets")["url"])
    await expect(dashboard.get_by_role("banner")).to_contain_text("Live")
    await expect(rows(dashboard)).to_have_count(1)
    node.stop()
    await expect(dashboard.get_by_text("Not connected to the node.")).to_be_visible()
    assert sum(await dashboard.evaluate("window.shifts")) < 0.01


async def test_a_node_nearby_is_joined_with_its_pin(pages: Pages, machines: Callable[..., Machine]) -> None:
    """It is discovered by itself; join asks the PIN, a wrong one says what is left, the right one pairs."""
    node = machines("node", "kitchen").start()
    other = machines("other", "attic").start()
    pin = computer_offer(other)["pin"]
    dashboard = await pages.dashboard(node)
    pages.guard(dashboard).allow(REFUSED)
    await go(dashboard, "Nearby")
    await expect(content(dashboard).get_by_text("Shows a PIN now")).to_be_visible(timeout=15_000)
    await content(dashboard).get_by_role("button", name="Join attic").click()
    await dialog(dashboard).get_by_label("PIN").fill(wrong(pin))
    await dialog(dashboard).get_by_role("button", name="Join", exact=True).click()
    await expect(dialog(dashboard)).to_contain_text("2 attempts left")
    await dialog(dashboard).get_by_label("PIN").fill(pin)
    await dashboard.keyboard.press("Enter")
    await expect(dialog(dashboard)).to_be_hidden()
    await go(dashboard, "Nodes")
    await expect(rows(dashboard).filter(has_text="attic")).to_contain_text("Online")
    eventually(lambda: other.sees(node, "online"), "the other does not see us")


async def test_this_node_shows_who_it_is_and_how_it_is(pages: Pages, node: Machine) -> None:
    """Id, fingerprint in groups, version, listeners; health on demand in words."""
    dashboard = await pages.dashboard(node)
    await go(dashboard, "This node")
    own = node.api("node")["node"]
    for fact in (own["id"], own["version"], ":6969"):
        await expect(content(dashboard)).to_contain_text(fact)
    shown = re.sub("[^A-Z0-9]", "", await content(dashboard).inner_text())
    assert re.sub("[^A-Z0-9]", "", own["fingerprint"]) in shown
    await content(dashboard).get_by_role("button", name="Check health").click()
    await expect(content(dashboard).get_by_role("button", name="Check again")).to_be_visible(timeout=20_000)
    await expect(content(dashboard).get_by_text(re.compile("All is well|need")).first).to_be_visible()


async def test_the_first_page_is_light(pages: Pages, node: Machine) -> None:
    """What both pages fetch to be shown is under 100 kB, and nothing else is fetched."""
    offer = phone_offer(node)
    for page, url in (
        (await pages.blank("node", "desktop"), call(node, "POST", "tickets")["url"]),
        (await pages.blank("phone", "phone"), offer["url"]),
    ):
        await page.goto(url)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        fetched = json.loads(
            await page.evaluate(
                "JSON.stringify(['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
                ".map(({name, transferSize}) => [name, transferSize]))"
            )
        )
        assert len(fetched) > 3
        assert sum(size for _, size in fetched) < 100_000, fetched


async def act(dashboard: Page, what: str, confirm: str, fill: Callable[[], object] | None = None) -> None:
    """Press a button, fill its dialog, confirm."""
    await content(dashboard).get_by_role("button", name=what).click()
    if fill is not None:
        await fill()  # type: ignore[misc]
    await dialog(dashboard).get_by_role("button", name=confirm).click()
    await expect(dialog(dashboard)).to_be_hidden()


async def link(dashboard: Page) -> str:
    """The invite as it stands below the QR code."""
    found = re.search(r"https://\S+/p#\S+", await content(dashboard).inner_text())
    assert found
    return found[0]


async def with_phone(pages: Pages, node: Machine) -> tuple[Page, Page]:
    """A dashboard and a paired phone's page."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    await pair_phone(phone, offer["pin"])
    return await pages.dashboard(node), phone
