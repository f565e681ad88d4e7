"""`meshnode identity`: who this node is."""

from __future__ import annotations

import click

from meshnode.cli.control_client import daemon_of
from meshnode.cli.options import confirm, home_directory, json_option, yes_option
from meshnode.cli.render import print_json, say
from meshnode.daemon.offline import rename_offline, reset_identity, show_identity
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.identity import format_fingerprint
from meshnode.domain.timestamps import format_time


@click.group()
def identity() -> None:
    """Show, rename or replace this node's identity; works with and without a running node."""


@identity.command()
@json_option
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    """Name, id and fingerprint."""
    stored = show_identity(home_directory(ctx)).public
    if as_json:
        print_json(
            {
                "id": stored.id,
                "name": stored.name,
                "created_at": format_time(stored.created_at),
                "public_key": encode_base64url(stored.public_key),
                "fingerprint": format_fingerprint(stored.public_key),
            }
        )
        return
    click.echo(f"name         {stored.name}")
    click.echo(f"id           {stored.id}")
    click.echo(f"fingerprint  {format_fingerprint(stored.public_key)}")
    click.echo(f"created      {format_time(stored.created_at)}")


@identity.command()
@click.argument("name")
@click.pass_context
def rename(ctx: click.Context, name: str) -> None:
    """Call this node NAME; paired nodes learn it with the next heartbeat."""
    directory = home_directory(ctx)
    daemon = daemon_of(directory)
    if daemon is not None:
        renamed = daemon.call("PATCH", "/api/v1/node", {"name": name})["node"]["name"]
    else:
        renamed = rename_offline(directory, name).name
    say(f"This node is called {renamed}.")


@identity.command()
@yes_option
@click.pass_context
def reset(ctx: click.Context, yes: bool) -> None:
    """Set identity and database aside, so that the next start makes new ones. Every pairing is lost."""
    directory = home_directory(ctx)
    confirm("Every node you paired will know this one no more. Reset its identity?", yes)
    kept = reset_identity(directory)
    for file in kept:
        say(f"kept {file}")
    say("The next `meshnode run` makes a new identity." if kept else f"There was no identity in {directory}.")
