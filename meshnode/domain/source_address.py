"""Where a request came from: the key it is limited by, and whether it is on our own network."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

LOCAL_NETWORKS: Final[tuple[IPNetwork, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8", "::1/128",  # loopback
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "169.254.0.0/16", "fe80::/10",  # link-local
        "fc00::/7",  # unique local
    )
)  # fmt: skip


@lru_cache(maxsize=4096)  # the same few are asked about with every heartbeat
def parse_ip(text: str) -> IPAddress:
    """The address in `text`, IPv4-mapped IPv6 unmapped, scope dropped. Raises ValueError."""
    address = ipaddress.ip_address(text.split("%", 1)[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if mapped is not None else address


def source_key(text: str, on_link: Iterable[IPNetwork] = ()) -> str:
    """What limits count by: the IPv4 address, or the /64 of an IPv6 one (a host has 2**64 of them).

    On our own links, `on_link`, the IPv6 address too: a whole home is one /64, and a neighbour would use up its share.
    """
    try:
        address = parse_ip(text)
    except ValueError:
        return text
    if address.version == 4 or any(address in network for network in on_link):
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def is_local(text: str, on_link: Iterable[IPNetwork], allowed: Iterable[IPNetwork]) -> bool:
    """Whether `text` is an address of our own network: private, on-link, or allowed by the owner."""
    try:
        address = parse_ip(text)
    except ValueError:
        return False
    networks = (*LOCAL_NETWORKS, *on_link, *allowed)
    return any(address.version == network.version and address in network for network in networks)
