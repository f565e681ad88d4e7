"""Every state of both pages, as walks through them: for pictures, and for what must hold in all of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from playwright.async_api import Page, expect

from meshnode.domain.timestamps import format_time
from tests.bench.seed import Seeded
from tests.browser.apps import WaitingApp
from tests.browser.guard import REFUSED, UNREACHED
from tests.browser.pages import Pages
from tests.browser.steps import (
    choose,
    computer_offer,
    content,
    dialog,
    enter_pin,
    go,
    pair_phone,
    phone_offer,
    revoke,
    rows,
    shown_pin,
    trust,
    wrong,
)
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

OTHER_ID = "0a7d33a4-52f4-4f0e-8f5c-7c1f4f6f5d20"
# name, kind, trust, status, reason, hours since last seen
VILLAGE: Final = (
    ("Mina’s MacBook Pro 16″ (work, second floor, left desk, do not move)", "desktop", "paired", "offline", "left", 3),
    ("nas", "server", "paired", "offline", "silent", 26),
    ("Raspberry Pi 4 behind the television", "server", "paired", "offline", "silent", 24 * 40),
    ("WohnzimmerFernsehbildschirmsteuerungsgerätNummerZwei", "other", "paired", "offline", "removed_us", 5),
    ("Old phone", "phone", "revoked", "offline", None, 700),
    ("Heard of", "browser", "announced", "offline", None, None),
)


class Stage(NamedTuple):
    """What a story is played with."""

    pages: Pages
    network: Lab
    machines: Callable[..., Machine]

    async def dashboard(self, node: Machine) -> Page:
        page = await self.pages.dashboard(node)
        self.pages.guard(page).allow(REFUSED, UNREACHED)
        return page

    async def phone(self, url: str) -> Page:
        page = await self.pages.phone(url)
        self.pages.guard(page).allow(REFUSED, UNREACHED)
        return page


Story = Callable[[Stage], AsyncIterator[tuple[str, Page]]]


def populate(node: Machine) -> None:
    """Rows of a lived-in mesh, before the node's first start."""
    Seeded.make(node.data, len(VILLAGE))
    now = datetime.now(UTC)
    with sqlite3.connect(node.data / "meshnode.db") as connection:
        rows = connection.execute("SELECT rowid FROM mesh_nodes WHERE is_current = 0").fetchall()
        for (row,), (name, kind, trust, status, reason, hours) in zip(rows, VILLAGE, strict=True):
            seen = None if hours is None else format_time(now - timedelta(hours=hours))
            revoked = (format_time(now), "owner") if trust == "revoked" else (None, None)
            connection.execute(
                "UPDATE mesh_nodes SET name = ?, kind = ?, trust = ?, status = ?, status_reason = ?, last_seen = ?, "
                "revoked_at = ?, revoked_by = ?, dialect = 'mesh' WHERE rowid = ?",
                (name, kind, trust, status, reason, seen, *revoked, row),
            )
    connection.close()
    assert node.run("identity", "rename", "kitchen").returncode == 0


async def first_day(stage: Stage) -> AsyncIterator[tuple[str, Page]]:
    """A new node: not signed in, empty sections, connecting a first device in every way."""
    node = stage.machines("node", "kitchen", "--no-mdns").start()
    bare = await stage.pages.blank("node", "desktop")
    await bare.goto("http://127.0.0.1:6970/")
    await expect(content(bare)).to_contain_text("meshnode open")
    yield "gate-signed-out", bare
    page = await stage.dashboard(node)
    await expect(content(page)).to_contain_text("No other device yet")
    yield "nodes-empty", page
    for section, name in (("Nearby", "nearby-empty"), ("Requests", "requests-empty"), ("Activity", "activity-empty")):
        await go(page, section)
        await expect(content(page).get_by_role("heading", level=2)).to_be_visible()
        yield name, page
    await page.get_by_role("button", name="Connect a device").first.click()
    await expect(content(page).get_by_role("button", name="Phone")).to_be_visible()
    yield "connect", page
    await content(page).get_by_role("button", name="Other app").click()
    await expect(content(page)).to_contain_text("Which app?")
    yield "connect-app", page
    for app in ("Aisopod", "ABPA3", "Mylzip"):
        await content(page).get_by_role("button", name=app).click()
        await expect(content(page).get_by_role("button", name=app)).to_be_hidden()
        yield f"offer-{app.lower()}", page
        await page.go_back()
    await choose(page, "Another computer")
    await shown_pin(page)
    yield "offer-computer", page
    await go(page, "Nodes")
    await expect(content(page).get_by_text("is open,")).to_be_visible()
    yield "nodes-open-offer", page
    await choose(page, "Phone")
    pin = await shown_pin(page)
    yield "offer-phone", page
    link = re.search(r"https://\S+/p#\S+", await content(page).inner_text())
    assert link
    phone = await stage.phone(link[0])
    await expect(content(page).get_by_text("is entering the PIN")).to_be_visible()
    yield "offer-phone-entering", page
    await enter_pin(phone, wrong(pin))
    await expect(content(page).get_by_text("Wrong PIN")).to_be_visible()
    yield "offer-phone-wrong", page
    await pair_phone(phone, pin)
    await expect(content(page).get_by_text("is paired")).to_be_visible()
    yield "offer-phone-paired", page
    await content(page).get_by_role("button", name="Connect another device").click()
    await content(page).get_by_role("button", name="Phone").click()
    pin = await shown_pin(page)
    link = re.search(r"https://\S+/p#\S+", await content(page).inner_text())
    assert link
    phone = await stage.phone(link[0])
    for by in (1, 2, 3):
        await enter_pin(phone, wrong(pin, by))
        await expect(
            phone.get_by_text(re.compile(["", "2 attempts", "1 attempt", "Too many"][by])).first
        ).to_be_visible()
    await expect(content(page).get_by_role("heading", name="Too many wrong PINs")).to_be_visible()
    yield "offer-phone-burned", page


