"""Chromium on the hosts of a lab: the browser is in the host's network, the test is not."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Playwright

from tests.e2e.lab import Lab, refusal

PROGRAM = "chromium"
# Told page by page to accept a certificate, it asks 32 times at worst and then gives up (ERR_TOO_MANY_RETRIES).
TRUSTING = "--ignore-certificate-errors"
# Root has no sandbox; the fake camera shows what a file holds, and nobody is asked whether it may.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
# A popup of the address bar, which nobody sees, is drawn anew for every window: half of what a page costs.
WITHOUT = "WebUIOmniboxPopup,WebUIOmniboxFullPopup,WebUIOmniboxAimPopup"
START = """#!/bin/sh
for argument do
  shift
  case $argument in --disable-features=*) argument=$argument,{without} ;; esac
  set -- "$@" "$argument"
done
exec {command} "$@"
"""


def missing() -> str | None:
    """What keeps a browser from running in a lab here, or None."""
    if shutil.which(PROGRAM) is None:
        return "needs chromium (package chromium)"
    why = refusal()
    return f"no network lab: {why}" if why else None


class Browsers:
    """One browser a host, started when first asked for; `close` ends them."""

    def __init__(self, playwright: Playwright, lab: Lab, folder: Path) -> None:
        self.playwright = playwright
        self.lab = lab
        self._folder = folder
        self._running: dict[str, Browser] = {}

    async def on(self, host: str) -> Browser:
        """The browser of a host, shared by all tests: each makes a context of its own."""
        if host not in self._running:
            self._running[host] = await self.launch(host, TRUSTING)
        return self._running[host]

    async def launch(self, host: str, *arguments: str) -> Browser:
        """One more browser on a host, which warns about certificates unless it is TRUSTING; the caller closes it."""
        home = self._folder / f"home-{host}"
        home.mkdir(parents=True, exist_ok=True)
        start = self._folder / f"chromium-{host}"
        argv = ["ip", "netns", "exec", self.lab.namespace(host), PROGRAM]
        start.write_text(START.format(command=shlex.join(argv), without=WITHOUT))
        start.chmod(0o700)
        return await self.playwright.chromium.launch(
            executable_path=start,
            args=[*ARGUMENTS, *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"},
        )

    async def camera(self, host: str, video: Path) -> Browser:
        """A browser whose camera shows a Y4M file; the caller closes it."""
        return await self.launch(host, TRUSTING, *CAMERA, f"--use-file-for-fake-video-capture={video}")

    async def close(self) -> None:
        for browser in self._running.values():
            await browser.close()
        self._running.clear()


def device(playwright: Playwright, name: str) -> dict[str, Any]:
    """How a context of that device is made."""
    match name:
        case "phone":
            return {**playwright.devices["Pixel 7"], "viewport": {"width": 390, "height": 844}}
        case "small phone":
            return {**playwright.devices["Pixel 7"], "viewport": {"width": 320, "height": 568}}
        case "desktop":
            return {"viewport": {"width": 1280, "height": 800}}
        case "wide":
            return {"viewport": {"width": 2560, "height": 1440}}
    raise ValueError(f"no device {name!r}")
