"""The phone page is readable, fits, jumps nowhere, and names devices and reads invites as it should."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.guard import REFUSED, UNREACHED, axe, overflow
from tests.browser.pages import Pages
from tests.browser.phone_steps import HOSTILE, NAME, shows
from tests.browser.steps import enter_pin, pair_phone, phone_offer, wrong
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_each_state_takes_the_focus_and_a_hostile_name_breaks_none(pages: Pages, node: Machine) -> None:
    """Nothing that axe finds, nothing that sticks out on the smallest phone, with a name made to break pages."""
    assert node.run("identity", "rename", HOSTILE).returncode == 0
    offer = phone_offer(node)
    found: list[str] = []
    torn = offer["url"][:-3]
    phone = await pages.blank("phone", "small phone")
    pages.guard(phone).allow(REFUSED, UNREACHED)

    async def look(state: str) -> None:
        await shows(phone, state)
        found.extend(f"{state}: {fault}" for fault in [*await axe(phone), *await overflow(phone)])
        if not await phone.evaluate("document.activeElement.matches('h1, input, dialog *')"):
            found.append(f"{state}: the focus is nowhere")

    async def go(url: str) -> None:
        await phone.goto("about:blank")
        await phone.goto(url)

    await go(torn.partition("#")[0])
    await look("empty")
    await go(torn)
    await look("broken")
    await go(re.sub(r"(#.{22}\.).{22}", r"\1" + "A" * 22, offer["url"]))
    await look("blocked")
    await go(node.offer()["url"])
    await look("node_invite")
    offer = phone_offer(node)
    await go(offer["url"])
    await shows(phone, "asking")
    await phone.get_by_text("Did your browser warn you").click()
    await enter_pin(phone, wrong(offer["pin"]))
    await expect(phone.get_by_text("That PIN is not right.")).to_be_visible()
    await look("asking")
    await phone.get_by_label(NAME).fill(HOSTILE)
    await enter_pin(phone, offer["pin"])
    await expect(phone.get_by_text("Live", exact=True)).to_be_visible()
    await expect(phone.get_by_role("listitem").nth(1)).to_contain_text(HOSTILE)
    await look("mesh")
    await phone.get_by_role("button", name="Rename").click()
    await look("mesh")
    await phone.keyboard.press("Escape")
    await phone.get_by_role("button", name=re.compile("Remove this device")).click()
    await look("mesh")
    await phone.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    await look("removed")
    await go(offer["url"])
    await look("over")
    assert found == []


ANDROID = "Mozilla/5.0 (Linux; Android 14; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 {} Safari/537.36"
APPLE = "Mozilla/5.0 ({}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 {} Safari/604.1"
X11 = "Mozilla/5.0 (X11; Linux x86_64{}) {}"
AGENTS = {
    "Pixel 7, phone": {"userAgent": ANDROID.format("Pixel 7 Build/UP1A", "Mobile")},
    "SM-S918B, phone": {"userAgent": ANDROID.format("K", "Mobile"), "model": "SM-S918B"},
    "Android phone, phone": {"userAgent": ANDROID.format("K", "Mobile")},
    "Android tablet, tablet": {"userAgent": ANDROID.format("K", "")},
    "Android phone, phone ": {"userAgent": "Mozilla/5.0 (Android 14; Mobile; rv:128.0) Firefox/128.0"},
    "iPhone, phone": {"userAgent": APPLE.format("iPhone; CPU iPhone OS 18_0 like Mac OS X", "Mobile/15E")},
    "iPad, tablet": {"userAgent": APPLE.format("Macintosh; Intel Mac OS X 10_15_7", ""), "touchPoints": 5},
    "Safari on Mac, browser": {"userAgent": APPLE.format("Macintosh; Intel Mac OS X 10_15_7", "")},
    "Firefox on Linux, browser": {"userAgent": X11.format("; rv:140.0", "Gecko/20100101 Firefox/140.0")},
    "Chrome on Linux, browser": {"userAgent": X11.format("", "Chrome/126.0.0.0 Safari/537.36")},
    "Edge on Windows, browser": {"userAgent": "Mozilla/5.0 (Windows NT 10.0) Chrome/126 Safari/537 Edg/126"},
    "Browser on this device, browser": {"userAgent": "curl"},
}


async def test_a_device_has_a_good_name_to_begin_with(pages: Pages, node: Machine) -> None:
    """The model where it is told, else what people call such a thing, else browser and system."""
    phone = await pages.phone(f"https://{phone_offer(node)['url'].split('/')[2]}/p")
    described = await phone.evaluate(
        """async agents => { const {describe} = await import("/static/phone/device.js");
          return agents.map(agent => describe(agent)).map(({name, form}) => `${name}, ${form}`); }""",
        list(AGENTS.values()),
    )
    assert described == [expected.rstrip() for expected in AGENTS]


async def test_fragments_are_read_strictly(pages: Pages, node: Machine) -> None:
    """Every invite is what it is for, and what is one character off is broken, never another code."""
    url = phone_offer(node)["url"]
    fragment = url.partition("#")[2]
    code, cert, link = fragment.split(".")
    phone = await pages.phone(url.partition("#")[0])
    fragments = {
        "": "none", "#": "none", f"#{fragment}": "phone", fragment: "phone", f"#{code}.{cert}": "node",
        f"#{code}": "broken", f"#{code}.": "broken", f"#{code}.{cert}.": "broken", f"#{fragment}.x": "broken",
        f"#{code[:-1]}.{cert}.{link}": "broken", f"#{code}A.{cert}.{link}": "broken",
        f"#{code}.{cert}.{link}5": "broken", f"#{code}.{cert}.{link[4:]}": "broken",
        f"#{code[:-1]}B.{cert}.{link}": "broken", f"#{code}.{cert[:-1]}=.{link}": "broken",
        "#%": "broken", f"#{'A' * 100_000}": "broken",
    }  # fmt: skip
    kinds = await phone.evaluate(
        """async fragments => { const {parseInvite} = await import("/static/phone/invite.js");
          return fragments.map(one => parseInvite(one).kind); }""",
        list(fragments),
    )
    assert dict(zip(fragments, kinds, strict=True)) == fragments


async def test_what_is_touched_is_large_enough(pages: Pages, node: Machine) -> None:
    """44 px for everything one taps, on the smallest phone."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"], "small phone")
    await shows(phone, "asking")
    small = """() => [...document.querySelectorAll("button, input, summary, a")].filter(one => one.checkVisibility())
      .map(one => [one.textContent || one.id, one.getBoundingClientRect()])
      .filter(([, {width, height}]) => height < 44 || width < 44).map(([name]) => name)"""
    assert await phone.evaluate(small) == []
    box = await phone.get_by_role("button", name="Pair", exact=True).bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 568 - 290  # above the keypad of a small phone
    await pair_phone(phone, offer["pin"])
    assert await phone.evaluate(small) == []


async def test_nothing_jumps_while_it_loads(pages: Pages, node: Machine) -> None:
    """No layout shift between the first paint and the PIN entry."""
    phone = await pages.blank("phone", "phone")
    await phone.add_init_script(
        """window.shifts = [];
          new PerformanceObserver(list => window.shifts.push(...list.getEntries().map(entry => entry.value)))
            .observe({type: "layout-shift", buffered: true});"""
    )
    await phone.goto(phone_offer(node)["url"])
    await shows(phone, "asking")
    await phone.wait_for_load_state("networkidle")
    assert sum(await phone.evaluate("window.shifts")) < 0.01


async def test_without_javascript_the_page_says_so(pages: Pages, node: Machine) -> None:
    """One sentence instead of an eternal wait, in a browser too old for modules too."""
    phone = await pages.phone(phone_offer(node)["url"], java_script_enabled=False)
    await expect(phone.get_by_text("JavaScript is switched off")).to_be_visible(timeout=10_000)
