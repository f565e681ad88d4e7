"""`meshnode status`: how this node is."""

from __future__ import annotations

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import json_option, with_daemon
from meshnode.cli.render import print_json


@click.command()
@json_option
@with_daemon
def status(daemon: ControlClient, as_json: bool) -> None:
    """How this node is: listeners, peers, and what is not as it should be."""
    answer = daemon.call("GET", "/api/v1/node")
    if as_json:
        print_json(answer)
        return
    node, peers = answer["node"], answer["peers"]
    click.echo(f"{node['name']}  ({node['kind']}, meshnode {node['version']})")
    click.echo(f"id           {node['id']}")
    click.echo(f"fingerprint  {node['fingerprint']}")
    click.echo(f"listens on   {', '.join(answer['listeners'])}")
    counts = ", ".join(f"{count} {name}" for name, count in peers.items() if count)
    click.echo(f"peers        {counts or 'none yet'}")
    for trouble in answer["degraded"]:
        click.echo(f"{click.style('degraded', fg='yellow')}     {trouble['detail']}  [{trouble['code']}]")
