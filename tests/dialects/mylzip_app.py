"""An app that speaks mylzip's pairing API, written from its guide, and the owner who makes codes for it."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

from tests.fakes.joiner import TIMEOUT_S, Answer, Joiner, tls_context
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Asked
from tests.fakes.plain_http import ask_control

CODE, PAIR, TRUST = (f"/api/v1/encrypted/devices/{name}" for name in ("pairing-code", "pair", "trust"))
JSON = {"Content-Type": "application/json"}


class App:
    """One device; `token` once it has paired."""

    def __init__(self, node: Asked, device_id: str = "device_123") -> None:
        self.node = node
        self.id = device_id
        self.token: str | None = None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request over TLS, with the token if there is one."""
        own = {"Authorization": f"Device {self.token}"} if self.token else {}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return Joiner(self.node.port).request(method, path, data, {**JSON, **own, **headers})

    def pair(self, code: str, trust_data: str = "encrypted-trust-information", **said: Any) -> Answer:
        """Redeem a code; keeps the token."""
        body = {"deviceId": self.id, "pairingCode": code, "encryptedTrustData": trust_data, **said}
        answer = self.send("POST", PAIR, body)
        if answer.status == 200:
            self.token = answer.json["deviceToken"]
        return answer

    def make(self, **asked: Any) -> Answer:
        """Make a code in its own name, unless `deviceId` says otherwise."""
        return self.send("POST", CODE, {"deviceId": self.id, **asked})


def by_owner(node: LocalNode, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request of the owner's."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    owner = {"Authorization": f"Bearer {node.owner_token}", **JSON, **headers}
    return ask_control(node.control_address, method, path, data, owner)


def make_code(node: LocalNode, device_id: str | None = None, **asked: Any) -> str:
    """A code the owner has made, for this node unless a device is named."""
    answer = by_owner(node, "POST", CODE, {"deviceId": device_id or node.id, **asked})
    assert answer.status == 200, answer.body
    return str(answer.json["pairingCode"])


def paired(node: LocalNode, device_id: str, level: int = 1, **said: Any) -> App:
    """A device that has paired by a code of this node's."""
    app = App(node, device_id)
    answer = app.pair(make_code(node, device_id=f"for-{device_id}"), **said)
    assert answer.status == 200, answer.body
    if level != 1:
        node.call("PUT", f"/api/v1/nodes/{device_id}/trust", {"level": level})
    return app


def send_at_once(node: Asked, path: str, bodies: list[bytes]) -> list[Answer]:
    """Requests on connections that stand already, let go in the same moment."""
    gate = threading.Barrier(len(bodies))
    answers: list[Answer] = []

    def send(body: bytes) -> None:
        connection = http.client.HTTPSConnection("127.0.0.1", node.port, timeout=TIMEOUT_S, context=tls_context())
        try:
            connection.connect()
            gate.wait(TIMEOUT_S)
            connection.request("POST", path, body, {**JSON, "Connection": "close"})
            response = connection.getresponse()
            answers.append(Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()))
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    return answers
