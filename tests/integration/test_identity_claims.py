"""No id can be claimed by another key, no key by another id, by any entry point; wrong types of key are refused."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.joiner import Answer, Joiner, b64, new_id, sign
from tests.fakes.local_node import LocalNode

P256 = generate_private_key(SECP256R1()).public_key()
SMALL_ORDER = [  # the encodings of Ed25519's eight points of small order, and of two that are not canonical
    bytes(32),
    bytes([1, *bytes(31)]),
    bytes([*bytes(31), 0x80]),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes([1, *bytes(30), 0x80]),
]


class Claimant(Joiner):
    """Says to have a key that is not its own."""

    claimed: bytes | None = None

    @property
    def public(self) -> bytes:
        return self.claimed if self.claimed is not None else super().public


class Forger(Claimant):
    """Signs for a key of small order, which needs no secret."""


def through_finish(joiner: Joiner, pin: str) -> Answer:
    for answer in (joiner.begin(), joiner.exchange(pin)):
        if answer.status != 200:
            return answer
    return joiner.finish()


def paired(host: LocalNode) -> Joiner:
    joiner = Joiner(host.port, name="honest")
    joiner.pair(host.offer().pin)
    assert joiner.open_session().status == 200
    assert joiner.beat().status == 200
    return joiner


@pytest.mark.parametrize(
    "key",
    [
        bytes(31),
        bytes(33),
        b"",
        Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        P256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        P256.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
    ],
    ids=["31 bytes", "33 bytes", "none", "Ed25519 as DER", "P-256 compressed", "P-256"],
)
def test_a_key_of_another_length_is_refused_at_once(host: LocalNode, key: bytes) -> None:
    """Step 1 names the field."""
    host.offer()
    before = host.dump()
    answer = Joiner(host.port).begin(public_key=b64(key))
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_params", "public_key")
    assert host.dump() == before


@pytest.mark.parametrize(
    "key",
    [X25519PrivateKey.generate().public_key().public_bytes_raw(), b"\xff" * 32, b"\x02" * 32],
    ids=["X25519", "no point", "arbitrary"],
)
def test_a_key_that_cannot_sign_pairs_nobody(host: LocalNode, key: bytes) -> None:
    """The right PIN does not help: announcement and proof must verify under it."""
    joiner = Claimant(host.port)
    joiner.claimed = key
    answer = through_finish(joiner, host.offer().pin)
    assert (answer.status, answer.code) == (400, "invalid_params")
    assert len(host.rows()) == 1


@pytest.mark.parametrize("key", SMALL_ORDER, ids=lambda key: key.hex()[:8] + key.hex()[-2:])
def test_a_key_of_small_order_is_no_identity(host: LocalNode, key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can sign for such a key (S = 0, R a multiple of it), so it must not pair, however it signs."""
    joiner = Forger(host.port)
    joiner.claimed = key
    offer = host.offer()
    for identity_point in (SMALL_ORDER[1], key):
        forged = b64(identity_point + bytes(32))
        monkeypatch.setattr(
            "tests.fakes.joiner.sign",
            lambda *args, forged=forged: sign(*args).rsplit(".", 1)[0] + "." + forged,
        )
        answer = through_finish(joiner, offer.pin)
        assert (answer.status, answer.code) == (400, "invalid_params")
    assert len(host.rows()) == 1


def test_the_hosts_own_id_or_key_is_refused(host: LocalNode) -> None:
    """Nobody is paired with themselves."""
    pin = host.offer().pin
    before = host.dump()
    own_id = through_finish(Joiner(host.port, id=host.id), pin)
    joiner = Claimant(host.port)
    joiner.claimed = host.rows()[0]["public_key"]
    own_key = through_finish(joiner, pin)
    for answer in (own_id, own_key):
        assert (answer.status, answer.code) == (409, "identity_mismatch")
    assert host.dump() == before


