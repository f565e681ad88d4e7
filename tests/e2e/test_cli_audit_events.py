"""`meshnode audit` and `meshnode events`, typed against a real node."""

import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshnode.cli.events import _json_line, _line
from tests.e2e.machine import Machine, eventually
from tests.e2e.terminal import screen

Make = Callable[[str], Machine]


class Follower:
    """A running `meshnode events`, and what it has printed so far."""

    def __init__(self, machine: Machine, *argv: str) -> None:
        pipe = subprocess.PIPE
        self.process = machine.popen("events", *argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def following(self) -> int:
        """The sequence it follows from, once it does."""
        found = eventually(lambda: re.search(r"from (\d+) on", "".join(self.err)), "it does not follow")
        return int(found[1])

    def line(self, pattern: str) -> str:
        """A printed line that matches, once there is one."""
        return eventually(
            lambda: next((line for line in self.out if re.search(pattern, line)), ""), f"no line {pattern}: {self.out}"
        )

    def end(self) -> int:
        """Wait until it has ended by itself: the exit code."""
        code = self.process.wait(15)
        for reader in self._readers:
            reader.join(5)
        return code


@contextmanager
def following(machine: Machine, *argv: str) -> Iterator[Follower]:
    """A follower that ends with the block."""
    follower = Follower(machine, *argv)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.end()
        for stream in (follower.process.stdout, follower.process.stderr):
            assert stream
            stream.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One running node."""
    machine = Machine(tmp_path_factory.mktemp("audit") / "a").start()
    try:
        yield machine
    finally:
        machine.close()


# ── audit ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_audit_says_when_nothing_has_happened(machine: Make) -> None:
    """A sentence on stderr, an empty list in JSON."""
    fresh = machine("a").start()
    told = fresh.run("audit")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "Nothing has happened yet.\n")
    assert fresh.ask("audit") == {"entries": []}


def test_audit_lists_a_pairing_with_the_newest_below(machine: Make) -> None:
    """Time, what in words, who, from where; with --json as the API gives it, the newest first."""
    host, guest = machine("a").start(), machine("b").start()
    guest.run("identity", "rename", "Guest")
    offer = host.offer()
    wrong = f"{(int(offer['pin']) + 1) % 1_000_000:06d}"
    assert guest.run("join", offer["url"], "--pin", wrong).returncode == 77
    assert guest.run("join", offer["url"], "--pin", offer["pin"]).returncode == 0
    assert host.run("node", "revoke", guest.id, "--yes").returncode == 0
    lines = host.run("audit").stdout.splitlines()
    assert lines[0].split() == ["TIME", "WHAT", "WHO", "FROM", "DIALECT", "DETAIL", "TIMES"]
    told = [re.sub(r"  +", "  ", line[21:]).strip() for line in lines[1:]]
    assert told[0] == "offer opened  mesh"
    assert "wrong PIN  127.0.0.1  mesh" in told
    assert told[-2:] == ["paired  Guest  127.0.0.1  mesh", "revoked  Guest  mesh"]
    assert all(re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines[1:])
    entries = host.ask("audit")["entries"]
    assert [entry["event"] for entry in entries[:2]] == ["node.revoked", "node.paired"]
    assert entries == host.api("audit")["entries"]
    assert host.ask("audit", "--limit", "1")["entries"] == entries[:1]
    assert len(host.run("audit", "--limit", "2").stdout.splitlines()) == 3


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_audit_takes_a_sensible_limit_only(node: Machine, limit: str) -> None:
    """1 to 1000, else exit 2."""
    assert node.run("audit", "--limit", limit).returncode == 2


# ── events ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_told_as_they_happen(node: Machine) -> None:
    """One line each with time, topic and data; what was missed comes with --since."""
    with following(node) as follower:
        start = follower.following()
        offer = node.offer()
        assert re.fullmatch(
            rf"\d\d:\d\d:\d\d  mesh\.pairing\.opened  .*{offer['offer_id']}.*\n", follower.line("pairing.opened")
        )
    with following(node, "--since", str(start), "--json") as again:
        event = json.loads(again.line("pairing.opened"))
    assert event.keys() == {"topic", "data", "at", "sequence"}
    assert event["sequence"] > start
    assert event["data"]["offer_id"] == offer["offer_id"]


def test_events_as_json_are_one_document_a_line(node: Machine) -> None:
    """Nothing else on stdout, and each line as soon as it is known."""
    with following(node, "--json") as follower:
        follower.following()
        for _ in range(2):
            node.offer()
        follower.line("pairing.changed")
        eventually(lambda: sum("pairing.opened" in line for line in follower.out) == 2, "the second offer is not told")
    assert [json.loads(line).keys() for line in follower.out] == [{"topic", "data", "at", "sequence"}] * len(
        follower.out
    )
    sequences = [json.loads(line)["sequence"] for line in follower.out]
    assert sequences == sorted(set(sequences))


def test_only_the_asked_topics_are_followed(node: Machine) -> None:
    """Others don't come: the first event told is the later one."""
    with following(node, "mesh.node.*", "--json") as follower:
        follower.following()
        node.offer()
        node.run("identity", "rename", "Renamed")
        follower.line("node.updated")
    assert {json.loads(line)["topic"] for line in follower.out} == {"mesh.node.updated"}


def test_events_too_old_to_be_known_are_said_to_be_missing(node: Machine) -> None:
    """On stderr; what is known still comes."""
    node.offer()
    with following(node, "--since", "1", "--json") as follower:
        follower.following()
        assert "Not all events since 1 are known any more" in "".join(follower.err)
        assert json.loads(follower.line("pairing.opened"))["topic"] == "mesh.pairing.opened"


def test_a_topic_that_cannot_be_is_refused(node: Machine) -> None:
    """Exit 2 with the field's name; nothing on stdout."""
    told = node.run("events", "nodes")
    assert (told.returncode, told.stdout) == (2, "")
    assert "[invalid_params]" in told.stderr


def test_ctrl_c_ends_it_quietly(node: Machine) -> None:
    """130, and no traceback."""
    with following(node) as follower:
        follower.following()
        follower.process.send_signal(signal.SIGINT)
        assert follower.end() == 130
    assert re.fullmatch(r"Following mesh\.\* from \d+ on; Ctrl-C ends\.", "".join(follower.err).strip())


def test_what_applications_say_cannot_deceive_a_terminal() -> None:
    """Escape sequences, line breaks and right-to-left marks are gone, with and without --json."""
    said = {"text": "\x1b[2J\nfake  line\u202e\x9b", "ok": "ü"}
    event = {"topic": "app.chat", "data": said, "at": "2026-01-01T00:00:00Z"}
    for line in (_line(event), _json_line(event)):
        assert line.isprintable(), line
        assert "app.chat" in line
    assert "\u202e" not in _line(event)
    assert json.loads(_json_line(event)) == event


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_node(machine: Make, number: signal.Signals) -> None:
    """69 and a sentence, however the node ends."""
    node = machine("a").start()
    with following(node, "--json") as follower:
        follower.following()
        node.stop(number)
        assert follower.end() == 69
    assert "The node on this machine has stopped.  [no_daemon]" in "".join(follower.err)


@pytest.mark.parametrize("argv", [("events",), ("audit",)])
def test_without_a_node_it_says_how_to_start_one(machine: Make, argv: tuple[str, ...]) -> None:
    """69."""
    told = machine("a").run(*argv)
    assert (told.returncode, told.stdout) == (69, "")
    assert "meshnode run" in told.stderr


def test_on_a_terminal_no_line_is_wider_than_it(node: Machine) -> None:
    """A long event is cut, not wrapped."""
    with screen(node, "events", size=(60, 20)) as shown:
        shown.wait_for("Following")
        node.offer()
        lines = shown.wait_for("mesh.pairing.opened")
        cut: list[Any] = [line for line in lines if "mesh.pairing.opened" in line]
        assert len(cut[-1]) == 60
        assert cut[-1].endswith("…")
        shown.keys("C-c")
        assert shown.code() == 130
