"""Row `sending`: what a heartbeat to one of a thousand peers costs the node that sends it."""

import http.client
import json
import ssl
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from meshnode.domain.identity import make_node_id
from meshnode.store.tls_files import load_or_make_tls
from tests.bench.fake_peers import HEARTBEAT, NAIVE
from tests.bench.measure import Goal, Row, Spread
from tests.bench.processes import Daemon, Subject, free_port, wait_for
from tests.bench.seed import Place, Seeded

PEERS = 1000
INTERVAL_S = 30.0
LIMIT_US = 250.0
LIMIT_RATIO = 0.35


def sending(folder: Path, rounds: int) -> list[Row]:
    """A node and the naive sender in turn, with the same thousand peers, for an interval each."""
    row = Row(
        "sending", f"CPU per heartbeat sent, {PEERS} peers, TLS", "µs", Goal(LIMIT_RATIO), "a task and timer per peer"
    )
    (folder / "peers").mkdir(parents=True)
    tls = load_or_make_tls(folder / "peers", make_node_id(0, bytes(10)), datetime.now(UTC))
    port, sha256 = free_port(), tls.sha256.hex()
    hosts = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(PEERS)]
    Seeded.make(folder / "node" / "data", PEERS, lambda number: Place(hosts[number], port, tls.sha256))
    python = [sys.executable, "-m"]
    with ExitStack() as stack:
        peers = stack.enter_context(
            Subject([*python, "tests.bench.fake_peers", str(port), str(tls.path)], folder / "peers")
        )
        wait_for(lambda: peers.check() and _accepts(port), "the fake peers did not start")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def count(path: str) -> int:
            peers.check()
            asking = http.client.HTTPSConnection("127.0.0.1", port, context=context)
            try:
                asking.request("GET", "/counts")
                found: dict[str, int] = json.load(asking.getresponse())
            finally:
                asking.close()
            return found.get(path, 0)

        def per_heartbeat_us(sender: Subject, path: str) -> float:
            """Over one interval, once every peer has its connection; alone, or each would keep the other's way warm."""
            began = count(path)
            wait_for(
                lambda: sender.check() and count(path) >= began + 2 * PEERS, "not all were called", 120.0, step_s=0.5
            )
            sent, used = count(path), sender.cpu_s
            time.sleep(INTERVAL_S)
            sent = count(path) - sent
            if abs(sent - PEERS) > PEERS / 10:
                row.problems.append(f"{sent} heartbeats of {PEERS} in one interval at {path}")
            return (sender.cpu_s - used) / sent * 1e6

        for _ in range(rounds):
            with Subject(
                [*python, "tests.bench.naive_sender", str(port), sha256, str(INTERVAL_S), *hosts], folder / "naive"
            ) as naive:
                row.baseline.append(per_heartbeat_us(naive, NAIVE))
            with Daemon(
                folder / "node", "--no-mdns", port=free_port(), MESHNODE_HEARTBEAT__INTERVAL_S=str(INTERVAL_S)
            ) as node:
                row.values.append(per_heartbeat_us(node, HEARTBEAT))
    median = Spread.of(row.values).median
    row.notes.append(f"{median:.0f} µs, to be at most {LIMIT_US:.0f}: {'met' if median <= LIMIT_US else 'MISSED'}")
    row.notes.append("the node's CPU time is all of it: its flushes, sweeps and own timers too")
    return [row]


def _accepts(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()
    return True
