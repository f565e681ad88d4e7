"""The network fails under running nodes: both tables tell the truth within the bounds of docs/protocol.md, Heartbeat.

The faults are rules on the switch, which no host sees.
"""

import time

import pytest

from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually

pytestmark = pytest.mark.netns

Hosts = dict[str, Machine]
STALE_S = 1.25 + 3.0  # 2.5 intervals of half a second, and what a busy machine adds
OFFLINE_S = 3.0 + 3.0
HEALED_S = 25.0  # a try under way times out after 10 s; the next comes after a pause that grew by 1.8 a failure
CUT = """
table bridge faults {{
  chain forwarding {{
    type filter hook forward priority 0;
{rules}
  }}
}}
"""


def cut(lab: Lab, *rules: str) -> None:
    lab.nft(CUT.format(rules="\n".join(f"    {rule}" for rule in rules)))


def both_see(one: Machine, other: Machine, status: str = "online") -> bool:
    return one.sees(other, status) and other.sees(one, status)


def pair(hosts: Hosts, *flags: str) -> tuple[Machine, Machine]:
    """a and b, running and paired."""
    a, b = hosts["a"].start(*flags), hosts["b"].start(*flags)
    a.pair_with(b)
    eventually(lambda: both_see(a, b), "they are not paired")
    return a, b


def watch(seconds: float, a: Machine, b: Machine) -> list[tuple[str, str]]:
    """Every pair of statuses, a of b and b of a, seen within this time."""
    seen, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        seen.append((a.nodes()[b.id]["status"], b.nodes()[a.id]["status"]))
    return seen


@pytest.mark.parametrize(
    "rules",
    [
        ('iifname "pa" oifname "pb" drop', 'iifname "pb" oifname "pa" drop'),
        ('iifname "pa" oifname "pb" drop',),
    ],
    ids=["partition", "one way"],
)
def test_what_is_cut_off_is_stale_then_offline_then_back(lab: Lab, hosts: Hosts, rules: tuple[str, ...]) -> None:
    """On both sides; one direction lost is as bad as both. The third node is online throughout."""
    a, b = pair(hosts)
    c = hosts["c"].start()
    a.pair_with(c)
    cut(lab, *rules)
    eventually(lambda: not a.sees(b, "online") and not b.sees(a, "online"), "still online", STALE_S)
    eventually(lambda: both_see(a, b, "offline"), "not offline", OFFLINE_S)
    assert a.nodes()[b.id]["status_reason"] == b.nodes()[a.id]["status_reason"] == "silent"
    assert both_see(a, c)
    lab.heal()
    eventually(lambda: both_see(a, b), "not back", HEALED_S)
    assert [node["trust"] for node in (a.nodes()[b.id], b.nodes()[a.id])] == ["paired", "paired"]


def test_paired_nodes_need_no_multicast(lab: Lab, hosts: Hosts) -> None:
    """mDNS alone blocked: they stay online, and a new address still reaches the peer."""
    a, b = pair(hosts)
    cut(lab, "ip daddr 224.0.0.251 drop", "ip6 daddr ff02::fb drop")
    assert set(watch(4.0, a, b)) == {("online", "online")}
    for change in (("add", "10.77.0.40/24"), ("del", "10.77.0.2/24")):
        assert lab.run("b", "ip", "addr", change[0], change[1], "dev", "eth0").returncode == 0
    eventually(lambda: "10.77.0.40" in a.nodes()[b.id]["addresses"], "the new address is not known", 8)
    eventually(lambda: both_see(a, b), "they lost each other", HEALED_S)


def test_a_third_of_the_packets_lost_is_not_an_end(lab: Lab, hosts: Hosts) -> None:
    """Nobody is said to be offline (6 intervals of 2 s without a word), and when it heals all is well."""
    for host in hosts.values():
        host.environment["MESHNODE_HEARTBEAT__INTERVAL_S"] = "2"
    a, b = pair(hosts)
    cut(lab, "numgen random mod 100 < 30 drop")
    seen = watch(16.0, a, b)
    assert not any("offline" in pair for pair in seen)
    assert ("online", "online") in seen[-len(seen) // 2 :]
    lab.heal()
    eventually(lambda: both_see(a, b), "not back", HEALED_S)
