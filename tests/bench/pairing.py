"""Rows `pairing`, `pairing-invite` and `failures`: the whole ceremony between two daemons, over TLS."""

import functools
import os
import socket
import sqlite3
import statistics
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from meshnode.cli.control_client import ControlClient
from meshnode.domain.errors import MeshError
from tests.bench.measure import Goal, Row
from tests.bench.processes import ROOT, Daemon, Subject, free_port, wait_for

PAIRINGS_PER_ROUND = 5
HAP_PYTHON = os.environ.get("BENCH_HAP_PYTHON", "")  # an interpreter that has HAP-python and aiohomekit
NO_LIMIT = {"MESHNODE_HTTP__ANONYMOUS_PER_MINUTE": "1000000"}  # thousands of strangers a minute are not the subject


class Pair:
    """Two running daemons, strangers to each other."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        daemons = [stack.enter_context(Daemon(folder / name, "--no-mdns", **NO_LIMIT)) for name in ("host", "joiner")]
        self._databases = [daemon.data / "meshnode.db" for daemon in daemons]
        self._host, self._joiner = (daemon.control() for daemon in daemons)
        self._ids: list[str] = [client.call("GET", "/api/v1/node")["node"]["id"] for client in self._clients]
        listener: str = self._host.call("GET", "/api/v1/node")["listeners"][0]
        self._address = listener.removeprefix("https://")

    @property
    def _clients(self) -> tuple[ControlClient, ControlClient]:
        return (self._host, self._joiner)

    def join(self, way: str) -> float:
        """Milliseconds of the joiner's `join`, the right PIN given. Raises MeshError if it fails."""
        offer: dict[str, Any] = self._host.call("POST", "/api/v1/pairing/offers", {})
        to = offer["url"] if way == "invite" else self._address
        began = time.perf_counter()
        self._joiner.call("POST", "/api/v1/pairing/join", {"to": to, "pin": offer["pin"]}, timeout_s=60)
        return (time.perf_counter() - began) * 1000

    def check_stored(self) -> None:
        """Both files, read by plain sqlite3, hold the other node as paired. Raises RuntimeError."""
        for database, other in zip(self._databases, reversed(self._ids), strict=True):
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                found = connection.execute("SELECT trust FROM mesh_nodes WHERE id = ?", (other,)).fetchall()
            if found != [("paired",)]:
                raise RuntimeError(f"{database} holds {found} for the other node")

    def part(self) -> None:
        """Strangers again."""
        self._host.call("DELETE", "/api/v1/pairing/offers")
        for client, other in zip(self._clients, reversed(self._ids), strict=True):
            try:
                client.call("DELETE", f"/api/v1/nodes/{other}")
            except MeshError as error:
                if error.code != "node_unknown":
                    raise


class Homekit:
    """HAP-python and aiohomekit: a fresh accessory for every pairing, one controller for all."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._made = 0
        self.failed = 0
        self._controller = stack.enter_context(
            subprocess.Popen(
                [HAP_PYTHON, str(ROOT / "tests/bench/hap_controller.py"), str(folder / "pairing.json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(self._controller.terminate)

    def pair(self) -> float:
        """Milliseconds of one pair-setup; a failed one is counted and done again."""
        while True:
            self._made += 1
            port = free_port()
            script = str(ROOT / "tests/bench/hap_accessory.py")
            state = str(self._folder / f"{self._made}.state")
            with Subject([HAP_PYTHON, script, str(port), state], self._folder) as accessory:
                wait_for(functools.partial(_accepts, port, accessory), "the accessory did not start")
                answer = self._ask(port)
            if not answer.startswith("failed"):
                return float(answer)
            self.failed += 1
            if self.failed > 20:
                raise RuntimeError(f"HAP pair-setup: {answer}")

    def _ask(self, port: int) -> str:
        if self._controller.stdin is None or self._controller.stdout is None:
            raise RuntimeError("no pipes")
        print(port, file=self._controller.stdin, flush=True)
        answer: str = self._controller.stdout.readline().strip()
        if not answer:
            raise RuntimeError("the controller ended")
        return answer


def _accepts(port: int, subject: Subject) -> bool:
    subject.check()
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def full_pairing(folder: Path, rounds: int, wanted: set[str]) -> list[Row]:
    """Medians of some pairings by each way and of as many pair-setups, in turn, in every round."""
    goal, against = Goal(0.15), "HAP-python + aiohomekit"
    rows = {
        "pin": Row("pairing", "full pairing, PIN alone, two processes", "ms", goal, against),
        "invite": Row("pairing-invite", "full pairing, invite, two processes", "ms", goal, against),
    }
    rows = {way: row for way, row in rows.items() if row.name in wanted}
    with ExitStack() as stack:
        pair = Pair(folder / "mesh", stack)
        homekit = Homekit(folder / "hap", stack) if HAP_PYTHON else None
        for number in range(rounds + 1):
            taken: dict[str, list[float]] = {name: [] for name in (*rows, "hap")}
            for _ in range(PAIRINGS_PER_ROUND if number else 2):
                for way in rows:
                    taken[way].append(pair.join(way))
                    pair.check_stored()
                    pair.part()
                if homekit is not None:
                    taken["hap"].append(homekit.pair())
            if not number:  # the first is to warm up
                continue
            for way, row in rows.items():
                row.values.append(statistics.median(taken[way]))
                if homekit is not None:
                    row.baseline.append(statistics.median(taken["hap"]))
                row.notes[:] = [f"each value is the median of {PAIRINGS_PER_ROUND}; both tables read after each"]
        if homekit is None:
            for row in rows.values():
                row.against = "not measured: HAP-python and aiohomekit are not installed"
        elif homekit.failed:
            rows[next(iter(rows))].notes.append(f"{homekit.failed} right-PIN pair-setups of HAP failed, not counted")
    return list(rows.values())


def failures(folder: Path, count: int) -> list[Row]:
    """Right-PIN pairings that fail, both ways in turn; a failed one is counted and the next begins."""
    row = Row("failures", f"right-PIN pairings that fail, of {count}", "", Goal(0), "none", judge_value=True)
    taken = []
    failed: dict[str, int] = {}
    with ExitStack() as stack:
        pair = Pair(folder, stack)
        for number in range(count):
            try:
                taken.append(pair.join("invite" if number % 2 else "pin"))
                pair.check_stored()
            except (MeshError, RuntimeError) as error:
                reason = error.code if isinstance(error, MeshError) else str(error)
                failed[reason] = failed.get(reason, 0) + 1
            pair.part()
    row.values.append(sum(failed.values()))
    row.notes += [f"{times} × {reason}" for reason, times in failed.items()]
    if taken:
        row.notes.append(f"median {statistics.median(taken):.1f} ms, slowest {max(taken):.1f} ms")
    return [row]
