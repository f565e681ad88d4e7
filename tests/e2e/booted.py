"""Hosts of the lab with systemd as PID 1: a container each, on an overlay that outlives its reboots.

The root file system is Debian's, built once by mmdebstrap into the user's cache. On it a user, alice, has
meshnode in an environment of her own under /home, as a person would who has just tried it out.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from tests.e2e.lab import Lab
from tests.e2e.machine import eventually

ROOT = Path(__file__).parents[2]
SUITE, PYTHON = "bookworm", (3, 11)
PACKAGES = "systemd systemd-sysv dbus dbus-user-session libpam-systemd python3 libnss-systemd iproute2 sudo"
CGROUPS = Path("/sys/fs/cgroup")
ALICE = "/home/alice"
MESHNODE = f"{ALICE}/environment/bin/meshnode"
PREPARE = f"""
set -e
useradd --create-home --shell /bin/sh alice
python3 -m venv --without-pip {ALICE}/environment
printf '/mnt/checkout\\n/mnt/packages\\n' > {ALICE}/environment/lib/python3.11/site-packages/source.pth
printf '#!{ALICE}/environment/bin/python\\nfrom meshnode.cli.main import main\\nmain()\\n' > {MESHNODE}
chmod 755 {MESHNODE}
chown -R alice: {ALICE}
"""


def refusal() -> str | None:
    """Why no host can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("systemd-nspawn") is None:
        return "needs systemd-nspawn (package systemd-container)"
    if not root_file_system().is_dir() and shutil.which("mmdebstrap") is None:
        return "needs mmdebstrap"
    if sys.version_info[:2] != PYTHON:
        return f"the packages here are not for {SUITE}'s Python"
    return None


def root_file_system() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "meshnode-tests" / f"rootfs-{SUITE}"


def make_root_file_system() -> Path:
    """Once; half a minute to a minute."""
    place = root_file_system()
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        building = place.with_name(f"{place.name}.{os.getpid()}")
        include = f"--include={','.join(PACKAGES.split())}"
        try:
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", include, SUITE, str(building)], check=True)
            with contextlib.suppress(OSError):  # another worker was faster
                building.rename(place)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return place


class BootedHost:
    """A host of the lab that boots; `close` ends it and its mounts."""

    def __init__(self, lab: Lab, host: str, folder: Path, lower: Path) -> None:
        self._namespace = lab.namespace(host)
        self.name = f"host-{host}"
        self.root = folder / host / "root"
        upper, work = folder / host / "upper", folder / host / "work"
        for place in (self.root, upper, work):
            place.mkdir(parents=True)
        self._log = folder / host / "console"
        self._cgroups = [CGROUPS / part / f"{lab.tag}-{host}" for part in ("systemd", "unified")]
        if (CGROUPS / "cgroup.controllers").exists():
            self._cgroups = [CGROUPS / f"{lab.tag}-{host}"]
        self._cgroups = [place for place in self._cgroups if place.parent.is_dir()]
        self._nspawn: subprocess.Popen[bytes] | None = None
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")

    def boot(self) -> "BootedHost":
        """Until systemd says that the machine runs."""
        for place in self._cgroups:
            place.mkdir(exist_ok=True)
        enter = "".join(f"echo $$ > {place}/cgroup.procs && " for place in self._cgroups)
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [
                    *("sh", "-c", f'{enter}exec "$@"', "sh"),
                    *("systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit", f"-M{self.name}"),
                    f"--network-namespace-path=/run/netns/{self._namespace}",
                    f"--bind-ro={ROOT}:/mnt/checkout",
                    f"--bind-ro={sysconfig.get_path('purelib')}:/mnt/packages",
                    *("--console=pipe", "--kill-signal=SIGRTMIN+3", "-b"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        eventually(self._is_up, f"{self.name} does not boot: {self._log}", 60)
        if self.sh("id alice").returncode:
            prepared = self.sh(PREPARE)
            assert prepared.returncode == 0, prepared.stderr
        return self

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, self._log.read_text(errors="replace")
        return bool(self._leader()) and self.run("systemctl", "is-system-running").stdout.strip() in (
            "running",
            "degraded",
        )

    def _leader(self) -> str:
        assert self._nspawn is not None
        listed = subprocess.run(["pgrep", "-P", str(self._nspawn.pid)], capture_output=True, text=True)
        return (listed.stdout.split() or [""])[0]

    def run(self, *argv: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """A command on the host as root, with the environment of a login."""
        enter = ["nsenter", "-t", self._leader(), "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        return subprocess.run(
            [*enter, *argv],
            **{
                "env": environment,
                "stdin": subprocess.DEVNULL,
                "capture_output": True,
                "text": True,
                "timeout": 120,
                **options,
            },
        )

    def sh(self, script: str) -> "subprocess.CompletedProcess[str]":
        return self.run("sh", "-c", script)

    def succeed(self, script: str) -> str:
        """What a script prints that must not fail."""
        done = self.sh(script)
        assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, command: str) -> Any:
        """What a meshnode command of root answers with --json."""
        return json.loads(self.succeed(f"meshnode {command} --json"))

    def nodes(self) -> dict[str, dict[str, Any]]:
        """The other nodes by name."""
        return {node["name"]: node for node in self.ask("nodes")["nodes"] if not node["is_current"]}

    def property(self, name: str) -> str:
        """A property of the unit."""
        return self.succeed(f"systemctl show meshnode -P {name}").strip()

    def shut_down(self) -> None:
        """As a person presses the button: systemd stops everything in order."""
        assert self._nspawn is not None
        self._nspawn.send_signal(signal.SIGTERM)
        self._nspawn.wait(60)
        self._remove_cgroups()

    def cut_power(self) -> None:
        """Every process ends at once."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            leader = self._leader()
            if leader:
                os.kill(int(leader), signal.SIGKILL)
            else:
                self._nspawn.kill()
            self._nspawn.wait(30)
        self._remove_cgroups()

    def _remove_cgroups(self) -> None:
        for place in self._cgroups:
            for folder, _, _ in os.walk(place, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)

    def close(self) -> None:
        self.cut_power()
        subprocess.run(["umount", "-l", str(self.root)], capture_output=True)
