"""A node under load: the real daemon, but for what is said here.

Its public application may stand on a plain socket; 32 sockets from one address are let in at once; it sends no
heartbeats itself (sending is measured on its own); every known peer gets a session without opening one by wire, and
with `--device` so does a thin client; and no socket is told that it calls too often.
"""

import argparse
import functools
from pathlib import Path

from meshnode.config import load_config
from meshnode.crypto.token import make_token, token_digest
from meshnode.daemon import compose as composing
from meshnode.daemon import lifecycle
from meshnode.daemon.compose import Graph
from meshnode.domain.peer import MeshNode
from meshnode.domain.rate_limit import Rate
from meshnode.node.device_tokens import IssuedToken
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.tables import StoredToken
from meshnode.transport.admission import Admission
from meshnode.transport.rpc_server import RpcServer, SocketLimits
from meshnode.transport.tls_listener import Listener
from tests.bench.seed import PEER_EPOCH, write_tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("data", type=Path)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--device", action="store_true", help="with a thin client, whose token comes last")
    arguments = parser.parse_args()
    graphs: list[Graph] = []

    def compose(*parts: object) -> Graph:
        graphs.append(_compose(*parts))
        return graphs[0]

    def on_ready(_: lifecycle.Started) -> None:
        use, roster = graphs[0].use, graphs[0].roster
        tokens = [
            (str(use.sessions._issue(entry, PEER_EPOCH)), entry.announcement_sha256 or "")
            for entry in roster
            if entry.is_peer
        ]
        if arguments.device:
            tokens.append((_device(graphs[0]), "-"))
        write_tokens(arguments.data, use.me.sha256, tokens)

    _compose = composing.compose
    lifecycle.compose = compose
    composing.Admission = functools.partial(Admission, per_source=1024, in_all=1024)
    limits = SocketLimits(known_rate=Rate(10**9, 60.0, burst=10**6))
    composing.RpcServer = functools.partial(RpcServer, limits=limits)
    if arguments.plain:
        composing.Listener = lambda app, admission, connections, *_: Listener(app, admission, connections, None)
    ExchangeHeartbeats.add = lambda *_: None
    flags = {
        "listen.public": [f"127.0.0.1:{arguments.port}"],
        "listen.control_port": 0,
        "mdns.enabled": False,
        "http.anonymous_per_minute": 1_000_000,
    }
    lifecycle.run(load_config(flags).config, arguments.data, on_ready)


def _device(graph: Graph) -> str:
    """The token of a thin client that has just paired, as the node would know it after a restart."""
    use = graph.use
    token = make_token(use.entropy.draw(32))
    node = MeshNode(
        id="device", name="device", hostname="127.0.0.1", port=0, status="offline", trust="paired", trust_level=1,
        created_at=use.clock.now(), dialect="abpa3",
    )  # fmt: skip
    graph.roster.put(node, use.clock.monotonic())
    stored = StoredToken(
        digest=token_digest(token), node_id=node.id, kind="device", listener="public", created_at=use.clock.now()
    )
    use.tokens.take(IssuedToken(token, stored, None))
    return str(token)


if __name__ == "__main__":
    main()
