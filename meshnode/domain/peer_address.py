"""Where to try a peer, best first. Source: docs/protocol.md, Heartbeat."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from meshnode.domain.errors import MeshError
from meshnode.domain.invite import parse_host_port
from meshnode.domain.source_address import IPNetwork, parse_ip

Place = tuple[str, int]  # host, port

HINTS_TRIED: Final = 2  # anybody can forge a sighting: few, so that the announced addresses are tried too
TRIED_MAX: Final = 12  # in one go; an announcement has eight


def rank_places(
    *,
    last: Place,
    sighted: Sequence[Place],
    announced: Sequence[str],
    port: int,
    heard_from: str | None,
    public_url: str | None,
    has_moved: bool,
    on_link: Collection[IPNetwork],
) -> list[Place]:
    """Where it last worked, where mDNS saw it, what it announces, where its requests come from, its public URL.

    Addresses on our own networks come first among the sighted and the announced. `has_moved`: the peer announced once
    where it last worked, and does not any more; that comes last then.
    """
    best: list[Place] = [] if has_moved else [last, (last[0], port)]
    best += sorted(sighted, key=lambda place: not _is_on_link(place[0], on_link))[:HINTS_TRIED]
    best += [(host, port) for host in sorted(announced, key=lambda host: not _is_on_link(host, on_link))]
    if heard_from is not None:
        best.append((heard_from, port))
    best += public_place(public_url)
    best.append(last)
    return list(dict.fromkeys(best))[:TRIED_MAX]


def public_place(public_url: str | None) -> list[Place]:
    """Host and port of a peer's public URL; none if there is none to be made of it."""
    if public_url is None or not public_url.startswith("https://"):
        return []
    try:
        place = parse_host_port(public_url.removeprefix("https://").partition("/")[0], 443)
    except MeshError:
        return []
    return [place] if place[1] else []


def _is_on_link(host: str, networks: Iterable[IPNetwork]) -> bool:
    try:
        address = parse_ip(host)
    except ValueError:  # a name
        return False
    return any(address.version == network.version and address in network for network in networks)
