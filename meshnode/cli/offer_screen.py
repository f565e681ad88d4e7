"""What an offer looks like: drawn on a terminal, lines in a pipe. By what the offer has, whatever its dialect."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import click

from meshnode.cli.render import draw_qr, host_port, terminal_size
from meshnode.domain.pairing_code import format_pin
from meshnode.domain.timestamps import parse_time

Seen = dict[str, Any]  # the offer as the node sees it now
_SIDE_COLUMNS: Final = 30  # of what stands beside a QR code


class Sight(NamedTuple):
    """What an offer shows."""

    scan: str | None  # the text of its QR code
    link: str | None  # what can be copied instead
    facts: tuple[tuple[str, str], ...]  # what is read and typed: what it is, how it is spelled
    how: tuple[str | tuple[str, str], ...]  # what to do on the other side, with rich's styles


def sight_of(offer: dict[str, Any]) -> Sight:
    """What to show of an offer as `POST offers` answered it."""
    if "qr" in offer:  # the QR code is the only way
        qr = offer["qr"]
        text = json.dumps(qr, separators=(",", ":"))
        where = (("Gateway", host_port(qr["host"], qr["port"])),)
        return Sight(text, None, where, ("Scan it with the app.\nThe code works once.\n\n",))
    if "linking_code" in offer:
        facts = (("PIN", format_pin(offer["pin"])), ("Linking code", offer["linking_code"]))
        how_to = ("Scan with the phone's camera, open the link, type the PIN there.\n\n",)
        return Sight(offer["url"], offer["url"], facts, how_to)
    if "url" in offer:
        how = (
            "On the other machine:\n", ("  meshnode join\n\n", "bold"),
            "or scan, or paste the URL above:\n", ("  meshnode join 'URL'\n\n", "bold"),
        )  # fmt: skip
        return Sight(offer["url"], offer["url"], (("PIN", format_pin(offer["pin"])),), how)
    return Sight(None, None, (("Code", offer["code"]),), ("Type it into the app.\nIt works once.\n\n",))


def print_offer(offer: dict[str, Any]) -> None:
    """The offer as plain lines."""
    sight = sight_of(offer)
    if sight.link is not None:
        click.echo(f"URL  {sight.link}")
    elif sight.scan is not None:
        click.echo(f"QR  {sight.scan}")
    for name, value in sight.facts:
        click.echo(f"{name}  {value}")
    click.echo(f"expires {offer['expires_at']}")
    sys.stdout.flush()


@contextmanager
def offer_screen(offer: dict[str, Any]) -> Iterator[Callable[[Seen], None]]:
    """Draws the offer; what is yielded draws what has become of it."""
    from rich.console import Console
    from rich.live import Live

    sight = sight_of(offer)
    columns, lines = terminal_size()
    qr = draw_qr(sight.scan).split("\n") if sight.scan is not None else []
    fits = bool(qr) and len(qr[0]) + _SIDE_COLUMNS <= columns and len(qr) + 2 <= lines
    if sight.link is not None:
        click.echo(sight.link)  # not drawn by rich: stays one line to copy
    elif qr and not fits:
        click.echo("\n".join(qr))  # there is no other way, so it may scroll
    with Live(console=Console(), auto_refresh=False, transient=False) as live:

        def show(seen: Seen) -> None:
            live.update(_screen(qr if fits else [], sight, offer, seen), refresh=True)

        yield show


def _screen(qr: list[str], sight: Sight, offer: dict[str, Any], seen: Seen) -> Any:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    left = max(0, int((parse_time(offer["expires_at"]) - datetime.now(UTC)).total_seconds()))
    facts = Text()
    for name, value in sight.facts:
        facts += Text.assemble(f"{name}  ", (value, "bold green"), "\n")
    facts += Text("\n")
    how = Text.assemble(*sight.how)
    now = Text.assemble(
        (f"Open for {left // 60}:{left % 60:02d}\n", "" if left > 60 else "yellow"),
        ("Ctrl-C closes it.\n\n", "dim"),
        _activity(seen),
    )
    # a screen too small for the code may cut off the end: there, what happens now comes before the help
    side = facts + how + now if qr else facts + now + "\n\n" + how
    grid = Table.grid(padding=(0, 2))
    if sight.scan is None:  # a code to type, and nothing else
        name, code = sight.facts[0]
        grid.add_row(Panel(Text(code, "bold green"), title=name, padding=(1, 4), expand=False))
        side = now + "\n\n" + how
    if qr:
        grid.add_column(min_width=len(qr[0]), no_wrap=True)  # the code is never cut; what stands beside it wraps
        grid.add_row(Text("\n".join(qr)), side)
    else:
        grid.add_row(side)
    return grid


def _activity(seen: Seen) -> tuple[str, str]:
    activity = seen["activity"]
    if seen["state"] == "used":
        return f"{activity.get('name', 'Somebody')} knows the PIN …\n", "green"
    if activity.get("wrong"):
        is_closed = seen.get("pin_attempts") == 0
        closed = "\nPIN alone is closed; the QR code\nand the URL still work." if is_closed else ""
        return f"Wrong PIN from {activity['joiner']},\n{activity['attempts_left']} attempts left.{closed}", "red"
    if "joiner" in activity:
        return f"{activity['joiner']} is entering the PIN …", "cyan"
    return "Waiting …", "dim"
