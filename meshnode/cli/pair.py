"""`meshnode pair`: open an offer, show its QR code and PIN, wait for the other side."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import click

from meshnode.cli.control_client import ControlClient, find_daemon
from meshnode.cli.notices import watched
from meshnode.cli.offer_screen import offer_screen, print_offer
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import AGAIN, print_json, say
from meshnode.domain.errors import MeshError

PHONE_DIALECT: Final = "salita"
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
@click.option("--dialect", metavar="NAME", help="Pair an app that speaks this API: salita, mylzip or abpa3.")
@click.option(
    "--phone", is_flag=True, help="Pair a phone: its camera opens the QR code as a page. The same as --dialect salita."
)
@click.option("--expires-in", type=click.FloatRange(30, 3600), metavar="SECONDS", help="How long the offer stays open.")
@click.pass_context
def pair(
    ctx: click.Context, as_json: bool, no_wait: bool, dialect: str | None, phone: bool, expires_in: float | None
) -> None:
    """Show a PIN for another device, and wait until it has joined."""
    if ctx.invoked_subcommand is not None:
        return
    if phone and dialect not in (None, PHONE_DIALECT):
        raise click.UsageError(f"--phone means --dialect {PHONE_DIALECT}")
    daemon = find_daemon(ctx.find_root().obj)
    asked = {"dialect": PHONE_DIALECT if phone else dialect, "expires_in": expires_in}
    offer = daemon.call("POST", "/api/v1/pairing/offers", {k: v for k, v in asked.items() if v is not None})
    if as_json:
        print_json(offer)
        sys.stdout.flush()
    if no_wait:
        if not as_json:
            print_offer(offer)
        return
    try:
        if as_json:
            paired = _wait(daemon, offer, lambda *_: None)
        elif sys.stdout.isatty():
            with offer_screen(offer) as show:
                paired = _wait(daemon, offer, show)
        else:
            print_offer(offer)
            paired = _wait(daemon, offer, lambda *_: None)
    except KeyboardInterrupt:
        daemon.call("DELETE", f"/api/v1/pairing/offers/{offer['offer_id']}")
        say("\nThe offer is closed.")
        ctx.exit(130)
    again = AGAIN.get(paired.get("was") or "", "")
    say(f"{click.style('Paired', fg='green', bold=True)} with {paired['name']} at {paired['address']}{again}.")
    if not as_json:
        watched(daemon, paired["paired"])


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
