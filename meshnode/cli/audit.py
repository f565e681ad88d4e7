"""`meshnode audit`: who paired, failed or was revoked, when and from where."""

from __future__ import annotations

from typing import Any, Final

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import print_json, print_table, say, short_id
from meshnode.domain.timestamps import parse_time

LIMIT: Final = 50
_WORDS: Final = {
    "offer.opened": "offer opened",
    "pairing.requested": "asked to pair",
    "pairing.approved": "request approved",
    "pairing.rejected": "request rejected",
    "pairing.attempt": "pairing tried",
    "pairing.answered": "PIN was right",
    "pairing.bad_pin": "wrong PIN",
    "pairing.refused": "pairing refused",
    "node.paired": "paired",
    "node.joined": "joined",
    "node.revoked": "revoked",
    "node.forgotten": "forgotten",
    "node.cloned": "identity copied",
    "pairing.burned": "offer burned",
    "pairing.locked": "locked out",
    "pairing.unlocked": "unlocked",
    "database.restored": "database restored",
    "notice.seen": "notices seen",
    "node.trust_1": "trust level 1",
    "node.trust_2": "trust level 2",
}


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=LIMIT, show_default=True, help="How many, at most.")
@json_option
@with_daemon
def audit(daemon: ControlClient, limit: int, as_json: bool) -> None:
    """List what happened to pairings and nodes: the last entries, the newest below.

    With --json the newest comes first.
    """
    found = daemon.call("GET", f"/api/v1/audit?limit={limit}")
    if as_json:
        print_json(found)
        return
    if not found["entries"]:
        say("Nothing has happened yet.")
        return
    rows = [_row(entry) for entry in reversed(found["entries"])]
    print_table(("TIME", "WHAT", "WHO", "FROM", "DIALECT", "DETAIL", "TIMES"), rows)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        parse_time(entry["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        _WORDS.get(entry["event"], entry["event"].replace(".", " ").replace("_", " ")),
        entry["node_name"] or short_id(entry["node_id"] or ""),
        entry["address"] or "",
        entry["dialect"],
        entry["detail"] or "",
        str(entry["times"]) if entry["times"] > 1 else "",
    )
