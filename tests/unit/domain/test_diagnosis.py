"""The verdicts of a diagnosis, from the evidence alone."""

from __future__ import annotations

import ipaddress

import pytest

from meshnode.domain.diagnosis import (
    Attempt,
    Finding,
    MulticastEvidence,
    Neighbour,
    Verdict,
    is_well,
    judge_clock,
    judge_interfaces,
    judge_isolation,
    judge_multicast,
    judge_peer,
    on_link,
)

OWN, OTHER = "10.0.0.1", "10.0.0.2"
NEAR = Neighbour("desk", OTHER, answers=True)
GONE = Neighbour("desk", OTHER, answers=False)
MUTE = Neighbour("desk", OTHER, answers=True, has_mdns=False)
NOW = 1_800_000_000.0


def evidence(
    *, heard_self: bool = True, heard: tuple[str, ...] = (), answered: tuple[str, ...] = ()
) -> MulticastEvidence:
    return MulticastEvidence(sent_from=(OWN,), heard_self=heard_self, heard=heard, answered=answered)


@pytest.mark.parametrize(("verdict", "well"), [("ok", True), ("none", True), ("warning", False), ("failure", False)])
def test_well_is_what_needs_nobody(verdict: Verdict, well: bool) -> None:
    """A warning is not well either; what can't be judged is."""
    right = Finding(stage="a", verdict="ok", detail="")
    assert is_well([right, Finding(stage="b", verdict=verdict, detail="")]) is well


@pytest.mark.parametrize(
    ("seen", "sighted", "near", "out", "into"),
    [
        (evidence(heard=(OTHER,), answered=(OTHER,)), ["desk"], [NEAR], "ok", "ok"),
        (evidence(), [], [], "ok", "ok"),
        (evidence(), [], [GONE], "ok", "ok"),
        (evidence(), [], [NEAR], "failure", "failure"),
        (evidence(), ["desk"], [NEAR], "failure", "failure"),
        (evidence(), [], [MUTE], "ok", "ok"),
        (evidence(), [], [MUTE, NEAR], "failure", "failure"),
        (evidence(heard_self=False), [], [MUTE], "failure", "failure"),
        (evidence(), ["desk"], [], "ok", "ok"),
        (evidence(heard=(OTHER,)), [], [NEAR], "failure", "ok"),
        (evidence(answered=(OTHER,)), [], [NEAR], "ok", "failure"),
        (evidence(heard_self=False), [], [], "failure", "failure"),
    ],
    ids=[
        *("all", "alone", "peer off", "blocked", "stale sight", "without mDNS", "one without", "deaf beside it"),
        *("sight", "not heard", "deaf", "not even itself"),
    ],
)
def test_multicast_each_way(
    seen: MulticastEvidence, sighted: list[str], near: list[Neighbour], out: str, into: str
) -> None:
    """Silence counts against us only where somebody who could answer is known to be there."""
    outward, inward = judge_multicast(seen, sighted, near)
    assert (outward.stage, outward.verdict, inward.stage, inward.verdict) == (
        "multicast_out",
        out,
        "multicast_in",
        into,
    )
    for finding in (outward, inward):
        assert bool(finding.fix) == (finding.verdict == "failure")


def test_multicast_says_whom_it_asked() -> None:
    """An answer of another node, or only our own voice."""
    outward, inward = judge_multicast(evidence(heard=(OTHER,), answered=(OTHER,)), ["desk"], [])
    assert OTHER in outward.detail
    assert "desk" in inward.detail
    outward, inward = judge_multicast(evidence(), [], [])
    assert "this machine itself" in outward.detail
    assert "its own packets" in inward.detail
    for finding in judge_multicast(evidence(), [], [MUTE]):
        assert "desk: mDNS is switched off there" in finding.detail


def test_multicast_that_the_system_refuses_is_named_by_interface() -> None:
    """EPERM at sending: an output rule, or a phone that forbids it."""
    refused = MulticastEvidence(refused=((OWN, "Operation not permitted"),))
    outward, _ = judge_multicast(refused, [], [])
    assert (outward.verdict, outward.cause) == ("failure", "no_multicast")
    assert f"{OWN}: Operation not permitted" in outward.detail
    partly = MulticastEvidence(sent_from=(OWN,), refused=((OTHER, "No such device"),), heard_self=True)
    assert judge_multicast(partly, [], [])[0].verdict == "warning"
    assert {f.cause for f in judge_multicast(MulticastEvidence(error="no socket"), [], [])} == {"no_multicast"}


def test_multicast_that_was_not_tried_is_judged_by_who_is_in_sight() -> None:
    """On a link with IPv6 alone."""
    untried = MulticastEvidence(untried="IPv6 only")
    assert [f.verdict for f in judge_multicast(untried, [], [NEAR])] == ["none", "none"]
    assert [f.verdict for f in judge_multicast(untried, ["desk"], [NEAR])] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("seen", "neighbours", "router", "verdict", "cause"),
    [
        (evidence(heard=(OTHER,)), [GONE], True, "ok", ""),
        (evidence(), [NEAR, GONE], True, "ok", ""),
        (evidence(), [GONE], True, "failure", "client_isolation"),
        (evidence(), [], True, "none", "client_isolation"),
        (evidence(), [GONE], False, "failure", "no_network"),
        (evidence(), [], None, "none", ""),
    ],
    ids=["heard", "a peer answers", "isolated", "nobody known", "no router", "unknown"],
)
def test_isolation_needs_a_router_that_answers_and_peers_that_do_not(
    seen: MulticastEvidence, neighbours: list[Neighbour], router: bool | None, verdict: str, cause: str
) -> None:
    """One other machine that is heard disproves it."""
    found = judge_isolation(seen, neighbours, None if router is None else "10.0.0.254", router)
    assert (found.verdict, found.cause) == (verdict, cause)


