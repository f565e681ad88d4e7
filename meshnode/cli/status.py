"""`meshnode status`: how this node is, and what its owner has not seen yet."""

from __future__ import annotations

from typing import Any

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.notices import print_notices
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import print_json


@click.command()
@click.option("--seen", is_flag=True, help="Show the notices a last time: you have seen them.")
@json_option
@with_daemon
def status(daemon: ControlClient, as_json: bool, seen: bool) -> None:
    """How this node is: listeners, peers, what is not as it should be, and notices.

    A notice (a new pairing, too many wrong PINs, a copied identity …) is shown until --seen.
    """
    answer = daemon.call("GET", "/api/v1/node")
    answer.pop("caller", None)  # for pages, which don't know who they are
    if as_json:
        print_json(answer)
    else:
        _print(answer)
        print_notices(answer["notices"], seen)
    if seen and answer["notices"]:  # those that were shown, and none that came meanwhile
        daemon.call("POST", "/api/v1/notices/seen", {"up_to": answer["notices"][-1]["id"]})


def _print(answer: dict[str, Any]) -> None:
    node, peers = answer["node"], answer["peers"]
    click.echo(f"{node['name']}  ({node['kind']}, meshnode {node['version']})")
    click.echo(f"id           {node['id']}")
    click.echo(f"fingerprint  {node['fingerprint']}")
    click.echo(f"listens on   {', '.join(answer['listeners'])}")
    if answer.get("certificate"):
        click.echo(f"certificate  {answer['certificate']['summary']}")
        click.echo(f"             SHA-256 {answer['certificate']['sha256']}")
    counts = ", ".join(f"{count} {name}" for name, count in peers.items() if count)
    click.echo(f"peers        {counts or 'none yet'}")
    for trouble in answer["degraded"]:
        click.echo(f"{click.style('degraded', fg='yellow')}     {trouble['detail']}  [{trouble['code']}]")
