"""Node ids, names and fingerprints."""

import base64
import hashlib
import uuid

import pytest

from meshnode.domain.identity import (
    default_name,
    fingerprint,
    format_fingerprint,
    is_node_id,
    make_node_id,
    uuid7,
)


def test_uuid7_matches_the_vector_of_rfc_9562() -> None:
    """Appendix A.6: time 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F."""
    random = (0xCC3 << 64 | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert str(uuid7(0x017F22E279B0, random)) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("random", [bytes(10), b"\xff" * 10])
def test_uuid7_has_version_and_variant_whatever_the_random_bits(random: bytes) -> None:
    """Version 7, the RFC variant, and the time in front."""
    value = uuid7(1, random)
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == 1


def test_later_uuid7s_sort_after_earlier_ones() -> None:
    """The time leads, so ids sort by birth."""
    assert str(uuid7(1_700_000_000_000, b"\xff" * 10)) < str(uuid7(1_700_000_000_001, bytes(10)))


def test_a_node_id_is_the_word_node_and_a_uuid7() -> None:
    """And passes our own check."""
    node_id = make_node_id(1_700_000_000_000, bytes(range(10)))
    assert node_id.startswith("node-")
    assert uuid.UUID(node_id.removeprefix("node-")).version == 7
    assert is_node_id(node_id)


@pytest.mark.parametrize("text", ["a", "node-1", "AB:cd.e_f-0", "x" * 128])
def test_ids_of_other_systems_are_ids(text: str) -> None:
    """Adopted and thin-client ids need not be ours."""
    assert is_node_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "-a", "a b", "a\n", "\na", "a/b", "ä", "a\x00", "<a>"])
def test_text_that_is_no_id_is_recognised(text: str) -> None:
    """A trailing newline counts as foreign too."""
    assert not is_node_id(text)


def test_the_fingerprint_is_eight_groups_of_the_keys_sha256_in_base32() -> None:
    """The first 160 bits, four characters a group."""
    key = bytes(range(32))
    groups = format_fingerprint(key).split("-")
    assert fingerprint(key) == hashlib.sha256(key).digest()
    assert [len(group) for group in groups] == [4] * 8
    assert base64.b32decode("".join(groups)) == hashlib.sha256(key).digest()[:20]


def test_one_other_bit_of_the_key_changes_the_fingerprint() -> None:
    """Two keys are told apart aloud."""
    assert format_fingerprint(bytes(32)) != format_fingerprint(bytes(31) + b"\x01")


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("desk", "desk"),
        ("desk.fritz.box", "desk"),
        ("localhost", "meshnode-8057"),
        ("", "meshnode-8057"),
        ("\x1b\x07", "meshnode-8057"),
    ],
)
def test_the_default_name_is_the_host_name_if_it_has_one(hostname: str, name: str) -> None:
    """Else the last four characters of the id."""
    assert default_name(hostname, "node-01890a5d-ac96-774b-bcce-b302099a8057") == name
