"""Every request that ABPA3's own document prints, as it prints it, and the answers' shapes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.abpa3_app import App, UpgradeError, WebSocket, plain_node
from tests.fakes.local_node import LocalNode

REQUEST = """\
{
  "pairToken": "a8f9c1d2e4",
  "deviceInfo": {
    "name": "Pixel 7",
    "type": "mobile"
  }
}
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LocalNode]:
    """A node that answers old clients without TLS."""
    node = plain_node(tmp_path / "gateway")
    try:
        yield node.start()
    finally:
        node.close()


def scan(gateway: LocalNode) -> dict[str, Any]:
    """What a client reads from the QR code."""
    qr: dict[str, Any] = gateway.call("POST", "/api/v1/pairing/offers", {"dialect": "abpa3"})["qr"]
    return qr


def test_the_qr_code_carries_exactly_the_printed_members(gateway: LocalNode) -> None:
    """host, port, pairToken, expires: text, number, text, whole Unix seconds; nothing else."""
    qr = scan(gateway)
    assert set(qr) == {"host", "port", "pairToken", "expires"}
    assert qr["host"] == "127.0.0.1"
    assert qr["port"] == gateway.plain_port, "a client that speaks ws:// only has to find the listener without TLS"
    assert re.fullmatch(r"[0-9a-f]{32}", qr["pairToken"])
    assert type(qr["expires"]) is int
    assert 0 < qr["expires"] - time.time() <= 300


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json"}, {"Content-Type": "text/plain"}, {}])
def test_the_printed_pairing_request_gets_the_printed_answer(gateway: LocalNode, headers: dict[str, str]) -> None:
    """POST /api/pair, the body as printed but for the token: deviceId pixel7, a deviceKey that begins dev_.

    The document names no Content-Type.
    """
    qr = scan(gateway)
    app = App(qr, tls=False)
    body = REQUEST.replace("a8f9c1d2e4", qr["pairToken"]).encode()
    answer = app.ask("POST", "/api/pair", body, headers)
    assert answer.status == 200, answer
    assert answer.json["deviceId"] == "pixel7"
    assert re.fullmatch(r"dev_[A-Za-z0-9_-]{43}", answer.json["deviceKey"])
    assert set(answer.json) == {"deviceId", "deviceKey", "node"}
    assert answer.json["node"]["id"] == gateway.id
    row = gateway.row("pixel7")
    assert row is not None
    assert (row["name"], row["kind"], row["trust"], row["dialect"]) == ("Pixel 7", "phone", "paired", "abpa3")
    assert (row["hostname"], json.loads(row["metadata"])) == ("127.0.0.1", {"type": "mobile"})


def test_the_printed_token_itself_is_unknown(gateway: LocalNode) -> None:
    """The body to the letter: ten hex digits are no token of ours; a problem with a code and `error`."""
    app = App(scan(gateway), tls=False)
    answer = app.ask("POST", "/api/pair", REQUEST.encode(), {"Content-Type": "application/json"})
    assert (answer.status, answer.code) == (404, "code_unknown")
    assert answer.json["error"]
    assert gateway.row("pixel7") is None


def test_the_printed_socket_url_with_the_printed_header(gateway: LocalNode) -> None:
    """ws://HOST:PORT/ws with `Authorization: Device KEY`: the channel of agent updates, voice state and UI sync."""
    app = App(scan(gateway), tls=False)
    assert app.pair().status == 200
    headers = {"Authorization": f"Device {app.key}"}
    with (
        WebSocket("127.0.0.1", gateway.plain_port, headers, tls=False) as one,
        WebSocket("127.0.0.1", gateway.plain_port, headers, tls=False) as other,
    ):
        assert "result" in one.call("event.subscribe", {"topics": ["app.voice.*"]})
        assert other.call("event.publish", {"topic": "app.voice.state", "data": {"speaking": True}})["result"] == {}
        event = one.receive()
    assert (event["method"], event["params"]["topic"]) == ("event", "app.voice.state")
    assert event["params"]["data"] == {"speaking": True}


def test_the_printed_key_is_refused_before_the_upgrade(gateway: LocalNode) -> None:
    """`Device dev_92fd8a71e5c4` was never handed out here."""
    app = App(scan(gateway), tls=False)
    with pytest.raises(UpgradeError) as refused:
        app.connect("dev_92fd8a71e5c4")
    assert refused.value.answer.status == 401


def test_the_registry_has_the_printed_members_but_the_keys(gateway: LocalNode) -> None:
    """`devices` with deviceId, lastSeen as RFC 3339 in UTC, revoked; deviceKey is never displayed again."""
    app = App(scan(gateway), tls=False)
    assert app.pair().status == 200
    [device] = gateway.call("GET", "/api/devices")["devices"]
    assert set(device) == {"deviceId", "lastSeen", "revoked"}
    assert (device["deviceId"], device["revoked"]) == ("pixel7", False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", device["lastSeen"])
