"""Child processes under measurement: start, wait, look at, stop."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from meshnode.cli.control_client import ControlClient, daemon_of

ROOT = Path(__file__).parents[2]
START_S = 120.0  # 100 000 nodes are read at start


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Ours without a person's settings: an empty configuration file."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MESHNODE_")}
    (folder / "config.toml").touch()
    return kept | {"MESHNODE_CONFIG": str(folder / "config.toml")} | settings


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], complaint: str, timeout_s: float = START_S, step_s: float = 0.01) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(step_s)
    return value


class Subject:
    """A child process with its log."""

    def __init__(self, argv: list[str], folder: Path, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(folder, **settings),
                cwd=ROOT,
                close_fds=False,  # lets Python use vfork: the start of the child costs the same from a large parent
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> bool:
        """True; raises with the log's end if the process is gone."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.process.args!r} ended: {self.log.read_text(errors='replace')[-2000:]}")
        return True

    @property
    def cpu_s(self) -> float:
        """CPU time of all its threads, from the kernel's process clock."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def rss_bytes(self) -> int:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the process is gone")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Daemon(Subject):
    """`meshnode run`, as a person starts it."""

    def __init__(self, folder: Path, *options: str, host: str = "127.0.0.1", port: int = 0, **settings: str) -> None:
        self.data = folder / "data"
        meshnode = str(Path(sys.executable).with_name("meshnode"))
        argv = [meshnode, "--data-dir", str(self.data), "run", "--listen", f"{host}:{port}", "--control-port", "0"]
        super().__init__([*argv, *options], folder, **settings)

    def control(self) -> ControlClient:
        """Once it runs."""
        try:
            client: ControlClient = wait_for(lambda: self.check() and daemon_of(self.data), "no control.json")
        except TimeoutError as error:
            raise TimeoutError(f"the daemon did not start: {self.log.read_text(errors='replace')[-2000:]}") from error
        return client
