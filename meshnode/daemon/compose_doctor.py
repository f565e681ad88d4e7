"""What looks for missing peers and what looks for the reason, put together."""

from __future__ import annotations

from collections.abc import Iterable

from meshnode.config import Config
from meshnode.domain.diagnosis import MulticastEvidence
from meshnode.domain.source_address import IPNetwork
from meshnode.node.describe_node import SelfDescription
from meshnode.node.diagnose_node import DiagnoseNode, Interfaces
from meshnode.node.discover_peers import DiscoverPeers
from meshnode.node.discovery_ladder import DiscoveryLadder
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.open_session import OpenSession
from meshnode.node.ports import Clock, Entropy, PeerClient
from meshnode.node.prove_address import ProveAddress
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Roster
from meshnode.transport.interfaces import OwnAddresses


class OwnLink:
    """`node.diagnose_node.LinkProbe`, on this machine's own interfaces."""

    def __init__(self, addresses: OwnAddresses, entropy: Entropy) -> None:
        self._addresses = addresses
        self._entropy = entropy

    def interfaces(self) -> Interfaces:
        """See `LinkProbe`."""
        from meshnode.transport.interface_report import report_interfaces

        return report_interfaces(self._addresses.for_multicast())

    def networks(self) -> Iterable[IPNetwork]:
        """See `LinkProbe`."""
        return self._addresses.on_link()

    async def multicast(self) -> MulticastEvidence:
        """See `LinkProbe`."""
        from meshnode.transport.link_probe import probe_multicast

        question_id = int.from_bytes(self._entropy.draw(2), "big") or 1
        return await probe_multicast(self._addresses.for_multicast(), question_id)

    async def router(self) -> tuple[str | None, bool | None]:
        """See `LinkProbe`."""
        from meshnode.transport.link_probe import probe_router

        return await probe_router()


def compose_doctor(
    config: Config,
    me: SelfDescription,
    roster: Roster,
    discovery: DiscoverPeers,
    status: ReportStatus,
    client: PeerClient,
    opening: OpenSession,
    proving: ProveAddress,
    heartbeats: ExchangeHeartbeats,
    addresses: OwnAddresses,
    clock: Clock,
    entropy: Entropy,
) -> DiagnoseNode:
    """The use case of `doctor`, and within it the search for missing peers."""
    link, has_mdns = OwnLink(addresses, entropy), config.mdns.enabled
    ladder = DiscoveryLadder(
        roster,
        discovery,
        client,
        status,
        clock,
        entropy,
        interval_s=me.facts.interval_s,
        has_mdns=has_mdns,
        networks=link.networks,
    )
    ladder.on_found, ladder.ask_link = heartbeats.sighted, link.multicast
    return DiagnoseNode(me, roster, discovery, ladder, client, opening, proving, status, clock, link, has_mdns=has_mdns)
