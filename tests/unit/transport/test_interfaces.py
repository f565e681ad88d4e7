"""Which of our own addresses others can reach us at."""

import errno
import socket
from typing import Any, ClassVar, NamedTuple

import ifaddr
import pytest

from meshnode.transport.interfaces import CACHE_S, OwnAddresses, own_addresses, scoped
from tests.fakes.clock import ManualClock


class Ip(NamedTuple):
    ip: Any
    network_prefix: int


class Adapter(NamedTuple):
    nice_name: str
    ips: list[Ip]
    index: int = 2


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


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not list its interfaces, as on some phones."""

    def refuse() -> list[Adapter]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ifaddr, "get_adapters", refuse)


class Routed(socket.socket):
    """A socket that would send from a given address; nothing leaves the machine."""

    own: ClassVar[dict[int, str]] = {}

    def connect(self, _: Any) -> None:
        if self.family not in self.own:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")

    def getsockname(self) -> Any:
        return (self.own[self.family], 40000)


@pytest.mark.usefixtures("denied")
def test_a_system_that_does_not_tell_is_asked_for_its_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address a family, without an interface; enough to be reached at."""
    monkeypatch.setattr(socket, "socket", Routed)
    monkeypatch.setattr(Routed, "own", {socket.AF_INET: "192.0.2.7", socket.AF_INET6: "2001:db8::7"})
    assert [entry.address for entry in own_addresses()] == ["192.0.2.7", "2001:db8::7"]
    assert own(("0.0.0.0", 1), ("::", 1)).reachable() == ["192.0.2.7", "2001:db8::7"]


@pytest.mark.usefixtures("denied")
def test_a_system_without_a_route_either_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an error; loopback is no answer."""
    monkeypatch.setattr(socket, "socket", Routed)
    assert own_addresses() == []
    assert own(("0.0.0.0", 1)).best() == "127.0.0.1"
    monkeypatch.setattr(Routed, "own", {socket.AF_INET: "127.0.0.1"})
    assert own_addresses() == []


def test_link_local_addresses_are_told_on_the_link_only(adapters: list[Adapter]) -> None:
    """They mean nothing elsewhere; the interfaces are known by address and number."""
    addresses = own(("0.0.0.0", 1), ("::", 1))
    assert addresses.reachable() == ["192.0.2.7", "2001:db8::7"]
    assert addresses.on_the_link() == ["192.0.2.7", "2001:db8::7", "fe80::1%eth0"]
    assert addresses.for_multicast() == ["192.0.2.7", "2001:db8::7", "fe80::1"]
    assert addresses.indices() == (("192.0.2.7", 2), ("2001:db8::7", 2), ("fe80::1", 2))


def test_a_callers_link_local_address_has_its_interface() -> None:
    """By name: the number may be another after a restart. Other addresses have none."""
    assert scoped(("fe80::1", 6969, 0, 1)) == "fe80::1%lo"
    assert scoped(("fe80::1", 6969, 0, 99_999)) == "fe80::1%99999"
    assert scoped(("2001:db8::1", 6969, 0, 0)) == "2001:db8::1"
    assert scoped(("192.0.2.1", 6969)) == "192.0.2.1"


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


def test_where_changes_are_told_the_system_is_seldom_asked(adapters: list[Adapter]) -> None:
    """Whoever is told of them reads anew, and says so by `cache_s`."""
    clock = ManualClock()
    addresses = OwnAddresses([("0.0.0.0", 1)], clock.monotonic)
    addresses.cache_s = 60.0
    assert addresses.best() == "192.0.2.7"
    adapters[:] = [Adapter("eth0", [Ip("192.0.2.8", 24)])]
    clock.advance(59)
    assert addresses.best() == "192.0.2.7"
    clock.advance(1)
    assert addresses.best() == "192.0.2.8"


def test_a_look_does_not_wait(adapters: list[Adapter]) -> None:
    """When there is reason to believe that something has changed."""
    addresses = own(("0.0.0.0", 1))
    assert addresses.best() == "192.0.2.7"
    adapters[:] = [Adapter("eth0", [Ip("192.0.2.8", 24)])]
    addresses.read()
    assert addresses.best() == "192.0.2.8"
