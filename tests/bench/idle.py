"""Row `idle-cpu`: what a node without peers costs a machine while nothing happens."""

import time
from pathlib import Path

from tests.bench.measure import Goal, Row
from tests.bench.processes import Daemon, free_port
from tests.bench.start import _floor

SETTLE_S = 40.0  # mDNS asks often at first, then every hour; 0.01 % is asked of the years after
WINDOW_S = 120.0  # every timer of the node runs out at least once


def idle_cpu(folder: Path, rounds: int) -> list[Row]:
    """CPU time of all threads per second, mDNS on; both processes in the same windows."""
    row = Row("idle-cpu", "idle CPU, no peers, mDNS on", "µs/s", Goal(100), "", judge_value=True)
    row.notes.append("100 µs/s is 0.01 % of one core")
    of_floor: list[float] = []  # may be nothing at all: no ratio can be made of it
    with (
        Daemon(folder / "node", host="0.0.0.0", port=free_port()) as node,
        _floor(folder / "floor")(free_port()) as floor,
    ):
        node.control()
        time.sleep(SETTLE_S)
        for _ in range(rounds):
            began, before = time.monotonic(), (node.cpu_s, floor.cpu_s)
            time.sleep(WINDOW_S)
            taken_s = time.monotonic() - began
            row.values.append((node.cpu_s - before[0]) / taken_s * 1e6)
            of_floor.append((floor.cpu_s - before[1]) / taken_s * 1e6)
            node.check()
    row.notes.append(f"the floor, without mDNS: {max(of_floor):.0f} µs/s at most")
    return [row]
