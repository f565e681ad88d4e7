"""The owner's API of a node of the lab: what a command would ask, without starting one."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.machine import Machine, in_namespace


def call(node: Machine, method: str, path: str, body: Any = None) -> Any:
    """What the control listener answers to a request below /api/v1/ that succeeds."""
    control = json.loads((node.data / "control.json").read_text())
    headers = {"Authorization": f"Bearer {control['token']}", "Content-Type": "application/json"}

    def ask() -> Any:
        connection = http.client.HTTPConnection(urlsplit(control["url"]).netloc, timeout=15)
        with contextlib.closing(connection):
            connection.request(method, f"/api/v1/{path}", json.dumps(body or {}), headers)
            response = connection.getresponse()
            answer = json.load(response)
            assert response.status in (200, 201), (method, path, answer)
            return answer

    return in_namespace(node.namespace, ask)
