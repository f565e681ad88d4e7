"""What a person does and sees on the pages, found as they would: by role, label and text."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import zxingcpp
from PIL import Image
from playwright.async_api import Locator, Page, expect

from tests.browser.owner import call
from tests.e2e.machine import Machine

AT_ONCE_MS = 3_000  # within a second; the margin is for a machine that runs other tests beside
SOON_MS = 10_000
PIN = re.compile(r"\b\d{3} \d{3}\b")
# the ring may be drawn around what it stands in
HAS_RING = """() => { const shows = element => element && (getComputedStyle(element).outlineStyle !== "none"
  || shows(element.parentElement));
  return shows(document.activeElement); }"""


def read_qr(png: bytes) -> str:
    """What a camera reads from a screenshot with one QR code in it."""
    (code,) = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)), formats=zxingcpp.BarcodeFormat.QRCode)
    return str(code.text)


async def scan(page: Page) -> str:
    """What a camera reads off the page once its QR code is drawn, which is after its PIN."""
    qr = content(page).get_by_role("img", name=re.compile("QR"))
    await qr.evaluate("image => image.decode()")
    return read_qr(await page.screenshot())


def wrong(pin: str, by: int = 1) -> str:
    """Another PIN."""
    return f"{(int(pin) + by) % 1_000_000:06d}"


def phone_offer(node: Machine) -> Any:
    """An offer for a phone: `url`, `pin`, `offer_id`."""
    return call(node, "POST", "pairing/offers", {"dialect": "salita"})


def computer_offer(node: Machine) -> Any:
    """An offer for another node."""
    return call(node, "POST", "pairing/offers", {})


def rename(node: Machine, name: str) -> None:
    """The owner gives the node another name."""
    call(node, "PATCH", "node", {"name": name})


def trust(node: Machine, row_id: str, level: int) -> None:
    """The owner gives a node that level."""
    call(node, "PUT", f"nodes/{row_id}/trust", {"level": level})


def revoke(node: Machine, row_id: str) -> None:
    """The owner revokes a node."""
    call(node, "POST", f"nodes/{row_id}/revoke", {})


def pin_field(phone: Page) -> Locator:
    return phone.get_by_label("PIN", exact=True)


async def enter_pin(phone: Page, pin: str) -> None:
    """Type the PIN and press Enter."""
    await pin_field(phone).fill(pin)
    await pin_field(phone).press("Enter")


async def pair_phone(phone: Page, pin: str, node: str = "kitchen") -> None:
    """Pair, and see the mesh, live: who leaves while the socket connects finds a warning in the console."""
    await enter_pin(phone, pin)
    await expect(phone.get_by_role("heading", name=f"Connected to {node}")).to_be_visible()
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()


def dialog(page: Page) -> Locator:
    """The open dialog."""
    return page.get_by_role("dialog")


def content(page: Page) -> Locator:
    """The page without its header and navigation."""
    return page.get_by_role("main")


def rows(page: Page) -> Locator:
    """The nodes, or what else a section lists; not what stands above the list."""
    return content(page).get_by_role("listitem").filter(has=page.get_by_role("heading", level=2))


async def go(dashboard: Page, section: str) -> None:
    """Go to a section."""
    link = dashboard.get_by_role("navigation").get_by_role("link", name=section)
    await link.click()
    await expect(link).to_have_attribute("aria-current", "page")


async def choose(dashboard: Page, what: str) -> None:
    """Connect a device → one of its three buttons."""
    await dashboard.get_by_role("button", name="Connect a device").first.click()
    await content(dashboard).get_by_role("button", name=what).click()


async def shown_pin(dashboard: Page) -> str:
    """The PIN that the dashboard shows, as one run of text."""
    shown = await content(dashboard).get_by_text(PIN).first.text_content()
    found = PIN.search(shown or "")
    assert found, shown
    return found[0].replace(" ", "")


async def focused(page: Page) -> str:
    """The name of what has the focus."""
    return str(
        await page.evaluate("(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()")
    )


async def tab_to(page: Page, name: str) -> None:
    """Press Tab until that has the focus, which is to be seen."""
    passed = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        passed.append(await focused(page))
        if passed[-1].startswith(name):
            assert await page.evaluate(HAS_RING), f"no focus to be seen on {name}"
            return
    raise AssertionError(f"{name!r} is not among {passed}")


async def seen(locator: Locator, timeout_ms: float = SOON_MS) -> float:
    """Wait until that is on the page; the seconds it took."""
    started = time.monotonic()
    await expect(locator.first).to_be_visible(timeout=timeout_ms)
    return time.monotonic() - started
