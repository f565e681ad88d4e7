"""`meshnode join`: type the PIN that another node shows."""

from __future__ import annotations

import string
import sys
import threading
import time
from typing import Any, Final

import click

from meshnode.cli.control_client import ControlClient
from meshnode.cli.notices import watched
from meshnode.cli.options import can_ask, json_option, with_daemon
from meshnode.cli.render import AGAIN, host_port, print_json, print_table, say, short_id
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import parse_host_port, parse_invite
from meshnode.domain.pairing_code import parse_pin

LOOK_S: Final = 10.0  # for a first offer
LOOK_ON_S: Final = 1.0  # for others, once there is one
JOIN_S: Final = 90.0  # steps are repeated for 30 s, a busy host is waited for once
TRIES: Final = 3
SLOW_S: Final = 1.5
NAMED_MAX: Final = 5


@click.command()
@click.argument("words", nargs=-1, metavar="[URL | HOST[:PORT] | PIN]")
@click.option("--pin", metavar="PIN", help="The PIN shown on the other node; `-` reads it from stdin.")
@json_option
@with_daemon
def join(daemon: ControlClient, words: tuple[str, ...], pin: str | None, as_json: bool) -> None:
    """Join a node that shows a PIN: by its invite's URL, its address, or picked from what is in sight."""
    where = " ".join(words) if words else None
    if where is not None and _is_pin(where):  # as it is read from the screen, `123 456` too
        if pin is not None:
            raise click.UsageError(f"{where} is a PIN, and --pin gives one too: leave one out.")
        where, pin = None, where
    if where is not None:  # mistyped addresses are told before anybody is asked for a PIN
        parse_invite(where) if "://" in where else parse_host_port(where)
    if pin == "-":
        pin = sys.stdin.readline().strip()
    if pin is not None:
        parse_pin(pin)
    elif not can_ask():
        raise click.UsageError("Nobody to ask for the PIN: give --pin PIN, or --pin - and the PIN on stdin.")
    if where is None:
        where = _pick(daemon)
    joined = _join(daemon, where, pin)
    node = joined["node"]
    if as_json:
        print_json({"node": {key: node[key] for key in ("id", "name", "hostname", "port")}})
        return
    again = AGAIN.get(joined["was"] or "", "")
    address = host_port(node["hostname"], node["port"])
    say(f"{click.style('Joined', fg='green', bold=True)} {node['name']} at {address}{again}.")
    watched(daemon, node["id"])


def _is_pin(text: str) -> bool:
    """Whether it is meant as one, perhaps with a digit too few: no address is digits alone."""
    try:
        return bool(parse_pin(text))
    except MeshError:
        return text.strip() != "" and set(text) <= set(string.digits + " -")


def _join(daemon: ControlClient, where: str, pin: str | None) -> dict[str, Any]:
    """The answer to a join; a person may type the PIN three times, each in a ceremony of its own."""
    for tries_left in reversed(range(TRIES)):
        typed = pin if pin is not None else _ask_pin()
        try:
            return _ask_daemon(daemon, where, typed)
        except MeshError as error:
            left = error.members.get("attempts_left")
            if error.code != "bad_pin" or (left and pin is not None):
                raise
            if not left or not tries_left:
                if "://" not in where:
                    error.detail += "; use the invite (the URL or QR code beside the PIN) now"
                raise
            say(f"Wrong PIN, {left} attempt{'' if left == 1 else 's'} left.")
    raise AssertionError("unreachable")


def _ask_daemon(daemon: ControlClient, where: str, pin: str) -> dict[str, Any]:
    """The daemon's answer; says that it goes on trying when that takes more than a second."""
    slow = threading.Timer(SLOW_S, say, ("Still trying; a step that gets no answer is repeated for half a minute …",))
    slow.daemon = True
    slow.start()
    try:
        body = {"to": where, "pin": pin}
        answer: dict[str, Any] = daemon.call("POST", "/api/v1/pairing/join", body, timeout_s=JOIN_S)
    finally:
        slow.cancel()
    return answer


def _ask_pin() -> str:
    while True:
        typed: str = click.prompt("PIN", err=True)
        try:
            return parse_pin(typed)
        except MeshError as error:
            say(f"{error.detail}.")


def _pick(daemon: ControlClient) -> str:
    """The address of a node in sight that waits for a PIN. Raises `nobody_found`."""
    found = look_for_offers(daemon)
    if not found:
        raise _nobody(daemon)
    if len(found) == 1:
        say(f"Found {found[0]['name']} at {host_port(found[0]['host'], found[0]['port'])}.")
        return host_port(found[0]["host"], found[0]["port"])
    if not can_ask():
        names = ", ".join(f"{n['name']} ({host_port(n['host'], n['port'])})" for n in found)
        raise click.UsageError(f"More than one node waits for a PIN: {names}. Name one: meshnode join HOST:PORT")
    rows = [
        (str(i), n["name"], host_port(n["host"], n["port"]), short_id(n["id"])) for i, n in enumerate(found, start=1)
    ]
    print_table(("", "NAME", "ADDRESS", "ID"), rows)
    number: int = click.prompt("Which one", type=click.IntRange(1, len(found)), err=True)
    chosen = found[number - 1]
    return host_port(chosen["host"], chosen["port"])


def _nobody(daemon: ControlClient) -> MeshError:
    """The refusal; says first why nobody may be in sight."""
    in_sight = daemon.call("GET", "/api/v1/discovered")["nodes"]
    if in_sight:
        names = ", ".join(n["name"] for n in in_sight[:NAMED_MAX]) + (" …" if len(in_sight) > NAMED_MAX else "")
        return MeshError("nobody_found", f"in sight: {names}; but none waits for a PIN")
    from meshnode.cli.doctor import tell_network

    say("Nobody in sight. Looking for the reason …")
    tell_network(daemon)
    return MeshError("nobody_found", "no node in sight waits for a PIN")


def look_for_offers(daemon: ControlClient) -> list[dict[str, Any]]:
    """The nodes in sight that wait for a PIN: up to ten seconds for one, then one second for others."""
    started = time.monotonic()
    first_at: float | None = None
    told = False
    while True:
        found = [n for n in daemon.call("GET", "/api/v1/discovered")["nodes"] if n["pairing_open"]]
        now = time.monotonic()
        if found and first_at is None:
            first_at = now
        if (first_at is not None and now - first_at >= LOOK_ON_S) or now - started >= LOOK_S:
            return found
        if not told and now - started > 0.8:
            say("Looking for nodes that wait for a PIN …")
            told = True
        time.sleep(0.2)
