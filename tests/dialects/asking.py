"""How the conformance drivers ask a node: HTTP and JSON-RPC over TLS, with any header; one shape for every answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.fakes.joiner import TIMEOUT_S, Answer, Joiner, tls_context
from tests.fakes.nodes import Asked


@dataclass(frozen=True)
class Outcome:
    """What came back, whichever wire it came over: `ok`, or the stable code of the refusal."""

    code: str
    status: int
    body: dict[str, Any] = field(default_factory=dict)
    retry_after_s: int | None = None
    node_id: str = ""  # of the row, after a pairing
    token: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it was done."""
        return self.code == "ok"


def outcome_of(answer: Answer, *, id_key: str = "", token_key: str = "") -> Outcome:
    """An HTTP answer; after a success id and token are read from these members."""
    retry = answer.headers.get("retry-after")
    code = answer.code  # asserts that a refusal is a problem document
    body = answer.json if answer.body else {}
    done = body if code == "ok" else {}
    return Outcome(
        code, answer.status, body, None if retry is None else int(retry), done.get(id_key, ""), done.get(token_key, "")
    )


def bearer(token: str | None) -> dict[str, str]:
    """The header, if there is a token."""
    return {} if not token else {"Authorization": f"Bearer {token}"}


def post(node: Asked, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """POST JSON to the public listener, on a connection of its own."""
    named = {"Content-Type": "application/json", **(headers or {})}
    return Joiner(node.port).request("POST", path, json.dumps(body).encode(), named)


def get(node: Asked, path: str, token: str | None = None) -> Answer:
    """GET from the public listener."""
    return Joiner(node.port).request("GET", path, None, bearer(token))


class RpcClient:
    """One `/ws`; leave it with `with`."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._connecting = connect(
            url,
            ssl=tls_context() if url.startswith("wss:") else None,
            additional_headers=dict(headers or {}),
            open_timeout=TIMEOUT_S,
            close_timeout=1,
            ping_interval=None,
            compression=None,
            proxy=None,
        )
        self._calls = 0
        self._ws: ClientConnection

    def __enter__(self) -> RpcClient:
        self._ws = self._connecting.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ws.close()

    def call(self, method: str, params: Any) -> dict[str, Any]:
        """The whole answer to a call; notifications are passed over."""
        self._calls += 1
        self._ws.send(json.dumps({"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}))
        while True:
            message: dict[str, Any] = json.loads(self._ws.recv(TIMEOUT_S))
            if message.get("id") == self._calls or "error" in message:
                return message

    def ask(self, method: str, params: Any) -> Outcome:
        """A call's outcome; our own errors carry code and status in `data`."""
        message = self.call(method, params)
        if "result" in message:
            return Outcome("ok", 200, message["result"])
        error = message["error"]
        data = error.get("data") or {}
        retry = data.get("retry_after")
        return Outcome(data.get("code", str(error["code"])), data.get("status", 400), error, retry)

    def closing(self, deadline_s: float) -> tuple[int, str] | None:
        """Code and reason of the close frame that comes within the deadline, None if none does."""
        try:
            with suppress(TimeoutError):
                while True:
                    self._ws.recv(deadline_s)
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd is not None else (1006, "")
        return None


def open_socket(node: Asked, token: str | None = None, headers: Mapping[str, str] | None = None) -> RpcClient:
    """The node's socket on the public listener; entering it raises `InvalidStatus` if the upgrade is refused."""
    return RpcClient(f"wss://{node.address}/ws", {**bearer(token), **(headers or {})})


def ask_once(
    node: Asked, method: str, params: Any, token: str | None = None, headers: Mapping[str, str] | None = None
) -> Outcome:
    """One call on a socket of its own; also why it was not opened, or was closed instead of an answer."""
    try:
        with open_socket(node, token, headers) as socket:
            return socket.ask(method, params)
    except InvalidStatus as error:
        response = error.response
        lowered = {k.lower(): v for k, v in response.headers.raw_items()}
        return outcome_of(Answer(response.status_code, lowered, bytes(response.body or b"{}")))
    except ConnectionClosed as error:
        return Outcome("closed", error.rcvd.code if error.rcvd is not None else 1006)
