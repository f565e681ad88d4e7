"""`meshnode open`: the link, for a browser, for a person, for a program; and what stands in the way."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.machine import Machine, eventually

Make = Callable[[str], Machine]
LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/#ticket=([\w-]{43})")
SOMEBODY = ("unshare", "--user", "--map-user=1000")  # as seen from inside, not root


def can_be_somebody() -> bool:
    """Whether this machine lets us look like another user."""
    return sys.platform == "linux" and not subprocess.run([*SOMEBODY, "true"], capture_output=True).returncode


def redeem(link: str) -> tuple[int, dict[str, str]]:
    """As the page does: what was answered."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    body = json.dumps({"ticket": parts.fragment.removeprefix("ticket=")})
    connection.request("POST", "/api/v1/tickets/redeem", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def test_json_prints_the_link_and_starts_nothing(machine: Make, tmp_path: Path) -> None:
    """{url}: one ticket, which works once."""
    node = machine("a").start()
    opened = fake_browser(node, tmp_path)
    link = node.ask("open")
    assert link.keys() == {"url"}
    assert LINK.fullmatch(link["url"])
    assert redeem(link["url"])[0] == 200
    assert redeem(link["url"])[1]["code"] == "ticket_unknown"
    assert not opened.exists()


def test_without_a_display_it_prints_link_and_tunnel(machine: Make) -> None:
    """The link alone on stdout; how to reach it from elsewhere beside it."""
    node = machine("a").start()
    done = node.run("open")
    assert done.returncode == 0
    found = LINK.fullmatch(done.stdout.strip())
    assert found
    port = found[1]
    assert re.search(rf"ssh -L {port}:127\.0\.0\.1:{port} \S+@\S+\n", done.stderr)
    assert "once" in done.stderr


def test_the_link_is_never_logged(machine: Make) -> None:
    """Neither ticket nor token."""
    node = machine("a").start()
    link = node.ask("open")["url"]
    status, answer = redeem(link)
    assert status == 200
    node.stop()
    log = node.log.read_text()
    assert link.partition("ticket=")[2] not in log
    assert answer["token"] not in log


def fake_browser(node: Machine, folder: Path, *, status: int = 0) -> Path:
    """A display, and an `xdg-open` that only writes down what it was given; the file it writes."""
    tools, opened = folder / "tools", folder / "opened"
    tools.mkdir()
    tool = tools / "xdg-open"
    tool.write_text(
        f'#!/bin/sh\n[ {status} = 0 ] && echo "$@" > {opened}.new && mv {opened}.new {opened}\nexit {status}\n'
    )
    tool.chmod(0o755)
    node.environment |= {"DISPLAY": ":99", "PATH": f"{tools}:{node.environment['PATH']}"}
    return opened


@pytest.mark.skipif(not can_be_somebody(), reason="needs user namespaces")
def test_with_a_display_the_browser_gets_the_link(machine: Make, tmp_path: Path) -> None:
    """Nothing secret on the terminal. Where the opener fails, the link is printed; root's browser is never started."""
    node = machine("a").start()
    opened = fake_browser(node, tmp_path)
    assert LINK.fullmatch(node.run("open").stdout.strip()) or os.geteuid() != 0
    node.argv = [*SOMEBODY, *node.argv]
    done = node.run("open")
    assert done.returncode == 0, done.stderr
    link = eventually(lambda: opened.exists() and opened.read_text().strip(), "the browser was not started")
    assert LINK.fullmatch(link)
    assert "ticket" not in done.stdout + done.stderr
    assert redeem(link)[0] == 200
    (tmp_path / "tools/xdg-open").write_text("#!/bin/sh\nexit 3\n")
    again = node.run("open")
    assert LINK.fullmatch(again.stdout.strip())


def test_signing_out_ends_what_the_link_was_traded_for(machine: Make) -> None:
    """How many, for people and for programs."""
    node = machine("a").start()
    redeem(node.ask("open")["url"])
    assert node.run("open", "--sign-out").stderr == "1 browser signed out.\n"
    assert node.ask("open", "--sign-out") == {"ended": 0}


def test_without_a_node_it_says_how_to_start_one(machine: Make) -> None:
    """69."""
    done = machine("a").run("open")
    assert done.returncode == 69
    assert "meshnode run" in done.stderr
