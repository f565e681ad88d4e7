"""`meshnode requests`: devices that ask to be paired, and what the owner decides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import AGAIN, print_json, print_table, say
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing_code import format_pin
from meshnode.domain.timestamps import parse_time

_PATH: Final = "/api/v1/pairing/requests"
_START_MIN: Final = 4  # characters of an id that name it
_COLUMNS: Final = ("CODE", "NAME", "TYPE", "ADDRESS", "LEFT", "ID", "NOTE")


@click.group()
def requests() -> None:
    """Devices that ask to be paired; ID is a request's id or its first four or more characters."""


@requests.command(name="list")
@json_option
@with_daemon
def list_(daemon: ControlClient, as_json: bool) -> None:
    """The devices that wait, each with the code that its screen must show."""
    answer = daemon.call("GET", _PATH)
    if as_json:
        print_json(answer)
        return
    waiting = answer["requests"]
    if not waiting:
        say("No device is asking.")
        return
    _print(waiting)
    say("\nCompare the code with the device's screen, then `meshnode requests approve ID`.")


@requests.command()
@click.argument("request_id", metavar="ID")
@json_option
@with_daemon
def approve(daemon: ControlClient, request_id: str, as_json: bool) -> None:
    """Pair the device that made this request."""
    asked = _find(daemon, request_id)
    approved = daemon.call("POST", f"{_PATH}/{asked['id']}/approve")
    if as_json:
        print_json(approved)
        return
    again = AGAIN.get(asked["was"] or "", "")
    say(f"{click.style('Approved', fg='green', bold=True)} {_described(asked)}{again}.")
    if asked["is_duplicate"]:
        say("The other requests with its device id were rejected.")


@requests.command()
@click.argument("request_id", metavar="ID")
@json_option
@with_daemon
def reject(daemon: ControlClient, request_id: str, as_json: bool) -> None:
    """Turn the device away that made this request."""
    asked = _find(daemon, request_id)
    rejected = daemon.call("POST", f"{_PATH}/{asked['id']}/reject")
    if as_json:
        print_json(rejected)
        return
    say(f"Rejected {_described(asked)}.")


def _find(daemon: ControlClient, start: str) -> dict[str, Any]:
    """The one waiting request whose id is or begins with `start`. Raises `request_unknown`."""
    waiting: list[dict[str, Any]] = daemon.call("GET", _PATH)["requests"]
    wanted = start.lower()
    fitting = [r for r in waiting if r["id"] == wanted or (len(wanted) >= _START_MIN and r["id"].startswith(wanted))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise MeshError("request_unknown", f"{start!r} fits more than one request; give more of the id")
    if len(wanted) < _START_MIN:
        raise MeshError("request_unknown", f"{start!r} is too short: give at least {_START_MIN} characters of the id")
    raise MeshError("request_unknown", f"no request that waits has an id like {start!r}")


def _described(request: dict[str, Any]) -> str:
    return (
        f"{request['device_name']} ({request['device_type']}, {request['address']}), "
        f"code {format_pin(request['code'])}, request {request['id']}"
    )


def _note(request: dict[str, Any]) -> str:
    known = {"paired": "known: paired before", "revoked": "was revoked"}.get(request["was"] or "")
    notes = ("duplicate id" if request["is_duplicate"] else "", "approved" if request["is_approved"] else "", known)
    return ", ".join(note for note in notes if note)


def _time_left(text: str) -> str:
    left = max(0, int((parse_time(text) - datetime.now(UTC)).total_seconds()))
    return f"{left // 60}:{left % 60:02d}"


def _print(waiting: Sequence[dict[str, Any]]) -> None:
    rows = [
        (
            format_pin(r["code"]), r["device_name"], r["device_type"], r["address"], _time_left(r["expires_at"]),
            r["id"], _note(r),
        )
        for r in waiting
    ]  # fmt: skip
    if not sys.stdout.isatty():
        print_table(_COLUMNS, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in _COLUMNS:
        is_short = column in ("CODE", "TYPE", "LEFT", "ID")
        table.add_column(column, overflow="fold", no_wrap=is_short, min_width=12 if column == "NOTE" else None)
    for request, (code, name, *others, request_id, note) in zip(waiting, rows, strict=True):
        warning = Text(note, style="bold red" if request["is_duplicate"] else "yellow")
        table.add_row(Text(code, style="bold green"), Text(name), *map(Text, others), Text(request_id[:8]), warning)
    Console().print(table)
