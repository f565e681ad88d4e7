"""Read what a firewall prints about itself: does it let TCP 6969 and UDP 5353 in, and the exact line that would.

Nothing is ever changed; what can't be told for sure is `None`. Sources: ufw(8), firewall-cmd(1), nft(8),
libnftables-json(5), iptables(8).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from meshnode.domain.diagnosis import Finding

MDNS_PORT: Final = 5353
Protocol = Literal["tcp", "udp"]
Need = tuple[Protocol, int]


class Firewall(msgspec.Struct, frozen=True, kw_only=True):
    """An active firewall, and what it does with what we need: True lets it in, False drops it, None can't be told."""

    name: str
    lets_in: Mapping[Need, bool | None]
    lines: Mapping[Need, str]  # what a person would type to let it in


def needs(port: int) -> tuple[Need, Need]:
    """What has to come in: TCP on our port, and mDNS."""
    return ("tcp", port), ("udp", MDNS_PORT)


# ── ufw, firewalld ─────────────────────────────────────────────────────────────────────────────────────────────────


def read_ufw(status: str | None, port: int) -> Firewall:
    """From `ufw status verbose`; None if only root may ask, and ufw is known to be on."""
    lets: dict[Need, bool | None] = dict.fromkeys(needs(port))
    if status is not None:
        lets_all = bool(re.search(r"^Default: allow \(incoming\)", status, re.MULTILINE))
        for protocol, number in needs(port):
            rule = re.search(
                rf"^{number}(?:/{protocol})?\s+(?:\(v6\)\s+)?(ALLOW|LIMIT|DENY|REJECT)\b", status, re.MULTILINE
            )
            # unless told otherwise it lets in mDNS by multicast (its before.rules), and nothing else
            lets[protocol, number] = rule[1] in ("ALLOW", "LIMIT") if rule else lets_all or number == MDNS_PORT
    return Firewall(name="ufw", lets_in=lets, lines={n: f"sudo ufw allow {n[1]}/{n[0]}" for n in needs(port)})


def read_firewalld(listed: str | None, port: int) -> Firewall:
    """From `firewall-cmd --list-all`; None if we may not ask."""
    lets: dict[Need, bool | None] = dict.fromkeys(needs(port))
    tcp, udp = needs(port)
    if listed is not None:
        accepts = bool(re.search(r"^\s*target: ACCEPT", listed, re.MULTILINE))
        ports = _words(listed, "ports")
        lets[tcp] = accepts or f"{port}/tcp" in ports
        lets[udp] = accepts or f"{MDNS_PORT}/udp" in ports or "mdns" in _words(listed, "services")
    reload = "&& sudo firewall-cmd --reload"
    lines = {
        tcp: f"sudo firewall-cmd --permanent --add-port={port}/tcp {reload}",
        udp: f"sudo firewall-cmd --permanent --add-service=mdns {reload}",
    }
    return Firewall(name="firewalld", lets_in=lets, lines=lines)


def _words(listed: str, key: str) -> list[str]:
    found = re.search(rf"^\s*{key}:(.*)$", listed, re.MULTILINE)
    return found[1].split() if found else []


# ── nftables, iptables ─────────────────────────────────────────────────────────────────────────────────────────────


def read_nft(ruleset: Any, port: int) -> Firewall | None:
    """From `nft -j list ruleset`; None if no chain looks at what comes in."""
    entries = ruleset.get("nftables", []) if isinstance(ruleset, dict) else []
    chains = [e["chain"] for e in entries if "chain" in e and e["chain"].get("hook") in ("input", "ingress")]
    chains = [c for c in chains if c.get("type", "filter") == "filter"]
    if not chains:
        return None
    lets: dict[Need, bool | None] = {}
    lines: dict[Need, str] = {}
    for need in needs(port):
        verdicts = [(_walk(chain, entries, need), chain) for chain in chains]  # every one of them must let it in
        blocking = [chain for verdict, chain in verdicts if verdict is False]
        unsure = [chain for verdict, chain in verdicts if verdict is None]
        lets[need] = False if blocking else None if unsure else True
        at = (blocking or unsure or chains)[0]
        where = f"{at['family']} {at['table']} {at['name']}"
        lines[need] = f"sudo nft insert rule {where} {need[0]} dport {need[1]} accept"
    return Firewall(name="nftables", lets_in=lets, lines=lines)


def _walk(chain: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], need: Need) -> bool | None:
    """What a base chain does with a new packet of `need` from anywhere; None if a condition decides."""
    key = (chain["family"], chain["table"], chain["name"])
    unsure = False
    for entry in entries:
        rule = entry.get("rule")
        if rule is None or (rule["family"], rule["table"], rule["chain"]) != key:
            continue
        expressions = rule.get("expr", [])
        applies = [_matches(e["match"], need) for e in expressions if "match" in e]
        if False in applies:
            continue
        action = next(
            (a for e in expressions for a in ("accept", "drop", "reject", "jump", "goto", "xt") if a in e), ""
        )
        if not action:
            continue
        if None in applies or action in ("jump", "goto", "xt"):
            unsure = True
            continue
        return None if unsure else action == "accept"
    return None if unsure else chain.get("policy", "accept") == "accept"


