"""The page that a phone's invite opens: the ways in, what goes wrong on them, and out again."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.guard import REFUSED, UNREACHED
from tests.browser.pages import Pages
from tests.browser.steps import (
    AT_ONCE_MS,
    computer_offer,
    enter_pin,
    pair_phone,
    phone_offer,
    pin_field,
    rename,
    revoke,
    seen,
    wrong,
)
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually, in_namespace

pytestmark = pytest.mark.asyncio(loop_scope="session")


def offer_state(node: Machine, offer: Any) -> Any:
    return node.api(f"pairing/offers/{offer['offer_id']}")


def phones(node: Machine) -> list[dict[str, Any]]:
    """The thin clients the node knows."""
    return [one for one in node.nodes().values() if one["dialect"] == "salita"]


async def test_a_pin_makes_the_phone_a_node(pages: Pages, node: Machine, network: Lab) -> None:
    """The row has the id that the phone keeps, the name typed, the phone's own address; a reload goes on with it."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    await expect(phone.get_by_role("heading", name="Pair with kitchen")).to_be_visible()
    name = phone.get_by_label(re.compile("name"))
    await name.fill("Mina’s Pixel")
    await pair_phone(phone, offer["pin"])
    (row,) = phones(node)
    assert (row["name"], row["kind"], row["status"]) == ("Mina’s Pixel", "phone", "online")
    assert (row["trust"], row["trust_level"], row["hostname"]) == ("paired", 1, network.address("phone"))
    kept = json.loads(await phone.evaluate("JSON.stringify({...localStorage, ...sessionStorage})"))
    assert row["id"] in json.dumps(kept)
    assert offer["pin"] not in json.dumps(kept)
    await phone.reload()
    await expect(phone.get_by_role("heading", name="Connected to kitchen")).to_be_visible()
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    assert [one["id"] for one in phones(node)] == [row["id"]]
    assert node.rows("id, name, trust, is_current") == sorted(
        [(node.id, "kitchen", "self", 1), (row["id"], "Mina’s Pixel", "paired", 0)]
    )


async def test_the_pin_field_is_ready_for_a_thumb(pages: Pages, node: Machine) -> None:
    """It has the focus, brings the numeric keypad, takes a PIN as it is shown, and Enter submits."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    field = pin_field(phone)
    await expect(field).to_be_focused()
    assert await field.get_attribute("inputmode") == "numeric"
    assert await field.get_attribute("autocomplete") in ("off", "one-time-code")
    first = phone.locator("input:visible").first
    assert await first.get_attribute("id") == await field.get_attribute("id")
    await phone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await phone.evaluate("text => navigator.clipboard.writeText(text)", f" {offer['pin'][:3]} {offer['pin'][3:]}\n")
    await field.press("Control+V")
    await phone.keyboard.press("Enter")
    await expect(phone.get_by_role("heading", name="Connected to kitchen")).to_be_visible()


async def test_opening_the_link_spends_nothing(pages: Pages, node: Machine) -> None:
    """Previews and scanners open links, run scripts, reload: the offer stays open with all its attempts."""
    offer = phone_offer(node)
    before = offer_state(node, offer)
    for _ in range(2):
        phone = await pages.phone(offer["url"])
        await expect(pin_field(phone)).to_be_visible()
        await phone.reload()
        await expect(pin_field(phone)).to_be_visible()
    after = offer_state(node, offer)
    assert (after["state"], after["attempts"]) == ("open", before["attempts"])
    assert phones(node) == []
    await pair_phone(phone, offer["pin"])


async def test_the_fragment_never_leaves_the_browser(pages: Pages, node: Machine) -> None:
    """Code and linking code stand in no request line; the PIN goes only in the body that redeems it."""
    offer = phone_offer(node)
    code, _, link = offer["url"].partition("#")[2].split(".")
    phone = await pages.phone(offer["url"])
    await pair_phone(phone, offer["pin"])
    asked = pages.guard(phone).requests
    assert asked
    for request in asked:
        line = request.url.partition("#")[0] + json.dumps(await request.all_headers())
        assert not any(secret in line for secret in (code, link, offer["code"], offer["pin"])), request.url
    with_pin = [request for request in asked if offer["pin"] in (request.post_data or "")]
    assert [(request.method, request.url.rpartition(":")[2]) for request in with_pin] == [
        ("POST", "6969/auth/pair/verify")
    ]


async def test_three_wrong_pins_burn_the_offer(pages: Pages, node: Machine) -> None:
    """Each says how many attempts are left; then the page says what to do, and the right PIN is too late."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    pages.guard(phone).allow(REFUSED)
    for number, left in ((1, "2 attempts left"), (2, "1 attempt left")):
        await enter_pin(phone, wrong(offer["pin"], number))
        await expect(phone.get_by_text(left).first).to_be_visible()
        await expect(pin_field(phone)).to_be_focused()
    await enter_pin(phone, wrong(offer["pin"], 3))
    await expect(phone.get_by_role("heading", name="Too many wrong PINs")).to_be_visible()
    await expect(pin_field(phone)).to_be_hidden()
    assert offer_state(node, offer)["state"] == "burned"
    again = await pages.phone(offer["url"])
    pages.guard(again).allow(REFUSED)
    await expect(again.get_by_role("heading", name="Too many wrong PINs")).to_be_visible()
    assert phones(node) == []


