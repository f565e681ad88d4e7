"""Rows `ingest`, `ingest-tls`, `naive`, `growth`: heartbeats in, authenticated and stored, by variant in turn."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.measure import Goal, Row, Spread
from tests.bench.processes import ROOT, Subject, free_port, wait_for
from tests.bench.seed import TOKENS, Seeded, stored_beats

PEERS = 64
MANY = 100_000
FEW = 10
CONNECTIONS = 32
STORED_S = 1.0
SLACK_S = 0.5  # for the flush itself and for looking
GIVE_UP_S = 15.0
PER_RUN = 10_000_000  # every run begins above the sequences of all runs before


@dataclass(frozen=True)
class Variant:
    """A server under load."""

    name: str
    module: str
    peers: int
    options: tuple[str, ...] = ()
    connections: int = CONNECTIONS
    scheme: str = "http"
    stores: bool = True


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("C", "echo_server", PEERS, stores=False),
        Variant("plain", "ingest_node", PEERS, ("--plain",)),
        Variant("tls", "ingest_node", PEERS, scheme="https"),
        Variant("naive", "naive_server", PEERS),
        # fewer connections than peers: a peer's heartbeats must not overtake each other
        Variant("few", "ingest_node", FEW, ("--plain",), connections=8),
        Variant("many", "ingest_node", MANY, ("--plain",), connections=8),
    )
}
ROWS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("C", "plain"),
    "ingest-tls": ("C", "tls"),
    "naive": ("naive", "plain"),
    "growth": ("few", "many"),
}


@dataclass(frozen=True)
class Run:
    """One load run against one variant."""

    per_s: float
    cpu_us: float
    stored_after_s: float

    @property
    def rate(self) -> float:
        """What is judged: per second; without wrk per CPU second, as the client would be what limits the other."""
        return self.per_s if shutil.which("wrk") else 1e6 / self.cpu_us

    @property
    def core_share(self) -> float:
        """How much of one core the server got."""
        return self.per_s * self.cpu_us / 1e6


class Server:
    """A variant, running."""

    def __init__(self, variant: Variant, folder: Path, stack: ExitStack) -> None:
        self.variant = variant
        self.data = folder / "data"
        self.url = f"{variant.scheme}://127.0.0.1:{(port := free_port())}"
        argv = [sys.executable, "-m", f"tests.bench.{variant.module}", str(port)]
        if variant.stores:
            folder.mkdir(parents=True)
            Seeded.make(self.data, variant.peers)
            argv += [str(self.data), *variant.options]
        self.subject = stack.enter_context(Subject(argv, folder))
        self.tokens = self.data / TOKENS
        if variant.stores:
            wait_for(lambda: self.subject.check() and self.tokens.exists(), f"{variant.name} did not start")

    def load(self, number: int, seconds: float, tokens: Path) -> Run:
        """Heartbeats for some seconds. Raises unless all were answered 200 and then stood in the table."""
        begin_above = number * PER_RUN
        cpu = self.subject.cpu_s
        answer = _load(self.variant, self.url, tokens, begin_above, seconds)
        cpu = self.subject.cpu_s - cpu
        if answer["refused"] or answer["broken"] or not answer["requests"]:
            raise RuntimeError(f"{self.variant.name}: {answer}")
        stored_after = self._wait_until_stored(begin_above, answer["requests"]) if self.variant.stores else 0.0
        return Run(answer["requests"] / answer["seconds"], cpu / answer["requests"] * 1e6, stored_after)

    def _wait_until_stored(self, begin_above: int, requests: int) -> float:
        began = time.monotonic()
        while True:
            beats, rows = stored_beats(self.data, begin_above)
            if beats >= requests and rows == min(self.variant.peers, beats):
                break
            if time.monotonic() - began > GIVE_UP_S:
                raise RuntimeError(
                    f"{self.variant.name}: {requests} heartbeats answered, {beats} stored in {rows} rows"
                )
            time.sleep(0.02)
        # what was on its way when the load stopped may have been counted here and not there
        if beats > requests + 2 * self.variant.connections:
            raise RuntimeError(f"{self.variant.name}: {requests} heartbeats answered, but {beats} stored")
        return time.monotonic() - began


def _load(variant: Variant, url: str, tokens: Path, begin_above: int, seconds: float) -> dict[str, float]:
    here = Path(__file__).parent
    count = str(variant.connections)
    if wrk := shutil.which("wrk"):
        script = str(here / "heartbeats.lua")
        argv = [wrk, "-t1", f"-c{count}", f"-d{max(1, round(seconds))}s", "--timeout", "5s", "-s", script, url, "--"]
    else:
        argv = [sys.executable, "-m", "tests.bench.load_client", "--connections", count, "--seconds", str(seconds), url]
    argv += [str(tokens), str(begin_above)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=seconds + 60)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def ingest(folder: Path, rounds: int, seconds: float, wanted: set[str], many: int = MANY) -> list[Row]:
    """All variants in turn, in every round; ratios within the round."""
    names = [name for name in VARIANTS if any(name in ROWS[row] for row in wanted)]
    runs: dict[str, list[Run]] = {name: [] for name in names}
    with ExitStack() as stack:
        servers = {}
        for name in names:
            variant = replace(VARIANTS[name], peers=many) if name == "many" else VARIANTS[name]
            servers[name] = Server(variant, folder / name, stack)
        tokens = next(server.tokens for server in servers.values() if server.variant.stores)
        for number in range(rounds + 1):
            for name in names if number % 2 else reversed(names):
                server = servers[name]
                run = server.load(number, seconds, server.tokens if server.variant.stores else tokens)
                if number:  # the first is to warm up: a node with many others has to do when it has just started
                    runs[name].append(run)
    return [row for row in _rows(runs, many) if row.name in wanted]


def _rows(runs: dict[str, list[Run]], many: int) -> list[Row]:
    rows = (
        Row("ingest", "heartbeat ingest, without TLS", "/s", Goal(0.80, at_least=True), "C, aiohttp echo"),
        Row("ingest-tls", "heartbeat ingest, over TLS", "/s", Goal(0.65, at_least=True), "C, aiohttp echo"),
        Row("naive", "heartbeat ingest, without TLS", "/s", Goal(1.9, at_least=True), "commit per request"),
        Row("growth", f"CPU per heartbeat, {many} nodes known", "µs", Goal(1.4), f"{FEW} nodes known"),
    )
    for row in rows:
        base, own = ROWS[row.name]
        for own_run, base_run in zip(runs.get(own, []), runs.get(base, []), strict=False):
            is_cpu = row.name == "growth"
            row.values.append(own_run.cpu_us if is_cpu else own_run.rate)
            row.baseline.append(base_run.cpu_us if is_cpu else base_run.rate)
        if row.name != "growth" and row.values:
            of_own = Spread.of([run.cpu_us for run in runs[own]])
            ratio = Spread.of([b.cpu_us / o.cpu_us for o, b in zip(runs[own], runs[base], strict=True)])
            row.notes.append(
                f"{of_own.median:.1f} µs CPU each; by CPU the ratio is {ratio.median:.2f} "
                f"[{ratio.low:.2f}–{ratio.high:.2f}]"
            )
        if row.values:
            shares = " and ".join(f"{Spread.of([run.core_share for run in runs[of]]).median:.0%}" for of in (own, base))
            row.notes.append(f"it and its baseline got {shares} of a core; below 90 % something else was running")
            if not shutil.which("wrk"):
                row.notes.append("no wrk: rates are per CPU second of the server")
            late = max(run.stored_after_s for run in runs[own])
            row.notes.append(f"all answered 200 and in SQLite {late:.1f} s after the last at the latest")
            if late > STORED_S + SLACK_S and row.name != "growth":
                row.problems.append(f"stored only after {late:.1f} s")
    return list(rows)
