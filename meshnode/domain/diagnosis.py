"""What a check of this node found, and the rules that judge it: a verdict, why, and the fix in one line."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from meshnode.domain.source_address import IPNetwork, parse_ip

# `none`: nothing to judge here, or it can't be seen from here
Verdict = Literal["ok", "none", "warning", "failure"]

CLOCK_OFF_S: Final = 60.0  # between two clocks; the Date of an answer counts whole seconds
AHEAD_S: Final = 86400.0  # an epoch this far ahead: the clock was wrong once
NOT_BEFORE: Final = 1_767_225_600.0  # 2026-01-01: no clock was right about this program before
NOT_AFTER: Final = 4_070_908_800.0  # 2099-01-01: where clocks without a battery like to wake up

OPEN_MDNS: Final = "let UDP 5353 to 224.0.0.251 in on both machines, and multicast pass between them (access point)"
CLIENT_ISOLATION: Final = (
    "switch off client isolation (guest network, AP isolation) at the access point, "
    "or put both devices into the same network"
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a diagnosis."""

    stage: str
    verdict: Verdict
    detail: str
    cause: str = ""  # a stable word for programs
    fix: str = ""
    subject: str = ""  # which peer


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing needs a person."""
    return all(finding.verdict in ("ok", "none") for finding in findings)


# ── multicast ──────────────────────────────────────────────────────────────────────────────────────────────────────


class MulticastEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a question sent by multicast brought back."""

    sent_from: tuple[str, ...] = ()  # own addresses
    refused: tuple[tuple[str, str], ...] = ()  # own address, and why the system would not send there
    heard_self: bool = False
    heard: tuple[str, ...] = ()  # others' addresses, heard by multicast
    answered: tuple[str, ...] = ()  # others that answered the question, so they heard it
    error: str = ""  # why nothing could be tried at all
    untried: str = ""  # why it was not tried, though it may work


class Neighbour(msgspec.Struct, frozen=True):
    """A paired node on a network that we are on, and whether it answers there."""

    label: str
    address: str
    answers: bool
    has_mdns: bool = True  # as it announces


def on_link(address: str, networks: Iterable[IPNetwork]) -> bool:
    """Whether `address` is on one of our networks."""
    try:
        parsed = parse_ip(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in networks)


def judge_multicast(
    evidence: MulticastEvidence, sighted: Sequence[str], neighbours: Sequence[Neighbour]
) -> list[Finding]:
    """`multicast_out` and `multicast_in`; `sighted` are names of nodes that mDNS shows."""
    if evidence.error:
        fix = "join by address or invite: `meshnode join HOST`; heartbeats do not need multicast"
        what = f"mDNS can't be used here: {evidence.error}"
        return [
            Finding(stage=stage, verdict="failure", detail=what, cause="no_multicast", fix=fix)
            for stage in ("multicast_out", "multicast_in")
        ]
    if evidence.untried:
        seen = f"in sight: {_some(sighted)}" if sighted else evidence.untried
        return [
            Finding(stage=stage, verdict="ok" if sighted else "none", detail=seen)
            for stage in ("multicast_out", "multicast_in")
        ]
    near = [n for n in neighbours if n.answers and n.has_mdns]
    silent = [n.label for n in neighbours if n.answers and not n.has_mdns]
    why = f" ({_some(silent)}: mDNS is switched off there)" if silent else ""
    return [_judge_out(evidence, near, why), _judge_in(evidence, sighted, near, why)]


def _judge_out(evidence: MulticastEvidence, near: Sequence[Neighbour], why_nobody: str) -> Finding:
    stage = "multicast_out"
    refused = "; ".join(f"{address}: {why}" for address, why in evidence.refused)
    if refused and not evidence.sent_from:
        fix = "let UDP 5353 out in this machine's firewall (output chain)"
        return Finding(
            stage=stage, verdict="failure", detail=f"the system sends none ({refused})", cause="no_multicast", fix=fix
        )
    if evidence.answered:
        detail = f"{_some(evidence.answered)} heard our question and answered"
    elif evidence.heard_self and near:
        names = _some([f"{n.label} ({n.address})" for n in near])
        detail = f"nobody answered our question, though {names} can be reached by TCP"
        return Finding(stage=stage, verdict="failure", detail=detail, cause="multicast_blocked", fix=OPEN_MDNS)
    elif evidence.heard_self:
        detail = f"heard back by this machine itself; nobody else there to ask{why_nobody}"
    else:
        detail = "sent, but not even this machine hears it: a firewall here drops UDP 5353"
        return Finding(stage=stage, verdict="failure", detail=detail, cause="multicast_blocked", fix=OPEN_MDNS)
    if refused:
        return Finding(stage=stage, verdict="warning", detail=f"{detail}; not sent by {refused}", cause="no_multicast",
                       fix="leave it if that interface is not meant to be used")  # fmt: skip
    return Finding(stage=stage, verdict="ok", detail=detail)


