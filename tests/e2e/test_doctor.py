"""`meshnode doctor` on real networks with real faults: it names each, and the line it gives mends it."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually

pytestmark = pytest.mark.netns

Hosts = dict[str, Machine]
DROP_MDNS = """\
table inet filter {
  chain input {
    type filter hook input priority 0; policy accept;
    udp dport 5353 drop
  }
}
"""
DROP_MDNS_ON_THE_SWITCH = """\
table bridge filter {
  chain forward {
    type filter hook forward priority 0; policy accept;
    udp dport 5353 drop
  }
}
"""
A_CONTAINERS_INTERFACE = """\
link add docker0 type veth peer name container
link set container up
link set docker0 up
address add 172.17.0.1/16 dev docker0
"""
TALK_THERE = """\
import socket, struct, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
group, there = socket.inet_aton("224.0.0.251"), socket.inet_aton("172.17.0.1")
sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + there)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, there)
sock.bind(("172.17.0.1", 0))
while True:
    sock.sendto(bytes(12), ("224.0.0.251", 5353))
    print("sent", flush=True)
    time.sleep(0.05)
"""
OPEN_MDNS = "sudo nft insert rule inet filter input udp dport 5353 accept"


def diagnose(machine: Machine) -> dict[str, Any]:
    """`doctor --json`: findings by stage, its exit code being what it says."""
    done = machine.run("doctor", "--json")
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["well"] else 1), done.stderr
    return {"well": document["well"], "ladder": document["ladder"]} | {
        finding["stage"]: finding for finding in document["findings"]
    }


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {stage: found[stage]["verdict"] for stage in found.keys() - {"well", "ladder"}}


def paired(hosts: Hosts) -> tuple[Machine, Machine]:
    a, b = hosts["a"].start(), hosts["b"].start()
    a.pair_with(b)
    eventually(lambda: a.sees(b, "online") and b.sees(a, "online"), "the two do not see each other")
    return a, b


def test_two_healthy_nodes_are_well(lab: Lab, hosts: Hosts) -> None:
    """Every stage is right, multicast both ways by the other's answer; exit 0, and readable without --json."""
    a, _ = paired(hosts)
    found = diagnose(a)
    assert found["well"], found
    assert set(verdicts(found).values()) <= {"ok", "none"}
    assert lab.address("b") in found["multicast_out"]["detail"]
    assert lab.address("b") in found["multicast_in"]["detail"]
    assert lab.address("a") in found["interfaces"]["detail"]
    assert "host-b" in found["clock"]["detail"]
    assert f"{lab.address('b')}:6969: right certificate, authenticated" in found["peer"]["detail"]
    assert found["ladder"] == {}
    told = a.run("doctor")
    assert told.returncode == 0
    assert "✓ multicast_in " in told.stdout
    assert told.stdout.endswith("All is well.\n")


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
def test_a_firewall_that_drops_mdns_is_named_and_its_line_mends_it(lab: Lab, hosts: Hosts) -> None:
    """The exact line, typed, makes it well."""
    a, _ = paired(hosts)
    lab.run("a", "nft", "-f", "-", input=DROP_MDNS)
    found = diagnose(a)
    assert found["firewall"]["detail"] == "nftables does not let UDP 5353 (mDNS) in"
    assert found["firewall"]["fix"] == OPEN_MDNS
    assert (found["multicast_in"]["cause"], found["multicast_in"]["fix"]) == ("multicast_blocked", OPEN_MDNS)
    assert found["peer"]["verdict"] == "ok"
    assert lab.run("a", *OPEN_MDNS.split()[1:]).returncode == 0
    assert diagnose(a)["well"]


def test_multicast_that_the_network_drops_is_named_and_degrades(lab: Lab, hosts: Hosts) -> None:
    """Nobody's firewall, but the switch: paired nodes go on, and both `status` and `doctor` say what is missing."""
    lab.nft(DROP_MDNS_ON_THE_SWITCH)
    a, b = paired(hosts)
    found = diagnose(a)
    assert found["firewall"]["verdict"] == "ok"
    for stage in ("multicast_out", "multicast_in"):
        assert found[stage]["cause"] == "multicast_blocked"
        assert f"host-b ({lab.address('b')}) can be reached by TCP" in found[stage]["detail"]
        assert "UDP 5353" in found[stage]["fix"]

    def degraded() -> list[str]:
        return [t["detail"] for t in a.api("node")["degraded"] if t["code"] == "no_multicast"]

    (why,) = eventually(degraded, "no_multicast is not told", timeout_s=25)
    assert f"host-b answers at {lab.address('b')}" in why
    assert a.sees(b, "online")
    lab.heal()
    eventually(lambda: not degraded(), "no_multicast is told for ever", timeout_s=25)
    assert diagnose(a)["well"]


