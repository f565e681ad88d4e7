"""An ABPA3 client as somebody writes it from the app's own document, who has never heard of meshnode."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.joiner import TIMEOUT_S, Answer, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Asked

CLOSE = 8
OFFERS = "/api/v1/pairing/offers"


class UpgradeError(Exception):
    """The upgrade was answered otherwise."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status, answer.body)
        self.answer = answer


class WebSocket:
    """One socket, frame by frame (RFC 6455)."""

    def __init__(self, host: str, port: int, headers: dict[str, str], *, tls: bool) -> None:
        plain = socket.create_connection((host, port), TIMEOUT_S)
        self._sock = tls_context().wrap_socket(plain) if tls else plain
        lines = [
            "GET /ws HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]  # fmt: skip
        self._sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._file = self._sock.makefile("rb")
        status = int(self._file.readline().split()[1])
        answered = http.client.parse_headers(self._file)
        if status != 101:
            body = self._file.read(int(answered.get("Content-Length", 0)))
            self.drop()
            raise UpgradeError(Answer(status, {k.lower(): v for k, v in answered.items()}, body))
        self._calls = 0
        self.heard: list[dict[str, Any]] = []  # notifications

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def send(self, document: Any) -> None:
        """A text frame."""
        payload, mask = json.dumps(document).encode(), os.urandom(4)
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
        self._sock.sendall(b"\x81" + length + mask + masked)

    def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode, payload."""
        head = self._read(2)
        length = head[1]
        if length == 126:
            length = struct.unpack(">H", self._read(2))[0]
        return head[0] & 0x0F, self._read(length)

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise ConnectionError("the socket ended")
        return data

    def receive(self) -> dict[str, Any]:
        """The next document."""
        opcode, payload = self.frame()
        assert opcode == 1, (opcode, payload)
        document: dict[str, Any] = json.loads(payload)
        return document

    def call(self, method: str, params: Any) -> dict[str, Any]:
        """The whole answer to a JSON-RPC call; notifications in between are kept."""
        self._calls += 1
        self.send({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params})
        while True:
            document = self.receive()
            if document.get("id") == self._calls:
                return document
            self.heard.append(document)

    def closed(self) -> tuple[int, str]:
        """Wait for the close frame: its code and reason."""
        while True:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def drop(self) -> None:
        """Gone without a word."""
        self._file.close()
        self._sock.close()


class App:
    """What the app knows: where the gateway is, and once paired its key."""

    def __init__(self, qr: dict[str, Any], *, tls: bool) -> None:
        self.host, self.port, self.token = str(qr["host"]), int(qr["port"]), str(qr["pairToken"])
        self.tls = tls
        self.device_id = ""
        self.key = ""

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        if self.tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=TIMEOUT_S, context=tls_context()
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def pair(self, name: Any = "Pixel 7", device_type: Any = "mobile", headers: dict[str, str] | None = None) -> Answer:
        """`POST /api/pair`; the key is kept."""
        body = {"pairToken": self.token, "deviceInfo": {"name": name, "type": device_type}}
        answer = self.ask(
            "POST", "/api/pair", json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
        )
        if answer.status == 200:
            self.device_id, self.key = answer.json["deviceId"], answer.json["deviceKey"]
        return answer

    def connect(self, key: str | None = None, **headers: str) -> WebSocket:
        """The socket. Raises UpgradeError."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return WebSocket(
            self.host, self.port, {"Authorization": f"Device {self.key if key is None else key}", **named}, tls=self.tls
        )


def scan(node: Asked, **asked: Any) -> App:
    """An app that has just read the QR code of a new offer."""
    return App(node.call("POST", OFFERS, {"dialect": "abpa3", **asked})["qr"], tls=True)


def paired(node: Asked, name: str = "Pixel 7", key: str | None = None) -> App:
    """An app that has paired, presenting a key of its own if it has one."""
    app = scan(node)
    assert app.pair(name, headers=None if key is None else {"Authorization": f"Device {key}"}).status == 200
    return app


def refusal(app: App, key: str | None = None, **headers: str) -> Answer:
    """What a refused upgrade answers."""
    with pytest.raises(UpgradeError) as refused:
        app.connect(key, **headers)
    return refused.value.answer


# ── without TLS ────────────────────────────────────────────────────────────────────────────────────────────────────


def plain_node(folder: Path, **flags: Any) -> LocalNode:
    """A node, not yet started, that will answer old clients too."""
    return LocalNode(folder, **{"listen.plain": "127.0.0.1:0", **flags})


def plain_app(node: LocalNode) -> App:
    """An app that has paired over the plain listener."""
    app = App(node.call("POST", OFFERS, {"dialect": "abpa3"})["qr"], tls=False)
    assert app.port == node.plain_port
    assert app.pair().status == 200
    return app


def ask_plain(
    node: LocalNode, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """One request without TLS."""
    app = App({"host": "127.0.0.1", "port": node.plain_port, "pairToken": ""}, tls=False)
    return app.ask(method, path, body, headers)