@pytest.mark.parametrize("trust", ["paired", "revoked"])
@pytest.mark.parametrize("claim", ["id", "key"])
def test_a_known_id_or_key_is_refused_after_the_tag_only(host: LocalNode, claim: str, trust: str) -> None:
    """409 with the right PIN, and nothing changes, the offer neither; with a wrong one it reads like any stranger's."""
    honest = paired(host)
    if trust == "revoked":
        host.call("POST", f"/api/v1/nodes/{honest.id}/revoke")
    offer = host.offer()
    before = host.dump()

    def claimant() -> Joiner:
        return Joiner(host.port, id=honest.id) if claim == "id" else Joiner(host.port, key=honest.key)

    answer = through_finish(claimant(), offer.pin)
    assert (answer.status, answer.code) == (409, "identity_mismatch")
    assert host.dump() == before
    liar, stranger = (through_finish(j, offer.wrong_pin) for j in (claimant(), Joiner(host.port)))
    assert (liar.status, liar.code) == (stranger.status, stranger.code) == (403, "bad_pin")
    assert liar.json | {"attempts_left": 0, "detail": ""} == stranger.json | {"attempts_left": 0, "detail": ""}
    assert host.dump("mesh_nodes") == {"mesh_nodes": before["mesh_nodes"]}


def test_begin_answers_known_and_unknown_ids_alike(host: LocalNode) -> None:
    """Step 1 tells a stranger nothing about whom we know."""
    honest = paired(host)
    host.offer()
    known, unknown = Joiner(host.port, id=honest.id).begin(), Joiner(host.port).begin()
    assert known.status == unknown.status == 200
    assert known.json | {"sid": ""} == unknown.json | {"sid": ""}


def test_an_announcement_of_another_identity_is_refused_in_step_3(host: LocalNode) -> None:
    """Id and key must be those of step 1 throughout."""
    honest = paired(host)
    offer = host.offer()
    for changes in ({"id": honest.id}, {"id": new_id()}, {"public_key": b64(honest.public)}):
        joiner = Joiner(host.port)
        assert joiner.begin(offer.code).status == 200
        assert joiner.exchange(offer.pin).status == 200
        before = host.dump("mesh_nodes")
        answer = joiner.finish(announcement=joiner.announcement(**changes))
        assert (answer.status, answer.code) == (400, "invalid_params")
        assert host.dump("mesh_nodes") == before


def test_no_session_under_another_id_or_key(host: LocalNode) -> None:
    """Another's id with one's own key, one's own key under another id, an unknown one: 401, alike, nothing changed."""
    honest, other = paired(host), paired(host)
    before = host.dump()
    stranger = Joiner(host.port, host_id=host.id)
    unknown = stranger.open_session()
    assert (unknown.status, unknown.code) == (401, "not_paired")
    for caller, key in (
        (honest.id, other.key),
        (honest.id, stranger.key),
        (new_id(), honest.key),
        (host.id, other.key),
    ):
        answer = Joiner(host.port, id=caller, key=key, host_id=host.id).open_session()
        assert (answer.status, answer.body) == (401, unknown.body)
    assert host.dump() == before


def test_a_heartbeats_announcement_cannot_change_id_or_key(host: LocalNode) -> None:
    """Not with one's own signature, not with another's; refused, and the row stays."""
    honest, other = paired(host), paired(host)
    fresh = Ed25519PrivateKey.generate()
    before = host.dump("mesh_nodes")
    newer = {"revision": 5}
    forgeries = [
        honest.announcement(id=other.id, **newer),
        honest.announcement(id=new_id(), **newer),
        honest.announcement(public_key=b64(other.public), **newer),
        honest.announcement(public_key=b64(fresh.public_key().public_bytes_raw()), **newer),
        other.announcement(**newer),
        Joiner(host.port, id=honest.id, key=fresh).announcement(**newer),
    ]
    for forged in forgeries:
        answer = honest.beat(announcement=forged)
        assert (answer.status, answer.code) == (400, "invalid_params")
    assert host.dump("mesh_nodes") == before


def test_an_ack_tells_a_stranger_nothing(host: LocalNode) -> None:
    """A known id with a wrong signature and an unknown id get the same refusal."""
    honest = paired(host)
    stranger = Joiner(host.port, host_id=host.id, sid=honest.sid)
    unknown = stranger.ack()
    known = stranger.post("pair/ack", {"sid": b64(bytes(16)), "id": honest.id, "jws": stranger.ack_body()["jws"]})
    of_sid = stranger.post("pair/ack", {"sid": honest.sid, "id": honest.id, "jws": stranger.ack_body()["jws"]})
    assert unknown.code == "not_paired"
    assert known.body == of_sid.body == unknown.body
