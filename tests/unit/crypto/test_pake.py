"""CPace: the draft's vectors, and two sides that agree or don't.

Vectors: draft-irtf-cfrg-cpace-21, appendix B.1 (CPACE-X25519-SHA512) and B.1.10 (low-order points).
"""

import cpace
import pytest

from meshnode.crypto.pake import SHARE_BYTES, TAG_BYTES, CPacePake
from meshnode.domain.errors import MeshError
from tests.unit.samples import OTHER_KEY, make_terms

PRS = b"Password"
CI = bytes.fromhex("0b415f696e69746961746f720b425f726573706f6e646572")
SID = bytes.fromhex("7e4b4791d6a8ef019b936c79fb7f2c57")
AD_A, AD_B = b"ADa", b"ADb"
SCALAR_A = bytes.fromhex("21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080")
SCALAR_B = bytes.fromhex("848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a")
GENERATOR = bytes.fromhex("d04bf6d41f6a289632a2e929fa29bebd51092512a7829fdde7d314b62f05a73f")
SHARE_A = bytes.fromhex("1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32")
SHARE_B = bytes.fromhex("248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e623512ecea32185623")
SHARED = bytes.fromhex("5b067effbdc0b2a0e1d907b21ebb25cfedb96a852179a847c37e43ee71322c6b")
ISK = bytes.fromhex(
    "6e19b875f7a561d6b3ca3dbb9ef42ac55de3e717881018204b8922b4d5e53bb2"
    "aa82c300bea7b65d2b671da71922ddf6472301b79bc270adfa8bf413285f2263"
)
SID_OUTPUT = bytes.fromhex(
    "cbc73f62589bbc96ab6a95ec2363df621e93bc3b0cea83ba6b9571d005fa8f5d"
    "2d08f7165622777fa484c02a9e6b20a84ee2dbebae8c53be757dcfc0eebdeb5f"
)
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]
WEAK_SCALAR = bytes.fromhex("af46e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449aff")
HIGH_BIT = {  # weak only if bit 255 were not cleared: must work
    "daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": (
        "d8e2c776bbacd510d09fd9278b7edcd25fc5ae9adfba3b6e040e8d3b71b21806"
    ),
    "dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff": (
        "c85c655ebe8be44ba9c0ffde69f2fe10194458d137f09bbff725ce58803cdb38"
    ),
}


def vector_side(role: cpace.CPaceRole, monkeypatch: pytest.MonkeyPatch) -> cpace.CPace:
    scalar, ad = (SCALAR_A, AD_A) if role is cpace.CPaceRole.INITIATOR else (SCALAR_B, AD_B)
    monkeypatch.setattr(cpace.secrets, "token_bytes", lambda _size: scalar)
    return cpace.CPace.start(role=role, prs=PRS, sid=SID, ci=CI, ad=ad)


def test_the_generator_is_the_drafts() -> None:
    """B.1.1: hash to the curve."""
    assert cpace._calculate_generator(PRS, CI, SID) == GENERATOR


def test_both_shares_are_the_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    """B.1.2 and B.1.3, through the package's own way in, with the scalar drawn set."""
    assert vector_side(cpace.CPaceRole.INITIATOR, monkeypatch).public_share == SHARE_A
    assert vector_side(cpace.CPaceRole.RESPONDER, monkeypatch).public_share == SHARE_B


def test_the_shared_point_is_the_drafts() -> None:
    """B.1.4, from both sides."""
    assert cpace._scalar_mult_vfy(SCALAR_A, SHARE_B) == SHARED
    assert cpace._scalar_mult_vfy(SCALAR_B, SHARE_A) == SHARED


def test_the_session_key_is_the_drafts_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """B.1.5 and B.1.7."""
    initiator = vector_side(cpace.CPaceRole.INITIATOR, monkeypatch)
    responder = vector_side(cpace.CPaceRole.RESPONDER, monkeypatch)
    initiator.derive(SHARE_B, AD_B)
    responder.derive(SHARE_A, AD_A)
    assert initiator.isk == responder.isk == ISK
    assert initiator.sid_output == responder.sid_output == SID_OUTPUT


def test_our_own_wrapper_gives_the_drafts_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the draft's channel identifier in place of ours: joiner is A, host is B."""
    monkeypatch.setattr("meshnode.crypto.pake.CPACE_CHANNEL", CI)
    monkeypatch.setattr(cpace.secrets, "token_bytes", lambda _size: SCALAR_A)
    joiner = CPacePake("joiner", PRS.decode(), SID, AD_A, AD_B)
    monkeypatch.setattr(cpace.secrets, "token_bytes", lambda _size: SCALAR_B)
    host = CPacePake("host", PRS.decode(), SID, AD_B, AD_A)
    joiner.derive(host.share)
    host.derive(joiner.share)
    assert (joiner.share, host.share) == (SHARE_A, SHARE_B)
    assert joiner.key() == host.key() == ISK


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_shares_are_the_neutral_element(point: str) -> None:
    """B.1.10: these must abort, non-canonical spellings too."""
    assert cpace._scalar_mult_vfy(WEAK_SCALAR, bytes.fromhex(point)) is None


