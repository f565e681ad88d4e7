"""What stays in sight after a goodbye; the library is real, its packets are put into it one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from zeroconf import DNSIncoming, DNSOutgoing, DNSPointer, DNSRecord, ServiceInfo, const
from zeroconf.asyncio import AsyncZeroconf

from meshnode.node.discover_peers import DiscoverPeers
from meshnode.transport.mdns_browse import MdnsBrowser
from meshnode.transport.txt_record import SERVICE_TYPE, TxtRecord, encode_txt

TXT = TxtRecord("node-01a2023a-e3f1-70ed-99b1-7b8d2b094211", 1, "x", pairing_open=False)


class Link:
    """One node's browser and what it hears."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf.zeroconf
        self.discovery = DiscoverPeers("nobody")
        self.browser = MdnsBrowser(zeroconf, self.discovery)

    def hear(self, *records: DNSRecord) -> None:
        """A packet with these answers."""
        out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
        for record in records:
            out.add_answer_at_time(record, 0)
        (packet,) = out.packets()
        self._zeroconf.record_manager.async_updates_from_response(DNSIncoming(packet))

    async def in_sight(self) -> list[tuple[str, int]]:
        """Name and port of each node, when what was heard has been looked at."""
        async with asyncio.timeout(10):
            await asyncio.gather(*self.browser._tasks, return_exceptions=True)
        return [(sighting.name, sighting.port) for sighting in self.discovery.list()]


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """Without a node on it."""
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    link = Link(zeroconf)
    link.browser.start()
    yield link
    await link.browser.stop()
    await zeroconf.async_close()


def node(port: int = 6969) -> ServiceInfo:
    """What it announces."""
    return ServiceInfo(
        SERVICE_TYPE,
        f"desk (4211).{SERVICE_TYPE}",
        port=port,
        properties=encode_txt(TXT),
        server=f"{TXT.id}.local.",
        parsed_addresses=["10.0.0.1"],
    )


def details(info: ServiceInfo) -> list[DNSRecord]:
    """All but that it is there."""
    return [info.dns_service(), info.dns_text(), *info.dns_addresses()]


async def test_a_node_is_in_sight_from_its_announcement_to_its_goodbye(link: Link) -> None:
    """And again when it comes back."""
    link.hear(node().dns_pointer(), *details(node()))
    assert await link.in_sight() == [("desk", 6969)]
    link.hear(node().dns_pointer(override_ttl=0))
    assert await link.in_sight() == []
    link.hear(node(7070).dns_pointer(), *details(node(7070)))
    assert await link.in_sight() == [("desk", 7070)]


async def test_a_goodbye_ends_what_is_just_being_resolved(link: Link) -> None:
    """Its last answer and its goodbye may be read in one go."""
    link.hear(node().dns_pointer())
    await asyncio.sleep(0)
    link.hear(*details(node()))
    link.hear(node().dns_pointer(override_ttl=0))
    assert await link.in_sight() == []


async def test_details_after_a_goodbye_bring_nobody_back(link: Link) -> None:
    """They were asked for before it, and no second goodbye would take the node away."""
    link.hear(node().dns_pointer(), *details(node()))
    assert await link.in_sight() == [("desk", 6969)]
    link.hear(node().dns_pointer(override_ttl=0))
    link.hear(*details(node(7070)))
    assert await link.in_sight() == []


async def test_a_forged_pointer_in_capitals_does_not_hide_a_node(link: Link) -> None:
    """The library's cache then has the node's pointer before the node says it, so only its details are told to us."""
    forged = DNSPointer(SERVICE_TYPE.upper(), const._TYPE_PTR, const._CLASS_IN, 2**31 - 1, node().name)
    link.hear(forged)
    link.hear(node().dns_pointer(), *details(node()))
    link.hear(node(7070).dns_pointer(), *details(node(7070)))
    assert await link.in_sight() == [("desk", 7070)]


async def test_two_packets_at_the_start_do_not_end_mdns() -> None:
    """A resolution begun before the library has started and ended by a goodbye must not end that start."""
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    link = Link(zeroconf)
    link.browser.start()
    link.hear(node().dns_pointer())
    await asyncio.sleep(0)
    link.hear(node().dns_pointer(override_ttl=0))
    await zeroconf.zeroconf.async_wait_for_start()
    assert zeroconf.zeroconf.started
    await link.browser.stop()
    await zeroconf.async_close()
