"""`meshnode pair`: open an offer, show its QR code and PIN, wait for the other side."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

import click

from meshnode.cli.control_client import ControlClient, find_daemon
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import AGAIN, draw_qr, print_json, say, terminal_size
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing_code import format_pin
from meshnode.domain.timestamps import parse_time

POLL_S: Final = 0.3
ACK_PATIENCE_S: Final = 15.0  # from the right PIN to the other side's acknowledge
_ENDINGS: Final = {
    "burned": "offer_burned",
    "expired": "code_expired",
    "replaced": "offer_replaced",
    "cancelled": "offer_closed",
}


@click.group(invoke_without_command=True)
@json_option
@click.option("--no-wait", is_flag=True, help="Open the offer and return; it stays open.")
@click.option("--expires-in", type=click.FloatRange(30, 3600), metavar="SECONDS", help="How long the offer stays open.")
@click.pass_context
def pair(ctx: click.Context, as_json: bool, no_wait: bool, expires_in: float | None) -> None:
    """Show a PIN for another device, and wait until it has joined."""
    if ctx.invoked_subcommand is not None:
        return
    daemon = find_daemon(ctx.find_root().obj)
    offer = daemon.call("POST", "/api/v1/pairing/offers", {} if expires_in is None else {"expires_in": expires_in})
    if as_json:
        print_json(offer)
        sys.stdout.flush()
    if no_wait:
        if not as_json:
            _print_plain(offer)
        return
    try:
        if as_json:
            paired = _wait(daemon, offer, lambda *_: None)
        elif sys.stdout.isatty():
            paired = _wait_on_terminal(daemon, offer)
        else:
            _print_plain(offer)
            paired = _wait(daemon, offer, lambda *_: None)
    except KeyboardInterrupt:
        daemon.call("DELETE", f"/api/v1/pairing/offers/{offer['offer_id']}")
        say("\nThe offer is closed.")
        ctx.exit(130)
    again = AGAIN.get(paired.get("was") or "", "")
    say(f"{click.style('Paired', fg='green', bold=True)} with {paired['name']} at {paired['address']}{again}.")


@pair.command()
@with_daemon
def cancel(daemon: ControlClient) -> None:
    """Close the open offer."""
    closed = daemon.call("DELETE", "/api/v1/pairing/offers")["cancelled"]
    say("The offer is closed." if closed else "No offer was open.")


@pair.command()
@with_daemon
def unlock(daemon: ControlClient) -> None:
    """Allow pairing by PIN alone again after too many wrong PINs."""
    daemon.call("POST", "/api/v1/pairing/unlock")
    say("Pairing by PIN alone is unlocked.")


def _print_plain(offer: dict[str, Any]) -> None:
    click.echo(f"URL  {offer['url']}")
    click.echo(f"PIN  {format_pin(offer['pin'])}")
    click.echo(f"expires {offer['expires_at']}")
    sys.stdout.flush()


def _wait(daemon: ControlClient, offer: dict[str, Any], show: Any) -> dict[str, Any]:
    """Until paired. Raises what ended the offer instead."""
    answered_at: float | None = None
    while True:
        seen = daemon.call("GET", f"/api/v1/pairing/offers/{offer['offer_id']}")
        activity: dict[str, Any] = seen["activity"]
        if "paired" in activity:
            return activity
        state = seen["state"]
        if state == "used":
            answered_at = answered_at or time.monotonic()
            if time.monotonic() - answered_at > ACK_PATIENCE_S:
                name = activity.get("name", "the other device")
                raise MeshError(
                    "unreachable", f"{name} knew the PIN but has not confirmed yet; it will when it is back"
                )
        elif state != "open":
            raise MeshError(_ENDINGS[state], f"the offer is {state}")
        show(seen)
        time.sleep(POLL_S)


def _wait_on_terminal(daemon: ControlClient, offer: dict[str, Any]) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    columns, lines = terminal_size()
    qr = draw_qr(offer["url"]).split("\n")
    fits = len(qr[0]) + 30 <= columns and len(qr) + 2 <= lines
    click.echo(offer["url"])  # not drawn by rich: stays one line to copy
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def show(seen: dict[str, Any]) -> None:
            live.update(_screen(qr if fits else [], offer, seen), refresh=True)

        return _wait(daemon, offer, show)


def _screen(qr: list[str], offer: dict[str, Any], seen: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    left = max(0, int((parse_time(offer["expires_at"]) - datetime.now(UTC)).total_seconds()))
    pin = Text.assemble("PIN  ", (format_pin(offer["pin"]), "bold green"), "\n\n")
    how = Text.assemble(
        "On the other machine:\n",
        ("  meshnode join\n\n", "bold"),
        "or scan, or paste the URL above:\n",
        ("  meshnode join 'URL'\n\n", "bold"),
    )
    now = Text.assemble(
        (f"Open for {left // 60}:{left % 60:02d}\n", "" if left > 60 else "yellow"),
        ("Ctrl-C closes it.\n\n", "dim"),
        _activity(seen),
    )
    # a screen too small for the code may cut off the end: there, what happens now comes before the help
    side = pin + how + now if qr else pin + now + "\n\n" + how
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("\n".join(qr), no_wrap=True), side) if qr else grid.add_row(side)
    return grid


def _activity(seen: dict[str, Any]) -> tuple[str, str]:
    activity = seen["activity"]
    if seen["state"] == "used":
        return f"{activity.get('name', 'Somebody')} knows the PIN …\n", "green"
    if activity.get("wrong"):
        closed = "\nPIN alone is closed; the QR code\nand the URL still work." if not seen["pin_attempts"] else ""
        return f"Wrong PIN from {activity['joiner']},\n{activity['attempts_left']} attempts left.{closed}", "red"
    if "joiner" in activity:
        return f"{activity['joiner']} is entering the PIN …", "cyan"
    return "Waiting …", "dim"
