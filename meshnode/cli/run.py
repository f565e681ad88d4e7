"""`meshnode run`: a node in the foreground."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from meshnode.cli.platforms import advice
from meshnode.cli.render import as_typed
from meshnode.config import data_directory, load_config

if TYPE_CHECKING:  # the daemon is imported when it is started
    from meshnode.daemon.lifecycle import Started


@click.command()
@click.option("--listen", multiple=True, metavar="HOST:PORT", help="Where others reach this node; repeatable.")
@click.option("--control-port", type=click.IntRange(0, 65535), help="Port on 127.0.0.1 for this command line.")
@click.option("--no-mdns", is_flag=True, help="Neither advertise nor look for nodes on the local network.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.pass_context
def run(ctx: click.Context, listen: tuple[str, ...], control_port: int | None, no_mdns: bool, verbose: bool) -> None:
    """Run a node until Ctrl-C or SIGTERM."""
    gc.disable()  # a start makes no garbage, and looking for it takes 5 % of the time; the daemon turns it on again
    with _no_authorities():
        from meshnode.daemon.lifecycle import run as run_node
    from meshnode.daemon.log_format import set_up_logging

    set_up_logging(logging.DEBUG if verbose else logging.INFO)
    flags = {
        "listen.public": list(listen) or None,
        "listen.control_port": control_port,
        "mdns.enabled": False if no_mdns else None,
    }
    loaded = load_config(flags)
    if said := advice(sys.platform, os.uname().release, is_android=hasattr(sys, "getandroidapilevel")):
        logging.getLogger("meshnode").info("%s", said)

    def on_ready(started: Started) -> None:
        if sys.stdout.isatty():
            _greet(started)
        else:
            logging.getLogger("meshnode").info(
                "%s (%s) listens on %s", started.identity.name, started.identity.id, ", ".join(started.listeners)
            )

    run_node(loaded.config, data_directory(ctx.find_root().obj), on_ready)


@contextmanager
def _no_authorities() -> Iterator[None]:
    """Keep aiohttp, when imported, from reading all certificate authorities of the system: 100 ms and 2 MiB.

    A node trusts pinned certificates only; one that ever relied on an authority would be refused, not deceived.
    """
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSL_CERT_FILE"]
        else:
            os.environ["SSL_CERT_FILE"] = before


def _greet(started: Started) -> None:
    from meshnode.domain.identity import format_fingerprint

    bold = {"bold": True}
    age = "new here" if started.is_new else "back"
    identity = started.identity
    click.echo()
    click.echo(f"  {click.style(identity.name, fg='green', **bold)}  {started.kind}, {age}")
    click.echo(f"  id           {identity.id}")
    click.echo(f"  fingerprint  {format_fingerprint(identity.public_key)}")
    for number, url in enumerate(started.listeners):
        click.echo(f"  {'listens on' if number == 0 else '          '}   {url}")
    click.echo(f"  data         {started.data_dir}")
    click.echo()
    click.echo("  Next, in another terminal:")
    for command, purpose in (
        ("pair", "show a PIN for another device"),
        ("join", "type the PIN another node shows"),
        ("nodes", "see who is in the mesh"),
    ):
        typed = as_typed(f"`meshnode {command}`").strip("`")
        click.echo(f"    {click.style(typed.ljust(20), **bold)}  {purpose}")
    click.echo("  Ctrl-C stops this node.")
    click.echo()
