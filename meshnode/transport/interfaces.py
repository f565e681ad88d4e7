"""Our own network interfaces: which addresses others can reach us at, and when that changes."""

from __future__ import annotations

import ipaddress
import logging
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

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
    number: int = 0  # of the interface, by which sockets know it


def own_addresses() -> list[InterfaceAddress]:
    """The addresses of real interfaces, IPv4 first, link-local last; without loopback.

    Containers' and virtual machines' interfaces are left out, unless that leaves none. Where the system refuses to
    tell (as on some phones), the addresses it would send from, without their interfaces.
    """
    import ifaddr

    found: list[InterfaceAddress] = []
    try:
        adapters = list(ifaddr.get_adapters())
    except OSError as error:
        log.debug("the system does not list its network interfaces (%s)", error)
        return _routed()
    for adapter in adapters:
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ipaddress.ip_address(text.split("%", 1)[0])
            if address.is_loopback or address.is_multicast or address.is_unspecified:
                continue
            shown = f"{address}%{adapter.nice_name}" if address.is_link_local and address.version == 6 else str(address)
            network = ipaddress.ip_network((address, ip.network_prefix), strict=False)
            found.append(InterfaceAddress(adapter.nice_name, shown, network, adapter.index or 0))
    real = [a for a in found if not a.interface.startswith(_VIRTUAL)]
    return sorted(real or found, key=_rank)


def why_not_listed() -> str | None:
    """Why the system does not list its interfaces, where it refuses to."""
    import ifaddr

    try:
        ifaddr.get_adapters()
    except OSError as error:
        return f"the system does not list its network interfaces: {error.strerror or error}"
    return None


def _routed() -> list[InterfaceAddress]:
    """What the routes tell: the address each family would send from. Nothing is sent."""
    found = []
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((anywhere, 9))
            address = ipaddress.ip_address(probe.getsockname()[0].split("%", 1)[0])
            if not address.is_loopback:
                found.append(InterfaceAddress("", str(address), ipaddress.ip_network(address)))
    return found


def _rank(entry: InterfaceAddress) -> tuple[bool, bool]:
    address = ipaddress.ip_address(entry.address.split("%", 1)[0])
    return (address.is_link_local, address.version == 6)


def scoped(name: Sequence[Any]) -> str:
    """The address in a socket's name; an IPv6 link-local one with the interface it was seen on, as a name."""
    host = str(name[0])
    if len(name) < 4 or not name[3] or "%" in host:
        return host
    return f"{host}%{name_scope(str(name[3]))}"


def name_scope(scope: str) -> str:
    """An interface's name for its index, which may be another after a restart."""
    try:
        return socket.if_indextoname(int(scope))
    except (ValueError, OSError):
        return scope


class OwnAddresses:
    """Where others reach us, given where we listen; read from the system at most every few seconds."""

    def __init__(self, listeners: list[tuple[str, int]], monotonic: Callable[[], float]) -> None:
        announced = listeners[0][1]  # an announcement carries one port
        self._hosts = [host for host, port in listeners if port == announced]
        self._monotonic = monotonic
        self.cache_s = CACHE_S  # more where somebody calls `read` at every change
        self._read_at = -math.inf
        self._cached: list[InterfaceAddress] = []

    def _interfaces(self) -> list[InterfaceAddress]:
        if self._monotonic() - self._read_at >= self.cache_s:
            self.read()
        return self._cached

    def read(self) -> list[InterfaceAddress]:
        """What the system says now."""
        self._cached, self._read_at = own_addresses(), self._monotonic()
        return self._cached

    def on_link(self) -> list[IPNetwork]:
        """The networks we are on."""
        return [entry.network for entry in self._interfaces()]

    def reachable(self) -> list[str]:
        """The addresses on which a listener of ours accepts; loopback only when nothing else is bound."""
        return self._accepting(with_scope=False)

    def on_the_link(self) -> list[str]:
        """The same for those who share a link with us: IPv6 link-local addresses too, behind the others."""
        return self._accepting(with_scope=True)

    def _accepting(self, *, with_scope: bool) -> list[str]:
        found: list[str] = []
        for host in self._hosts:
            address = ipaddress.ip_address(host.split("%", 1)[0])
            if not address.is_unspecified:
                found.append(host)
                continue
            for entry in self._interfaces():
                own = ipaddress.ip_address(entry.address.split("%", 1)[0])
                if own.version == address.version and (with_scope or "%" not in entry.address):
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
        return list(dict.fromkeys(entry.address.split("%", 1)[0] for entry in self._interfaces()))

    def indices(self) -> tuple[tuple[str, int], ...]:
        """Those addresses, and the index of the interface that each belongs to."""
        index = {entry.address.split("%", 1)[0]: entry.number for entry in self._interfaces()}
        return tuple((address, index.get(address, 0)) for address in self.for_multicast())
