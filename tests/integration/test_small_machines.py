"""Phones and small machines: nodes without orjson, interfaces or multicast, and with little memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnode.cli.control_client import ControlClient
from tests.fakes.nodes import START_S, Node, wait_for

SMALL = str(Path(__file__).parents[1] / "fakes" / "small_machine.py")
CAP = 128 * 2**20
MARGIN = 32 * 2**20
BEATS_S = 20.0


class SmallNode(Node):
    """A node on a small machine, listening on every IPv4 address, with mDNS on."""

    def start(self, program: tuple[str, ...] = (SMALL,), **environment: str) -> Node:
        """See `Node`."""
        argv = [sys.executable, *program, "--data-dir", str(self.data), "run"]
        argv += ["--listen", f"0.0.0.0:{self.port}", "--control-port", "0"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                argv, env=self._environment | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._control: ControlClient | None = wait_for("the node to start", self._answering, START_S)
        self.port = int(re.fullmatch(r"https://.+:(\d+)", self.call("GET", "/api/v1/node")["listeners"][0])[1])
        return self

    def degraded(self) -> dict[str, str]:
        """What `status` says does not work, and why."""
        return {d["code"]: d["detail"] for d in self.call("GET", "/api/v1/node")["degraded"]}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Node]]:
    nodes = [SmallNode(tmp_path / "small"), Node(tmp_path / "other")]
    yield nodes
    for node in nodes:
        node.close()


def pair_and_beat(small: Node, other: Node) -> None:
    """Pair them by address; each must see the other's heartbeats. Then the small one is restarted and still does."""
    small.join(other.address, other.offer().pin)
    for _ in range(2):
        wait_for("both to be online", lambda: small.is_online(other.id) and other.is_online(small.id), BEATS_S)
        seen = other.shown(small.id)["last_seen"]
        wait_for("another heartbeat", lambda at=seen: other.shown(small.id)["last_seen"] != at, BEATS_S)
        small.restart()
    assert small.stop() == 0


@pytest.mark.parametrize("missing", ["orjson", "interfaces", "multicast", "orjson,interfaces,multicast"])
def test_a_node_starts_pairs_and_beats_without(made: list[Node], missing: str) -> None:
    """What a phone lacks keeps no node from starting, pairing, beating and coming back."""
    small, other = made
    small._environment["WITHOUT"] = missing
    pair_and_beat(small.start(), other.start())
    assert "Traceback" not in small.log()


@pytest.mark.parametrize(("missing", "why"), [("interfaces", "Permission denied"), ("multicast", "No such device")])
def test_a_node_without_mdns_says_why(made: list[Node], missing: str, why: str) -> None:
    """`degraded` names the system's own reason, and what to do."""
    small, _ = made
    small.start(WITHOUT=missing)
    assert isinstance(small, SmallNode)
    said = wait_for("the node to say so", small.degraded)["no_multicast"]
    assert why in said
    assert "join by address" in said


def test_everything_that_writes_json_does_without_orjson(made: list[Node]) -> None:
    """The API's description, a problem document, status, offers and log lines are the same JSON without orjson."""
    small, _ = made
    small.start(WITHOUT="orjson")
    assert "orjson" not in (Path(f"/proc/{small.process.pid}/maps").read_text() if small.process else "orjson")
    assert small.call("GET", "/openapi.json")["openapi"].startswith("3.")
    assert small.offer().pin.isdecimal()
    assert small.stop() == 0
    lines = [json.loads(line) for line in small.log().splitlines()]
    assert any("listens on" in line["message"] for line in lines)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of 128 MB and no swap, of either version."""
    root, limit, no_swap = Path("/sys/fs/cgroup"), "memory.max", ("memory.swap.max", "0")
    if (root / "memory").is_dir():
        root, limit, no_swap = root / "memory", "memory.limit_in_bytes", ("memory.swappiness", "0")
    made = root / f"meshnode-test-{os.getpid()}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        try:
            (made / limit).write_text(str(CAP))
        except OSError as error:
            pytest.skip(f"memory can't be limited here: {error}")
        if (made / no_swap[0]).exists():
            (made / no_swap[0]).write_text(no_swap[1])
        yield made
    finally:
        wait_for("the group to be empty", lambda: not (made / "cgroup.procs").read_text())
        made.rmdir()


def peak(node: Node) -> int:
    """The most memory that its process ever held, in bytes."""
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def test_a_node_lives_in_128_mb(group: Path, made: list[Node]) -> None:
    """Under a real cap it pairs, beats, answers and describes itself, and is nowhere near the cap."""
    small, other = made
    small._environment["CGROUP"] = str(group)
    small.start()
    assert str(small.process.pid) in (group / "cgroup.procs").read_text().split() if small.process else False
    other.start()
    small.join(other.address, other.offer().pin)
    wait_for("both to be online", lambda: small.is_online(other.id) and other.is_online(small.id), BEATS_S)
    for _ in range(20):
        small.call("GET", "/openapi.json")
        small.offer()
    assert small.call("GET", "/api/v1/doctor")["findings"]
    assert small.is_online(other.id)
    assert peak(small) < CAP - MARGIN
    assert small.stop() == 0


def test_the_peak_is_below_the_cap_where_none_can_be_set(made: list[Node]) -> None:
    """Without control groups too: what a paired node ever held leaves a margin below 128 MB."""
    small, other = made
    small.start()
    other.start()
    small.join(other.address, other.offer().pin)
    wait_for("both to be online", lambda: small.is_online(other.id) and other.is_online(small.id), BEATS_S)
    assert peak(small) < CAP - MARGIN
