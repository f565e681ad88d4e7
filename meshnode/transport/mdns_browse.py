"""Watch the link for other nodes; at most eight resolutions at once.

More at once would answer a burst with a query storm and overflow the socket (measured: 57 % of 500 resolved; with
eight, all in 0.1 s).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meshnode.domain.untrusted_text import clean_text
from meshnode.node.discover_peers import SIGHTINGS_MAX, DiscoverPeers, Sighting
from meshnode.transport.txt_record import SERVICE_TYPE, decode_txt, parse_instance

AT_ONCE: Final = 8
RESOLVE_MS: Final = 3000
WAITING_MAX: Final = 2 * SIGHTINGS_MAX

log = logging.getLogger(__name__)


class MdnsBrowser:
    """Feeds sightings."""

    def __init__(self, zeroconf: AsyncZeroconf, discovery: DiscoverPeers) -> None:
        self._zeroconf = zeroconf
        self._discovery = discovery
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._browser: AsyncServiceBrowser | None = None

    def start(self) -> None:
        """Browse from now on."""
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._changed])

    def _changed(self, zeroconf: Any, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            self._discovery.gone(name)
        elif len(self._tasks) < WAITING_MAX:
            task = asyncio.get_running_loop().create_task(self._resolve(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _resolve(self, name: str) -> None:
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        async with self._places:
            try:
                if not await info.async_request(self._zeroconf.zeroconf, RESOLVE_MS):
                    return
            except Exception as error:  # noqa: BLE001 - whatever a stranger's packets provoke must not end browsing
                log.debug("could not resolve %s: %s", name, error)
                return
        sighting = _sighting(name, info)
        if sighting is not None:
            self._discovery.seen(sighting)

    async def stop(self) -> None:
        """Browse no more."""
        if self._browser is not None:
            await self._browser.async_cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _sighting(name: str, info: AsyncServiceInfo) -> Sighting | None:
    try:
        txt = decode_txt(info.properties)
    except ValueError:
        return None
    addresses = info.parsed_scoped_addresses()[:16]
    if not addresses or not info.port or not 1 <= info.port <= 65535:
        return None
    addresses.sort(key=lambda a: (a.startswith("169.254."), a.lower().startswith("fe80"), ":" in a))
    return Sighting(
        instance=name,
        id=txt.id,
        name=clean_text(parse_instance(name)) or txt.id,
        host=addresses[0],
        port=info.port,
        addresses=tuple(addresses),
        pairing_open=txt.pairing_open,
    )
