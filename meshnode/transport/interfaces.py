"""Our own network interfaces: which addresses others can reach us at."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from meshnode.domain.source_address import IPNetwork

_VIRTUAL: Final = (
    "docker", "br-", "veth", "virbr", "vnet", "vmnet", "vboxnet", "lxc", "lxd", "cni", "flannel", "cali", "awdl", "llw",
)  # fmt: skip

CACHE_S: Final = 3.0

log = logging.getLogger(__name__)


class InterfaceAddress(NamedTuple):
    """One address of one interface; an IPv6 link-local one with its scope."""

    interface: str
    address: str
    network: IPNetwork


def own_addresses() -> list[InterfaceAddress]:
    """The addresses of real interfaces, IPv4 first, link-local last; without loopback.

    Containers' and virtual machines' interfaces are left out, unless that leaves none. Empty where the system
    refuses to tell (as on some phones).
    """
    import ifaddr

    found: list[InterfaceAddress] = []
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError as error:
        log.warning("the system does not list its network interfaces (%s)", error)
        return []
    for adapter in adapters:
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text.split("%", 1)[0])
            if address.is_loopback or address.is_multicast or address.is_unspecified:
                continue
            shown = f"{address}%{adapter.nice_name}" if address.is_link_local and address.version == 6 else str(address)
            network = ipaddress.ip_network((address, ip.network_prefix), strict=False)
            found.append(InterfaceAddress(adapter.nice_name, shown, network))
    real = [a for a in found if not a.interface.startswith(_VIRTUAL)]
    return sorted(real or found, key=_rank)


def _rank(entry: InterfaceAddress) -> tuple[bool, bool]:
    address = ipaddress.ip_address(entry.address.split("%", 1)[0])
    return (address.is_link_local, address.version == 6)


class OwnAddresses:
    """Where others reach us, given where we listen; read from the system at most every few seconds."""

    def __init__(self, listeners: list[tuple[str, int]], monotonic: Callable[[], float]) -> None:
        announced = listeners[0][1]  # an announcement carries one port
        self._hosts = [host for host, port in listeners if port == announced]
        self._monotonic = monotonic
        self._read_at = -CACHE_S
        self._cached: list[InterfaceAddress] = []

    def _interfaces(self) -> list[InterfaceAddress]:
        now = self._monotonic()
        if now - self._read_at >= CACHE_S:
            self._cached, self._read_at = own_addresses(), now
        return self._cached

    def on_link(self) -> list[IPNetwork]:
        """The networks we are on."""
        return [entry.network for entry in self._interfaces()]

    def reachable(self) -> list[str]:
        """The addresses on which a listener of ours accepts; loopback only when nothing else is bound."""
        found: list[str] = []
        for host in self._hosts:
            address = ipaddress.ip_address(host.split("%", 1)[0])
            if not address.is_unspecified:
                found.append(host)
                continue
            for entry in self._interfaces():
                own = ipaddress.ip_address(entry.address.split("%", 1)[0])
                if own.version == address.version and not (own.version == 6 and own.is_link_local):
                    found.append(entry.address)
        found = list(dict.fromkeys(found))
        others = [a for a in found if not ipaddress.ip_address(a.split("%", 1)[0]).is_loopback]
        return (others or found)[:8]

    def best(self) -> str:
        """The address to put into an invite."""
        reachable = self.reachable()
        return reachable[0] if reachable else "127.0.0.1"

    def for_multicast(self) -> list[str]:
        """The interfaces to speak mDNS on, by address; loopback if we listen nowhere else."""
        bound = [h for h in self._hosts if not ipaddress.ip_address(h.split("%", 1)[0]).is_unspecified]
        if bound and len(bound) == len(self._hosts):
            return bound
        return [entry.address.split("%", 1)[0] for entry in self._interfaces()]
