"""Start and stop, in order. The ports accept before anything slow; what listens last is told first to go."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from asyncio import sslproto
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from meshnode.config import Config
from meshnode.daemon.advertise import advertise
from meshnode.daemon.compose import Graph, compose
from meshnode.daemon.follow_addresses import FollowAddresses
from meshnode.daemon.follow_certificate import load_tls
from meshnode.daemon.offline import CONTROL_FILE, DataDirectory, open_data_directory
from meshnode.daemon.process_memory import settle_memory, share_one_arena
from meshnode.daemon.sd_notify import report_to_systemd, sd_notify
from meshnode.daemon.system import SystemClock, SystemEntropy
from meshnode.dialects.contract import Service
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity
from meshnode.domain.invite import format_host, parse_host_port
from meshnode.domain.json_text import dump_json
from meshnode.node.ports import Clock
from meshnode.store.atomic_file import write_private
from meshnode.store.database import Database
from meshnode.store.epoch_file import read_epoch, write_epoch
from meshnode.store.tls_files import TlsIdentity
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.tls_listener import TLS_BUFFER_BYTES, bind

CONTROL_HOST: Final = "127.0.0.1"
SETTLE_S: Final = 0.5  # after the first answers

log = logging.getLogger(__name__)


class Started(msgspec.Struct, frozen=True):
    """What `run` tells the person who started it."""

    identity: Identity
    is_new: bool
    data_dir: Path
    listeners: list[str]
    control_url: str
    kind: str
    mdns: bool


def run(config: Config, data_dir: Path, on_ready: Callable[[Started], None]) -> None:
    """Run a node until SIGTERM or SIGINT. Raises MeshError if it cannot start."""
    # 256 KiB per TLS connection otherwise, outgoing ones too
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    share_one_arena()
    with suppress(ValueError, OSError):  # sockets of peers and of strangers need descriptors
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clock, entropy = SystemClock(), SystemEntropy()
    data = open_data_directory(data_dir, clock, entropy)
    try:
        asyncio.run(_run(config, data, on_ready, clock, entropy))
    finally:
        data.close()


async def _run(
    config: Config,
    data: DataDirectory,
    on_ready: Callable[[Started], None],
    clock: SystemClock,
    entropy: SystemEntropy,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sockets = _bind_public(config)
    control_socket = _bind_control(config.listen.control_port)
    plain_socket = bind(*parse_host_port(config.listen.plain)) if config.listen.plain is not None else None
    names = [sock.getsockname()[:2] for sock in sockets]
    tls = load_tls(config, data.path, data.identity.id, clock.now())
    addresses = OwnAddresses(names, clock.monotonic)
    database = await Database.open(data.database)
    graph = compose(config, data, database, tls, addresses, clock, entropy)
    use = graph.use
    try:
        await load_state(graph, database, data, names[0][1], addresses, tls, clock)
        await graph.public.start(sockets)
        control_port = control_socket.getsockname()[1]
        await start_control(graph, control_socket)
        if graph.plain is not None and plain_socket is not None:
            await start_plain(graph, plain_socket)
        control_url = f"http://{CONTROL_HOST}:{control_port}"
        use.status.listeners[:0] = [f"https://{format_host(host)}:{port}" for host, port in names]
        control = {"url": control_url, "token": str(graph.owner_token)}
        write_private(data.path / CONTROL_FILE, dump_json(control))
        use.status.is_ready = True
        sd_notify("READY=1")
        on_ready(
            Started(
                data.identity,
                data.is_new,
                data.path,
                use.status.listeners,
                control_url,
                use.me.facts.kind,
                config.mdns.enabled,
            )
        )
        asyncio.get_running_loop().call_later(SETTLE_S, settle_memory)
        await _work_until(stop, config, graph, addresses)
    finally:
        (data.path / CONTROL_FILE).unlink(missing_ok=True)
        await stop_listeners(graph)
        await graph.http.close()
        try:
            await graph.sweeper.flush()
            await use.tokens.flush()
            await use.browsers.flush(all_of_it=True)
        except MeshError:
            log.exception("the last heartbeats could not be written")
        await database.close()


async def load_state(
    graph: Graph,
    database: Database,
    data: DataDirectory,
    port: int,
    addresses: OwnAddresses,
    tls: TlsIdentity,
    clock: Clock,
) -> None:
    """Read what the database knows and take this run's epoch; every peer is due to be called."""
    use = graph.use
    async with database.read() as tx:
        graph.roster.load(await tx.nodes.all(), clock.monotonic())
    await use.me.start(
        port=port,
        addresses=addresses.reachable,
        certificate_hash=tls.sha256,
        epoch_on_file=read_epoch(data.path),
        save_epoch=lambda epoch: write_epoch(data.path, epoch),
    )
    parts = (use.offers, use.codes, use.tokens, use.browsers, use.budget, use.confirmations, use.joining, use.notices)
    for part in parts:
        await part.load()
    for entry in graph.roster:
        if entry.is_peer:
            use.heartbeats.add(entry.node.id)
        graph.sweeper.watch(entry.node.id)


