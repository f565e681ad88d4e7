"""`meshnode demo`: two throwaway nodes on this machine, paired, heartbeating, cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from meshnode.cli.control_client import ControlClient, daemon_of
from meshnode.cli.render import print_nodes, say
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing_code import format_pin

START_S: Final = 20.0
SETTLE_S: Final = 15.0
STOP_S: Final = 5.0
INTERVAL_S: Final = "0.5"
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
def demo() -> None:
    """Pair two throwaway nodes on this machine, in a few seconds, and show both tables."""
    for number in _ENDING[1:]:  # clean up then too
        signal.signal(number, _end)
    say("Two nodes on loopback, over real HTTPS. Loopback has no multicast, so they meet by invite instead of mDNS.")
    with ExitStack() as cleaning:
        folder = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="meshnode-demo-")))
        desktop = _start(cleaning, folder / "desktop", "Desktop", "desktop")
        server = _start(cleaning, folder / "server", "Home server", "server")
        offer = desktop.call("POST", "/api/v1/pairing/offers", {})
        say(f"Desktop shows PIN {format_pin(offer['pin'])} and the invite {offer['url']}")
        started = time.monotonic()
        server.call("POST", "/api/v1/pairing/join", {"to": offer["url"], "pin": offer["pin"]}, timeout_s=60)
        say(f"Home server joined in {(time.monotonic() - started) * 1000:.0f} ms. Heartbeats:")
        for client, name in ((desktop, "Desktop"), (server, "Home server")):
            nodes = _settled(client)
            click.echo(f"\n{click.style(name, bold=True)}: meshnode nodes")
            sys.stdout.flush()
            print_nodes(nodes)
        click.echo()
        say("Both tables hold both nodes. Cleaning up.")


def _end(number: int, _: Any) -> None:
    raise click.exceptions.Exit(128 + number)


def _start(cleaning: ExitStack, folder: Path, name: str, kind: str) -> ControlClient:
    folder.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MESHNODE_")}
    environment |= {"MESHNODE_HEARTBEAT__INTERVAL_S": INTERVAL_S, "MESHNODE_NODE__KIND": kind}
    environment["MESHNODE_CONFIG"] = str(folder / "config.toml")
    (folder / "config.toml").touch()
    log = cleaning.enter_context((folder / "log").open("w+"))
    argv = [sys.executable, "-m", "meshnode", "--data-dir", str(folder / "data"), "run"]
    argv += ["--listen", "127.0.0.1:0", "--control-port", "0", "--no-mdns"]
    with _undisturbed():
        process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        cleaning.callback(_stop, process)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        client = daemon_of(folder / "data")
        if client is not None:
            client.call("PATCH", "/api/v1/node", {"name": name})
            return client
        time.sleep(0.03)
    log.seek(0)
    raise MeshError("unreachable", f"the demo node {name} did not start: {log.read()[-500:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with _undisturbed():
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off a signal: one that came between starting a node and noting it would leave the node behind."""
    came: list[int] = []
    former = {number: signal.signal(number, lambda number, _: came.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, reaction in former.items():
            signal.signal(number, reaction)
        if came:
            os.kill(os.getpid(), came[0])


def _settled(client: ControlClient) -> list[dict[str, object]]:
    """The node's table, once a heartbeat has come after the pairing."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        nodes: list[dict[str, object]] = client.call("GET", "/api/v1/nodes")["nodes"]
        if len(nodes) == 2 and all(_has_beaten(n) for n in nodes):
            return nodes
        if time.monotonic() > deadline:
            raise MeshError("unreachable", "the demo nodes do not see each other")
        time.sleep(0.1)


def _has_beaten(node: dict[str, object]) -> bool:
    return bool(node["is_current"]) or (node["status"] == "online" and str(node["last_seen"]) > str(node["paired_at"]))
