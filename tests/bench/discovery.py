"""Row `services`: five hundred services on the link, seen by one node that has just come up."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.measure import Goal, Row, Spread
from tests.bench.processes import ROOT, Subject, wait_for

COUNT = 500
OURS, THEIRS = "10.78.0.1", "10.78.0.2"
START_S = 60.0
PAUSE_S = 2.0  # so that no answer is held back because it was given a second ago


def services(folder: Path, rounds: int) -> list[Row]:
    """Until the last is resolved, as a node does it and with all resolutions at once; packets dropped meanwhile."""
    row = Row(
        "services", f"{COUNT} services on the link: all resolved", "ms", Goal(500), "all at once", judge_value=True
    )
    ready = folder / "ready"
    enter = "until ip link show near >/dev/null 2>&1; do sleep 0.02; done; ip link set lo up; ip link set near up"
    enter += f"; ip addr add {THEIRS}/16 dev near; ip route add 224.0.0.0/4 dev near; exec"
    argv = [sys.executable, "-m", "tests.bench.mdns_responder", str(COUNT), THEIRS, str(ready)]
    with Subject(["unshare", "--net", "sh", "-c", f'{enter} "$@"', "sh", *argv], folder) as responder:
        own = Path("/proc/self/ns/net").readlink()
        theirs = Path(f"/proc/{responder.process.pid}/ns/net")
        wait_for(lambda: responder.check() and theirs.readlink() != own, "no network namespace can be made here")
        link = ("ip", "link", "add", "bench0", "type", "veth", "peer", "name", "near")
        for command in (
            (*link, "netns", str(responder.process.pid)),
            ("ip", "addr", "add", f"{OURS}/16", "dev", "bench0"),
            ("ip", "link", "set", "bench0", "up"),
        ):
            subprocess.run(command, check=True, capture_output=True)
        wait_for(lambda: responder.check() and ready.exists(), "the services were not published", START_S)
        dropped_by_naive = []
        cpu_ms = []
        for number in range(rounds):
            for is_naive in (True, False) if number % 2 else (False, True):
                time.sleep(PAUSE_S)
                before = _dropped()
                found = _watch(*(["all-at-once"] if is_naive else []))
                dropped = _dropped() - before
                (row.baseline if is_naive else row.values).append(found["s"] * 1000)
                if is_naive:
                    dropped_by_naive.append(dropped)
                    continue
                cpu_ms.append(found["cpu_s"] * 1000)
                if found["resolved"] != COUNT or dropped:
                    row.problems.append(f"{found['resolved']} of {COUNT} resolved, {dropped} packets dropped")
    row.notes.append(f"no packet dropped; all at once, {Spread.of(dropped_by_naive).median:.0f} were")
    row.notes.append(f"{Spread.of(cpu_ms).median:.0f} ms of CPU each time")
    return [row]


def _watch(*options: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.bench.mdns_watcher", str(COUNT), OURS, *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=START_S)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _dropped() -> int:
    """UDP packets that found a socket's buffer full, in this network namespace."""
    names, values = (line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line[:4] == "Udp:")
    return int(dict(zip(names, values, strict=True))["RcvbufErrors"])