async def lived_in(stage: Stage) -> AsyncIterator[tuple[str, Page]]:
    """A mesh with a history: lists, a node's page and its dialogs, requests, neighbours, health, a lost node."""
    node = stage.machines("node", "kitchen")
    populate(node)
    node.start()
    other = stage.machines("other", "attic").start()
    node.pair_with(other)
    offer = phone_offer(node)
    await pair_phone(await stage.phone(offer["url"]), offer["pin"])
    page = await stage.dashboard(node)
    await expect(rows(page).get_by_role("link", name="Pixel 7")).to_be_visible()
    yield "nodes", page
    for group in ("Only heard of", "Revoked"):
        await content(page).locator("summary", has_text=group).click()
    yield "nodes-groups-open", page
    await content(page).get_by_role("searchbox").fill("nothing like it")
    await expect(content(page)).to_contain_text("No node fits")
    yield "nodes-none-found", page
    await content(page).get_by_role("button", name="Clear the filter").click()
    await rows(page).get_by_role("link", name="Pixel 7").click()
    await expect(content(page).get_by_role("heading", name="Pixel 7", level=1)).to_be_visible()
    yield "node-phone", page
    for action in ("Rename", "Change trust", "Revoke"):
        await content(page).get_by_role("button", name=action).click()
        await expect(dialog(page)).to_be_visible()
        yield f"dialog-{action.split()[0].lower()}", page
        await page.keyboard.press("Escape")
    await go(page, "Nodes")
    await rows(page).get_by_role("link", name="attic").click()
    yield "node-computer", page
    await go(page, "Nodes")
    await rows(page).get_by_role("link", name="WohnzimmerFern").click()
    await content(page).get_by_role("button", name="Revoke").click()
    await dialog(page).get_by_role("button", name="Revoke Wohn").click()
    await expect(page.get_by_text("revoked.")).to_be_visible()
    yield "node-revoked-toast", page
    with (
        WaitingApp(stage.network, "phone", "Mina’s iPhone"),
        WaitingApp(stage.network, "other", "Mina’s iPhone"),
        WaitingApp(stage.network, "other", "The tablet in the guest room with an endless name", OTHER_ID),
    ):
        await go(page, "Nodes")
        await expect(content(page).get_by_text("devices ask to pair")).to_be_visible()
        yield "nodes-requests-waiting", page
        await go(page, "Requests")
        await expect(content(page).get_by_role("button", name="Approve")).to_have_count(3)
        yield "requests", page
    third = stage.machines("phone", "garage").start()
    computer_offer(third)
    await go(page, "Nearby")
    await expect(content(page).get_by_text("Shows a PIN now")).to_be_visible(timeout=20_000)
    yield "nearby", page
    await content(page).get_by_role("button", name="Join garage").click()
    await expect(dialog(page)).to_be_visible()
    yield "dialog-join", page
    await dialog(page).get_by_label("PIN").fill("000000")
    await dialog(page).get_by_role("button", name="Join", exact=True).click()
    await expect(dialog(page)).to_contain_text("attempts left")
    yield "dialog-join-wrong", page
    await page.keyboard.press("Escape")
    await content(page).get_by_role("button", name="Join by link").click()
    await expect(dialog(page)).to_be_visible()
    yield "dialog-join-address", page
    await page.keyboard.press("Escape")
    await content(page).get_by_role("button", name="Scan a QR code").click()
    await expect(dialog(page).get_by_role("status")).to_contain_text(re.compile("camera|code"))
    yield "dialog-scan-no-camera", page
    await page.keyboard.press("Escape")
    await go(page, "Activity")
    await expect(content(page).get_by_text("was revoked").first).to_be_visible()
    yield "activity", page
    await go(page, "This node")
    yield "own-node", page
    await content(page).get_by_role("button", name="Check health").click()
    await expect(content(page).get_by_role("button", name="Check again")).to_be_visible(timeout=30_000)
    yield "own-node-health", page
    await go(page, "Nodes")
    node.stop()
    await expect(page.get_by_text("Not connected to the node.")).to_be_visible()
    yield "nodes-lost", page


