"""A signature made for one purpose, receiver, certificate, run or nonce serves for no other."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.fakes.joiner import Answer, Joiner, b64, sign
from tests.fakes.local_node import LocalNode

NOBODY = "node-0192aaaa-bbbb-7ccc-8ddd-eeeeffff0000"


@pytest.fixture
def paired(host: LocalNode) -> Joiner:
    """A paired raw joiner with a session."""
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    assert joiner.open_session().status == 200
    assert joiner.beat().status == 200
    return joiner


def exchanged(host: LocalNode) -> Joiner:
    joiner = Joiner(host.port)
    offer = host.offer()
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.pin).status == 200
    return joiner


def refused(answer: Answer) -> bool:
    return (answer.status, answer.code) in ((400, "invalid_params"), (401, "not_paired"))


HEADERS = [
    b'{"alg":"EdDSA","typ":"meshnode-announcement+jws"}',
    b'{"alg":"EdDSA","typ":"meshnode-pairing+jws"}',
    b'{"alg":"EdDSA","typ":"meshnode-identity+jws"}',
    b'{"alg":"EdDSA","typ":"meshnode-capability+jws"}',
    b'{"typ":"meshnode-session+jws","alg":"EdDSA"}',
    b'{"alg": "EdDSA", "typ": "meshnode-session+jws"}',
    b'{"alg":"none","typ":"meshnode-session+jws"}',
    b'{"alg":"HS256","typ":"meshnode-session+jws"}',
    b'{"alg":"EdDSA","typ":"JWT"}',
    b'{"alg":"EdDSA"}',
    b"",
]


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.decode() or "none")
def test_a_session_needs_a_signature_made_for_sessions(host: LocalNode, paired: Joiner, header: bytes) -> None:
    """The header must match byte for byte."""
    before = host.dump()
    jws = sign(paired.key, "", paired.statement(), header=header)
    assert refused(paired.post("session", {"caller": paired.id, "jws": jws}))
    assert host.dump() == before


@pytest.mark.parametrize("typ", ["session", "announcement", "identity", "capability"])
def test_an_ack_needs_a_signature_made_for_pairings(host: LocalNode, typ: str) -> None:
    """The right words under another purpose confirm nothing."""
    joiner = exchanged(host)
    assert joiner.finish().status == 200
    statement = {"sid": joiner.sid, "role": "ack", "id": joiner.id, "peer_id": joiner.host_id}
    body = {"sid": joiner.sid, "id": joiner.id, "jws": sign(joiner.key, typ, statement)}
    assert refused(joiner.post("pair/ack", body))
    assert host.trust(joiner.id) == "unconfirmed"


@pytest.mark.parametrize(
    "changes", [{"role": "joiner"}, {"role": "host"}, {"id": NOBODY}, {"peer_id": NOBODY}, {"sid": b64(bytes(16))}]
)
def test_an_ack_of_another_run_or_role_confirms_nothing(host: LocalNode, changes: dict[str, str]) -> None:
    """Every member of it counts; the proof of step 3 is no acknowledge."""
    joiner = exchanged(host)
    assert joiner.finish().status == 200
    assert refused(joiner.ack(**changes))
    assert refused(joiner.post("pair/ack", {"sid": joiner.sid, "id": joiner.id, "jws": joiner.proof()}))
    assert host.trust(joiner.id) == "unconfirmed"
    assert joiner.ack().status == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "host"},
        {"id": NOBODY},
        {"peer_id": NOBODY},
        {"sid": b64(bytes(16))},
        {"shares_sha256": b64(bytes(32))},
    ],
)
def test_a_proof_of_another_run_or_role_pairs_nobody(host: LocalNode, changes: dict[str, str]) -> None:
    """A key takes part in the very run that its proof names."""
    joiner = exchanged(host)
    assert refused(joiner.finish(proof=joiner.proof(**changes)))
    assert len(host.rows()) == 1


def test_a_proof_or_announcement_for_another_purpose_pairs_nobody(host: LocalNode) -> None:
    """Neither takes the other's place, nor an unsigned or foreign one."""
    stranger = Joiner(host.port)
    deviations = [
        lambda j: {"proof": j.announcement()},
        lambda j: {"announcement": j.proof()},
        lambda j: {"announcement": stranger.announcement()},
        lambda j: {"announcement": j.announcement().rsplit(".", 1)[0] + "."},
        lambda j: {"announcement": j.announcement()[:-4] + "AAAA"},
        lambda j: {"proof": sign(stranger.key, "pairing", {})},
        lambda j: {"proof": sign(j.key, "pairing", b"not json")},
        lambda j: {"announcement": sign(j.key, "announcement", b"[" * 2000)},
    ]
    for deviation in deviations:
        joiner = exchanged(host)
        assert refused(joiner.finish(**deviation(joiner)))
    assert len(host.rows()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"receiver": NOBODY},
        {"caller": NOBODY},
        {"tls_sha256": b64(bytes(32))},
        {"nonce": b64(bytes(32))},
        {"nonce": "!"},
        {"nonce": ""},
        {"epoch": -1},
        {"epoch": 2**52 + 1},
        {"epoch": "1"},
    ],
    ids=lambda changes: next(f"{k}={v}" for k, v in changes.items())[:24],
)
def test_a_session_statement_made_for_something_else_opens_none(
    host: LocalNode, paired: Joiner, changes: dict[str, object]
) -> None:
    """Another receiver, caller, certificate or nonce: no token."""
    before = host.dump()
    assert refused(paired.open_session(**changes))
    assert host.dump() == before


def test_a_nonce_serves_once_and_for_thirty_seconds(host: LocalNode, paired: Joiner) -> None:
    """A recorded session request opens no second session; an old nonce none at all; a source has four."""
    nonce = paired.nonce()
    assert paired.open_session(nonce=nonce).status == 200
    assert refused(paired.open_session(nonce=nonce))
    late = paired.nonce()
    host.clock.step(31)
    assert refused(paired.open_session(nonce=late))
    nonces = [paired.nonce() for _ in range(5)]
    assert refused(paired.open_session(nonce=nonces[0]))
    assert paired.open_session(nonce=nonces[1]).status == 200


def test_an_announcement_counts_only_if_it_is_newer(host: LocalNode, paired: Joiner) -> None:
    """An older pair is ignored, the same pair with other content refused, neither changes the row."""
    paired.revision, paired.name = 7, "seven"
    assert paired.beat(announcement=paired.announcement()).status == 200
    before = host.dump("mesh_nodes")["mesh_nodes"]
    assert paired.beat(announcement=paired.announcement(revision=6, name="six")).status == 200
    assert refused(paired.beat(announcement=paired.announcement(name="also seven")))
    assert refused(paired.beat(announcement=paired.announcement(revision=2**52 + 1)))
    assert refused(paired.beat(announcement=sign(paired.key, "pairing", {})))
    assert refused(paired.beat(announcement=sign(Ed25519PrivateKey.generate(), "announcement", {})))
    assert host.dump("mesh_nodes")["mesh_nodes"] == before
    assert host.shown(paired.id)["name"] == "seven"


def test_tokens_end_after_an_hour_and_a_fifth_ends_the_oldest(host: LocalNode, paired: Joiner) -> None:
    """`token_expired`, not `not_paired`: the caller opens another session."""
    first = paired.token
    for _ in range(4):
        assert paired.open_session().status == 200
    fifth = paired.token
    paired.token = first
    assert paired.beat().code == "token_expired"
    paired.token = fifth
    assert paired.beat().status == 200
    host.clock.step(3601)
    answer = paired.beat()
    assert (answer.status, answer.code) == (401, "token_expired")
