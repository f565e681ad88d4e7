"""Notice when our own addresses change, and tell every peer at once.

Source: docs/protocol.md, Heartbeat. The kernel's word wakes us at once where there is one (Linux); the interfaces are
read every few seconds where there is none, and seldom all the same, for what it may leave out.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from meshnode.domain.errors import MeshError
from meshnode.node.use_cases import UseCases
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.link_changes import LinkChanges

POLL_S: Final = 5.0  # where nobody wakes us
POLL_WOKEN_S: Final = 120.0  # a look costs a millisecond or two: most of what an idle node does
SETTLE_S: Final = 0.2  # an interface coming up brings several addresses

log = logging.getLogger(__name__)


class FollowAddresses:
    """Reads our interfaces, and acts on what differs from the last time."""

    def __init__(self, use: UseCases, addresses: OwnAddresses) -> None:
        self._use = use
        self._addresses = addresses
        self._seen = addresses.on_the_link()
        self._changes = LinkChanges()
        self.looked = asyncio.Event()  # set after every look

    def soon_and_call(self) -> None:
        """Something suggests that we are cut off: look, and call every peer, at once."""
        self._changes.woken.set()
        self._use.heartbeats.all_now()

    async def look(self) -> bool:
        """Read the interfaces now; whether our addresses are others. If so, every peer is called before long."""
        use, before = self._use, self._seen
        self._addresses.read()
        self._seen = self._addresses.on_the_link()
        self.looked.set()
        try:
            await use.me.refresh()
        finally:
            if self._seen != before:
                log.info("our addresses are now %s", ", ".join(self._seen) or "none")
                use.heartbeats.all_now()
        return self._seen != before

    async def run(self) -> None:
        """Follow until cancelled."""
        poll_s = POLL_S
        if self._changes.start():
            poll_s = POLL_WOKEN_S
            self._addresses.cache_s = POLL_WOKEN_S + POLL_S  # reading them costs more than a heartbeat
        try:
            while True:
                self._changes.woken.clear()
                try:
                    await self.look()
                except MeshError as error:  # the database: the peers learn it when that accepts again
                    log.warning("our new addresses can't be announced: %s", error.detail)
                with suppress(TimeoutError):
                    async with asyncio.timeout(poll_s):
                        await self._changes.woken.wait()
                await asyncio.sleep(SETTLE_S)
        finally:
            self._changes.stop()
