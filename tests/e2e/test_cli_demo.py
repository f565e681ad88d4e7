"""`meshnode demo` shows two paired nodes and leaves nothing behind, however it ends."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, eventually

Make = Callable[[str], Machine]


def processes_with(text: str) -> list[str]:
    """The command lines of running processes that name `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in line:
            found.append(line)
    return found


@pytest.fixture
def stage(machine: Make) -> Machine:
    """A machine whose temporary directory is its own, to see what is left there."""
    node = machine("demo")
    temporary = node.folder / "temporary"
    temporary.mkdir()
    node.environment["TMPDIR"] = str(temporary)
    return node


def left_behind(node: Machine) -> list[Any]:
    temporary = Path(node.environment["TMPDIR"])
    return [*temporary.iterdir(), *processes_with(str(temporary))]


def test_the_demo_shows_both_tables(stage: Machine) -> None:
    """Exit 0; each node's table holds both, online; nothing is left."""
    done = stage.run("demo")
    assert done.returncode == 0, done.stderr
    tables = done.stdout.strip().split("\n\n")
    assert [table.splitlines()[0] for table in tables] == ["Desktop: meshnode nodes", "Home server: meshnode nodes"]
    for table, own in zip(tables, ("Desktop", "Home server"), strict=True):
        rows = table.splitlines()[2:]
        assert len(rows) == 2
        assert rows[0].startswith(f"{own} (this node)")
        assert all(" online " in row for row in rows)
    assert "no multicast" in done.stderr
    assert left_behind(stage) == []
    assert not stage.data.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(stage: Machine, number: signal.Signals) -> None:
    """As soon as its nodes run, it is stopped: no process, no file, no traceback."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with stage.popen("demo", **streams, text=True) as demo:
        temporary = Path(stage.environment["TMPDIR"])
        eventually(lambda: list(temporary.glob("*/*/data/control.json")), "the demo's nodes do not start")
        demo.send_signal(number)
        _, told = demo.communicate(timeout=20)
    assert demo.returncode == 128 + number, told
    assert "Traceback" not in told
    assert left_behind(stage) == []


def test_an_interrupted_demo_in_a_terminal_leaves_nothing(stage: Machine) -> None:
    """Ctrl-C reaches the demo and its nodes at once."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with stage.popen("demo", **streams, text=True, start_new_session=True) as demo:
        temporary = Path(stage.environment["TMPDIR"])
        eventually(lambda: list(temporary.glob("*/*/data/control.json")), "the demo's nodes do not start")
        os.killpg(demo.pid, signal.SIGINT)
        _, told = demo.communicate(timeout=20)
    assert demo.returncode == 130, told
    assert "Traceback" not in told
    assert left_behind(stage) == []


def test_the_demo_ignores_the_user_s_own_settings(stage: Machine) -> None:
    """A configuration that forbids everything, and a node that is running, are not its business."""
    stage.environment["MESHNODE_LISTEN__CONTROL_PORT"] = "6970"
    stage.environment["MESHNODE_LISTEN__PUBLIC"] = '["192.0.2.1:1"]'
    done = stage.run("demo")
    assert done.returncode == 0, done.stderr
    assert left_behind(stage) == []
