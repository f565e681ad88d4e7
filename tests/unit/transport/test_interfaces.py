"""Which of our own addresses others can reach us at."""

from typing import Any, NamedTuple

import ifaddr
import pytest

from meshnode.transport.interfaces import CACHE_S, OwnAddresses, own_addresses
from tests.fakes.clock import ManualClock


class Ip(NamedTuple):
    ip: Any
    network_prefix: int


class Adapter(NamedTuple):
    nice_name: str
    ips: list[Ip]


LO = Adapter("lo", [Ip("127.0.0.1", 8), Ip(("::1", 0, 0), 128)])
ETH = Adapter("eth0", [Ip(("fe80::1", 0, 2), 64), Ip(("2001:db8::7", 0, 0), 64), Ip("192.0.2.7", 24)])
DOCKER = Adapter("docker0", [Ip("172.17.0.1", 16)])
BRIDGE = Adapter("br-1234", [Ip("172.18.0.1", 16)])


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> list[Adapter]:
    """What the system lists; change the list to change the machine."""
    listed = [LO, ETH, DOCKER, BRIDGE]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: listed)
    return listed


def own(*listeners: tuple[str, int]) -> OwnAddresses:
    return OwnAddresses(list(listeners), ManualClock().monotonic)


def test_real_interfaces_are_listed_without_loopback(adapters: list[Adapter]) -> None:
    """IPv4 first, link-local last with its scope; containers and bridges left out."""
    found = own_addresses()
    assert [entry.address for entry in found] == ["192.0.2.7", "2001:db8::7", "fe80::1%eth0"]
    assert [str(entry.network) for entry in found] == ["192.0.2.0/24", "2001:db8::/64", "fe80::/64"]


def test_virtual_interfaces_count_where_there_is_nothing_else(adapters: list[Adapter]) -> None:
    """We may be inside one ourselves."""
    adapters.remove(ETH)
    assert {entry.address for entry in own_addresses()} == {"172.17.0.1", "172.18.0.1"}


def test_a_system_that_does_not_tell_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some phones; with a warning, without an error."""

    def denied() -> list[Adapter]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ifaddr, "get_adapters", denied)
    assert own_addresses() == []
    assert own(("0.0.0.0", 1)).best() == "127.0.0.1"


@pytest.mark.parametrize(
    ("listeners", "reachable"),
    [
        ([("0.0.0.0", 6969), ("::", 6969)], ["192.0.2.7", "2001:db8::7"]),
        ([("0.0.0.0", 6969)], ["192.0.2.7"]),
        ([("::", 6969)], ["2001:db8::7"]),
        ([("192.0.2.9", 6969)], ["192.0.2.9"]),
        ([("192.0.2.9", 6969), ("127.0.0.1", 6969)], ["192.0.2.9"]),
        ([("127.0.0.1", 6969)], ["127.0.0.1"]),
        ([("fe80::1%eth0", 6969)], ["fe80::1%eth0"]),
        ([("192.0.2.7", 6969), ("0.0.0.0", 7000)], ["192.0.2.7"]),
    ],
)
def test_only_addresses_on_which_we_listen_are_announced(
    adapters: list[Adapter], listeners: list[tuple[str, int]], reachable: list[str]
) -> None:
    """Loopback only when nothing else is bound."""
    assert own(*listeners).reachable() == reachable
    assert own(*listeners).best() == reachable[0]


def test_at_most_eight_addresses_are_announced(adapters: list[Adapter]) -> None:
    """As the announcement allows."""
    adapters[:] = [Adapter("eth0", [Ip(f"192.0.2.{n}", 24) for n in range(1, 20)])]
    assert len(own(("0.0.0.0", 1)).reachable()) == 8


def test_the_system_is_asked_again_after_a_while(adapters: list[Adapter]) -> None:
    """Not for every request."""
    clock = ManualClock()
    addresses = OwnAddresses([("0.0.0.0", 1)], clock.monotonic)
    assert addresses.best() == "192.0.2.7"
    adapters[:] = [Adapter("eth0", [Ip("192.0.2.8", 24)])]
    assert addresses.best() == "192.0.2.7"
    clock.advance(CACHE_S)
    assert addresses.best() == "192.0.2.8"
    assert [str(network) for network in addresses.on_link()] == ["192.0.2.0/24"]
