"""What firewalls print, as they print it, and the verdict on it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from meshnode.domain.firewall_rules import (
    Firewall,
    judge_firewall,
    read_firewalld,
    read_iptables,
    read_nft,
    read_ufw,
)

TCP, UDP = ("tcp", 6969), ("udp", 5353)


def lets(firewall: Firewall | None) -> tuple[bool | None, bool | None]:
    """TCP, mDNS."""
    assert firewall is not None
    return firewall.lets_in[TCP], firewall.lets_in[UDP]


UFW = """Status: active
Logging: on (low)
Default: {default} (incoming), allow (outgoing), disabled (routed)
New profiles: skip

To                         Action      From
--                         ------      ----
22/tcp                     ALLOW IN    Anywhere
{rules}
"""


@pytest.mark.parametrize(
    ("default", "rules", "expected"),
    [
        ("deny", "", (False, True)),
        ("allow", "", (True, True)),
        ("deny", "6969/tcp                   ALLOW IN    Anywhere", (True, True)),
        ("deny", "6969                       ALLOW IN    Anywhere", (True, True)),
        ("deny", "16969/tcp                  ALLOW IN    Anywhere", (False, True)),
        ("deny", "6969/udp                   ALLOW IN    Anywhere", (False, True)),
        ("deny", "5353/udp                   DENY IN     Anywhere", (False, False)),
        ("allow", "6969/tcp                   REJECT IN   Anywhere", (False, True)),
    ],
)
def test_ufw(default: str, rules: str, expected: tuple[bool, bool]) -> None:
    """Its own rules let mDNS in unless told otherwise."""
    assert lets(read_ufw(UFW.format(default=default, rules=rules), 6969)) == expected


def test_ufw_that_only_root_may_ask() -> None:
    """It is on; more can't be said, and the line to type is there all the same."""
    found = judge_firewall([read_ufw(None, 6969)], 6969)
    assert (found.verdict, found.fix) == ("none", "sudo ufw allow 6969/tcp && sudo ufw allow 5353/udp")


FIREWALLD = """public (active)
  target: {target}
  interfaces: eth0
  services: dhcpv6-client {services}
  ports: {ports}
  protocols:
"""


@pytest.mark.parametrize(
    ("target", "services", "ports", "expected"),
    [
        ("default", "ssh", "", (False, False)),
        ("default", "mdns ssh", "6969/tcp", (True, True)),
        ("default", "ssh", "6969/tcp 5353/udp", (True, True)),
        ("default", "mdns", "6969/udp", (False, True)),
        ("ACCEPT", "", "", (True, True)),
    ],
)
def test_firewalld(target: str, services: str, ports: str, expected: tuple[bool, bool]) -> None:
    """Services and ports of the active zone."""
    firewall = read_firewalld(FIREWALLD.format(target=target, services=services, ports=ports), 6969)
    assert lets(firewall) == expected
    assert firewall.lines[UDP] == "sudo firewall-cmd --permanent --add-service=mdns && sudo firewall-cmd --reload"


def dport(protocol: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}}


def meta(key: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": right}}


NEW_ONLY_BACK = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
ACCEPT, DROP, JUMP = {"accept": None}, {"drop": None}, {"jump": {"target": "other"}}
REJECT, COUNTER = {"reject": {"type": "icmpx"}}, {"counter": {"packets": 0, "bytes": 0}}
SADDR = {
    "match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"len": 8}}}
}


def ruleset(policy: str, *rules: list[dict[str, Any]]) -> Any:
    key = {"family": "inet", "table": "filter"}
    hook = {"type": "filter", "hook": "input", "prio": 0, "policy": policy}
    chain = {"chain": {**key, "name": "input", **hook}}
    return json.loads(
        json.dumps(
            {
                "nftables": [
                    {"metainfo": {}},
                    chain,
                    *({"rule": {**key, "chain": "input", "expr": rule}} for rule in rules),
                    {"rule": {**key, "chain": "other", "expr": [DROP]}},
                ]
            }
        )
    )


@pytest.mark.parametrize(
    ("policy", "rules", "expected"),
    [
        ("accept", [], (True, True)),
        ("drop", [], (False, False)),
        ("drop", [[NEW_ONLY_BACK, ACCEPT], [meta("iif", "lo"), ACCEPT]], (False, False)),
        ("drop", [[dport("tcp", {"set": [22, 6969]}), ACCEPT]], (True, False)),
        ("accept", [[dport("udp", 5353), DROP]], (True, False)),
        ("accept", [[dport("udp", {"range": [5000, 6000]}), COUNTER, REJECT]], (True, False)),
        ("accept", [[dport("udp", 5353), ACCEPT], [dport("udp", 5353), DROP]], (True, True)),
        ("accept", [[meta("l4proto", "udp"), DROP]], (True, False)),
        ("drop", [[dport("th", {"set": [6969, 5353]}), ACCEPT]], (True, True)),
        ("drop", [[SADDR, dport("tcp", 6969), ACCEPT]], (None, False)),
        ("drop", [[JUMP]], (None, None)),
        ("accept", [[dport("tcp", 80), DROP], [COUNTER]], (True, True)),
    ],
    ids=["empty", "policy", "returning only", "set", "one port", "range", "first wins", "all udp", "th", "by source",
         "jump", "other port"],
)  # fmt: skip
def test_nft(policy: str, rules: list[list[dict[str, Any]]], expected: tuple[bool | None, bool | None]) -> None:
    """The first rule that surely holds for a new packet decides; a condition in between leaves it open."""
    assert lets(read_nft(ruleset(policy, *rules), 6969)) == expected


def test_nft_names_the_chain_that_blocks() -> None:
    """The line can be typed as it stands."""
    firewall = read_nft(ruleset("accept", [dport("udp", 5353), DROP]), 6969)
    assert firewall is not None
    found = judge_firewall([firewall], 6969)
    assert (found.verdict, found.detail) == ("failure", "nftables does not let UDP 5353 (mDNS) in")
    assert found.fix == "sudo nft insert rule inet filter input udp dport 5353 accept"


@pytest.mark.parametrize("answer", [{}, [], {"nftables": []}, {"nftables": [{"chain": {"name": "x"}}]}])
def test_nft_without_an_input_chain_is_no_firewall(answer: Any) -> None:
    """Tables that route or count are none of our business."""
    assert read_nft(answer, 6969) is None


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("-P INPUT DROP", (False, False)),
        ("-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 6969 -j ACCEPT", (True, False)),
        ("-P INPUT ACCEPT\n-A INPUT -p udp -m udp --dport 5353 -j DROP", (True, False)),
        ("-P INPUT ACCEPT\n-A INPUT -p udp -j REJECT --reject-with icmp-port-unreachable", (True, False)),
        ("-P INPUT DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", (False, False)),
        ("-P INPUT DROP\n-A INPUT -i lo -j ACCEPT", (False, False)),
        ("-P INPUT DROP\n-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 6969 -j ACCEPT", (None, False)),
        ("-P INPUT ACCEPT\n-A INPUT -j ufw-user-input", (None, None)),
    ],
)
def test_iptables(rules: str, expected: tuple[bool | None, bool | None]) -> None:
    """As with nft."""
    assert lets(read_iptables(rules, 6969)) == expected


def test_iptables_that_lets_all_in_is_no_firewall() -> None:
    """The policy alone."""
    assert read_iptables("-P INPUT ACCEPT\n", 6969) is None


def test_no_firewall_and_an_unseen_one() -> None:
    """None is well; one that may be there is not judged."""
    assert judge_firewall([], 6969).verdict == "ok"
    assert judge_firewall([], 6969, "only root may look").verdict == "none"
