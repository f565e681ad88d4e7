"""Real `meshnode run` processes on loopback: start, ask, kill, start again on the same port; always cleaned up."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from meshnode.cli.control_client import ControlClient, daemon_of
from meshnode.domain.base64url import decode_base64url
from meshnode.domain.errors import MeshError

START_S = 30.0
STOP_S = 10.0
TABLES = ("mesh_nodes", "pending_acks", "pairing_codes", "failed_attempts")
T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T], deadline_s: float = 15.0) -> T:
    """The first true answer of `look`; AssertionError saying `what` was waited for."""
    until = time.monotonic() + deadline_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > until:
            raise AssertionError(f"waited {deadline_s} s for {what}; last seen: {seen!r}")
        time.sleep(0.02)


def read_rows(database: Path, table: str = "mesh_nodes") -> list[dict[str, Any]]:
    """The rows of a table, by plain sqlite3."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY rowid")]


class Offer:
    """What `POST offers` answered."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.id: str = answer["offer_id"]
        self.pin: str = answer["pin"]
        self.url: str = answer["url"]
        code, cert = self.url.rsplit("#", 1)[1].split(".")
        self.code: bytes = decode_base64url(code)
        self.cert: bytes = decode_base64url(cert)

    @property
    def wrong_pin(self) -> str:
        """Six digits that are not the PIN."""
        return f"{(int(self.pin) + 1) % 1_000_000:06d}"


class Asked:
    """What every kind of test node offers: its control API and its tables."""

    data: Path
    port: int

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 60.0) -> Any:
        """Ask over the control listener; raises the refusal."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """This node's id."""
        return str(next(row["id"] for row in self.rows() if row["is_current"]))

    @property
    def address(self) -> str:
        """HOST:PORT of the public listener."""
        return f"127.0.0.1:{self.port}"

    def rows(self, table: str = "mesh_nodes") -> list[dict[str, Any]]:
        """The rows of a table as last committed."""
        return read_rows(self.data / "meshnode.db", table)

    def row(self, node_id: str) -> dict[str, Any] | None:
        """One node's row."""
        return next((row for row in self.rows() if row["id"] == node_id), None)

    def trust(self, node_id: str) -> str | None:
        """The trust that the table gives a node."""
        row = self.row(node_id)
        return None if row is None else str(row["trust"])

    def dump(self, *tables: str) -> dict[str, list[dict[str, Any]]]:
        """The tables, to be compared."""
        return {table: self.rows(table) for table in tables or TABLES}

    def shown(self, node_id: str) -> dict[str, Any]:
        """One node as the owner sees it now."""
        answer: dict[str, Any] = self.call("GET", f"/api/v1/nodes/{node_id}")["node"]
        return answer

    def is_online(self, node_id: str) -> bool:
        """Whether the owner is shown that node as online."""
        return bool(self.shown(node_id)["status"] == "online")

    def offer(self) -> Offer:
        """Open an offer."""
        return Offer(self.call("POST", "/api/v1/pairing/offers", {}))

    def join(self, to: str, pin: str) -> Any:
        """Join a node; raises the refusal."""
        return self.call("POST", "/api/v1/pairing/join", {"to": to, "pin": pin})


class Node(Asked):
    """One `meshnode run`, and its data directory."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._control: ControlClient | None = None
        config = folder / "config.toml"
        config.touch()
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MESHNODE_")}
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "STATE_DIRECTORY", "CONFIGURATION_DIRECTORY", "NOTIFY_SOCKET"):
            kept.pop(name, None)
        self._environment = kept | {
            "MESHNODE_CONFIG": str(config),
            "MESHNODE_HEARTBEAT__INTERVAL_S": "0.5",
            "MESHNODE_HTTP__ANONYMOUS_PER_MINUTE": "1000000",
            **environment,
        }

    def start(self, program: tuple[str, ...] = ("-m", "meshnode"), **environment: str) -> Node:
        """Start, on the port of the last run if there was one; returns when it answers."""
        argv = [sys.executable, *program, "--data-dir", str(self.data), "run"]
        argv += ["--listen", f"127.0.0.1:{self.port}", "--control-port", "0", "--no-mdns"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=self._environment | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._control = wait_for("the node to start", self._answering, START_S)
        listener = self.call("GET", "/api/v1/node")["listeners"][0]
        self.port = int(re.fullmatch(r"https://127\.0\.0\.1:(\d+)", listener)[1])
        return self

    def _answering(self) -> ControlClient | None:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended at once: {self.log()[-2000:]}"
        client = daemon_of(self.data)
        if client is not None:
            try:
                client.call("GET", "/api/v1/node")
            except MeshError:
                return None
        return client

    def log(self) -> str:
        """What it wrote to its standard streams."""
        return (self.folder / "log").read_text(errors="replace")

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 60.0) -> Any:
        """See `Asked`."""
        assert self._control is not None, "not started"
        return self._control.call(method, path, body, timeout_s=timeout_s)

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(STOP_S)

    def stop(self) -> int:
        """A clean stop; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(STOP_S)

    def restart(self) -> Node:
        """Start the normal daemon again, after `kill` or `stop`."""
        if self.is_running:
            self.stop()
        return self.start()

    def close(self) -> None:
        """Leave nothing behind."""
        if self.is_running:
            self.kill()


class Nodes:
    """Makes nodes below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Node] = []

    def make(self, **environment: str) -> Node:
        """A node that has not been started."""
        node = Node(self._folder / f"node{len(self._made)}", **environment)
        self._made.append(node)
        return node

    def start(self, **environment: str) -> Node:
        """A running node."""
        return self.make(**environment).start()

    def close(self) -> None:
        """End every process."""
        for node in self._made:
            node.close()


@contextmanager
def running_nodes(folder: Path) -> Iterator[Nodes]:
    """Nodes that end with the block."""
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.close()
