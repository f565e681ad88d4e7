"""`meshnode requests`: what the owner is shown, and that exactly the named request is decided."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from websockets.sync.client import connect

from tests.e2e.machine import Machine
from tests.e2e.terminal import Terminal
from tests.fakes.joiner import tls_context

Make = Callable[[str], Machine]
KEYS = {"id", "code", "device_name", "device_type", "address", "expires_at"}


def ask(node: Machine, name: str, device_id: str | None = None) -> str:
    """A phone asks; its code."""
    device_id = device_id or str(uuid.uuid4())
    said = {"device_name": name, "device_type": "android", "client_version": "1", "device_id": device_id}
    call = {"jsonrpc": "2.0", "id": 1, "method": "node.pair.request", "params": said}
    with connect(f"wss://127.0.0.1:{node.port}/ws", ssl=tls_context(), compression=None, proxy=None) as socket:
        socket.send(json.dumps(call))
        code: str = json.loads(socket.recv(10))["result"]["pairing_code"]
    return code


def listed(node: Machine) -> dict[str, dict[str, Any]]:
    """The waiting requests by code."""
    return {request["code"]: request for request in node.ask("requests", "list")["requests"]}


def test_requests_are_listed_approved_and_rejected(machine: Make) -> None:
    """JSON as promised, a plain table in a pipe, and one sentence on what was decided."""
    node = machine("a").start()
    assert node.run("requests", "list").stderr == "No device is asking.\n"
    pixel, tablet = ask(node, "Pixel\x1b[31m 7"), ask(node, "Tablet")
    requests = listed(node)
    assert requests[pixel].keys() >= KEYS | {"is_duplicate", "is_approved", "dialect"}
    assert (requests[pixel]["device_name"], requests[pixel]["dialect"]) == ("Pixel[31m 7", "aisopod")

    table = node.run("requests", "list").stdout.splitlines()
    assert table[0].split() == ["CODE", "NAME", "TYPE", "ADDRESS", "LEFT", "ID", "NOTE"]
    shown = rf"{pixel[:3]} {pixel[3:]}  Pixel\[31m 7 +android +127\.0\.0\.1 +[45]:\d\d +{requests[pixel]['id']}"
    assert re.match(shown, table[1])

    pixel_id, tablet_id = requests[pixel]["id"], requests[tablet]["id"]
    approved = node.run("requests", "approve", pixel_id[:8].upper())
    assert (approved.returncode, approved.stdout) == (0, "")
    assert approved.stderr == (
        f"Approved Pixel[31m 7 (android, 127.0.0.1), code {pixel[:3]} {pixel[3:]}, request {pixel_id}.\n"
    )
    assert node.ask("requests", "reject", tablet_id)["request"]["id"] == tablet_id
    (left,) = listed(node).values()
    assert (left["id"], left["is_approved"]) == (pixel_id, True)


def test_a_request_is_named_without_doubt(machine: Make) -> None:
    """Too short, unknown or fitting two: refused, and nothing is decided."""
    node = machine("a").start()
    ask(node, "One")
    (request,) = listed(node).values()
    for wrong in (request["id"][:3], "ffffffff-nobody", ""):
        refused = node.run("requests", "approve", wrong)
        assert (refused.returncode, "[request_unknown]" in refused.stderr) == (1, True)
    assert not listed(node)[request["code"]]["is_approved"]


def test_a_terminal_is_warned_of_a_duplicate_id(machine: Make) -> None:
    """Both requests say so, and the approval tells what became of the other."""
    node, device_id = machine("a").start(), str(uuid.uuid4())
    code = ask(node, "Pixel 7", device_id)
    ask(node, "Pixel 7", device_id)
    with Terminal(node, "requests", "list") as terminal:
        terminal.expect("requests approve ID")
        assert terminal.seen.count("duplicate id") == 2
    approved = node.run("requests", "approve", listed(node)[code]["id"])
    assert "The other requests with its device id were rejected." in approved.stderr
    assert list(listed(node)) == [code]
