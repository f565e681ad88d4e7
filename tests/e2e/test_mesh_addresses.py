"""Addresses change under running nodes: both tables tell the truth again within their bound, and nobody restarts.

The bounds are docs/protocol.md's, Heartbeat, for the half second that these nodes have as interval, with what a busy
machine adds.
"""

import re

import pytest

from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually

pytestmark = pytest.mark.netns

Hosts = dict[str, Machine]
SEEN_S = 8.0  # a change is noticed at once, told at once, tried elsewhere after at most one time-out of 4 s


def ip(lab: Lab, host: str, *argv: str) -> None:
    done = lab.run(host, "ip", *argv)
    assert done.returncode == 0, done.stderr


def both_see(one: Machine, other: Machine, status: str = "online") -> bool:
    return one.sees(other, status) and other.sees(one, status)


def addresses(machine: Machine, of: Machine) -> list[str]:
    """What `machine` holds as announced by another."""
    found: list[str] = machine.nodes()[of.id]["addresses"]
    return found


def reached_at(machine: Machine, other: Machine) -> str:
    return str(machine.nodes()[other.id]["hostname"])


def pair(hosts: Hosts, *flags: str) -> tuple[Machine, Machine]:
    """a and b, running and paired."""
    a, b = hosts["a"].start(*flags), hosts["b"].start(*flags)
    a.pair_with(b)
    eventually(lambda: both_see(a, b), "they are not paired")
    return a, b


