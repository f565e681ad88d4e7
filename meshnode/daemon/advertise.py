"""Keep us visible by mDNS and look for others; when the link refuses, the node runs on and says so."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from meshnode.domain.announcement import PROTOCOLS
from meshnode.domain.capability import capability_hash
from meshnode.domain.event import Event
from meshnode.node.use_cases import UseCases
from meshnode.transport.interfaces import OwnAddresses, why_not_listed
from meshnode.transport.txt_record import TxtRecord

if TYPE_CHECKING:
    from meshnode.transport.mdns_announce import MdnsAnnouncer

RETRY_S: Final = 30.0
GOODBYE_S: Final = 2.0
# between announcements: whoever hears the same bytes again within a second takes them for an echo, and the library
# may send an answer 1.32 s after it made it
GAP_S: Final = 1.4
_TELLING: Final = ("mesh.pairing.", "mesh.node.updated")

log = logging.getLogger(__name__)


async def advertise(use: UseCases, addresses: OwnAddresses, looked: asyncio.Event) -> None:
    """Until cancelled. `looked` is set whenever our interfaces have been read anew."""

    def react(event: Event) -> None:
        if event.topic.startswith(_TELLING):
            looked.set()

    use.bus.react(react)
    while True:
        interfaces = addresses.for_multicast()
        try:
            if interfaces:
                await _advertise(use, addresses, looked)
                continue
            _degrade(use, why_not_listed() or "no network interface is up")
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever mDNS meets, the node runs on and says so
            _degrade(use, str(error) or type(error).__name__)
        await _until_other(interfaces, addresses, looked)


def _degrade(use: UseCases, why: str) -> None:
    use.status.degrade("no_multicast", f"mDNS does not work here ({why}); others must join by address")
    log.warning("mDNS does not work here (%s); trying again in %.0f s", why, RETRY_S)


async def _until_other(interfaces: list[str], addresses: OwnAddresses, looked: asyncio.Event) -> None:
    """Until our interfaces are others than these, or it is time to try again all the same."""
    with suppress(TimeoutError):
        async with asyncio.timeout(RETRY_S):
            while addresses.for_multicast() == interfaces:
                looked.clear()
                await looked.wait()


class _Said(NamedTuple):
    """What others may read of us, and on which links."""

    txt: TxtRecord
    name: str
    addresses: tuple[str, ...]
    interfaces: tuple[tuple[str, int], ...]  # address, index


def _say(use: UseCases, addresses: OwnAddresses) -> _Said:
    return _Said(_txt(use), use.me.identity.name, tuple(addresses.on_the_link()), addresses.indices())


async def _advertise(use: UseCases, addresses: OwnAddresses, looked: asyncio.Event) -> None:
    """Until our name is another, no interface is left, or one is replaced under its address: sockets know its index."""
    # 50 ms of imports that no request should wait for
    asyncio_zeroconf = await asyncio.to_thread(_import)
    zeroconf = asyncio_zeroconf.AsyncZeroconf(interfaces=addresses.for_multicast())
    from meshnode.transport.mdns_announce import MdnsAnnouncer
    from meshnode.transport.mdns_browse import MdnsBrowser

    announcer, browser = MdnsAnnouncer(zeroconf), MdnsBrowser(zeroconf, use.discovery)
    try:
        browser.start()
        said = _say(use, addresses)
        while True:
            is_change = await announcer.announce(said.name, use.me.port, said.addresses, said.txt)
            await announcer.use_interfaces(addresses.for_multicast())
            use.status.recover("no_multicast")
            await asyncio.sleep(GAP_S)
            if is_change:  # an answer with the record before may have been the last that others heard
                await announcer.repeat()
            before, said = said, await _until_changed(use, addresses, looked, announcer, said)
            known = dict(before.interfaces)
            if not said.interfaces or any(known.get(address, index) != index for address, index in said.interfaces):
                return
            if said.name != before.name:  # and with the sockets what was still to be answered about the former name
                return
    finally:
        with suppress(Exception):
            async with asyncio.timeout(GOODBYE_S):
                await browser.stop()
                await announcer.withdraw()
        use.discovery.clear()
        await zeroconf.async_close()


async def _until_changed(
    use: UseCases, addresses: OwnAddresses, looked: asyncio.Event, announcer: MdnsAnnouncer, said: _Said
) -> _Said:
    """What is to be said once it is something else, perhaps already; an offer's expiry is nobody's event."""
    while (now := _say(use, addresses)) == said:
        looked.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S if use.offers.current is None else 1.0):
                await looked.wait()
                # an address may have been too new to be used when it was first seen; else this does nothing
                await announcer.use_interfaces(addresses.for_multicast())
    return now


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
