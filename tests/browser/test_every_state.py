"""What must hold in every state of both pages: axe finds nothing, in light and dark; 320 px are wide enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.async_api import Page

from tests.browser.guard import COLOURS, axe, overflow
from tests.browser.pages import Pages
from tests.browser.stories import STORIES, Stage, Story, crowd
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def flaws(page: Page) -> list[str]:
    """Of the state as it stands; the page is then as it was. What is dark or narrow differs in its colours only."""
    before = page.viewport_size
    assert before
    found = [f"light, {before['width']} px: {flaw}" for flaw in await axe(page)]
    await page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    await page.set_viewport_size({"width": 320, "height": 568})
    found += [f"dark, 320 px: {flaw}" for flaw in await axe(page, COLOURS)]
    found += [f"320 px: {flaw}" for flaw in await overflow(page)]
    await page.set_viewport_size({"width": 2560, "height": 1440})
    found += [f"2560 px: {flaw}" for flaw in await overflow(page)]
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    await page.set_viewport_size(before)
    return found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("story", [story for story in STORIES if story is not crowd], ids=lambda story: story.__name__)
async def test_no_state_shuts_anybody_out(
    pages: Pages, machines: Callable[..., Machine], network: Lab, story: Story
) -> None:
    """Each state of the story, in light at its own width, in dark on a small phone."""
    found: dict[str, list[str]] = {}
    async for name, page in story(Stage(pages, network, machines)):
        found[name] = await flaws(page)
    assert found
    assert {name: flaws for name, flaws in found.items() if flaws} == {}
