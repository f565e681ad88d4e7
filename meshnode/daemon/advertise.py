"""Keep us visible by mDNS and look for others; when the link refuses, the node runs on and says so."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from meshnode.domain.announcement import PROTOCOLS
from meshnode.domain.capability import capability_hash
from meshnode.domain.event import Event
from meshnode.node.use_cases import UseCases
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.txt_record import TxtRecord

RETRY_S: Final = 30.0
GOODBYE_S: Final = 2.0
GAP_S: Final = 1.3  # between announcements: whoever hears the same bytes again within a second takes them for an echo
_TELLING: Final = ("mesh.pairing.", "mesh.node.updated")

log = logging.getLogger(__name__)


async def advertise(use: UseCases, addresses: OwnAddresses) -> None:
    """Until cancelled."""
    while True:
        try:
            await _advertise(use, addresses)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever mDNS meets, the node runs on and says so
            use.status.degrade("no_multicast", f"mDNS does not work here ({error}); others must join by address")
            log.warning("mDNS does not work here (%s); trying again in %.0f s", error, RETRY_S)
        await asyncio.sleep(RETRY_S)


async def _advertise(use: UseCases, addresses: OwnAddresses) -> None:
    # 50 ms of imports that no request should wait for
    asyncio_zeroconf = await asyncio.to_thread(_import)
    interfaces = addresses.for_multicast()
    if not interfaces:
        raise OSError("no network interface is up")
    zeroconf = asyncio_zeroconf.AsyncZeroconf(interfaces=interfaces)
    from meshnode.transport.mdns_announce import MdnsAnnouncer
    from meshnode.transport.mdns_browse import MdnsBrowser

    announcer, browser = MdnsAnnouncer(zeroconf), MdnsBrowser(zeroconf, use.discovery)
    changed = asyncio.Event()

    def react(event: Event) -> None:
        if event.topic.startswith(_TELLING):
            changed.set()

    use.bus.react(react)
    try:
        browser.start()
        while True:
            said = _said(use)
            await announcer.announce(said[1], use.me.port, addresses.reachable(), said[0])
            use.status.recover("no_multicast")
            await asyncio.sleep(GAP_S)
            await _until_changed(use, changed, said)
    finally:
        with suppress(Exception):
            async with asyncio.timeout(GOODBYE_S):
                await browser.stop()
                await announcer.withdraw()
        await zeroconf.async_close()


async def _until_changed(use: UseCases, changed: asyncio.Event, said: tuple[TxtRecord, str]) -> None:
    """Until something else is to be said, perhaps already; an offer's expiry is nobody's event."""
    while _said(use) == said:
        changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S if use.offers.current is None else 1.0):
                await changed.wait()


def _said(use: UseCases) -> tuple[TxtRecord, str]:
    return _txt(use), use.me.identity.name


def _txt(use: UseCases) -> TxtRecord:
    return TxtRecord(
        id=use.me.identity.id,
        version=max(PROTOCOLS),
        capability_hash=capability_hash(use.me.facts.capabilities),
        pairing_open=use.offers.current is not None,
    )


def _import() -> Any:
    import zeroconf.asyncio

    return zeroconf.asyncio
