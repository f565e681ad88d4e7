"""The order in which a peer's addresses are tried."""

from ipaddress import ip_network
from typing import Any

import pytest

from meshnode.domain.peer_address import TRIED_MAX, Place, public_place, rank_places

LAST = ("192.0.2.1", 6969)
KNOWN: dict[str, Any] = {
    "last": LAST,
    "sighted": (),
    "announced": (),
    "port": 6969,
    "heard_from": None,
    "public_url": None,
    "has_moved": False,
    "on_link": (),
}


def rank(**known: Any) -> list[Place]:
    return rank_places(**KNOWN | known)


def test_best_first() -> None:
    """Where it last worked, two sightings, what is announced, where it calls from, its public URL; each once."""
    places = rank(
        sighted=(("192.0.2.2", 6969), LAST, ("192.0.2.9", 6969)),
        announced=("192.0.2.3", "192.0.2.2", "2001:db8::3"),
        heard_from="192.0.2.4",
        public_url="https://home.example.org",
    )
    hosts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::3", "192.0.2.4"]
    assert places == [*((host, 6969) for host in hosts), ("home.example.org", 443)]


def test_an_address_on_our_own_network_goes_before_the_others() -> None:
    """Of what was seen and of what is announced, IPv6 included; the order within stays the peer's."""
    on_link = (ip_network("198.51.100.0/24"), ip_network("2001:db8:1::/64"), ip_network("fe80::/64"))
    places = rank(
        sighted=(("203.0.113.1", 6969), ("203.0.113.2", 6969), ("fe80::1%eth0", 6969)),
        announced=("10.0.0.1", "10.0.0.2", "198.51.100.7", "2001:db8:1::7"),
        on_link=on_link,
    )
    expected = ["fe80::1%eth0", "203.0.113.1", "198.51.100.7", "2001:db8:1::7", "10.0.0.1", "10.0.0.2"]
    assert [host for host, _ in places] == ["192.0.2.1", *expected]


def test_another_port_is_tried_where_it_last_worked() -> None:
    """Restarted on another port, announced meanwhile."""
    assert rank(port=7000, announced=("192.0.2.1",)) == [LAST, ("192.0.2.1", 7000)]


def test_an_address_it_has_left_comes_last() -> None:
    """It may have been mistaken; but nobody waits for a time-out there first."""
    assert rank(has_moved=True, announced=("192.0.2.2",)) == [("192.0.2.2", 6969), LAST]


def test_the_number_of_tries_is_bounded() -> None:
    """Whatever was announced and forged."""
    places = rank(
        sighted=tuple((f"10.0.0.{n}", 1) for n in range(9)),
        announced=tuple(f"10.0.1.{n}" for n in range(8)),
        heard_from="192.0.2.7",
        public_url="https://[2001:db8::1]:8443/",
        port=7000,
    )
    assert len(places) == TRIED_MAX
    assert len([place for place in places if place[1] == 1]) == 2


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://home.example.org", [("home.example.org", 443)]),
        ("https://home.example.org:8443/meshnode", [("home.example.org", 8443)]),
        ("https://[2001:db8::1]:8443", [("2001:db8::1", 8443)]),
        ("http://home.example.org", []),
        ("https://user@home.example.org", []),
        ("https://home.example.org:0", []),
        ("https://home.example.org:99999", []),
        ("https://", []),
        (None, []),
    ],
)
def test_a_public_url_is_one_more_address(url: str | None, place: list[Place]) -> None:
    """Nonsense is none."""
    assert public_place(url) == place
