"""Rows `fan-out`, `tls-socket`, `thin-client`: events to 500 sockets, what one costs, and a device's token."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.bench.measure import Goal, Row, Spread
from tests.bench.processes import ROOT, Subject, free_port, wait_for
from tests.bench.seed import TOKENS, Seeded

SOCKETS = 500
EVENTS = 100  # a round
ROWS = ("fan-out", "tls-socket", "thin-client")
KIB = 1024


class Client:
    """The process that holds the other ends."""

    def __init__(self, url: str, tokens: Path | None) -> None:
        argv = [sys.executable, "-m", "tests.bench.socket_client", url, str(SOCKETS), str(tokens or "-")]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def __enter__(self) -> Self:
        return self

    def ask(self, verb: str, *arguments: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join((verb, *map(str, arguments))) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the client ended at {verb}")
        found: dict[str, Any] = json.loads(line)
        return found

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Node(Subject):
    """The daemon with a session for every seeded peer."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data, self.port = folder / "data", free_port()
        folder.mkdir(parents=True)
        Seeded.make(self.data, SOCKETS // 4 + 1)
        argv = [sys.executable, "-m", "tests.bench.ingest_node", str(self.port), str(self.data), *options]
        super().__init__(argv, folder)
        self.tokens = self.data / TOKENS
        wait_for(lambda: self.check() and self.tokens.exists(), "the node did not start")


def _fan_out(subject: Subject, client: Client) -> tuple[float, float]:
    """(deliveries a second of the server's CPU, a second of the clock)."""
    cpu = subject.cpu_s
    done = client.ask("publish", EVENTS)
    cpu = subject.cpu_s - cpu
    return done["deliveries"] / cpu, done["deliveries"] / done["seconds"]


def fan_out(folder: Path, rounds: int) -> list[Row]:
    """The same events through bare aiohttp and through the node; per CPU second, as the client limits the rate."""
    row = Row("fan-out", f"events to {SOCKETS} sockets", "/s", Goal(0.7, at_least=True), "bare aiohttp WebSockets")
    port = free_port()
    bare_argv = [sys.executable, "-m", "tests.bench.fan_out_server", str(port)]
    clocked: list[tuple[float, float]] = []
    with Subject(bare_argv, folder / "bare") as bare, Node(folder / "node", "--plain") as node:
        wait_for(lambda: bare.check() and _accepts(port), "the bare server did not start")
        with (
            Client(f"http://127.0.0.1:{port}/ws", None) as of_bare,
            Client(f"http://127.0.0.1:{node.port}/ws", node.tokens) as of_node,
        ):
            of_bare.ask("connect")
            of_node.ask("connect")
            for number in range(rounds + 1):
                subjects = [(bare, of_bare), (node, of_node)]
                found = {subject: _fan_out(subject, client) for subject, client in subjects[:: 1 if number % 2 else -1]}
                if number:  # the first is to warm up
                    row.values.append(found[node][0])
                    row.baseline.append(found[bare][0])
                    clocked.append((found[node][1], found[bare][1]))
    own = Spread.of([of_node for of_node, _ in clocked]).median
    base = Spread.of([of_bare for _, of_bare in clocked]).median
    row.notes.append(f"per CPU second of the server; by the clock {own:,.0f}/s against {base:,.0f}/s")
    return [row]


def _accepts(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def tls_socket(folder: Path, rounds: int) -> list[Row]:
    """Resident memory of the node with 500 subscribed TLS sockets, less without, each."""
    row = Row("tls-socket", "memory per TLS socket", "KiB", Goal(100), "none", judge_value=True)
    for number in range(rounds):
        with Node(folder / str(number)) as node:
            before = node.rss_bytes
            with Client(f"https://127.0.0.1:{node.port}/ws", node.tokens) as client:
                client.ask("connect")
                client.ask("publish", 1)
                row.values.append((node.rss_bytes - before) / SOCKETS / KIB)
    return [row]


def thin_client(folder: Path, rounds: int, seconds: float) -> list[Row]:
    """The same request with a device's token and without one."""
    row = Row("thin-client", "a request with a device's token", "/s", Goal(0.90, at_least=True), "without a token")
    wrk = shutil.which("wrk")
    if wrk is None:
        row.problems.append("needs wrk")
        return [row]
    with Node(folder / "node", "--plain", "--device") as node:
        token = node.tokens.read_text().splitlines()[-1].split()[0]
        url = f"http://127.0.0.1:{node.port}/healthz"
        for number in range(rounds + 1):
            rates = {}
            for header in (None, f"Authorization: Device {token}")[:: 1 if number % 2 else -1]:
                argv = [wrk, "-t1", "-c8", f"-d{max(1, round(seconds))}s", url, *(["-H", header] if header else [])]
                done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
                if "Non-2xx" in done:
                    raise RuntimeError(done)
                rates[header] = float(done.split("Requests/sec:")[1].split()[0])
            if number:
                row.values.append(rates[f"Authorization: Device {token}"])
                row.baseline.append(rates[None])
    return [row]


def sockets(folder: Path, rounds: int, seconds: float, wanted: set[str]) -> list[Row]:
    """The wanted rows."""
    rows: list[Row] = []
    runs: Sequence[tuple[str, Any]] = (
        ("fan-out", lambda at: fan_out(at, rounds)),
        ("tls-socket", lambda at: tls_socket(at, rounds)),
        ("thin-client", lambda at: thin_client(at, rounds, seconds)),
    )
    for name, run in runs:
        if name in wanted:
            rows += run(folder / name)
    return rows
