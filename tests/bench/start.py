"""Rows `start` and `memory`: from exec to the first 200, and what an idle node occupies."""

import http.client
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import Goal, Row
from tests.bench.processes import Daemon, Subject, free_port

STARTS_PER_ROUND = 3
SETTLE_S = 12.0  # at least; then until five seconds bring no change
SETTLE_MAX_S = 60.0
MIB = 1024 * 1024

Start = Callable[[int], Subject]


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _floor(folder: Path) -> Start:
    return lambda port: Subject(
        [sys.executable, "-m", "tests.bench.floor_server", str(port), str(folder / "floor.db")], folder
    )


def _until_200(start: Start, tls: ssl.SSLContext | None) -> tuple[float, float]:
    """(milliseconds from exec to the first 200, CPU milliseconds the process had used by then)."""
    port = free_port()
    began = time.perf_counter()
    with start(port) as subject:
        while True:
            try:
                sock = socket.create_connection(("127.0.0.1", port), timeout=5)
                break
            except ConnectionRefusedError:
                subject.check()
                time.sleep(0.001)
        if tls is not None:
            sock = tls.wrap_socket(sock)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.sock = sock
        connection.request("GET", "/healthz")
        if connection.getresponse().status != 200:
            raise RuntimeError("/healthz did not answer 200")
        taken_ms = (time.perf_counter() - began) * 1000
        cpu_ms = subject.cpu_s * 1000
        sock.close()
    return taken_ms, cpu_ms


def cold_start(folder: Path, rounds: int) -> list[Row]:
    """meshnode on an existing data directory, mDNS on, first 200 over TLS; the floor answers without TLS."""
    row = Row("start", "cold start, exec to first 200 (TLS)", "ms", Goal(1.1), "the floor, without TLS")
    tls = _tls()
    floor = _floor(folder / "floor")

    def node(port: int) -> Subject:
        return Daemon(folder / "node", port=port)

    first, _ = _until_200(node, tls)
    _until_200(floor, None)
    cpu: list[float] = []
    for number in range(rounds):
        taken: dict[str, list[tuple[float, float]]] = {"floor": [], "node": []}
        for turn in range(STARTS_PER_ROUND):
            order = ("floor", "node") if (number + turn) % 2 else ("node", "floor")
            for who in order:
                taken[who].append(_until_200(floor, None) if who == "floor" else _until_200(node, tls))
        row.values.append(min(ms for ms, _ in taken["node"]))
        row.baseline.append(min(ms for ms, _ in taken["floor"]))
        cpu.append(min(used for _, used in taken["node"]) / min(used for _, used in taken["floor"]))
    row.notes.append(f"each value is the fastest of {STARTS_PER_ROUND} starts")
    row.notes.append(f"CPU until then, ratio {statistics.median(cpu):.2f} [{min(cpu):.2f}–{max(cpu):.2f}]")
    row.notes.append(f"the very first start, which makes keys and database: {first:.0f} ms (once)")
    return [row]


def _settled(subjects: list[Subject]) -> list[int]:
    """RSS of each, once none of them has moved by more than 64 KiB for five seconds."""
    began = still_since = time.monotonic()
    last = [subject.rss_bytes for subject in subjects]
    while time.monotonic() - began < SETTLE_S or time.monotonic() - still_since < 5:
        if time.monotonic() - began > SETTLE_MAX_S:
            raise TimeoutError("memory did not settle")
        time.sleep(0.5)
        now = [subject.rss_bytes for subject in subjects]
        if any(abs(a - b) > 64 * 1024 for a, b in zip(now, last, strict=True)):
            last, still_since = now, time.monotonic()
    return [subject.rss_bytes for subject in subjects]


def idle_memory(folder: Path, rounds: int) -> list[Row]:
    """Resident memory without peers, mDNS on and settled; the floor has only imported zeroconf."""
    row = Row("memory", "idle memory (RSS), no peers, mDNS on", "MiB", Goal(1.3), "the floor")
    with Daemon(folder / "node", host="0.0.0.0", port=free_port()) as node:
        node.control()  # the very first start makes the certificate, with x509: 3 MiB more until the next
    for _ in range(rounds):
        with (
            Daemon(folder / "node", host="0.0.0.0", port=free_port()) as node,
            _floor(folder / "floor")(free_port()) as floor,
        ):
            node.control()
            of_node, of_floor = _settled([node, floor])
            row.values.append(of_node / MIB)
            row.baseline.append(of_floor / MIB)
    return [row]