@pytest.mark.parametrize(
    ("used", "error", "verdict", "cause"),
    [
        ((("eth0", OWN),), "", "ok", ""),
        ((), "", "failure", "no_network"),
        ((("eth0", "169.254.3.4"), ("eth0", "fe80::1%eth0")), "", "warning", "link_local_only"),
        ((("", OWN),), "Permission denied", "none", "no_interfaces"),
        ((), "Permission denied", "failure", "no_network"),
    ],
)
def test_interfaces(used: tuple[tuple[str, str], ...], error: str, verdict: str, cause: str) -> None:
    """Used, left out with the reason, and the system's refusal to tell."""
    found = judge_interfaces(used, (("docker0", "of containers or virtual machines"),), error)
    assert (found.verdict, found.cause) == (verdict, cause)
    assert "docker0 (of containers or virtual machines)" in found.detail
    assert error in found.detail


@pytest.mark.parametrize(
    ("now", "epoch", "offsets", "verdict", "cause"),
    [
        (NOW, int(NOW), [], "ok", ""),
        (NOW, int(NOW), [("a", 3.0), ("b", -59.0)], "ok", ""),
        (NOW, 4_102_444_800, [], "ok", ""),
        (NOW, int(NOW), [("a", -3600.0)], "warning", "clock"),
        (NOW, int(NOW), [("a", -3600.0), ("b", -3601.0)], "failure", "clock"),
        (NOW, int(NOW), [("a", 0.0), ("b", 1.0), ("c", 86400.0)], "warning", "peer_clock"),
        (0.0, int(NOW), [], "failure", "clock"),
        (4_102_444_800.0, int(NOW), [], "failure", "clock"),
    ],
    ids=["alone", "agrees", "was ahead", "one of two", "we are wrong", "one of many", "1970", "2100"],
)
def test_clock(now: float, epoch: int, offsets: list[tuple[str, float]], verdict: str, cause: str) -> None:
    """The majority is right; with one other nobody knows."""
    found = judge_clock(now, epoch, offsets)
    assert (found.verdict, found.cause) == (verdict, cause)


def test_clock_tells_which_way_and_what_is_harmless() -> None:
    """A clock an hour ahead is told to be one; an epoch from 2099 is mentioned."""
    assert "wrong by about +3600 s" in judge_clock(NOW, 1, [("a", -3600.0), ("b", -3600.0)]).detail
    assert "once was ahead" in judge_clock(NOW, 4_070_908_800, []).detail


def attempt(outcome: str, detail: str = "", *, pinned: bool = False, authenticated: bool = False) -> Attempt:
    return Attempt(host=OTHER, port=6969, outcome=outcome, detail=detail, pinned=pinned, authenticated=authenticated)


GOOD = attempt("ok", pinned=True, authenticated=True)
TIMEOUT = attempt("unreachable", f"no answer from {OTHER}:6969 (timed out)")


@pytest.mark.parametrize(
    ("status", "reason", "attempts", "verdict", "cause"),
    [
        ("online", None, [GOOD], "ok", ""),
        ("offline", "silent", [TIMEOUT, GOOD], "ok", ""),
        ("online", None, [attempt("not_paired", pinned=True)], "failure", "removed_us"),
        ("online", None, [attempt("rate_limited", pinned=True)], "failure", "rate_limited"),
        ("stale", "silent", [attempt("wrong_node_at_address", "another")], "failure", "wrong_node_at_address"),
        ("stale", "silent", [attempt("certificate_mismatch")], "failure", "certificate_mismatch"),
        ("offline", "left", [TIMEOUT], "none", ""),
        ("online", None, [TIMEOUT], "warning", "one_way"),
        ("offline", "silent", [attempt("bad_answer")], "failure", "bad_answer"),
        ("offline", "silent", [attempt("unreachable", "no answer (Connection refused)")], "failure", "refused"),
        ("offline", "silent", [TIMEOUT], "failure", "unreachable"),
        ("offline", "silent", [], "failure", "unreachable"),
    ],
)
def test_peer(status: str, reason: str | None, attempts: list[Attempt], verdict: str, cause: str) -> None:
    """One good address is enough; else the most telling of what went wrong, with a fix."""
    found = judge_peer("desk", status, reason, "9 s ago", attempts, is_near=True)
    assert (found.subject, found.verdict, found.cause) == ("desk", verdict, cause)
    assert bool(found.fix) == (verdict in ("warning", "failure"))


def test_a_far_peer_may_have_moved() -> None:
    """Only of a peer that is on none of our networks."""
    near, far = (judge_peer("desk", "offline", "silent", "never", [TIMEOUT], is_near=near) for near in (True, False))
    assert "meshnode join" not in near.fix
    assert "meshnode join" in far.fix
    assert "10.0.0.2:6969 (timed out)" in far.detail


@pytest.mark.parametrize(
    ("address", "is_there"),
    [(OTHER, True), ("10.0.1.2", False), ("fe80::5%eth0", True), ("desk.example.org", False), ("", False)],
)
def test_on_link(address: str, is_there: bool) -> None:
    """By address, scope or not; a name is on no link."""
    networks = [ipaddress.ip_network("10.0.0.0/24"), ipaddress.ip_network("fe80::/64")]
    assert on_link(address, networks) is is_there
