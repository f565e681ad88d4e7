"""`meshnode discover`: the nodes in sight on the local network."""

from __future__ import annotations

import time
from typing import Final

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import host_port, print_json, print_table, say

PATIENCE_S: Final = 3.0  # a first look just after the start finds nothing yet


@click.command()
@json_option
@with_daemon
def discover(daemon: ControlClient, as_json: bool) -> None:
    """List the nodes in sight; those that show a PIN first."""
    deadline = time.monotonic() + PATIENCE_S
    told_at = deadline - PATIENCE_S + 0.8
    while True:
        found = daemon.call("GET", "/api/v1/discovered")
        if found["nodes"] or time.monotonic() > deadline:
            break
        if told_at < time.monotonic():
            say("Looking …")
            told_at = deadline
        time.sleep(0.2)
    if as_json:
        print_json(found)
        return
    if not found["nodes"]:
        say("No other node in sight. Is one running on this network? `meshnode doctor` looks for the reason.")
        say("You can also join by address or invite.")
        return
    rows = [
        (n["name"], host_port(n["host"], n["port"]), "shows a PIN" if n["pairing_open"] else "", n["id"])
        for n in found["nodes"]
    ]
    print_table(("NAME", "ADDRESS", "", "ID"), rows)
