"""Make a picture of every page and state: `python -m tests.browser.screenshots FOLDER [WORD …]`.

Words choose stories or states by a part of their names.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import Page, async_playwright

from tests.browser.chromium import Browsers, missing
from tests.browser.conftest import HOSTS
from tests.browser.pages import Pages
from tests.browser.stories import STORIES, Stage, Story
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

SIZES = {"phone": (390, 844), "small": (320, 568), "desktop": (1280, 800), "wide": (2560, 1440)}
TALLEST = 4_000


async def picture(page: Page, name: str, folder: Path) -> None:
    """The state in every size, light and dark; the page is then as it was."""
    before = page.viewport_size
    for size, (width, height) in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        content = await page.evaluate("document.documentElement.scrollHeight")  # what is fixed stands at its foot
        await page.set_viewport_size({"width": width, "height": min(max(height, content), TALLEST)})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            await page.screenshot(path=folder / f"{name}.{size}.{scheme}.png", scale="css")
    await page.emulate_media(color_scheme="light", reduced_motion="reduce")
    if before:
        await page.set_viewport_size(before)


async def play(story: Story, browsers: Browsers, folder: Path, words: Sequence[str]) -> int:
    """Pictures of a story's states; how many states."""
    shown = 0
    with tempfile.TemporaryDirectory() as scratch:
        made: list[Machine] = []

        def machine(host: str, name: str = "", *flags: str) -> Machine:
            made.append(Machine.in_lab(browsers.lab, host, Path(scratch) / f"{len(made)}", name=name, flags=flags))
            return made[-1]

        pages = Pages(browsers)
        try:
            async for name, page in story(Stage(pages, browsers.lab, machine)):
                if not words or any(word in name or word in story.__name__ for word in words):
                    await picture(page, name, folder)
                    print(name, flush=True)
                    shown += 1
        finally:
            await pages.close()
            for one in made:
                one.close()
    return shown


async def main(folder: Path, words: Sequence[str]) -> None:
    """All stories, or those that are asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    stories = [one for one in STORIES if any(word in one.__name__ for word in words)] or STORIES
    with Lab(HOSTS) as lab, tempfile.TemporaryDirectory() as scratch:
        async with async_playwright() as playwright:
            browsers = Browsers(playwright, lab, Path(scratch))
            shown = sum([await play(story, browsers, folder, words) for story in stories])
            await browsers.close()
    print(f"{shown} states, {shown * len(SIZES) * 2} pictures in {folder}")


if __name__ == "__main__":
    if why := missing():
        sys.exit(f"no pictures: {why}")
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
