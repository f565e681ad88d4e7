"""Wakes whoever waits when the kernel says that an address or an interface has changed; elsewhere nothing is heard.

What has changed is read from the interfaces afterwards: this says only that it is worth looking.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final

LINK, IPV4_ADDRESS, IPV6_ADDRESS = 0x1, 0x10, 0x100  # RTMGRP_… of linux/rtnetlink.h
_READ_BYTES: Final = 65536
_READS_MAX: Final = 64

log = logging.getLogger(__name__)


class LinkChanges:
    """Sets `woken` at every change, from `start` to `stop`. Linux only, and not where it is forbidden."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._socket: socket.socket | None = None

    def start(self) -> bool:
        """Listen; whether the kernel lets us."""
        try:
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)  # NETLINK_ROUTE
        except (OSError, AttributeError) as error:
            log.debug("changes of addresses are not told here (%s); they are looked for", error)
            return False
        try:
            sock.setblocking(False)
            sock.bind((0, LINK | IPV4_ADDRESS | IPV6_ADDRESS))
            asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)
        except (OSError, NotImplementedError) as error:
            sock.close()
            log.debug("changes of addresses are not told here (%s); they are looked for", error)
            return False
        self._socket = sock
        return True

    def _readable(self) -> None:
        self.woken.set()
        if self._socket is not None:
            with suppress(OSError):  # nothing more, or more than the buffer held: either way it is time to look
                for _ in range(_READS_MAX):
                    self._socket.recv(_READ_BYTES)

    def stop(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
