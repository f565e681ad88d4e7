"""A machine with meshnode on it: its own home, data and configuration; commands run as a person runs them."""

import contextlib
import ctypes
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.e2e.lab import Lab
from tests.fakes.nodes import START_S

T = TypeVar("T")
LOOPBACK = ("--listen", "127.0.0.1:0", "--control-port", "0", "--no-mdns")
CLONE_NEWNET = 0x40000000
KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START")


def eventually(look: Callable[[], T], what: str, timeout_s: float = 15.0) -> T:
    """What `look` returns, once that is true."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:.0f} s; last seen {found!r}")
        time.sleep(0.05)


def in_namespace(name: str | None, call: Callable[[], T]) -> T:
    """What `call` returns in a thread that is in a network namespace."""
    if name is None:
        return call()
    returned: list[T] = []

    def enter() -> None:
        with open(f"/run/netns/{name}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {name}")
        returned.append(call())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    return returned[0]


class Machine:
    """One data directory and the commands on it; `close` ends the node."""

    def __init__(
        self, folder: Path, *, enter: Sequence[str] = (), flags: Sequence[str] = LOOPBACK, python: str = sys.executable
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.argv = [*enter, python, "-m", "meshnode"]
        self.flags = list(flags)
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environment |= {
            "HOME": str(folder),
            "MESHNODE_DATA_DIR": str(self.data),
            "MESHNODE_HEARTBEAT__INTERVAL_S": "0.5",
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.namespace: str | None = None

    @classmethod
    def in_lab(cls, lab: Lab, host: str, folder: Path, *, flags: Sequence[str] = (), name: str = "") -> "Machine":
        """A machine of the lab, called after its host, listening where a user's would."""
        rename = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name or f"host-{host}")
        machine = cls(folder / host, enter=("ip", "netns", "exec", lab.namespace(host), *rename), flags=flags)
        machine.namespace = lab.namespace(host)
        return machine

    def run(self, *argv: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """A command to its end: no terminal, 30 s."""
        options = {"stdin": subprocess.DEVNULL, **options} if "input" not in options else options
        options = {"env": self.environment, "cwd": self.folder, "timeout": 30, **options}
        return subprocess.run([*self.argv, *argv], capture_output=True, text=True, **options)

    def ask(self, *argv: str) -> Any:
        """What a command answers with --json."""
        done = self.run(*argv, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def popen(self, *argv: str, **options: Any) -> "subprocess.Popen[Any]":
        """A command that goes on; the caller ends it."""
        return subprocess.Popen([*self.argv, *argv], **{"env": self.environment, "cwd": self.folder, **options})

    def start(self, *flags: str) -> "Machine":
        """Run the node until its ports accept."""
        logged = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            argv = ("run", *self.flags, *flags)
            self.process = self.popen(*argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        running = self.process

        def is_listening() -> bool:
            assert running.poll() is None, f"ended with {running.returncode}: {self.log.read_text()[logged:]}"
            return " listens on " in self.log.read_text()[logged:]

        eventually(is_listening, "the node did not start", START_S)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the node and wait for its end: the exit code."""
        assert self.process
        self.process.send_signal(number)
        code = self.process.wait(15)
        self.process = None
        return code

    def close(self) -> None:
        """End the node, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def api(self, path: str) -> Any:
        """What the control listener answers: cheaper than a command, for waiting."""
        control = json.loads((self.data / "control.json").read_text())

        def call() -> Any:
            connection = http.client.HTTPConnection(urlsplit(control["url"]).netloc, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", f"/api/v1/{path}", headers={"Authorization": f"Bearer {control['token']}"})
                response = connection.getresponse()
                assert response.status == 200, response.read()
                return json.load(response)

        return in_namespace(self.namespace, call)

    @property
    def port(self) -> int:
        """Where the others reach it."""
        return int(self.api("node")["node"]["port"])

    @property
    def id(self) -> str:
        return str(json.loads((self.data / "node_identity.json").read_text())["id"])

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Its nodes by id."""
        return {node["id"]: node for node in self.api("nodes")["nodes"]}

    def offer(self) -> Any:
        """Open an offer and leave it open."""
        return self.ask("pair", "--no-wait")

    def pair_with(self, other: "Machine") -> None:
        """`other` joins by invite; both then hold the other as paired."""
        offer = self.offer()
        other.ask("join", offer["url"], "--pin", offer["pin"])
        eventually(lambda: self.sees(other, "online"), "the pairing is not confirmed")

    def sees(self, other: "Machine", status: str, reason: str | None = None) -> bool:
        """Whether the other is paired here and has this status."""
        node = self.nodes().get(other.id)
        if node is None or node["trust"] != "paired" or node["status"] != status:
            return False
        return reason is None or node["status_reason"] == reason

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        """`mesh_nodes`, ordered by id, read beside the running node."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data / 'meshnode.db'}?mode=ro", uri=True)) as connection:
            return connection.execute(f"SELECT {columns} FROM mesh_nodes ORDER BY id").fetchall()
