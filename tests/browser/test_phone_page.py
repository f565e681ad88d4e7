"""The phone page up to the PIN: what each way in leads to, what each refusal says, where the focus is."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import expect

from tests.browser.guard import REFUSED, UNREACHED, axe, overflow
from tests.browser.pages import Pages
from tests.browser.phone_steps import NAME, kept, paired, refuse, shows
from tests.browser.steps import enter_pin, pair_phone, phone_offer, pin_field, wrong
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_address_bar_forgets_the_invite_and_the_tab_does_not(pages: Pages, node: Machine) -> None:
    """The fragment is gone as soon as it was read; a reload still pairs; then nothing secret is left anywhere."""
    offer = phone_offer(node)
    fragment = offer["url"].partition("#")[2]
    phone = await pages.phone(offer["url"])
    await shows(phone, "asking")
    assert await phone.evaluate("location.href") == offer["url"].partition("#")[0]
    for_good, for_now = await kept(phone)
    assert fragment in json.dumps(for_now)
    assert not any(part in json.dumps(for_good) for part in fragment.split("."))
    await phone.reload()
    await pair_phone(phone, offer["pin"])
    for_good, for_now = await kept(phone)
    assert for_now == {}
    assert set(json.loads(for_good["meshnode.device"])) == {"id", "name", "pairedWith"}


async def test_a_second_scan_in_the_same_tab_counts(pages: Pages, node: Machine) -> None:
    """Another fragment loads no page anew: the page reads it all the same."""
    phone = await pages.phone(phone_offer(node)["url"])
    pages.guard(phone).allow(REFUSED)
    await shows(phone, "asking")
    newer = phone_offer(node)
    await phone.evaluate("url => { location.href = url; }", newer["url"])
    await expect(phone).to_have_url(newer["url"].partition("#")[0])
    await pair_phone(phone, newer["pin"])


async def test_an_escaped_invite_is_read(pages: Pages, node: Machine) -> None:
    """Some apps escape what they open; lower case and a dash in the linking code don't matter either."""
    offer = phone_offer(node)
    head, _, link = offer["url"].rpartition(".")
    phone = await pages.phone(f"{head.replace('.', '%2E')}%2E{link[:4].lower()}-{link[4:]}")
    await pair_phone(phone, offer["pin"])


async def test_who_is_paired_may_look_or_pair_again(pages: Pages, node: Machine) -> None:
    """A new invite on a paired phone says so, leads back, and pairs the same row again."""
    phone = await paired(pages, node)
    own = json.loads((await kept(phone))[0]["meshnode.device"])["id"]
    offer = phone_offer(node)
    await phone.goto(offer["url"])
    await expect(phone.get_by_text("already paired")).to_be_visible()
    await phone.get_by_role("button", name="Show the mesh").click()
    await shows(phone, "mesh")
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    await phone.reload()
    await pair_phone(phone, offer["pin"])
    assert sorted(node.nodes()) == sorted([node.id, own])


async def test_a_node_invite_is_copied_with_a_button(pages: Pages, node: Machine) -> None:
    """What lies in the clipboard is the whole command."""
    offer = node.offer()
    phone = await pages.phone(offer["url"], permissions=["clipboard-read", "clipboard-write"])
    await phone.get_by_role("button", name="Copy the command").click()
    await expect(phone.get_by_role("button", name="Copied")).to_be_visible()
    assert await phone.evaluate("navigator.clipboard.readText()") == f"meshnode join '{offer['url']}'"
    await phone.reload()
    await shows(phone, "node_invite")


async def test_the_pin_is_spelled_while_it_is_typed(pages: Pages, node: Machine) -> None:
    """Digits only, in two groups, from any keypad; a digit put in the middle stays where it was put."""
    phone = await pages.phone(phone_offer(node)["url"])
    field = pin_field(phone)
    await expect(field).to_be_focused()
    for typed, shown in (("123456", "123 456"), ("123", "123"), ("12a3-4", "123 4"), ("١٢٣٤٥٦", "123 456")):
        await field.fill("")
        await phone.keyboard.type(typed)
        assert await field.input_value() == shown
    await field.fill("1256")
    for _ in range(3):
        await phone.keyboard.press("ArrowLeft")
    await phone.keyboard.type("34")
    assert await field.input_value() == "123 456"