def _matches(match: Mapping[str, Any], need: Need) -> bool | None:
    """Whether a match holds for a new packet of `need`; None for what depends on where it comes from."""
    left, right, equal = match.get("left"), match.get("right"), match.get("op") in ("==", "in")
    if not isinstance(left, dict):
        return None
    payload, meta, ct = left.get("payload"), left.get("meta"), left.get("ct")
    if isinstance(payload, dict) and payload.get("field") == "dport":
        if payload.get("protocol") not in (need[0], "th"):
            return False
        return _holds(need[1], right) is equal
    if isinstance(meta, dict) and meta.get("key") == "l4proto":
        return _holds(need[0], right) is equal
    if isinstance(ct, dict) and ct.get("key") == "state":
        return _holds("new", right) is equal
    if isinstance(meta, dict) and meta.get("key") in ("iif", "iifname") and right == "lo":
        return not equal
    return None


def _holds(value: object, right: Any) -> bool:
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if isinstance(right, list):
        return any(_holds(value, one) for one in right)
    if isinstance(right, dict) and "range" in right:
        low, high = right["range"]
        return isinstance(value, int) and isinstance(low, int) and low <= value <= high
    return bool(value == right)


def read_iptables(rules: str, port: int) -> Firewall | None:
    """From `iptables -S INPUT`; None if it lets everything in."""
    lines = [line for line in rules.splitlines() if line.startswith(("-P INPUT", "-A INPUT"))]
    if not [line for line in lines if line != "-P INPUT ACCEPT"]:
        return None
    lets: dict[Need, bool | None] = {}
    for need in needs(port):
        lets[need] = _walk_iptables(lines, need)
    return Firewall(
        name="iptables",
        lets_in=lets,
        lines={n: f"sudo iptables -I INPUT -p {n[0]} --dport {n[1]} -j ACCEPT" for n in needs(port)},
    )


def _walk_iptables(lines: Sequence[str], need: Need) -> bool | None:
    unsure, policy = False, True
    for line in lines:
        words = line.split()
        if words[0] == "-P":
            policy = words[2] == "ACCEPT"
            continue
        target = words[words.index("-j") + 1] if "-j" in words else ""
        rest = re.sub(r"-A INPUT|-j \S+( --reject-with \S+)?|-m (tcp|udp|comment)|--comment (\"[^\"]*\"|\S+)", "", line)
        wanted = re.sub(rf"-p {need[0]}\b|--dport {need[1]}\b", "", rest).strip()
        if re.search(r"-p (?!all)", wanted) or "--dport" in wanted or "-i lo" in wanted:
            continue
        if re.search(r"--(ct)?state (?!\S*NEW)", wanted):
            continue
        if wanted or target not in ("ACCEPT", "DROP", "REJECT"):
            unsure = unsure or bool(target)
            continue
        return None if unsure else target == "ACCEPT"
    return None if unsure else policy


# ── the verdict ────────────────────────────────────────────────────────────────────────────────────────────────────


def judge_firewall(found: Sequence[Firewall], port: int, unseen: str = "") -> Finding:
    """`firewall`; `unseen` says why there may be one that we can't look at."""
    stage = "firewall"
    if not found:
        detail = f"can't be seen ({unseen})" if unseen else "none is active on this machine"
        return Finding(stage=stage, verdict="none" if unseen else "ok", detail=detail)
    for firewall in found:
        blocked = [need for need in needs(port) if firewall.lets_in[need] is False]
        if blocked:
            what = " and ".join(_words_of(need) for need in blocked)
            return Finding(stage=stage, verdict="failure", detail=f"{firewall.name} does not let {what} in",
                           cause="firewall", fix=_line(firewall, blocked))  # fmt: skip
    for firewall in found:
        unsure = [need for need in needs(port) if firewall.lets_in[need] is None]
        if unsure:
            what = " and ".join(_words_of(need) for need in unsure)
            return Finding(stage=stage, verdict="none", cause="firewall", fix=_line(firewall, unsure),
                           detail=f"{firewall.name} is active; whether it lets {what} in can't be seen")  # fmt: skip
    return Finding(stage=stage, verdict="ok", detail=f"{found[0].name} is active and lets us in")


def _line(firewall: Firewall, blocked: Sequence[Need]) -> str:
    return " && ".join(firewall.lines[need] for need in blocked)


def _words_of(need: Need) -> str:
    return f"{need[0].upper()} {need[1]}" + (" (mDNS)" if need[1] == MDNS_PORT else "")
