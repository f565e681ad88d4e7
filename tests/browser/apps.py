"""An aisopod app on a host of the lab: asks to pair, shows its code, waits, as its reference document says."""

from __future__ import annotations

import json
import ssl
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

from tests.dialects.aisopod_app import PHONE
from tests.e2e.lab import Lab
from tests.e2e.machine import in_namespace

ANSWER_S = 10.0


class WaitingApp:
    """One open socket with its request; ended when left."""

    def __init__(self, lab: Lab, host: str, name: str, device_id: str = PHONE["device_id"]) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.device_id = device_id
        self._open = ExitStack()
        address = f"wss://{lab.address('node')}:6969/ws"
        # the socket is made in the host's network, and stays in it
        wire = in_namespace(lab.namespace(host), lambda: self._open.enter_context(connect(address, ssl=context)))
        self._wire = wire
        self._calls = 0
        asked = self._ask("node.pair.request", {**PHONE, "device_name": name, "device_id": device_id})
        self.code = str(asked["result"]["pairing_code"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def _ask(self, method: str, params: Any) -> Any:
        self._calls += 1
        self._wire.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": self._calls}))
        while True:
            frame = json.loads(self._wire.recv(timeout=ANSWER_S))
            if frame.get("id") == self._calls:
                return frame

    def _confirm(self) -> Any:
        return self._ask("node.pair.confirm", {"pairing_code": self.code, "device_id": self.device_id})

    def token(self) -> str:
        """Wait to be told of the approval; the token."""
        while json.loads(self._wire.recv(timeout=ANSWER_S)).get("method") != "node.pair.approved":
            pass
        return str(self._confirm()["result"]["device_token"])

    def refusal(self) -> str:
        """Why there is no token: our own code of the error."""
        return str(self._confirm()["error"]["data"]["code"])