def without_ipv6(lab: Lab) -> None:
    """Only IPv4, so that what is tested has no way around it."""
    for host in lab.hosts:
        assert lab.run(host, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1").returncode == 0


def test_a_new_address_is_told_at_once(lab: Lab, hosts: Hosts) -> None:
    """Without mDNS: the peer learns it from the announcement, calls there, and never sees the node as offline."""
    without_ipv6(lab)
    a, b = pair(hosts, "--no-mdns")
    ip(lab, "b", "addr", "add", "10.77.0.40/24", "dev", "eth0")
    ip(lab, "b", "addr", "del", "10.77.0.2/24", "dev", "eth0")

    def is_known() -> bool:
        assert a.sees(b, "online") or a.sees(b, "stale")
        return addresses(a, b) == ["10.77.0.40"] and reached_at(a, b) == "10.77.0.40" and both_see(a, b)

    eventually(is_known, "the new address is not known", SEEN_S + 4)
    assert '"exception"' not in a.log.read_text() + b.log.read_text()


def test_a_second_address_is_told_and_the_first_goes_on_working(lab: Lab, hosts: Hosts) -> None:
    """IPv6 too: both families are announced, and the one that worked is kept."""
    a, b = pair(hosts, "--no-mdns")
    ip(lab, "b", "addr", "add", "fd77::40/64", "dev", "eth0", "nodad")
    expected = {"10.77.0.2", "fd77::2", "fd77::40"}
    eventually(lambda: set(addresses(a, b)) == expected, "the new address is not announced", SEEN_S)
    assert reached_at(a, b) == "10.77.0.2"
    ip(lab, "b", "addr", "del", "10.77.0.2/24", "dev", "eth0")
    eventually(lambda: reached_at(a, b) in ("fd77::2", "fd77::40"), "IPv6 is not tried", SEEN_S + 4)
    eventually(lambda: both_see(a, b), "they lost each other", SEEN_S)


def test_two_paired_nodes_swap_their_addresses(lab: Lab, hosts: Hosts) -> None:
    """Neither can tell the other, and each finds another node than it expects; mDNS brings them together."""
    without_ipv6(lab)
    a, b = pair(hosts)
    eventually(lambda: {n["id"] for n in a.api("discovered")["nodes"]} == {b.id}, "a does not see b by mDNS")
    for host, old, new in (("a", 1, 2), ("b", 2, 1)):
        ip(lab, host, "addr", "del", f"10.77.0.{old}/24", "dev", "eth0")
        ip(lab, host, "addr", "add", f"10.77.0.{new}/24", "brd", "+", "dev", "eth0")

    def is_swapped() -> bool:
        known = (addresses(a, b), addresses(b, a), reached_at(a, b), reached_at(b, a))
        return known == (["10.77.0.1"], ["10.77.0.2"], "10.77.0.1", "10.77.0.2") and both_see(a, b)

    eventually(is_swapped, "they have not found each other", 25)
    assert [row[0] for row in a.rows("trust")].count("paired") == 1
    for machine in (a, b):
        assert '"exception"' not in machine.log.read_text()


def plug(lab: Lab, host: str, address: str) -> None:
    """A second interface, eth1, on the same switch."""
    made = ("link", "add", f"p{host}2", "type", "veth", "peer", "name", "eth1", "netns", lab.namespace(host))
    for argv in (made, ("link", "set", f"p{host}2", "master", "br0", "up")):
        lab.run_on_switch("ip", *argv)
    ip(lab, host, "addr", "add", address, "brd", "+", "dev", "eth1")
    ip(lab, host, "link", "set", "eth1", "up")


def test_mdns_speaks_on_an_interface_that_appears_beside_another(lab: Lab, hosts: Hosts) -> None:
    """The first leads nowhere (its cable is pulled); the second is on another network, which both nodes are on."""
    without_ipv6(lab)
    ip(lab, "a", "addr", "add", "10.78.0.1/24", "dev", "eth0")
    lab.link("b", up=False)
    a, b = hosts["a"].start(), hosts["b"].start()
    eventually(lambda: b.ask("status")["degraded"] == [], "mDNS does not run")
    plug(lab, "b", "10.78.0.2/24")
    for one, other in ((a, b), (b, a)):
        eventually(lambda: other.id in {n["id"] for n in one.api("discovered")["nodes"]}, "not in sight")  # noqa: B023


def test_mdns_survives_an_interface_that_is_replaced(lab: Lab, hosts: Hosts) -> None:
    """Unplugged and plugged in again with the same address before anybody looked: who comes later is still seen."""
    without_ipv6(lab)
    lab.link("b", up=False)
    plug(lab, "b", "10.78.0.2/24")
    ip(lab, "a", "addr", "add", "10.78.0.1/24", "dev", "eth0")
    b = hosts["b"].start()
    eventually(lambda: b.ask("status")["degraded"] == [], "mDNS does not run")
    lab.run_on_switch("ip", "link", "del", "pb2")
    plug(lab, "b", "10.78.0.2/24")
    a = hosts["a"].start()
    for one, other in ((a, b), (b, a)):
        eventually(lambda: other.id in {n["id"] for n in one.api("discovered")["nodes"]}, "not in sight")  # noqa: B023


def test_an_interface_that_appears_later_is_used(lab: Lab, hosts: Hosts) -> None:
    """Started without any, the node says so; plugged in, it is seen by mDNS, can be joined, and all is well."""
    without_ipv6(lab)
    ip(lab, "b", "addr", "flush", "dev", "eth0")
    a, b = hosts["a"].start(), hosts["b"].start()
    eventually(lambda: [d["code"] for d in b.ask("status")["degraded"]] == ["no_multicast"], "not said to be degraded")
    plug(lab, "b", "10.77.0.50/24")

    def found(of: Machine, seen: Machine) -> list[str]:
        return [node["host"] for node in of.api("discovered")["nodes"] if node["id"] == seen.id]

    eventually(lambda: found(a, b) == ["10.77.0.50"], "b is not in sight")
    eventually(lambda: found(b, a) == ["10.77.0.1"], "b does not see")
    eventually(lambda: b.ask("status")["degraded"] == [], "still said to be degraded")
    b.pair_with(a)
    eventually(lambda: both_see(a, b), "they are not paired")
    assert addresses(a, b) == ["10.77.0.50"]


def test_link_local_addresses_are_enough(lab: Lab, hosts: Hosts) -> None:
    """A link without a router and without IPv4: found, joined and kept by fe80:: addresses with their interface."""
    for host in lab.hosts:
        ip(lab, host, "addr", "flush", "dev", "eth0", "scope", "global")
    a, b = hosts["a"].start(), hosts["b"].start()
    offer = a.offer()

    def offers() -> list[str]:
        return [node["host"] for node in b.api("discovered")["nodes"] if node["pairing_open"]]

    (host,) = eventually(offers, "no offer in sight")
    assert re.fullmatch("fe80::[0-9a-f:]+%eth0", host)
    b.ask("join", f"[{host}]:6969", "--pin", offer["pin"])
    eventually(lambda: both_see(a, b), "they are not paired")
    for one, other in ((a, b), (b, a)):
        assert re.fullmatch("fe80::[0-9a-f:]+%eth0", reached_at(one, other))
    beats = [machine.rows("sequence, is_current") for machine in (a, b)]

    def both_beat() -> bool:
        return all(
            machine.rows("sequence, is_current") != before for machine, before in zip((a, b), beats, strict=True)
        )

    eventually(both_beat, "no heartbeat is received over a link-local address")