async def test_five_digits_cost_nothing(pages: Pages, node: Machine) -> None:
    """What is no PIN is told at once and asked of nobody."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    await enter_pin(phone, "12345")
    await expect(phone.get_by_text("six digits").last).to_be_visible()
    assert offer_state(node, offer)["attempts"] == 0 or offer_state(node, offer)["state"] == "open"
    assert not [request for request in pages.guard(phone).requests if "verify" in request.url]


@pytest.mark.parametrize(
    ("spoil", "heading"),
    [
        (lambda url: url.partition("#")[0], "Pair this phone"),
        (lambda url: url[:-9], "This QR code joins a computer"),
        (lambda url: url[:-3], "This link is incomplete"),
        (lambda url: re.sub("#.{22}", "#" + "A" * 21 + "Q", url), "The node doesn’t know this QR code"),
        (lambda url: re.sub(r"(#.{22}\.).{22}", r"\1" + "A" * 22, url), "Not the node of this QR code"),
    ],
)
async def test_a_link_that_cannot_pair_says_what_to_do(pages: Pages, node: Machine, spoil: Any, heading: str) -> None:
    """No fragment, another kind of invite, a torn one, an unknown one, another node's: no PIN is asked for."""
    offer = phone_offer(node)
    phone = await pages.phone(spoil(offer["url"]))
    pages.guard(phone).allow(REFUSED)
    await expect(phone.get_by_role("heading", name=heading)).to_be_visible()
    await expect(pin_field(phone)).to_be_hidden()
    assert offer_state(node, offer)["state"] == "open"


async def test_a_node_invite_says_what_it_is_for(pages: Pages, node: Machine) -> None:
    """The command joins, as it stands on the page."""
    offer = computer_offer(node)
    phone = await pages.phone(offer["url"])
    await expect(phone.get_by_text(f"meshnode join '{offer['url']}'").first).to_be_visible()
    await expect(pin_field(phone)).to_be_hidden()
    assert offer_state(node, offer)["state"] == "open"


async def test_a_used_link_says_so(pages: Pages, node: Machine) -> None:
    """A second phone with the same link learns that somebody has used it."""
    offer = phone_offer(node)
    await pair_phone(await pages.phone(offer["url"]), offer["pin"])
    second = await pages.phone(offer["url"])
    pages.guard(second).allow(REFUSED)
    await expect(second.get_by_role("heading", name="This QR code has been used")).to_be_visible()