@pytest.mark.parametrize("point", HIGH_BIT)
def test_points_with_bit_255_set_are_read_without_it(point: str) -> None:
    """B.1.10, the valid ones."""
    assert cpace._scalar_mult_vfy(WEAK_SCALAR, bytes.fromhex(point)) == bytes.fromhex(HIGH_BIT[point])


def pair(pin: str = "123456", other_pin: str = "123456", **changes: object) -> tuple[CPacePake, CPacePake]:
    """A joiner and a host whose views may differ."""
    sid = bytes(16)
    seen, served = make_terms(sid=sid), make_terms(sid=sid, **changes)
    joiner = CPacePake("joiner", pin, sid, seen.associated_data("joiner"), seen.associated_data("host"))
    host = CPacePake("host", other_pin, sid, served.associated_data("host"), served.associated_data("joiner"))
    return joiner, host


def exchange(joiner: CPacePake, host: CPacePake) -> None:
    joiner.derive(host.share)
    host.derive(joiner.share)


def test_two_sides_with_one_pin_and_one_view_agree() -> None:
    """Both tags are right, the keys are equal, and the sizes are the protocol's."""
    joiner, host = pair()
    exchange(joiner, host)
    assert host.is_right(joiner.tag())
    assert joiner.is_right(host.tag())
    assert joiner.key() == host.key()
    assert (len(joiner.share), len(joiner.tag()), len(joiner.key())) == (SHARE_BYTES, TAG_BYTES, 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"other_pin": "123457"},
        {"certificate_hash": bytes(32)},  # a machine in the middle has another certificate
        {"joiner_id": "node-evil"},
        {"host_id": "node-evil"},
        {"joiner_key": OTHER_KEY.public_key},
        {"host_key": bytes(32)},
        {"way": "invite"},
        {"version": 2},
        {"joiner_protocols": (1, 2)},
        {"host_protocols": (1,)},
    ],
    ids=str,
)
def test_another_pin_or_another_view_gives_wrong_tags_and_other_keys(changes: dict[str, object]) -> None:
    """On both sides."""
    joiner, host = pair(**changes)
    exchange(joiner, host)
    assert not host.is_right(joiner.tag())
    assert not joiner.is_right(host.tag())
    assert joiner.key() != host.key()


def test_another_session_id_gives_other_keys() -> None:
    """A run can't be spliced into another."""
    terms = make_terms()
    ads = terms.associated_data("joiner"), terms.associated_data("host")
    joiner = CPacePake("joiner", "123456", bytes(16), *ads)
    host = CPacePake("host", "123456", b"\x01" * 16, ads[1], ads[0])
    exchange(joiner, host)
    assert not host.is_right(joiner.tag())


def test_ones_own_tag_sent_back_is_wrong() -> None:
    """Reflection of the tag, and of share and tag both."""
    joiner, host = pair()
    exchange(joiner, host)
    assert not joiner.is_right(joiner.tag())
    mirrored, _ = pair()
    mirrored.derive(mirrored.share)
    assert not mirrored.is_right(mirrored.tag())


@pytest.mark.parametrize("tag", [b"", bytes(64), bytes(63)])
def test_a_tag_of_zeros_or_of_another_length_is_wrong(tag: bytes) -> None:
    """Without an exception."""
    joiner, host = pair()
    exchange(joiner, host)
    assert not host.is_right(tag)
    assert not host.is_right(joiner.tag()[:-1])
    assert not host.is_right(joiner.tag() + b"\x00")


@pytest.mark.parametrize(
    "share", [*map(bytes.fromhex, LOW_ORDER), b"", bytes(31), bytes(33)], ids=lambda s: s.hex()[:8]
)
def test_an_unusable_share_is_refused(share: bytes) -> None:
    """`invalid_params`, and the run is spent."""
    _, host = pair()
    with pytest.raises(MeshError) as caught:
        host.derive(share)
    assert caught.value.code == "invalid_params"
    with pytest.raises(MeshError):
        host.derive(SHARE_A)


def test_no_two_runs_share_a_share() -> None:
    """Scalars are drawn anew."""
    assert len({pair()[0].share for _ in range(20)}) == 20
