"""Which user of this machine holds the other end of a loopback connection; known on Linux only."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from meshnode.domain.source_address import parse_ip

TABLE: Final = Path("/proc/net/tcp")
TABLE_6: Final = Path("/proc/net/tcp6")  # where a connection to ::ffff:127.0.0.1 stands, though we see it as IPv4
_NOBODY: Final = 65534  # within a user namespace, as of the system's unit: every user that has no place in it
_LOOKS: Final = 2  # the kernel may leave a line out while connections come and go

_known: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()


def user_behind(transport: asyncio.BaseTransport | None) -> int | None:
    """The user id behind a connection of ours; None = nobody can say. Reads files the first time."""
    if transport is None:
        return None
    user = _known.get(transport)
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if user is None and peer is not None and own is not None:
        user = user_of((str(parse_ip(peer[0])), peer[1]), (str(parse_ip(own[0])), own[1]))
        if user is not None:
            _known[transport] = user
    return user


def user_of(peer: tuple[str, int], own: tuple[str, int], table: Path = TABLE, table_6: Path = TABLE_6) -> int | None:
    """The user id of the process that connected from `peer` to `own`; None = nobody can say. Reads files."""
    for _ in range(_LOOKS):
        for path, prefix in ((table, ""), (table_6, _mapped())):
            try:
                found = _line_of(prefix + _spell(peer), prefix + _spell(own), path)
            except (OSError, ValueError):
                continue
            if found is not None:
                return None if found == _NOBODY else found
    return None


def _line_of(theirs: str, ours: str, table: Path) -> int | None:
    for line in table.read_text("ascii").splitlines()[1:]:
        fields = line.split()
        # without an inode nobody holds it any more: who has hung up is printed as root
        if len(fields) > 9 and (fields[1], fields[2]) == (theirs, ours) and fields[9] != "0":
            return int(fields[7])
    return None


def _spell(address: tuple[str, int]) -> str:
    """As the kernel prints it: the address as one number of this machine's byte order, in hex."""
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"


def _mapped() -> str:
    """What stands before an IPv4 address among the IPv6 ones: ::ffff:, in words of this machine's byte order."""
    return f"{0:016X}{int.from_bytes(bytes((0, 0, 255, 255)), sys.byteorder):08X}"
