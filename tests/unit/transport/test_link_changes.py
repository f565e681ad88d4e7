"""The kernel's word about addresses and interfaces; that it wakes us is seen in tests/e2e/test_mesh_addresses.py."""

import errno
import socket
import sys
from typing import Any

import pytest

from meshnode.transport.link_changes import LinkChanges


@pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
async def test_nothing_is_heard_while_nothing_changes() -> None:
    """It listens without being woken, and ends without a trace; twice is harmless."""
    changes = LinkChanges()
    assert changes.start() is True
    assert not changes.woken.is_set()
    changes.stop()
    changes.stop()


@pytest.mark.parametrize("where", ["socket", "bind"])
async def test_where_it_is_forbidden_it_says_so(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """As on some phones, and in sandboxes without netlink; what was opened is closed."""

    class Forbidden(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            if where == "socket":
                raise PermissionError(errno.EACCES, "denied")
            super().__init__(socket.AF_INET, socket.SOCK_DGRAM)

        def bind(self, _: Any) -> None:
            raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(socket, "socket", Forbidden)
    changes = LinkChanges()
    assert changes.start() is False
    changes.stop()