async def test_a_nameless_device_is_asked_for_its_name(pages: Pages, node: Machine) -> None:
    """The field is marked and focused; nothing was sent."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    name = phone.get_by_label(NAME)
    await name.fill("  ")
    await enter_pin(phone, offer["pin"])
    await expect(name).to_be_focused()
    assert await name.get_attribute("aria-invalid") == "true"
    await expect(phone.get_by_role("alert").filter(has_text="name")).to_be_visible()
    assert not [one for one in pages.guard(phone).requests if "verify" in one.url]


async def test_the_time_runs_out_before_ones_eyes(pages: Pages, node: Machine) -> None:
    """It is counted down; at its end the page says what to do, with the focus on that, and a reload is no way back."""
    offer = phone_offer(node)
    phone = await pages.blank("phone", "phone")
    await phone.clock.install()
    await phone.goto(offer["url"])
    await expect(phone.get_by_role("timer")).to_contain_text(re.compile(r"(10:00|9:\d\d) left"))
    await phone.clock.fast_forward(580_000)
    await expect(phone.get_by_role("timer")).to_contain_text(re.compile(r"0:[012]\d left"))
    await phone.clock.fast_forward(30_000)
    heading = phone.get_by_role("heading", name="This QR code has expired")
    await expect(heading).to_be_focused()
    assert (await kept(phone))[1] == {}


async def test_who_comes_back_to_the_page_sees_that_the_offer_is_gone(pages: Pages, node: Machine) -> None:
    """Looking at the page again asks the node again; attempts that others spent count."""
    offer = phone_offer(node)
    phone, other = await pages.phone(offer["url"]), await pages.phone(offer["url"])
    pages.guard(phone).allow(REFUSED)
    pages.guard(other).allow(REFUSED)
    await shows(phone, "asking")
    await enter_pin(other, wrong(offer["pin"]))
    await expect(other.get_by_text("2 attempts left")).to_be_visible()
    await phone.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(phone.get_by_text("2 attempts left")).to_be_visible()
    assert node.run("pair", "cancel").returncode == 0
    await phone.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await expect(phone.get_by_role("heading", name="This QR code was withdrawn")).to_be_focused()


async def test_a_node_that_stops_while_the_pin_is_sent_is_waited_for(pages: Pages, node: Machine) -> None:
    """The page says so, tries again by itself, and pairs when the node is back."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    pages.guard(phone).allow(UNREACHED, REFUSED)
    await shows(phone, "asking")
    node.stop()
    await enter_pin(phone, offer["pin"])
    await expect(phone.get_by_text("kitchen doesn’t answer. Trying again by itself…")).to_be_visible()
    node.start()
    await expect(phone.get_by_role("heading", name="Connected to kitchen")).to_be_visible(timeout=20_000)


async def test_a_node_that_does_not_answer_at_first_is_waited_for(pages: Pages, node: Machine) -> None:
    """What loads is the page alone: it says so, tries again by itself or at a press, and goes on."""
    offer = phone_offer(node)
    phone = await pages.blank("phone", "phone")
    pages.guard(phone).allow(re.compile("."))
    await phone.route("**/api/node/identity", lambda route: route.abort())
    await phone.goto(offer["url"])
    await expect(phone.get_by_role("heading", name="The node doesn’t answer")).to_be_focused()
    assert await axe(phone) == []
    await phone.unroute("**/api/node/identity")
    await phone.get_by_role("button", name="Try now").click()
    await shows(phone, "asking")
    await expect(pin_field(phone)).to_be_focused()


async def test_too_many_tries_are_counted_down(pages: Pages, node: Machine) -> None:
    """The button waits as long as the node asks, the page says how long, and then it works."""
    offer = phone_offer(node)
    phone = await pages.blank("phone", "phone")
    pages.guard(phone).allow(REFUSED)
    await phone.clock.install()
    await phone.route("**/auth/pair/verify", refuse(429, "rate_limited", retry_after=70))
    await phone.goto(offer["url"])
    await enter_pin(phone, offer["pin"])
    await expect(phone.get_by_text("Too many tries from here.")).to_be_visible()
    await expect(phone.get_by_text(re.compile(r"Try again in 1:\d\d"))).to_be_visible()
    button = phone.get_by_role("button", name="Pair", exact=True)
    assert await button.get_attribute("aria-disabled") == "true"
    assert await axe(phone) == []
    await phone.unroute("**/auth/pair/verify")
    await phone.clock.fast_forward(75_000)
    await expect(button).to_have_attribute("aria-disabled", "false")
    await pin_field(phone).press("Enter")
    await shows(phone, "mesh")


async def test_what_no_pin_can_change_is_said(pages: Pages, node: Machine) -> None:
    """Whether told at once or at the PIN; trying again goes on where it was."""
    offer = phone_offer(node)
    phone = await pages.blank("phone", "small phone")
    pages.guard(phone).allow(REFUSED)
    for code, heading in (
        ("not_local", "Not on the same network"),
        ("bad_origin", "The address isn’t the node’s own"),
        ("proxy_not_configured", "Something stands in between"),
    ):
        await phone.goto("about:blank")
        await phone.route("**/p/opened", refuse(403, code))
        await phone.goto(offer["url"])
        await expect(phone.get_by_role("heading", name=heading)).to_be_focused()
        assert [*await axe(phone), *await overflow(phone)] == []
        await phone.unroute("**/p/opened")
        await phone.route("**/auth/pair/verify", refuse(403, code))
        await phone.get_by_role("button", name="Try again").click()
        await enter_pin(phone, offer["pin"])
        await expect(phone.get_by_role("heading", name=heading)).to_be_focused()
        await phone.unroute("**/auth/pair/verify")


async def test_an_id_that_the_node_knows_otherwise_is_drawn_anew(pages: Pages, node: Machine) -> None:
    """A browser whose id belongs to another kind of node pairs all the same, under a new one."""
    offer = phone_offer(node)
    phone = await pages.blank("phone", "phone")
    pages.guard(phone).allow(REFUSED)
    await phone.goto(offer["url"].partition("#")[0])
    await phone.evaluate("id => localStorage.setItem('meshnode.device', JSON.stringify({id, name: 'x'}))", node.id)
    await phone.goto("about:blank")
    await phone.goto(offer["url"])
    await pair_phone(phone, offer["pin"])
    own = json.loads((await kept(phone))[0]["meshnode.device"])["id"]
    assert own in node.nodes()
    assert own != node.id
