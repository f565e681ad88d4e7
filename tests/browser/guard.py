"""What no page may do in any test: complain, break, violate its policy, speak to anybody else, shut anybody out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import ConsoleMessage, Page, Request, WebSocket

AXE = (Path(__file__).parent / "vendor/axe.min.js").read_text()
COLOURS = {"type": "rule", "values": ["color-contrast", "target-size", "scrollable-region-focusable"]}
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# The browser's own log is not everywhere told of a violation by the page; the event is.
TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", event =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"""
# What the browser writes by itself when the network or the node says no: the page is told too, and must cope.
REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (4\d\d|503)")
UNREACHED = re.compile(
    r"net::ERR_(CONNECTION_|EMPTY_RESPONSE|NETWORK_|SOCKET_|TIMED_OUT|ADDRESS_)|WebSocket connection to"
)


class Guard:
    """Collects a page's faults from before its first byte; `allow` says which are the test's own doing."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[Request] = []
        self._faults: list[str] = []
        self._allowed: list[re.Pattern[str]] = []
        self._home: str | None = None
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._faults.append(f"page error: {error}"))
        page.on("request", self._request)
        page.on("websocket", self._socket)

    def allow(self, *patterns: re.Pattern[str]) -> None:
        """Faults that match are expected from here on and before."""
        self._allowed += patterns

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self._faults.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def _request(self, request: Request) -> None:
        self.requests.append(request)
        self._reaches(request.url)

    def _socket(self, socket: WebSocket) -> None:
        self._reaches(socket.url)

    def _reaches(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("data", "blob", "about", "chrome-error"):
            return
        if self._home is None:
            self._home = parts.netloc
        elif parts.netloc != self._home:
            self._faults.append(f"reaches {url}, not only {self._home}")

    @property
    def faults(self) -> list[str]:
        """What went wrong so far and was not allowed."""
        return [fault for fault in self._faults if not any(allowed.search(fault) for allowed in self._allowed)]


async def axe(page: Page, rules: dict[str, Any] = RULES) -> list[str]:
    """What the accessibility checker finds wrong on the page as it is now, one line a violation."""
    if not await page.evaluate("() => typeof window.axe === 'object'"):
        await page.evaluate(AXE)
    found: list[dict[str, Any]] = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']}).then(done => done.violations)", rules
    )
    return [
        f"{rule['id']} ({rule['impact']}): {node['target']} {node['html'][:200]} {node.get('failureSummary', '')}"
        for rule in found
        for node in rule["nodes"]
    ]


async def overflow(page: Page) -> list[str]:
    """What sticks out at the right of the screen, so that one would have to scroll sideways."""
    found: list[str] = await page.evaluate(
        """width => {  // of the device: a phone zooms out until all is in
          if (document.documentElement.scrollWidth <= width) return [];
          return [`${document.documentElement.scrollWidth} in ${width}`].concat(
            [...document.body.querySelectorAll("*")]
              .map(element => [element, element.getBoundingClientRect()])
              .filter(([element, {left, right}]) => Math.max(right, left + element.scrollWidth) > width + 0.5)
              .map(([element]) => element)
              .map(element => `${element.tagName}.${element.className}: ${element.textContent.slice(0, 60)}`)
              .slice(0, 8));
        }""",
        (page.viewport_size or {})["width"],
    )
    return found