async def test_a_newer_offer_replaces_the_page(pages: Pages, node: Machine) -> None:
    """A PIN entered for the old QR code leads to the sentence about the newer one."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    pages.guard(phone).allow(REFUSED)
    await expect(pin_field(phone)).to_be_visible()
    newer = phone_offer(node)
    await enter_pin(phone, offer["pin"])
    await expect(phone.get_by_role("heading", name="There is a newer QR code")).to_be_visible()
    await phone.goto("about:blank")
    await phone.goto(newer["url"])
    await pair_phone(phone, newer["pin"])


async def test_the_page_survives_a_restart_of_the_node(pages: Pages, node: Machine) -> None:
    """It says that it is not connected, comes back by itself, and is the same node."""
    phone = await paired(pages, node)
    pages.guard(phone).allow(UNREACHED, REFUSED)
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    (before,) = phones(node)
    node.stop()
    await expect(phone.get_by_text("Reconnecting…")).to_be_visible()
    node.start()
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible(timeout=20_000)
    eventually(lambda: phones(node)[0]["status"] == "online", "the phone is not back")
    assert [one["id"] for one in phones(node)] == [before["id"]]


async def test_a_phone_out_of_reach_for_a_while_catches_up(pages: Pages, node: Machine, network: Lab) -> None:
    """What changed meanwhile is shown when the network is back."""
    phone = await paired(pages, node)
    pages.guard(phone).allow(UNREACHED, REFUSED)
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    network.link("phone", up=False)
    try:
        rename(node, "pantry")
    finally:
        network.link("phone", up=True)
    await expect(phone.get_by_role("list")).to_contain_text("pantry", timeout=25_000)
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible(timeout=25_000)


async def test_a_revoked_phone_is_told_at_once(pages: Pages, node: Machine) -> None:
    """The open page turns into the sentence, and so it stays after a reload."""
    phone = await paired(pages, node)
    pages.guard(phone).allow(REFUSED, UNREACHED)
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    (row,) = phones(node)
    revoke(node, row["id"])
    await expect(phone.get_by_role("heading", name="This device was removed")).to_be_visible(timeout=AT_ONCE_MS)
    await phone.reload()
    await expect(phone.get_by_role("heading", name=re.compile("Connected"))).to_be_hidden()


async def test_a_phone_can_remove_itself(pages: Pages, node: Machine) -> None:
    """After a question, its own row is revoked and nothing of it is kept; a new offer takes it back as a new device."""
    phone = await paired(pages, node)
    pages.guard(phone).allow(REFUSED, UNREACHED)
    (row,) = phones(node)
    await phone.get_by_role("button", name=re.compile("Remove this device")).click()
    await phone.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    await expect(phone.get_by_role("dialog")).to_be_hidden()
    await phone.get_by_role("button", name=re.compile("Remove this device")).click()
    await phone.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    await expect(phone.get_by_role("heading", name="This device has left the mesh")).to_be_visible()
    assert node.nodes()[row["id"]]["trust"] == "revoked"
    kept = await phone.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
    assert row["id"] not in kept
    assert await phone.context.cookies() == []
    offer = phone_offer(node)
    await phone.goto("about:blank")
    await phone.goto(offer["url"])
    await pair_phone(phone, offer["pin"])


async def test_a_phone_renames_itself(pages: Pages, node: Machine) -> None:
    """Its row follows at once."""
    phone = await paired(pages, node)
    await phone.get_by_role("button", name="Rename").click()
    await phone.get_by_label("Name of this device").fill("Old phone")
    await phone.keyboard.press("Enter")
    await seen(phone.get_by_text("This device is called Old phone now."))
    assert phones(node)[0]["name"] == "Old phone"


async def test_what_a_browser_warns_of_is_explained(pages: Pages, node: Machine) -> None:
    """One sentence why, and the certificate hash to compare, which is that of the connection."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    await phone.get_by_text("Did your browser warn you").click()
    shown = re.sub(r"[^0-9A-F]", "", (await phone.get_by_role("main").inner_text()).upper())
    assert certificate_sha256(node).upper() in shown


def certificate_sha256(node: Machine) -> str:
    """Of the certificate that the node serves, in hex."""
    pem = in_namespace(node.namespace, lambda: ssl.get_server_certificate(("127.0.0.1", 6969)))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


async def paired(pages: Pages, node: Machine) -> Page:
    """A phone that has paired and shows the mesh."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"])
    await pair_phone(phone, offer["pin"])
    return phone
