"""The real `meshnode` on a machine that lacks things: `python tests/fakes/small_machine.py ARGS…`, told by environment.

WITHOUT names them: `orjson` (can't be imported, as on Android), `interfaces` (the system refuses to list them, and
routes tell nothing), `multicast` (refused by the kernel). CGROUP is a folder of a control group to enter first.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any, Final

_MULTICAST: Final = {
    (socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP),
    (socket.IPPROTO_IP, socket.IP_MULTICAST_IF),
    (socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP),
    (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF),
}


def without_interfaces() -> None:
    """Refuse to list interfaces, and have no route."""
    import ifaddr

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.type == socket.SOCK_DGRAM:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        real(self, address)

    ifaddr.get_adapters = refuse
    socket.socket.connect = connect  # type: ignore[method-assign, assignment]


def without_multicast() -> None:
    """Refuse to join a group or to send to one."""
    real = socket.socket.setsockopt

    def setsockopt(self: socket.socket, level: int, option: int, *value: Any) -> None:
        if (level, option) in _MULTICAST:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        real(self, level, option, *value)

    socket.socket.setsockopt = setsockopt  # type: ignore[method-assign, assignment]


def main() -> None:
    """Take away what is named, then be meshnode."""
    if group := os.environ.get("CGROUP"):
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    missing = set(filter(None, os.environ.get("WITHOUT", "").split(",")))
    for name, take in (("interfaces", without_interfaces), ("multicast", without_multicast)):
        if name in missing:
            take()
    if "orjson" in missing:
        sys.modules["orjson"] = None  # type: ignore[assignment]  # importing it is an ImportError
    from meshnode.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
