"""The link as the system shows it: routes, neighbours, interfaces; and a question that this machine hears itself."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import ifaddr
import pytest

from meshnode.transport import interfaces
from meshnode.transport.interface_report import report_interfaces
from meshnode.transport.link_probe import has_neighbour, probe_multicast, read_router

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
"""
NEIGHBOURS = """\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0
192.0.2.9        0x1         0x0         00:00:00:00:00:00     *        eth0
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is in the machine's own order")
def test_the_router_is_the_default_route_with_a_gateway() -> None:
    """A route to the link itself has none."""
    assert read_router(ROUTES) == "192.0.2.1"
    assert read_router(ROUTES.rpartition("eth0\t0000")[0]) is None
    assert read_router("") is None


@pytest.mark.parametrize(("address", "is_there"), [("192.0.2.1", True), ("192.0.2.9", False), ("192.0.2.2", False)])
def test_a_neighbour_is_there_when_its_hardware_address_is_known(address: str, is_there: bool) -> None:
    """An entry without one is a question that nobody answered."""
    assert has_neighbour(NEIGHBOURS, address) is is_there


async def test_a_question_on_loopback_is_heard_by_ourselves() -> None:
    """Sent, heard back, and not taken for somebody else."""
    seen = await probe_multicast(["127.0.0.1"], 77)
    assert (seen.sent_from, seen.refused, seen.error) == (("127.0.0.1",), (), "")
    assert seen.heard_self
    assert seen.heard == ()


async def test_without_an_ipv4_address_nothing_is_tried() -> None:
    """No interface is an error; IPv6 alone is not, mDNS may work there."""
    assert (await probe_multicast([], 77)).error == "no network interface is up"
    seen = await probe_multicast(["fe80::1"], 77)
    assert (seen.error, bool(seen.untried)) == ("", True)


async def test_an_address_that_is_not_ours_is_refused_by_name() -> None:
    """As when an interface has just lost it."""
    seen = await probe_multicast(["127.0.0.1", "192.0.2.77"], 77)
    assert seen.sent_from == ("127.0.0.1",)
    assert [address for address, _ in seen.refused] == ["192.0.2.77"]


def adapter(name: str, *addresses: str) -> Any:
    return ifaddr.Adapter(name, name, [ifaddr.IP(address, 24, name) for address in addresses], index=1)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one real interface, one of containers, and one without an address."""
    adapters = [adapter("lo", "127.0.0.1"), adapter("eth0", "10.0.0.1"), adapter("docker0", "172.17.0.1")]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    monkeypatch.setattr("socket.if_nameindex", lambda: list(enumerate(["lo", "eth0", "docker0", "wlan9"], 1)))


@pytest.mark.usefixtures("system")
def test_interfaces_are_reported_with_the_reason_they_are_left_out() -> None:
    """Loopback is nobody's question."""
    found = report_interfaces(["10.0.0.1"])
    assert found.used == (("eth0", "10.0.0.1"),)
    assert dict(found.left_out) == {"docker0": "of containers or virtual machines", "wlan9": "no address"}
    assert found.error == ""
    assert dict(report_interfaces([]).left_out)["eth0"] == "not listened on"


@pytest.mark.usefixtures("system")
def test_a_system_that_lists_nothing_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some phones; what the routes tell is used."""

    def refuse() -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ifaddr, "get_adapters", refuse)
    found = report_interfaces([entry.address for entry in interfaces.own_addresses()])
    assert found.error == "Permission denied"
    assert "docker0" not in dict(found.used)