async def crowd(stage: Stage) -> AsyncIterator[tuple[str, Page]]:
    """Two hundred nodes."""
    node = stage.machines("node", "kitchen", "--no-mdns")
    Seeded.make(node.data, 200)
    assert node.run("identity", "rename", "kitchen").returncode == 0
    node.start()
    page = await stage.dashboard(node)
    await expect(rows(page)).to_have_count(201)
    yield "nodes-200", page


async def from_afar(stage: Stage) -> AsyncIterator[tuple[str, Page]]:
    """The dashboard on the TLS port: a stranger, a paired browser, an operator."""
    node = stage.machines("node", "kitchen", "--no-mdns").start()
    root = f"https://{stage.network.address('node')}:6969/"
    stranger = await stage.phone(root)
    await expect(content(stranger).get_by_role("heading", level=1)).to_contain_text("not paired")
    yield "gate-no-device", stranger
    offer = phone_offer(node)
    page = await stage.phone(offer["url"])
    await pair_phone(page, offer["pin"])
    await page.goto(root)
    await expect(content(page).get_by_role("heading", level=1)).to_contain_text("may not manage")
    yield "gate-level-1", page
    (row,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita"]
    trust(node, row, 2)
    await page.reload()
    await expect(rows(page).get_by_role("link", name="Pixel 7")).to_be_visible()
    yield "afar-nodes", page
    await rows(page).get_by_role("link", name="Pixel 7").click()
    yield "afar-node", page
    revoke(node, row)
    await expect(content(page).get_by_role("heading", level=1)).to_contain_text("revoked")
    yield "gate-revoked", page


async def at_the_door(stage: Stage) -> AsyncIterator[tuple[str, Page]]:
    """The phone page until it has paired, and all that keeps it from that."""
    node = stage.machines("node", "kitchen", "--no-mdns").start()
    offer = phone_offer(node)
    for name, url, heading in (
        ("phone-empty", offer["url"].partition("#")[0], "Pair this phone"),
        ("phone-broken", offer["url"][:-3], "incomplete"),
        ("phone-other-node", re.sub(r"(#.{22}\.).{22}", r"\1" + "A" * 22, offer["url"]), "Not the node"),
        ("phone-node-invite", computer_offer(node)["url"], "joins a computer"),
    ):
        page = await stage.phone(url)
        await expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        yield name, page
    page = await stage.phone(offer["url"])
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Pair with")
    yield "phone-asking", page
    await page.get_by_text("Did your browser warn you").click()
    yield "phone-asking-certificate", page
    for by, words, name in (
        (1, "2 attempts left", "wrong"),
        (2, "1 attempt left", "wrong-twice"),
        (3, "Too many", "burned"),
    ):
        await enter_pin(page, wrong(offer["pin"], by))
        await expect(page.get_by_text(words).first).to_be_visible()
        yield f"phone-{name}", page
    offer = phone_offer(node)
    page = await stage.phone(offer["url"])
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Pair with")
    newer = phone_offer(node)
    await enter_pin(page, offer["pin"])
    await expect(page.get_by_role("heading", level=1)).to_contain_text("newer")
    yield "phone-replaced", page
    node.stop()
    page = await stage.pages.blank("phone", "phone")
    stage.pages.guard(page).allow(REFUSED, UNREACHED)
    node.start()
    await page.goto(newer["url"])
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Pair with")
    node.stop()
    await enter_pin(page, newer["pin"])
    await expect(page.get_by_text("Trying again by itself").first).to_be_visible()
    yield "phone-node-gone", page


async def in_the_mesh(stage: Stage) -> AsyncIterator[tuple[str, Page]]:
    """The phone page once paired, until it is removed."""
    node = stage.machines("node", "kitchen", "--no-mdns")
    populate(node)
    node.start()
    offer = phone_offer(node)
    page = await stage.phone(offer["url"])
    await pair_phone(page, offer["pin"])
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    yield "phone-mesh", page
    await page.get_by_role("button", name="Rename").click()
    yield "phone-rename", page
    await page.keyboard.press("Escape")
    node.stop()
    await expect(page.get_by_text("Reconnecting…")).to_be_visible()
    yield "phone-lost", page
    node.start()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=25_000)
    await page.get_by_role("button", name=re.compile("Remove this device")).click()
    await expect(dialog(page)).to_be_visible()
    yield "phone-remove", page
    await dialog(page).get_by_role("button", name="Remove", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("left the mesh")
    yield "phone-removed", page
    offer = phone_offer(node)
    page = await stage.phone(offer["url"])
    await pair_phone(page, offer["pin"])
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    (row,) = [one["id"] for one in node.nodes().values() if one["dialect"] == "salita" and one["trust"] == "paired"]
    revoke(node, row)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("removed")
    yield "phone-revoked", page
    second = await stage.phone(offer["url"])
    await expect(second.get_by_role("heading", level=1)).to_contain_text("has been used")
    yield "phone-used", second


STORIES: Final[tuple[Story, ...]] = (first_day, lived_in, crowd, from_afar, at_the_door, in_the_mesh)
