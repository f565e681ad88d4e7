"""A person at a terminal: a pseudo-terminal to type into, and tmux to see a whole screen."""

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.machine import Machine, eventually

COLUMNS, LINES = 80, 24
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A meshnode command on a pseudo-terminal of 80×24; ended when left."""

    def __init__(self, machine: Machine, *argv: str) -> None:
        self._master, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        environment = {**machine.environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self._process = machine.popen(*argv, **streams, env=environment, preexec_fn=take_terminal)
        os.close(terminal)
        self.seen = ""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(10)
        os.close(self._master)

    def _pump(self, timeout_s: float) -> bool:
        """Take in what was printed; False at the end."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += ESCAPES.sub("", data.decode(errors="replace")).replace("\r\n", "\n")
        return bool(data)

    def expect(self, text: str, timeout_s: float = 15.0) -> str:
        """Wait until `text` is printed after what was expected before; what was printed up to it."""
        deadline = time.monotonic() + timeout_s
        goes_on = True
        while (found := self.seen.find(text, self._read)) < 0:
            if not goes_on or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is not printed after {self.seen[: self._read]!r}: {self.seen!r}")
            goes_on = self._pump(0.1)
        start, self._read = self._read, found + len(text)
        return self.seen[start : self._read]

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal turns it into a signal, once the command waits for something.

        Python loses one that comes between its printing a prompt and its waiting for a line.
        """
        status = Path(f"/proc/{self._process.pid}/stat")
        eventually(lambda: status.read_text().rpartition(")")[2].split()[0] == "S", "the command is busy")
        self.type("\x03")

    def end(self, timeout_s: float = 15.0) -> int:
        """Read on until the command ends: its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._pump(0.2):
            assert time.monotonic() < deadline, f"does not end; printed {self.seen!r}"
        return self._process.wait(max(0.1, deadline - time.monotonic()))


class Screen:
    """What tmux shows of a command; the exit code stands in the file `code` once it has ended."""

    def __init__(self, socket: Path, machine: Machine, argv: tuple[str, ...], size: tuple[int, int]) -> None:
        self._tmux = ["tmux", "-u", "-S", str(socket), "-f", "/dev/null"]
        self._code = socket.with_suffix(".code")
        command = f"trap : INT; {shlex.join([*machine.argv, *argv])}"
        command += f"; echo $? >{shlex.quote(str(self._code))}; exec sleep 1000"
        environment = {**machine.environment, "LANG": "C.UTF-8", "TERM": "xterm-256color"}
        geometry = ("-x", str(size[0]), "-y", str(size[1]))
        made = subprocess.run(
            [*self._tmux, "new-session", "-d", *geometry, "sh", "-c", command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert made.returncode == 0, made.stderr

    def lines(self) -> list[str]:
        """The screen as it is now."""
        shown = subprocess.run([*self._tmux, "capture-pane", "-p"], capture_output=True, text=True, timeout=10)
        return shown.stdout.removesuffix("\n").split("\n")

    def wait_for(self, text: str) -> list[str]:
        """The screen, once `text` is on it."""

        def shown() -> list[str]:
            lines = self.lines()
            return lines if any(text in line for line in lines) else []

        return eventually(shown, f"{text!r} is not on the screen")

    def keys(self, *keys: str) -> None:
        """Press keys, in tmux's names."""
        subprocess.run([*self._tmux, "send-keys", *keys], check=True, timeout=10)

    def code(self) -> int:
        """The exit code, once the command has ended."""
        return int(eventually(lambda: self._code.exists() and self._code.read_text(), "the command goes on"))

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=10)


@contextlib.contextmanager
def screen(machine: Machine, *argv: str, size: tuple[int, int] = (COLUMNS, LINES)) -> Iterator[Screen]:
    """Run a command on a screen of `size`."""
    shown = Screen(machine.folder / "tmux", machine, argv, size)
    try:
        yield shown
    finally:
        shown.close()
