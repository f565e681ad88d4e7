"""`meshnode nodes` and `meshnode node …`: who is in the mesh, and what we think of them."""

from __future__ import annotations

from typing import Any

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.options import confirm, json_option, with_daemon, yes_option
from meshnode.cli.render import host_port, print_json, print_nodes, say, status_words, time_ago


@click.command()
@json_option
@with_daemon
def nodes(daemon: ControlClient, as_json: bool) -> None:
    """List the known nodes, this one first."""
    known = daemon.call("GET", "/api/v1/nodes")
    if as_json:
        print_json(known)
        return
    print_nodes(known["nodes"])
    if len(known["nodes"]) == 1:
        say("\nNobody else yet: `meshnode pair` here and `meshnode join` on another machine.")


@click.group()
def node() -> None:
    """Look at or change one node; REF is its name, alias, id, the end of its id, or id:ID."""


@node.command()
@click.argument("ref")
@json_option
@with_daemon
def show(daemon: ControlClient, ref: str, as_json: bool) -> None:
    """Everything known about a node."""
    answer = daemon.call("GET", daemon.node_path(ref))
    if as_json:
        print_json(answer)
        return
    n = answer["node"]
    lines: list[tuple[str, Any]] = [
        ("name", n["name"] + (f"  (alias {n['alias']})" if n["alias"] else "")),
        ("id", n["id"]),
        ("fingerprint", n["fingerprint"] or "no key"),
        ("kind", n["kind"]),
        ("status", "this node" if n["is_current"] else f"{status_words(n)}, last seen {time_ago(n['last_seen'])}"),
        ("trust", f"{n['trust']}, level {n['trust_level']}"),
        ("reached at", host_port(n["hostname"], n["port"])),
        ("addresses", ", ".join(n["addresses"]) or "none announced"),
        ("capabilities", ", ".join(f"{c['name']} {c['version']}" for c in n["capabilities"]) or "none"),
        ("paired", n["paired_at"] or "never"),
    ]
    if n["revoked_at"]:
        lines.append(("revoked", f"{n['revoked_at']} by {n['revoked_by']}"))
    for label, value in lines:
        click.echo(f"{label:<13} {value}")


@node.command()
@click.argument("ref")
@click.argument("alias", required=False)
@with_daemon
def rename(daemon: ControlClient, ref: str, alias: str | None) -> None:
    """Call a node ALIAS here (it isn't told); without ALIAS, by its own name again."""
    renamed = daemon.call("PATCH", daemon.node_path(ref), {"alias": alias})["node"]
    say(
        f"{renamed['name']} is called {renamed['alias']} here."
        if renamed["alias"]
        else f"It is {renamed['name']} again."
    )


@node.command()
@click.argument("ref")
@click.argument("level", type=click.IntRange(1, 2))
@with_daemon
def trust(daemon: ControlClient, ref: str, level: int) -> None:
    """Set a paired node's trust LEVEL: 1 paired, 2 operator (may use this node as its owner does)."""
    changed = daemon.call("PUT", daemon.node_path(ref, "/trust"), {"level": level})["node"]
    say(f"{changed['alias'] or changed['name']} ({changed['id']}) is at trust level {changed['trust_level']}.")


@node.command()
@click.argument("ref")
@click.option("--keep-introduced", is_flag=True, help="Leave the devices it brought in as they are.")
@yes_option
@with_daemon
def revoke(daemon: ControlClient, ref: str, keep_introduced: bool, yes: bool) -> None:
    """End a node's trust at once, and that of the devices it brought in; to come back it must pair anew."""
    node_id, name = _confirmed(daemon, ref, "Revoke", yes)
    suffix = "?keep_introduced=true" if keep_introduced else ""
    ended = daemon.call("POST", daemon.node_path(node_id, f"/revoke{suffix}"))
    say(f"{name} is revoked.")
    for other in ended["introduced"]:
        say(f"So is {other['alias'] or other['name']}, which it had brought in.")


@node.command()
@click.argument("ref")
@yes_option
@with_daemon
def forget(daemon: ControlClient, ref: str, yes: bool) -> None:
    """Revoke a node and delete its row."""
    node_id, name = _confirmed(daemon, ref, "Forget", yes)
    daemon.call("DELETE", daemon.node_path(node_id))
    say(f"{name} is forgotten.")


def _confirmed(daemon: ControlClient, ref: str, verb: str, yes: bool) -> tuple[str, str]:
    """(id, shown name) of the node meant, once its owner has agreed to what is done to it."""
    found = daemon.call("GET", daemon.node_path(ref))["node"]
    name = found["alias"] or found["name"]
    confirm(f"{verb} {name} ({found['id']})?", yes)
    return found["id"], name
