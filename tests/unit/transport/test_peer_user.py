"""Whose socket is at the other end, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from meshnode.transport.peer_user import user_of

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1B3A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:1B3A 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1B3A 0100007F:C350 01 00000000:00000000 00:00000000 00000000   999        0 3 1 0 20 4 30 10 -1
   3: 0100007F:C352 0100007F:1B3A 05 00000000:00000000 03:00001770 00000000     0        0 0 3 0000000000000000
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is of a little-endian machine")
@pytest.mark.parametrize(
    ("peer", "own", "user"),
    [
        (("127.0.0.1", 50000), ("127.0.0.1", 6970), 1000),
        (("127.0.0.1", 50001), ("127.0.0.1", 6970), None),
        (("127.0.0.1", 50002), ("127.0.0.1", 6970), None),
        (("::1", 50000), ("127.0.0.1", 6970), None),
    ],
)
def test_the_peers_own_line_is_read(
    tmp_path: Path, peer: tuple[str, int], own: tuple[str, int], user: int | None
) -> None:
    """Not the listener's, nor ours of the same connection; nor what the kernel keeps of who has hung up."""
    table = tmp_path / "tcp"
    table.write_text(TABLE)
    assert user_of(peer, own, table) == user


def test_where_there_is_no_table_nobody_knows(tmp_path: Path) -> None:
    """As on other systems."""
    assert user_of(("127.0.0.1", 1), ("127.0.0.1", 2), tmp_path / "none") is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_connection_of_our_own_is_ours() -> None:
    """The real table."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        accepted, peer = listener.accept()
        with accepted:
            assert user_of(peer, accepted.getsockname()) == os.getuid()
            assert client.getsockname() == peer


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_who_has_hung_up_is_nobody() -> None:
    """Not root, as whom the kernel prints what waits for our end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, peer = listener.accept()
        with accepted:
            client.close()
            assert accepted.recv(1) == b""
            assert user_of(peer, accepted.getsockname()) is None
