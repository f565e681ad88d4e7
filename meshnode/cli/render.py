"""Output that people look at: tables, QR codes, times in words; rich is imported on a terminal only."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from meshnode.domain.timestamps import parse_time

AGAIN = {"revoked": " (it was revoked before)", "paired": " (again)"}  # by what the node was
_STATUS_STYLE = {"online": "green", "stale": "yellow", "offline": "red"}


def as_typed(text: str) -> str:
    """`text` with the commands in it as this person types them: from a checkout, scripts/run."""
    invoked_as = os.environ.get("MESHNODE_INVOKED_AS")
    if not invoked_as:
        return text
    return text.replace("`meshnode run`", f"`{invoked_as}`").replace("`meshnode ", f"`{invoked_as} ")


def print_json(document: Any) -> None:
    """One document on stdout."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def say(text: str = "") -> None:
    """A remark beside the data: stderr."""
    click.echo(as_typed(text), err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, plain columns in a pipe."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column in ("STATUS", "LAST SEEN", "ADDRESS"))
        for row in rows:
            table.add_row(*(Text(cell, style=_STATUS_STYLE.get(cell.split(" ")[0], "")) for cell in row))
        Console().print(table)
        return
    widths = [max(len(column), *(len(row[i]) for row in rows)) for i, column in enumerate(columns)]
    for line in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def time_ago(text: str | None) -> str:
    """A time in words."""
    if text is None:
        return "never"
    seconds = (datetime.now(UTC) - parse_time(text)).total_seconds()
    if seconds < 5:
        return "just now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def status_words(node: dict[str, Any]) -> str:
    """The status with its reason, as a person would say it."""
    if node["trust"] == "revoked":
        return "revoked"
    if node["trust"] in ("unconfirmed", "announced"):
        return str(node["trust"])
    reason = {
        "left": "offline (left)",
        "removed_us": f"removed by {node['alias'] or node['name']}",
        "wrong_node_at_address": "offline (another node at its address)",
    }.get(node["status_reason"] or "")
    return reason or str(node["status"])


def host_port(host: str, port: int) -> str:
    """`host:port`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def short_id(node_id: str) -> str:
    """The last eight of an id: enough to name it by, here."""
    return f"…{node_id[-8:]}" if len(node_id) > 12 else node_id


def print_nodes(nodes: Sequence[dict[str, Any]]) -> None:
    """The table of nodes."""
    rows = [
        (
            (n["alias"] or n["name"]) + (" (this node)" if n["is_current"] else ""),
            n["kind"],
            "online" if n["is_current"] else status_words(n),
            "now" if n["is_current"] else time_ago(n["last_seen"]),
            host_port(n["hostname"], n["port"]),
            {1: "", 2: "operator"}.get(n["trust_level"], "") if not n["is_current"] else "",
            short_id(n["id"]),
        )
        for n in nodes
    ]
    print_table(("NAME", "KIND", "STATUS", "LAST SEEN", "ADDRESS", "TRUST", "ID"), rows)


def draw_qr(text: str) -> str:
    """The QR code as half blocks, border 2, for light text on a dark terminal."""
    import segno

    out = io.StringIO()
    segno.make(text, error="l", boost_error=False, micro=False).terminal(out, border=2, compact=True)
    return out.getvalue().rstrip("\n")


def terminal_size() -> tuple[int, int]:
    """(columns, lines)."""
    size = shutil.get_terminal_size()
    return size.columns, size.lines