def test_what_runs_beside_us_on_an_interface_left_out_is_nobody(lab: Lab, hosts: Hosts) -> None:
    """An Avahi here announces itself on the containers' interface too: that is not the network letting mDNS through."""
    lab.nft(DROP_MDNS_ON_THE_SWITCH)
    a, _ = paired(hosts)
    lab.run("a", "ip", "-batch", "-", input=A_CONTAINERS_INTERFACE)
    talking = lab.popen("a", sys.executable, "-c", TALK_THERE, stdout=subprocess.PIPE, text=True)
    try:
        assert talking.stdout is not None
        assert talking.stdout.readline() == "sent\n"
        assert diagnose(a)["multicast_in"]["cause"] == "multicast_blocked"
    finally:
        talking.kill()


def test_a_peer_without_mdns_is_no_fault_of_the_network(lab: Lab, hosts: Hosts) -> None:
    """It runs with `--no-mdns` and is the only other there: all is well, and the detail says why nobody answers."""
    a, b = hosts["a"].start(), hosts["b"].start("--no-mdns")
    a.pair_with(b)
    eventually(lambda: a.sees(b, "online"), "the peer is not seen")
    found = diagnose(a)
    assert found["well"], found
    for stage in ("multicast_out", "multicast_in"):
        assert "host-b: mDNS is switched off there" in found[stage]["detail"]


def test_client_isolation_is_named(lab: Lab, hosts: Hosts) -> None:
    """The router answers, the peer on the same network does not."""
    a, b = paired(hosts)
    lab.run("a", "ip", "route", "add", "default", "via", lab.address("c"))
    for host in ("a", "b"):
        port = ("dev", f"p{host}", "type", "bridge_slave", "isolated", "on")
        subprocess.run(["ip", "-n", lab.switch, "link", "set", *port], check=True)
    eventually(lambda: a.sees(b, "offline"), "the peer is still seen")
    found = diagnose(a)
    assert found["network"]["cause"] == "client_isolation"
    assert found["network"]["verdict"] == "failure"
    assert f"the router {lab.address('c')} answers, but host-b ({lab.address('b')})" in found["network"]["detail"]
    assert "client isolation" in found["network"]["fix"]
    assert found["peer"]["cause"] == "unreachable"


def test_another_node_at_a_peers_address_is_named(lab: Lab, hosts: Hosts) -> None:
    """The peer was reset: its address shows another certificate, without the peer's proof."""
    a, b = paired(hosts)
    before = b.id
    assert b.stop(9) != 0
    assert b.run("identity", "reset", "--yes").returncode == 0
    b.start()
    found = diagnose(a)
    assert found["peer"]["cause"] == "wrong_node_at_address"
    assert f"{b.id} answers at {lab.address('b')}:6969" in found["peer"]["detail"]
    assert b.id != before
    assert "pair again" in found["peer"]["fix"]


def test_without_a_node_the_rest_is_looked_at(lab: Lab, hosts: Hosts) -> None:
    """Exit 1 and the reason; identity, database, ports and network all the same."""
    a = hosts["a"]
    found = diagnose(a)
    assert (found["node"]["verdict"], found["node"]["cause"]) == ("failure", "no_daemon")
    assert verdicts(found)["identity"] == verdicts(found)["database"] == "none"
    assert verdicts(found)["ports"] == verdicts(found)["multicast_in"] == "ok"
    a.start()
    node_id = a.id
    a.stop()
    found = diagnose(a)
    assert node_id in found["identity"]["detail"]
    assert found["database"]["detail"] == "whole"
    assert not (a.data / "control.json").exists()


def test_a_taken_port_is_named_with_who_has_it(lab: Lab, hosts: Hosts) -> None:
    """No node runs, for another program has its port."""
    holder = lab.popen("a", "python3", "-m", "http.server", "6969", "--bind", "0.0.0.0",
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    found = eventually(
        lambda: (ports := diagnose(hosts["a"])["ports"])["verdict"] == "failure" and ports, "the port is free"
    )
    assert found["cause"] == "port_in_use"
    assert "0.0.0.0:6969 is in use" in found["detail"]
    if shutil.which("ss"):
        assert f"process {holder.pid}" in found["detail"]
    assert "--listen" in found["fix"]


def test_join_that_sees_nobody_says_why(lab: Lab, hosts: Hosts) -> None:
    """After ten seconds the network stages speak for themselves, on stderr."""
    lab.run("a", "nft", "-f", "-", input=DROP_MDNS)
    a, b = hosts["a"].start(), hosts["b"].start()
    b.offer()
    joined = a.run("join", "--pin", "123456", timeout=40)
    assert joined.returncode == 1
    assert joined.stdout == ""
    assert "nftables does not let UDP 5353 (mDNS) in" in joined.stderr
    assert OPEN_MDNS in joined.stderr
    assert "nobody_found" in joined.stderr
    (degraded,) = eventually(lambda: a.api("node")["degraded"], "no_multicast is not told")
    assert (degraded["code"], "not even our own" in degraded["detail"]) == ("no_multicast", True)
    assert b.api("node")["degraded"] == []
