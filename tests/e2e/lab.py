"""Hosts on one switch, made of network namespaces: real multicast, real faults, no effect on this machine.

The switch is a bridge in a namespace of its own; host `a` is behind its port `pa`. A lab's namespaces carry
the id and start time of the process that made them, so what a killed run left behind is removed by the next.
"""

import atexit
import contextlib
import os
import re
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

NAMESPACES = Path("/run/netns")
TAG = re.compile(r"mn-(?P<pid>\d+)-(?P<started>\d+)-[0-9a-f]{6}-\w+")
AVAHI_CONFIGURATION = """\
[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
allow-interfaces=eth0
[publish]
publish-hinfo=no
publish-workstation=no
"""

_open_labs: set["Lab"] = set()


def refusal() -> str | None:
    """Why no lab can be made here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    name = f"{_new_tag()}-probe"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
        entered = subprocess.run(["ip", "netns", "exec", name, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        return "needs ip (package iproute2)"
    finally:
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
    if made.returncode or entered.returncode:
        return f"ip netns refused: {(made.stderr or entered.stderr).strip()}"
    return None


class Lab:
    """A switch and its hosts; `close` ends every process in them."""

    def __init__(self, hosts: tuple[str, ...] = ("a", "b", "c")) -> None:
        sweep()
        _close_on_termination()
        self._pid = os.getpid()
        self.hosts = hosts
        self.tag = _new_tag()
        self.switch = f"{self.tag}-switch"
        self._processes: list[subprocess.Popen[Any]] = []
        _open_labs.add(self)
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        _ip("netns", "add", self.switch)
        _ip(
            *("-n", self.switch, "link", "add", "br0", "type", "bridge"),
            *("mcast_snooping", "0", "stp_state", "0", "forward_delay", "0"),
        )
        _ip("-n", self.switch, "link", "set", "br0", "up")
        for number, host in enumerate(self.hosts, 1):
            namespace = self.namespace(host)
            _ip("netns", "add", namespace)
            _ip(
                *("-n", self.switch, "link", "add", f"p{host}", "type", "veth"),
                *("peer", "name", "eth0", "netns", namespace),
            )
            _ip("-n", self.switch, "link", "set", f"p{host}", "master", "br0", "up")
            # No waiting for duplicate addresses; losing the first address keeps the others.
            settings = [f"ipv6.conf.{scope}.accept_dad=0" for scope in ("all", "default", "eth0")]
            settings += [f"ipv4.conf.{scope}.promote_secondaries=1" for scope in ("all", "eth0")]
            _ip("netns", "exec", namespace, "sysctl", "-qw", *(f"net.{setting}" for setting in settings))
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            _ip("-n", namespace, "addr", "add", f"10.77.0.{number}/24", "brd", "+", "dev", "eth0")
            _ip("-n", namespace, "addr", "add", f"fd77::{number}/64", "dev", "eth0", "nodad")
            _ip("-n", namespace, "route", "add", "224.0.0.0/4", "dev", "eth0")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def namespace(self, host: str) -> str:
        if host not in self.hosts:
            raise ValueError(f"no host {host!r} in this lab")
        return f"{self.tag}-{host}"

    def address(self, host: str) -> str:
        """The IPv4 address the host started with."""
        self.namespace(host)
        return f"10.77.0.{self.hosts.index(host) + 1}"

    def run(self, host: str, *argv: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run to the end on a host. Output is captured as text and 30 s allowed, unless `options` differ."""
        return _run(["ip", "netns", "exec", self.namespace(host), *argv], options)

    def popen(self, host: str, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Start on a host. The process id is that of `argv` itself; `close` kills and reaps it."""
        return self._start(["ip", "netns", "exec", self.namespace(host), *argv], options)

    def _start(self, argv: list[str], options: dict[str, Any]) -> subprocess.Popen[Any]:
        process = subprocess.Popen(argv, **options)
        self._processes.append(process)
        return process

    def nft(self, ruleset: str) -> None:
        """Add rules on the switch, where no host sees them: table type `bridge`, ports `pa`, `pb`, …"""
        argv = ["ip", "netns", "exec", self.switch, "nft", "-f", "-"]
        subprocess.run(argv, input=ruleset, text=True, check=True, timeout=30)

    def run_on_switch(self, *argv: str) -> None:
        """Run to its end in the namespace of the switch. Raises if that fails."""
        subprocess.run(["ip", "netns", "exec", self.switch, *argv], check=True, timeout=30)

    def heal(self) -> None:
        """Undo every `nft` and `link`."""
        self.nft("flush ruleset\n")
        for host in self.hosts:
            self.link(host, up=True)

    def link(self, host: str, up: bool) -> None:
        """Plug or pull the host's cable at the switch: the host loses the carrier, not its addresses."""
        self.namespace(host)
        _ip("-n", self.switch, "link", "set", f"p{host}", "up" if up else "down")

    @contextlib.contextmanager
    def avahi(self, host: str, name: str) -> Iterator["Avahi"]:
        """A foreign mDNS stack on a host, known as `name`.local, with a system bus of its own."""
        stack = Avahi(self, host, name)
        try:
            stack.wait_until_running()
            yield stack
        finally:
            stack.close()

    def close(self) -> None:
        """End every process, remove every namespace. May be called twice; never from a forked child."""
        if os.getpid() != self._pid:
            return
        for namespace in (*(self.namespace(host) for host in self.hosts), self.switch):
            _remove(namespace)
        while self._processes:
            _reap(self._processes.pop())
        _open_labs.discard(self)


class Avahi:
    """A running avahi-daemon; `run` and `popen` see its bus and its network."""

    def __init__(self, lab: Lab, host: str, name: str) -> None:
        self._lab = lab
        prepare = "mount -t tmpfs tmpfs /run && mkdir -p /run/dbus /run/avahi-daemon"
        bus = "exec dbus-daemon --system --nofork --nopidfile --nosyslog --print-address"
        unshare = ("unshare", "--mount", "--propagation", "private")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        piped = quiet | {"stdout": subprocess.PIPE}
        self._bus = lab.popen(host, *unshare, "sh", "-c", f"{prepare} && {bus}", **piped)
        self._enter = ["nsenter", "-t", str(self._bus.pid), "-m", "-n"]
        private = Path(f"/proc/{self._bus.pid}/root/run")
        try:
            # the socket's file is there a moment before anybody listens, and avahi-daemon ends when it is refused
            said, _, _ = select.select([self._bus.stdout], [], [], 10)
            if not said or not self._bus.stdout.readline():
                raise RuntimeError("the bus did not start")
            (private / "avahi.conf").write_text(AVAHI_CONFIGURATION.format(name=name))
            options = ("-f", "/run/avahi.conf", "--no-drop-root", "--no-chroot", "--no-rlimits")
            self._daemon = self.popen("avahi-daemon", *options, **quiet)
        except BaseException:
            _reap(self._bus)
            raise

    def run(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Like `Lab.run`, beside this avahi."""
        return _run([*self._enter, *argv], {"env": _without_bus(), **options})

    def popen(self, *argv: str, **options: Any) -> subprocess.Popen[Any]:
        """Like `Lab.popen`, beside this avahi."""
        return self._lab._start([*self._enter, *argv], {"env": _without_bus(), **options})

    def wait_until_running(self) -> None:
        """Return when avahi has claimed its host name."""

        def is_running() -> bool:
            if self._daemon.poll() is not None:
                raise RuntimeError(f"avahi-daemon ended with {self._daemon.returncode}")
            state = self.run(
                *("dbus-send", "--system", "--print-reply=literal", "--dest=org.freedesktop.Avahi"),
                *("/", "org.freedesktop.Avahi.Server.GetState"),
            )
            return state.stdout.split() == ["int32", "2"]  # AVAHI_SERVER_RUNNING

        _wait_for(is_running, "avahi did not start")

    def close(self) -> None:
        """Say goodbye on the network, then end."""
        self._daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._daemon.wait(5)
        _reap(self._daemon)
        _reap(self._bus)


def sweep() -> None:
    """Remove the labs whose process is gone."""
    for path in NAMESPACES.iterdir() if NAMESPACES.is_dir() else ():
        match = TAG.fullmatch(path.name)
        if match and _started(int(match["pid"])) != match["started"]:
            _remove(path.name)


def _new_tag() -> str:
    return f"mn-{os.getpid()}-{_started(os.getpid())}-{secrets.token_hex(3)}"


def _started(pid: int) -> str | None:
    """When a process started, in ticks since boot: with its id, unique."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _without_bus() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DBUS_SYSTEM_BUS_ADDRESS"}


def _ip(*argv: str) -> None:
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(argv)}: {done.stderr.strip()}")


def _run(argv: list[str], options: dict[str, Any]) -> subprocess.CompletedProcess[Any]:
    capture = not {"stdout", "stderr", "capture_output"} & options.keys()
    return subprocess.run(argv, **{"capture_output": capture, "text": True, "timeout": 30, **options})


def _remove(namespace: str) -> None:
    for _ in range(2):  # a process may have forked during the first round
        listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True)
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", namespace], capture_output=True)


def _reap(process: subprocess.Popen[Any]) -> None:
    process.kill()
    process.wait(10)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _wait_for(condition: Any, complaint: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.02)


@atexit.register
def _close_all() -> None:
    for lab in list(_open_labs):
        lab.close()


def _close_on_termination() -> None:
    """Clean up on SIGTERM and SIGHUP too, where nobody else listens. Only the main thread may ask for it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                signal.signal(number, _terminate)


def _terminate(number: int, _: object) -> None:
    _close_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
