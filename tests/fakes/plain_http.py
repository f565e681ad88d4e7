"""Plain HTTP to a control listener, with any header and without the client under test."""

from __future__ import annotations

import http.client

from tests.fakes.joiner import TIMEOUT_S, Answer


def ask_control(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request; `Host` is the address unless a header says otherwise."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, body, {"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()
