"""systemctl and unit files, as `meshnode service` needs them."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Final

from meshnode.cli.render import say
from meshnode.domain.errors import MeshError
from meshnode.domain.untrusted_text import clean_text

UNIT: Final = "meshnode.service"
REASON_MAX: Final = 300
_MANAGER_S: Final = 5.0


class Systemctl:
    """`systemctl`, for the system or for the user's own manager."""

    def __init__(self, *, user: bool = False) -> None:
        self._scope = ["--user"] if user else []
        self._of_unit = f"_SYSTEMD_{'USER_' if user else ''}UNIT={UNIT}"
        self.journal = f"journalctl {'--user ' if user else ''}-u meshnode"
        self._environment = dict(os.environ)
        if user:  # not set in a shell of `su` or cron
            self._environment.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")

    def ask(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """The answer, also a refusal."""
        return subprocess.run(
            ["systemctl", *self._scope, *argv],
            check=False,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def call(self, *argv: str) -> None:
        """Raises `install_failed` with what systemctl says."""
        done = self.ask(*argv)
        if done.returncode:
            said = clean_text(done.stderr.strip() or f"exit {done.returncode}", REASON_MAX)
            raise MeshError("install_failed", f"`systemctl {' '.join([*self._scope, *argv])}` failed: {said}")

    def wait_for_manager(self) -> None:
        """Until a user's own systemd answers; lingering has just started it. Raises `no_systemd`."""
        deadline = time.monotonic() + _MANAGER_S
        while self.ask("show", "--property=Version").returncode:
            if time.monotonic() > deadline:
                raise MeshError("no_systemd", "you have no systemd of your own here: log in as yourself, without su")
            time.sleep(0.1)

    def last_words(self) -> str:
        """What the node itself said last, from the journal."""
        argv = ["journalctl", *self._scope, "--quiet", "--no-pager", "--output=cat", "--lines=20", self._of_unit]
        done = subprocess.run(argv, check=False, env=self._environment, capture_output=True, text=True)
        errors = [line for line in done.stdout.splitlines() if line.startswith("Error: ")] or done.stdout.splitlines()
        return clean_text(errors[-1].removeprefix("Error: "), REASON_MAX) if errors else "it said nothing"


def start_unit(systemctl: Systemctl, unit_changed: bool, *, restart: bool, when: str = "at every boot") -> None:
    """Now and from now on. Raises `install_failed` with what the node said last."""
    if unit_changed:
        systemctl.call("daemon-reload")
    was_active = systemctl.ask("is-active", "--quiet", UNIT).returncode == 0
    systemctl.call("enable", UNIT)
    if was_active and not restart and not unit_changed:
        say(f"{UNIT} runs, and will {when}.")
        return
    if systemctl.ask("restart", UNIT).returncode:
        raise MeshError(
            "install_failed",
            f"{UNIT} is installed but does not start: {systemctl.last_words().rstrip('.')} (`{systemctl.journal}`)",
        )
    say(f"{UNIT} {'runs anew' if was_active else 'runs'}, and will {when}.")


def quote(word: str) -> str:
    """A word of a command line in a unit. Source: systemd.service(5), COMMAND LINES."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped, re.ASCII) else f'"{escaped}"'


def write_unit(path: Path, text: str) -> bool:
    """Whether it had to be written."""
    try:
        if path.read_text("utf-8") == text:
            return False
        verb = "Replaced"
    except FileNotFoundError:
        verb = "Wrote"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.new")
    written.write_text(text, "utf-8")
    written.chmod(0o644)
    written.replace(path)
    say(f"{verb} {path}.")
    return True
