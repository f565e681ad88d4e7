"""A node under load: the real daemon, but for what is said here.

Its public application may stand on a plain socket; 32 sockets from one address are let in at once; it sends no
heartbeats itself (sending is measured on its own); and every known peer gets a session without opening one by wire.
"""

import argparse
import functools
from pathlib import Path

from meshnode.config import load_config
from meshnode.daemon import compose as composing
from meshnode.daemon import lifecycle
from meshnode.daemon.compose import Graph
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.transport.admission import Admission
from meshnode.transport.tls_listener import Listener
from tests.bench.seed import PEER_EPOCH, write_tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("data", type=Path)
    parser.add_argument("--plain", action="store_true", help="without TLS")
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
        write_tokens(arguments.data, use.me.sha256, tokens)

    _compose = composing.compose
    lifecycle.compose = compose
    composing.Admission = functools.partial(Admission, per_source=1024, in_all=1024)
    if arguments.plain:
        composing.Listener = lambda app, admission, connections, _: Listener(app, admission, connections, None)
    ExchangeHeartbeats.add = lambda *_: None
    flags = {
        "listen.public": [f"127.0.0.1:{arguments.port}"],
        "listen.control_port": 0,
        "mdns.enabled": False,
    }
    lifecycle.run(load_config(flags).config, arguments.data, on_ready)


if __name__ == "__main__":
    main()
