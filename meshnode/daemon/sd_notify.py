"""Tell systemd how we are, for as long as the event loop and the writer answer. Source: sd_notify(3)."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

from meshnode.domain.errors import MeshError
from meshnode.node.event_bus import EventBus
from meshnode.node.report_status import ReportStatus
from meshnode.node.tables import Store
from meshnode.node.use_cases import UseCases

FED_PER_LIMIT: Final = 3  # two may come late before systemd gives us up
SETTLE_S: Final = 0.5  # many nodes change at once when a network goes: one message for all
LOOK_S: Final = 10.0  # what degrades us is not announced


def sd_notify(message: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `READY=1`, `STOPPING=1`, `STATUS=…`; whether there was somebody to tell."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(message.encode(), address)
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How long systemd waits for a sign of life before it kills us; None if it does not watch this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        limit_s = int(environ.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return limit_s if limit_s > 0 else None


def status_line(name: str, status: ReportStatus) -> str:
    """What `systemctl status` shows of a node: its name, its peers, and what is not as it should be."""
    peers = status.peers()
    total = sum(peers.values())
    seen = f"{peers['online']} of {total} peers online" if total else "no peers yet"
    degraded = ", ".join(problem["code"] for problem in status.degraded())
    return " ".join(f"{name}: {seen}{f'; degraded: {degraded}' if degraded else ''}".split())


def report_to_systemd(use: UseCases, environ: Mapping[str, str] = os.environ) -> list[asyncio.Task[None]]:
    """What keeps systemd informed until cancelled; nothing where it did not start us."""
    if "NOTIFY_SOCKET" not in environ:
        return []
    status = keep_status(lambda: status_line(use.me.identity.name, use.status), use.bus, environ)
    tasks = [asyncio.create_task(status, name="systemd status")]
    limit_s = watchdog_s(environ)
    if limit_s is not None:
        tasks.append(asyncio.create_task(feed_watchdog(use.store, limit_s, environ), name="systemd watchdog"))
    return tasks


async def feed_watchdog(store: Store, limit_s: float, environ: Mapping[str, str] = os.environ) -> None:
    """A sign of life until cancelled, each after the writer has answered; a refusal is an answer, silence is none."""
    faulthandler.enable()  # the watchdog's SIGABRT then says in the journal where each thread hung
    while True:
        try:
            async with store.write(durable=False):
                pass
        except MeshError:  # a full disk is no reason to be killed: it would be as full after that
            pass
        sd_notify("WATCHDOG=1", environ)
        await asyncio.sleep(limit_s / FED_PER_LIMIT)


async def keep_status(describe: Callable[[], str], bus: EventBus, environ: Mapping[str, str] = os.environ) -> None:
    """The status line as it changes, until cancelled."""
    changed = asyncio.Event()
    bus.react(lambda event: changed.set() if event.topic.startswith("mesh.node.") else None)
    told = ""
    while True:
        text = describe()
        if text != told and sd_notify(f"STATUS={text}", environ):
            told = text
        try:
            async with asyncio.timeout(LOOK_S):
                await changed.wait()
        except TimeoutError:
            continue
        await asyncio.sleep(SETTLE_S)
        changed.clear()
