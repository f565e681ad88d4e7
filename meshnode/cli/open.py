"""`meshnode open`: the dashboard in a browser of this machine, signed in by a link that works once."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from socket import gethostname
from typing import Final
from urllib.parse import urlsplit

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import print_json, say

_OPENERS: Final = {"darwin": ("open",), "linux": ("xdg-open", "sensible-browser", "x-www-browser", "gio")}
_PHONE_OPENER: Final = "termux-open-url"
STARTED_S: Final = 2.0  # an opener that failed has ended by then


@click.command("open")
@json_option
@click.option("--sign-out", is_flag=True, help="Open nothing; sign out every browser that came by such a link.")
@with_daemon
def open_dashboard(daemon: ControlClient, as_json: bool, sign_out: bool) -> None:
    """Open the dashboard in a browser; without a display, print its link."""
    if sign_out:
        ended = daemon.call("DELETE", "/api/v1/tickets")["ended"]
        if as_json:
            print_json({"ended": ended})
        say(f"{ended} browser{'' if ended == 1 else 's'} signed out.")
        return
    url = daemon.call("POST", "/api/v1/tickets")["url"]
    if as_json:
        print_json({"url": url})
        return
    command = browser_command(sys.platform, os.environ)
    if command is not None and _start([*command, url]):
        say("The dashboard opens in the browser.")
        return
    click.echo(url)
    say("\nOpen the link in a browser on this machine. It works once, within a minute.")
    say(f"From another machine, first:  {tunnel(url, getpass.getuser(), gethostname())}")


def browser_command(platform: str, environment: Mapping[str, str]) -> list[str] | None:
    """What opens a link for the person at this machine; None without a display, or where it would run as root."""
    if termux := shutil.which(_PHONE_OPENER):
        return [termux]
    if platform == "linux" and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return None
    if platform != "darwin" and "SSH_CONNECTION" in environment:  # the display would be forwarded: a slow browser there
        return None
    if os.geteuid() == 0:  # browsers refuse it, and root's link is for whoever root gives it to
        return None
    for name in _OPENERS.get(platform, _OPENERS["linux"]):
        if found := shutil.which(name):
            return [found, "open"] if name == "gio" else [found]
    return None


def tunnel(url: str, user: str, host: str) -> str:
    """The line that brings the control listener to the machine one sits at; the link is the same there."""
    port = urlsplit(url).port
    return f"ssh -L {port}:127.0.0.1:{port} {user}@{host}"


def _start(command: list[str]) -> bool:
    """Start a browser that outlives us; whether it could be started. What it says is nobody's concern."""
    try:
        opening = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    try:
        return opening.wait(timeout=STARTED_S) == 0
    except subprocess.TimeoutExpired:  # it is the browser itself
        return True
