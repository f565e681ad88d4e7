"""What the tests of the phone page share: a paired phone, refusals made up, what the browser keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from playwright.async_api import Page, Route, expect

from tests.browser.pages import Pages
from tests.browser.steps import SOON_MS, pair_phone, phone_offer
from tests.e2e.machine import Machine

NAME = re.compile("’s name")  # the field's label: this phone’s, this tablet’s …
HOSTILE = '<img src=x onerror="alert(1)">' + "W" * 34  # 64 characters


async def shows(phone: Page, name: str) -> None:
    """The page of that name stands there."""
    await expect(phone.locator(f"main[data-page={name}]")).to_be_visible(timeout=SOON_MS)


async def paired(pages: Pages, node: Machine, kind: str = "phone", name: str = "") -> Page:
    """A phone that shows the mesh."""
    offer = phone_offer(node)
    phone = await pages.phone(offer["url"], kind)
    if name:
        await phone.get_by_label(NAME).fill(name)
    await pair_phone(phone, offer["pin"])
    return phone


def refuse(status: int, code: str, **members: Any) -> Callable[[Route], Awaitable[None]]:
    """Answers a request as the node would refuse it."""

    async def answer(route: Route) -> None:
        body = {"code": code, "detail": "made up by the test", "status": status, **members}
        await route.fulfill(status=status, content_type="application/problem+json", body=json.dumps(body))

    return answer


async def kept(phone: Page) -> tuple[dict[str, str], dict[str, str]]:
    """What the browser keeps: for good, and for this tab."""
    texts = await phone.evaluate("[JSON.stringify(localStorage), JSON.stringify(sessionStorage)]")
    return json.loads(texts[0]), json.loads(texts[1])
