"""A whole node in a thread of this process: the real graph, database and TLS on port 0, with a clock set by hand.

For what a process of its own would make slow, or what needs time to pass without waiting.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from meshnode.cli.control_client import ControlClient
from meshnode.config import Config, load_config
from meshnode.daemon.compose import Graph, compose
from meshnode.daemon.follow_certificate import load_tls
from meshnode.daemon.lifecycle import load_state, start_control, start_plain, start_services, stop_listeners
from meshnode.daemon.offline import open_data_directory
from meshnode.daemon.system import SystemEntropy
from meshnode.domain.invite import parse_host_port
from meshnode.store.database import Database
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.tls_listener import bind
from tests.fakes.nodes import Asked

T = TypeVar("T")


async def drain() -> None:
    """Let closing connections end before the running loop does."""
    transports = getattr(asyncio.get_running_loop(), "_transports", {})
    started = time.monotonic()
    for _ in range(3):
        await asyncio.sleep(0.002)
    while still := [t for t in list(transports.values()) if t._sock is not None]:
        if time.monotonic() > started + 3:
            for transport in still:
                transport.abort()
        await asyncio.sleep(0.002)


class SteppedClock:
    """Runs as the real clock does, and `step` moves it ahead; wall and sleep can be stepped alone."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._wall_s = 0.0
        self._slept_s = 0.0

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self._ahead_s += seconds

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock ahead or back; nothing else notices."""
        self._wall_s += seconds

    def sleep(self, seconds: float) -> None:
        """Suspend the machine: monotonic time stands still."""
        self._slept_s += seconds

    def now(self) -> datetime:
        """Wall time, UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s + self._wall_s + self._slept_s)

    def monotonic(self) -> float:
        """Seconds that never jump back."""
        return time.monotonic() + self._ahead_s

    def boot_s(self) -> float:
        """As `monotonic`, with the sleep."""
        return self.monotonic() + self._slept_s


class LocalNode(Asked):
    """Start with `start`, end with `close`; the same folder can be started again."""

    def __init__(self, data: Path, *, is_beating: bool = False, is_judging: bool = False, **flags: Any) -> None:
        self.data = data
        self.port = 0
        self.plain_port = 0
        self.clock = SteppedClock()
        self.graph: Graph
        self._is_beating = is_beating
        self._is_judging = is_judging
        self._flags = {"http.anonymous_per_minute": 1_000_000, "heartbeat.interval_s": 0.5} | flags
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._control: ControlClient | None = None
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None

    def start(self) -> LocalNode:
        """Serve from a thread; returns when both listeners accept."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="local node")
        self._thread.start()
        assert ready.wait(15)
        if self._failure is not None:
            raise self._failure
        return self

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:  # noqa: BLE001 - told to who started us
            self._failure = error
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config: Config = load_config(self._flags, {"MESHNODE_CONFIG": "/dev/null"}).config
        entropy = SystemEntropy()
        opened = open_data_directory(self.data, self.clock, entropy)
        sockets = [bind("127.0.0.1", self.port)]
        control_socket = bind("127.0.0.1", 0)
        self.port = sockets[0].getsockname()[1]
        tls = load_tls(config, opened.path, opened.identity.id, self.clock.now())
        addresses = OwnAddresses([("127.0.0.1", self.port)], self.clock.monotonic)
        database = await Database.open(opened.database)
        graph = self.graph = compose(config, opened, database, tls, addresses, self.clock, entropy)
        use = graph.use
        try:
            await load_state(graph, database, opened, self.port, addresses, tls, self.clock)
            await graph.public.start(sockets)
            control_port = control_socket.getsockname()[1]
            await start_control(graph, control_socket)
            self._control = ControlClient(f"http://127.0.0.1:{control_port}", str(graph.owner_token))
            if graph.plain is not None:
                plain_socket = bind(*parse_host_port(config.listen.plain or ""))
                self.plain_port = plain_socket.getsockname()[1]
                await start_plain(graph, plain_socket)
            services = start_services(graph)
            if self._is_judging:
                services.append(asyncio.create_task(graph.sweeper.run()))
            use.status.is_ready = True
            beating = asyncio.create_task(use.heartbeats.run()) if self._is_beating else None
            ready.set()
            await self._stop.wait()
            for task in services:
                task.cancel()
            await asyncio.gather(*services, return_exceptions=True)
            if beating is not None:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
        finally:
            await stop_listeners(graph)
            await graph.http.close()
            await database.close()
            opened.close()
            await drain()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the node's own loop."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(15)

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 60.0) -> Any:
        """See `Asked`."""
        assert self._control is not None
        return self._control.call(method, path, body, timeout_s=timeout_s)

    @property
    def control_address(self) -> str:
        """HOST:PORT of the control listener."""
        assert self._control is not None
        return self._control._netloc

    @property
    def owner_token(self) -> str:
        """The owner's token of this run."""
        return str(self.graph.owner_token)

    def close(self) -> None:
        """Stop serving; what went wrong meanwhile is raised."""
        if self._thread is None:
            return
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def restart(self) -> LocalNode:
        """Stop and start again on the same port."""
        self.close()
        return self.start()