def _judge_in(
    evidence: MulticastEvidence, sighted: Sequence[str], near: Sequence[Neighbour], why_nobody: str
) -> Finding:
    stage = "multicast_in"
    if evidence.heard:
        seen = f"; in sight: {_some(sighted)}" if sighted else ""
        return Finding(stage=stage, verdict="ok", detail=f"heard {_some(evidence.heard)}{seen}")
    if near:
        names = _some([f"{n.label} ({n.address})" for n in near])
        detail = f"nothing is heard of others, though {names} can be reached by TCP"
    elif sighted:
        return Finding(stage=stage, verdict="ok", detail=f"silent now, but in sight: {_some(sighted)}")
    elif evidence.heard_self:
        return Finding(
            stage=stage, verdict="ok", detail=f"hears its own packets back; nobody else is heard{why_nobody}"
        )
    else:
        detail = "nothing is heard, not even our own packets"
    return Finding(stage=stage, verdict="failure", detail=detail, cause="multicast_blocked", fix=OPEN_MDNS)


def judge_isolation(
    evidence: MulticastEvidence, neighbours: Sequence[Neighbour], router: str | None, router_answers: bool | None
) -> Finding:
    """`network`: whether somebody keeps this machine apart from the others on its own network."""
    stage = "network"
    others = bool(evidence.heard or evidence.answered)
    silent = [n for n in neighbours if not n.answers]
    router_text = f"the router {router}" if router else "a router"
    if others or any(n.answers for n in neighbours):
        return Finding(stage=stage, verdict="ok", detail="other machines of this network are heard")
    if silent and router_answers:
        names = _some([f"{n.label} ({n.address})" for n in silent])
        detail = f"{router_text} answers, but {names} on the same network do not, and no other machine is heard"
        return Finding(stage=stage, verdict="failure", detail=f"{detail}: they are off, or kept apart from us",
                       cause="client_isolation", fix=CLIENT_ISOLATION)  # fmt: skip
    if router_answers:
        detail = (
            f"{router_text} answers, and no other machine is heard: "
            "nobody else is on, or the access point keeps devices apart"
        )
        return Finding(stage=stage, verdict="none", detail=detail, cause="client_isolation", fix=CLIENT_ISOLATION)
    if router_answers is False:
        return Finding(stage=stage, verdict="failure", detail=f"{router_text} does not answer", cause="no_network",
                       fix="check the cable or the Wi-Fi connection")  # fmt: skip
    return Finding(stage=stage, verdict="none", detail="no other machine and no router to compare with")


def _some(names: Iterable[str], most: int = 3) -> str:
    named = list(dict.fromkeys(names))
    rest = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + rest


# ── interfaces, clock, peers ───────────────────────────────────────────────────────────────────────────────────────


def judge_interfaces(used: Sequence[tuple[str, str]], left_out: Sequence[tuple[str, str]], error: str) -> Finding:
    """`interfaces`: (name, address) of those used, (name, why) of those left out."""
    stage = "interfaces"
    left = f"; left out: {_some([f'{name} ({why})' for name, why in left_out], 6)}" if left_out else ""
    if not used:
        told = f" that the system would tell of ({error})" if error else ""
        return Finding(stage=stage, verdict="failure", detail=f"none is up{told}{left}", cause="no_network",
                       fix="connect this machine to a network")  # fmt: skip
    detail = f"uses {_some([f'{name} {address}'.strip() for name, address in used], 6)}{left}"
    if error:  # as on some phones; the routes say the address
        return Finding(stage=stage, verdict="none", detail=f"{detail}; the system does not list them ({error})",
                       cause="no_interfaces")  # fmt: skip
    if all(_is_link_local(address) for _, address in used):
        return Finding(stage=stage, verdict="warning", detail=f"{detail}; no router gave an address",
                       cause="link_local_only", fix="check DHCP (the router), or set an address")  # fmt: skip
    return Finding(stage=stage, verdict="ok", detail=detail)


def _is_link_local(address: str) -> bool:
    return ipaddress.ip_address(address.split("%", 1)[0]).is_link_local


