"""The watch over pages itself: whatever a page may not do is seen."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.guard import UNREACHED, axe, overflow
from tests.browser.pages import Pages
from tests.e2e.lab import Lab
from tests.e2e.machine import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVER = """import http.server, sys
class Answer(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Content-Security-Policy", "default-src 'self'; connect-src *; img-src * data:")
        super().end_headers()
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Answer).serve_forever()
"""
PAGE = """<!doctype html><html lang="en"><title>t</title><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><main><h1>Title</h1>{}</main></html>"""


@pytest.fixture
def site(network: Lab, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serves a page of that content, and scripts beside it, with a policy; its address."""
    server = network.popen("other", sys.executable, "-c", SERVER, cwd=tmp_path, stderr=-3)
    ask = functools.partial(
        network.run, "other", sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 8000))"
    )
    eventually(lambda: ask().returncode == 0, "the server does not start")

    def serve(content: str, script: str = "") -> str:
        (tmp_path / "page.js").write_text(script)
        (tmp_path / "index.html").write_text(PAGE.format(content + '<script src="page.js"></script>'))
        return f"http://{network.address('other')}:8000/"

    yield serve
    server.kill()
    server.wait(10)


@pytest.mark.parametrize(
    ("content", "script", "fault"),
    [
        ("", 'console.error("broken")', "console error: broken"),
        ("", "nowhere()", "page error: nowhere is not defined"),
        ("<script>1</script>", "", "policy: script-src-elem inline"),
        ('<p style="color: red">x</p>', "", "policy: style-src-attr inline"),
        ("", 'fetch("http://10.77.0.1:8001/").catch(() => 0)', "reaches http://10.77.0.1:8001/"),
        ('<img alt="" src="http://10.77.0.1:8001/x.png">', "", "reaches http://10.77.0.1:8001/x.png"),
        ("", 'new WebSocket("ws://10.77.0.1:8001/")', "reaches ws://10.77.0.1:8001/"),
    ],
)
async def test_a_fault_of_a_page_is_seen(
    pages: Pages, site: Callable[..., str], content: str, script: str, fault: str
) -> None:
    """Console, exception, policy, a request to another host: each is a fault of its page until allowed."""
    page = await pages.phone(site(content, script))
    await page.wait_for_load_state("networkidle")
    guard = pages.guard(page)
    assert any(fault in seen for seen in guard.faults), guard.faults
    guard.allow(UNREACHED, re.compile("broken|nowhere|[Pp]olicy|reaches"))
    assert guard.faults == []


async def test_a_clean_page_has_no_fault(pages: Pages, site: Callable[..., str]) -> None:
    """Nothing is made up."""
    page = await pages.phone(site("<p>fine</p>"))
    await page.wait_for_load_state("networkidle")
    assert pages.faults() == []
    assert await axe(page) == []
    assert await overflow(page) == []


async def test_an_inaccessible_page_is_seen(pages: Pages, site: Callable[..., str]) -> None:
    """An input without a label is told with its element."""
    page = await pages.phone(site("<input id=nameless>"))
    assert any("nameless" in line for line in await axe(page))


async def test_what_sticks_out_is_seen(pages: Pages, site: Callable[..., str]) -> None:
    """A word wider than a small phone's screen is named."""
    page = await pages.phone(site(f"<p>{'x' * 200}</p>"), "small phone")
    assert any("P." in line for line in await overflow(page))