async def start_control(graph: Graph, control_socket: socket.socket) -> None:
    """Accept on the control listener, under its own names only."""
    port = control_socket.getsockname()[1]
    graph.control_gate.hosts = frozenset(f"{host}:{port}" for host in (CONTROL_HOST, "localhost", "[::1]"))
    await graph.control.start([control_socket])


async def start_plain(graph: Graph, plain_socket: socket.socket) -> None:
    """Accept on the listener without TLS, and say so wherever the owner looks."""
    if graph.plain is None:
        return
    await graph.plain.start([plain_socket])
    host, port = plain_socket.getsockname()[:2]
    told = f"http://{format_host(host)}:{port} has no TLS: everybody on the network can read and use what passes there"
    log.warning("%s", told)
    graph.use.status.listeners.append(f"http://{format_host(host)}:{port}")
    graph.use.status.plain_port = port
    graph.use.status.degrade("plain_listener", told)


async def stop_listeners(graph: Graph) -> None:
    """Tell every socket, accept no more, finish what is being answered."""
    await graph.connections.stop()
    for listener in (graph.public, graph.control, graph.plain):
        if listener is not None:
            await listener.stop()


def start_services(graph: Graph) -> list[asyncio.Task[None]]:
    """What runs by itself for as long as the node does: events to the sockets, and the dialects' own services."""
    tasks = [asyncio.create_task(graph.use.events.run(), name="events")]
    return [*tasks, *(asyncio.create_task(_repeat(service), name=service.name) for service in graph.services)]


async def _repeat(service: Service) -> None:
    while True:
        await asyncio.sleep(service.interval_s)
        try:
            await service.work()
        except Exception:
            log.exception("%s failed; it is tried again in %g s", service.name, service.interval_s)


async def _work_until(stop: asyncio.Event, config: Config, graph: Graph, addresses: OwnAddresses) -> None:
    use = graph.use
    following = FollowAddresses(use, addresses)
    graph.sweeper.look = graph.sweeper.on_woken = following.soon_and_call
    tasks = [
        asyncio.create_task(graph.sweeper.run(), name="sweep"),
        asyncio.create_task(following.run(), name="addresses"),
        asyncio.create_task(use.heartbeats.run(), name="heartbeats"),
        asyncio.create_task(use.diagnosing.ladder.run(), name="ladder"),
        asyncio.create_task(graph.house.run(), name="housekeeping"),
        *start_services(graph),
        *report_to_systemd(use),
    ]
    advertising = None
    if config.mdns.enabled:
        advertising = asyncio.create_task(advertise(use, addresses, following.looked), name="mdns")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():  # a loop that should never end has: stop, so that the service manager starts anew
                task.result()
    finally:
        use.status.is_ready = False
        sd_notify("STOPPING=1\nSTATUS=saying goodbye to the peers")
        stopping.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        goodbye = [asyncio.create_task(use.heartbeats.leave())]
        if advertising is not None:
            advertising.cancel()  # says goodbye on its way out
            goodbye.append(advertising)
        await asyncio.gather(*goodbye, return_exceptions=True)


def _bind_public(config: Config) -> list[socket.socket]:
    """Every configured address; the default's IPv6 half may be missing on a machine without IPv6."""
    sockets: list[socket.socket] = []
    try:
        for text in config.listen.public:
            host, port = parse_host_port(text)
            if port == 0 and sockets:
                port = sockets[0].getsockname()[1]  # one port for all families
            try:
                sockets.append(bind(host, port))
            except MeshError as error:
                if error.code == "port_in_use" or not sockets or host != "::":
                    raise
                log.info("no IPv6 here: %s", error.detail)
    except MeshError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind_control(port: int) -> socket.socket:
    try:
        return bind(CONTROL_HOST, port)
    except MeshError as error:
        if error.code != "port_in_use":
            raise
        return bind(CONTROL_HOST, 0)