def judge_clock(now_s: float, epoch: int, offsets: Sequence[tuple[str, float]]) -> Finding:
    """`clock`: `offsets` are (peer, its clock minus ours in seconds), over pinned certificates."""
    stage, fix = "clock", "set the clock: `sudo timedatectl set-ntp true`"
    if not NOT_BEFORE <= now_s < NOT_AFTER:
        when = "before this program was made" if now_s < NOT_BEFORE else "in 2099 or later"
        return Finding(
            stage=stage, verdict="failure", detail=f"this machine's clock stands {when}", cause="clock", fix=fix
        )
    once = ", and it once was ahead (harmless)" if epoch > now_s + AHEAD_S else ""
    if not offsets:
        return Finding(stage=stage, verdict="ok", detail=f"plausible{once}; no peer to compare with")
    from statistics import median  # brings half a megabyte with it

    typical = median(offset for _, offset in offsets)
    far = [(label, offset) for label, offset in offsets if abs(offset) > CLOCK_OFF_S]
    if not far:
        return Finding(stage=stage, verdict="ok", detail=f"agrees with {_some([label for label, _ in offsets])}{once}")
    told = _some([f"{label} ({offset:+.0f} s)" for label, offset in far])
    if abs(typical) > CLOCK_OFF_S and len(offsets) > 1:
        return Finding(stage=stage, verdict="failure", detail=f"wrong by about {-typical:+.0f} s: {told}",
                       cause="clock", fix=fix)  # fmt: skip
    if len(offsets) == 1:
        return Finding(stage=stage, verdict="warning", detail=f"differs from {told}; one of the two is wrong",
                       cause="clock", fix=f"{fix}, on the one that is wrong")  # fmt: skip
    return Finding(stage=stage, verdict="warning", detail=f"agrees with most, not with {told}", cause="peer_clock",
                   fix=f"{fix}, there")  # fmt: skip


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One address of a peer, tried."""

    host: str
    port: int
    outcome: str  # "ok" or the code of what went wrong
    detail: str = ""
    pinned: bool = False  # the expected certificate answered
    authenticated: bool = False


def judge_peer(
    label: str, status: str, reason: str | None, last_seen: str, attempts: Sequence[Attempt], *, is_near: bool
) -> Finding:
    """`peer`: what its addresses answered; `last_seen` in words."""

    def finding(verdict: Verdict, detail: str, cause: str = "", fix: str = "") -> Finding:
        return Finding(stage="peer", subject=label, verdict=verdict, detail=f"{label}: {detail}", cause=cause, fix=fix)

    good = next((a for a in attempts if a.authenticated), None)
    if good is not None:
        return finding("ok", f"{_at(good)}: right certificate, authenticated; {status}, last heard {last_seen}")
    again = "pair again: `meshnode pair` there, `meshnode join` here"
    refused = next((a for a in attempts if a.pinned), None)
    if refused is not None and refused.outcome == "not_paired":
        return finding("failure", f"{_at(refused)}: it removed us", "removed_us", f"{again}, or `meshnode node forget`")
    if refused is not None:
        return finding("failure", f"{_at(refused)}: right certificate, but no session ({refused.detail})",
                       refused.outcome, "look at that node's log; upgrade the older of the two")  # fmt: skip
    wrong = next((a for a in attempts if a.outcome == "wrong_node_at_address"), None)
    if wrong is not None:
        return finding("failure", f"{_at(wrong)}: {wrong.detail}", wrong.outcome,
                       f"start it and wait for its announcement; if it was reset, {again}")  # fmt: skip
    wrong = next((a for a in attempts if a.outcome == "certificate_mismatch"), None)
    if wrong is not None:
        return finding("failure", f"{_at(wrong)}: another certificate than the pinned one, without proof",
                       wrong.outcome, f"look who answers there; if it was reset, {again}")  # fmt: skip
    if reason == "left":
        return finding("none", f"it said goodbye, {last_seen}; nothing answers at {_tried(attempts)}")
    if status == "online":  # it calls us, we can't call it: enough for both to see each other
        return finding("warning", f"it reaches us, last heard {last_seen}, but nothing answers at {_tried(attempts)}",
                       "one_way", "let TCP 6969 in on that machine")  # fmt: skip
    other = next((a for a in attempts if a.outcome == "bad_answer"), None)
    if other is not None:
        return finding("failure", f"{_at(other)}: something else than a meshnode answers", "bad_answer",
                       "check which program has that port")  # fmt: skip
    details = " ".join(a.detail.lower() for a in attempts)
    what = f"no answer at {_tried(attempts)}, last heard {last_seen}"
    if "refused" in details:
        return finding("failure", f"{what}; the machine is on, but no node runs there", "refused",
                       "start meshnode there: `meshnode run`")  # fmt: skip
    hint = ", or it is in another network now: `meshnode join HOST`" if not is_near else ""
    return finding("failure", what, "unreachable", f"switch it on, let TCP 6969 in there{hint}")


def _at(attempt: Attempt) -> str:
    return f"[{attempt.host}]:{attempt.port}" if ":" in attempt.host else f"{attempt.host}:{attempt.port}"


def _tried(attempts: Sequence[Attempt]) -> str:
    return _some([f"{_at(a)} ({_reason(a.detail)})" for a in attempts]) or "no address known"


def _reason(detail: str) -> str:
    return detail.rpartition("(")[2].rstrip(")") or "no answer"
