"""Notices on the screen: what happened that the owner has not seen yet."""

from __future__ import annotations

import sys
from typing import Any

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.render import as_typed
from meshnode.domain.timestamps import parse_time


def print_notices(notices: list[dict[str, Any]], seen: bool = False) -> None:
    """What happened, each with its next step, and how to be told no more."""
    for notice in notices:
        at = parse_time(notice["at"]).astimezone()
        times = f", {notice['times']} times" if notice["times"] > 1 else ""
        click.echo(f"{click.style('notice', fg='yellow')}       {at:%Y-%m-%d %H:%M}  {notice['detail']}{times}")
        click.echo(as_typed(f"             → {notice['next_step']}"))
    if notices and not seen:
        click.echo(as_typed("             `meshnode status --seen` when you have seen this"))


def watched(daemon: ControlClient, node_id: str) -> None:
    """The owner has just watched a pairing with that node on this screen: no notice of it is needed."""
    if not sys.stderr.isatty():
        return
    for notice in reversed(daemon.call("GET", "/api/v1/node")["notices"]):
        if notice["code"] == "paired" and notice["node"]["id"] == node_id:
            daemon.call("POST", "/api/v1/notices/seen", {"id": notice["id"]})
            return
