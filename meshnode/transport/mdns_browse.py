"""Watch the link for other nodes; at most eight resolutions at once.

More at once would answer a burst with a query storm and overflow the socket (measured: 57 % of 500 resolved; with
eight, all in 0.1 s).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from zeroconf import (  # type: ignore[attr-defined]  # DNSText is missing in its __all__
    DNSPointer,
    DNSText,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from meshnode.domain.untrusted_text import clean_text
from meshnode.node.discover_peers import SIGHTINGS_MAX, DiscoverPeers, Sighting
from meshnode.transport.interfaces import name_scope
from meshnode.transport.txt_record import SERVICE_TYPE, decode_txt, parse_instance

AT_ONCE: Final = 8
RESOLVE_MS: Final = 3000
WAITING_MAX: Final = 2 * SIGHTINGS_MAX
PTR: Final = 12  # RFC 1035, 3.2.2
IN: Final = 1  # RFC 1035, 3.2.4

log = logging.getLogger(__name__)


class _TxtListener(RecordUpdateListener):
    """Hears every TXT record of our type.

    The library reports only records that are new to its cache, where an outdated one stays for up to ten seconds:
    `pair=0` after a short `pair=1` would be lost, and a look into the cache might find the outdated one.
    """

    def __init__(self, hear: Callable[[str, bytes], None]) -> None:
        self._hear = hear

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        for update in records:
            record = update.new
            if isinstance(record, DNSText) and record.name.endswith(f".{SERVICE_TYPE}") and not record.is_expired(now):
                self._hear(record.name, record.text)


class MdnsBrowser:
    """Feeds sightings."""

    def __init__(self, zeroconf: AsyncZeroconf, discovery: DiscoverPeers) -> None:
        self._zeroconf = zeroconf
        self._discovery = discovery
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._browser: AsyncServiceBrowser | None = None
        self._listener = _TxtListener(self._heard)
        self._texts: dict[str, bytes | None] = {}  # by instance name in sight: a TXT record heard since

    def start(self) -> None:
        """Browse from now on."""
        self._zeroconf.zeroconf.async_add_listener(self._listener, None)
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._changed])

    def _changed(self, zeroconf: Any, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            self._texts.pop(name, None)
            self._discovery.gone(name)
            return
        if not self._is_there(name):
            return
        if len(self._texts) < WAITING_MAX:
            self._texts.setdefault(name, None)
        self._resolve_soon(name)

    def _is_there(self, name: str) -> bool:
        """Whether its pointer is known: else it said goodbye, and nothing would tell us again that it is gone."""
        pointer = DNSPointer(SERVICE_TYPE, PTR, IN, 0, name)
        return self._zeroconf.zeroconf.cache.async_get_unique(pointer) is not None

    def _heard(self, name: str, text: bytes) -> None:
        if name in self._texts and self._texts[name] != text:
            self._texts[name] = text
            self._resolve_soon(name)

    def _resolve_soon(self, name: str) -> None:
        if len(self._tasks) < WAITING_MAX:
            task = asyncio.get_running_loop().create_task(self._resolve(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _resolve(self, name: str) -> None:
        async with self._places:
            try:
                info = AsyncServiceInfo(SERVICE_TYPE, name)
                if not await info.async_request(self._zeroconf.zeroconf, RESOLVE_MS):
                    return
            except Exception as error:  # noqa: BLE001 - whatever a stranger's packets provoke must not end browsing
                log.debug("could not resolve %s: %s", name, error)
                return
        if not self._is_there(name):
            return
        sighting = _sighting(name, info, self._texts.get(name))
        if sighting is not None:
            self._discovery.seen(sighting)

    async def stop(self) -> None:
        """Browse no more."""
        if self._browser is not None:
            self._zeroconf.zeroconf.async_remove_listener(self._listener)
            await self._browser.async_cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _sighting(name: str, info: AsyncServiceInfo, text: bytes | None) -> Sighting | None:
    try:
        heard = info if text is None else ServiceInfo(SERVICE_TYPE, name, properties=text)
        txt = decode_txt(heard.properties)
    except ValueError:
        return None
    addresses = [_named(address) for address in info.parsed_scoped_addresses()[:16]]
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


def _named(address: str) -> str:
    host, _, scope = address.partition("%")
    return f"{host}%{name_scope(scope)}" if scope else host
