"""Which browser `meshnode open` would start, and for whom."""

from __future__ import annotations

import pytest

from meshnode.cli import open as opening

DISPLAY = {"DISPLAY": ":0"}


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What is installed; and we are an ordinary user."""
    there: set[str] = {"xdg-open", "open"}
    monkeypatch.setattr(opening.shutil, "which", lambda name: f"/bin/{name}" if name in there else None)
    monkeypatch.setattr(opening.os, "geteuid", lambda: 1000)
    return there


@pytest.mark.parametrize(
    ("platform", "environment", "command"),
    [
        ("linux", DISPLAY, ["/bin/xdg-open"]),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, ["/bin/xdg-open"]),
        ("linux", {}, None),
        ("linux", {"DISPLAY": ""}, None),
        ("linux", DISPLAY | {"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, None),
        ("darwin", {}, ["/bin/open"]),
    ],
)
def test_a_browser_is_started_where_somebody_looks(
    tools: set[str], platform: str, environment: dict[str, str], command: list[str] | None
) -> None:
    """With a display of this machine; a forwarded one would bring a slow browser from here to there."""
    assert opening.browser_command(platform, environment) == command


def test_what_is_not_installed_is_not_started(tools: set[str]) -> None:
    """The next that is; else none."""
    tools.discard("xdg-open")
    assert opening.browser_command("linux", DISPLAY) is None
    tools.add("gio")
    assert opening.browser_command("linux", DISPLAY) == ["/bin/gio", "open"]


def test_a_phone_opens_links_its_own_way(tools: set[str]) -> None:
    """In Termux there is no display to ask for."""
    tools.add("termux-open-url")
    assert opening.browser_command("linux", {}) == ["/bin/termux-open-url"]


def test_roots_browser_is_never_started(tools: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Browsers refuse it; root gives the link to whom it likes."""
    monkeypatch.setattr(opening.os, "geteuid", lambda: 0)
    assert opening.browser_command("linux", DISPLAY) is None


def test_the_tunnel_ends_where_the_link_points() -> None:
    """The same port on both sides: the link's Host is checked."""
    line = opening.tunnel("http://127.0.0.1:6970/#ticket=x", "me", "server")
    assert line == "ssh -L 6970:127.0.0.1:6970 me@server"
