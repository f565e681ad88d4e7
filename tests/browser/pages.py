"""Pages as a person opens them: on a host, with a device, watched from the first byte on."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, BrowserContext, Error, Page

from tests.browser.chromium import Browsers, device
from tests.browser.guard import TELL_VIOLATIONS, Guard
from tests.browser.owner import call
from tests.browser.steps import SOON_MS
from tests.e2e.machine import Machine


class Pages:
    """The pages of one test; each is in a context of its own, as in another person's browser."""

    def __init__(self, browsers: Browsers) -> None:
        self.browsers = browsers
        self._contexts: list[BrowserContext] = []
        self._guards: list[Guard] = []

    async def blank(self, host: str, kind: str, *, browser: Browser | None = None, **options: Any) -> Page:
        """An empty page; certificates are accepted, unless `browser` is one that is not TRUSTING."""
        browser = browser or await self.browsers.on(host)
        made = {**device(self.browsers.playwright, kind), "reduced_motion": "reduce"}
        context = await browser.new_context(**{**made, **options})
        context.set_default_timeout(SOON_MS)
        self._contexts.append(context)
        return await self.another(context)

    async def another(self, context: BrowserContext) -> Page:
        """One more page of a context: it shares storage and cookies with the others."""
        await context.add_init_script(TELL_VIOLATIONS)
        page = await context.new_page()
        self._guards.append(Guard(page))
        return page

    async def dashboard(self, node: Machine, kind: str = "desktop", **options: Any) -> Page:
        """The dashboard on the node's own machine, by a ticket as `meshnode open` gets one."""
        page = await self.blank("node", kind, **options)
        await page.goto(call(node, "POST", "tickets")["url"])
        return page

    async def phone(self, url: str, kind: str = "phone", **options: Any) -> Page:
        """What an invite opens in the phone's browser."""
        page = await self.blank("phone", kind, **options)
        await page.goto(url)
        return page

    def guard(self, page: Page) -> Guard:
        """Who watches that page."""
        (guard,) = [guard for guard in self._guards if guard.page is page]
        return guard

    def faults(self) -> list[str]:
        """What went wrong on any page."""
        return [fault for guard in self._guards for fault in guard.faults]

    async def close(self) -> None:
        """Close every context; a browser that has gone already took its own with it."""
        for context in self._contexts:
            try:
                await context.close()
            except Error:
                continue
