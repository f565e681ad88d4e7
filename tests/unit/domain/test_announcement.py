"""Announcements and capabilities."""

from typing import Any

import msgspec
import pytest

from meshnode.domain.announcement import (
    ANNOUNCEMENT_MAX_BYTES,
    COUNTER_MAX,
    Announcement,
    announcement_sha256,
    decode_announcement,
    supersedes,
)
from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.capability import BUILT_INS, Capability, capability_hash
from meshnode.domain.errors import MeshError
from tests.unit.samples import CERTIFICATE, KEY, announcement_fields, make_announcement, sign_announcement


def encode(**changes: Any) -> bytes:
    return msgspec.json.encode(announcement_fields(**changes))


def test_a_whole_announcement_is_decoded() -> None:
    """Key and certificate hash come out as bytes."""
    announcement = decode_announcement(encode(public_url="https://mesh.example"))
    assert announcement.key == KEY.public_key
    assert announcement.certificate_hash == CERTIFICATE
    assert announcement.pair == (1_700_000_000, 1)
    assert announcement.capabilities == [Capability("system.ping", "1")]


def test_unknown_members_are_ignored() -> None:
    """A newer program may say more."""
    assert decode_announcement(encode(future={"a": 1})) == make_announcement()


@pytest.mark.parametrize("field", sorted(set(announcement_fields())))
def test_a_missing_member_is_named(field: str) -> None:
    """None of them has a default."""
    fields = announcement_fields()
    del fields[field]
    with pytest.raises(MeshError, match=field) as caught:
        decode_announcement(msgspec.json.encode(fields))
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "no id"},
        {"id": "node-1\n"},
        {"id": "x" * 129},
        {"public_key": "A" * 42},
        {"public_key": "A" * 44},
        {"public_key": "A" * 42 + "B"},  # unused bits set
        {"public_key": "A" * 42 + "="},
        {"tls_sha256": "A" * 42 + "\n"},
        {"tls_sha256": None},
        {"name": ""},
        {"name": "x" * 257},
        {"kind": "toaster"},
        {"protocols": []},
        {"protocols": ["1"]},
        {"port": 0},
        {"port": 65536},
        {"port": 1.5},
        {"addresses": ["192.0.2.1"] * 9},
        {"addresses": ["desk.local"]},
        {"addresses": ["192.0.2.1\n"]},
        {"addresses": ["192.0.2.256"]},
        {"addresses": [""]},
        {"public_url": "x" * 257},
        {"capabilities": [{"name": "a", "version": "1"}] * 129},
        {"interval_s": 0.19},
        {"interval_s": 300.1},
        {"interval_s": "15"},
        {"epoch": -1},
        {"epoch": COUNTER_MAX + 1},
        {"revision": COUNTER_MAX + 1},
    ],
)
def test_an_announcement_out_of_bounds_is_refused(changes: dict[str, Any]) -> None:
    """Every field has its bounds."""
    with pytest.raises(MeshError) as caught:
        decode_announcement(encode(**changes))
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"id":', b"[" * 5000])
def test_bytes_that_are_no_announcement_are_refused(payload: bytes) -> None:
    """Never another error."""
    with pytest.raises(MeshError) as caught:
        decode_announcement(payload)
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize(
    ("candidate", "held", "answer"),
    [
        ((2, 1), (1, 9), True),
        ((1, 2), (1, 1), True),
        ((1, 1), (1, 1), False),
        ((1, 1), (1, 2), False),
        ((1, 9), (2, 1), False),
    ],
)
def test_a_greater_pair_supersedes(candidate: tuple[int, int], held: tuple[int, int], answer: bool) -> None:
    """Epoch first, then revision; an equal pair is no news."""

    def of(pair: tuple[int, int]) -> Announcement:
        return make_announcement(epoch=pair[0], revision=pair[1])

    assert supersedes(of(candidate), of(held)) is answer


def test_anything_supersedes_nothing() -> None:
    """The first announcement is taken whatever its pair."""
    assert supersedes(make_announcement(epoch=0, revision=0), None)


def test_a_full_announcement_fits_the_limit() -> None:
    """Eight addresses, the longest name and thirty capabilities stay within 4096 bytes."""
    announcement = make_announcement(
        name="ü" * 64,
        addresses=[f"2001:db8:1111:2222:3333:4444:5555:666{n}" for n in range(8)],
        capabilities=[Capability(f"application.capability{n:02}", "1.0") for n in range(30)],
    )
    assert len(sign_announcement(announcement)) <= ANNOUNCEMENT_MAX_BYTES


def test_the_announcements_digest_is_of_the_compact_form() -> None:
    """32 bytes, and another for other text."""
    assert len(decode_base64url(announcement_sha256("a.b.c"))) == 32
    assert announcement_sha256("a.b.c") != announcement_sha256("a.b.d")


@pytest.mark.parametrize(("name", "shown"), [("\u202edesk\n", "desk"), ("\u202e\u200b", announcement_fields()["id"])])
def test_the_name_shown_is_clean(name: str, shown: str) -> None:
    """A name of nothing but control characters gives way to the id."""
    assert make_announcement(name=name).display_name == shown


@pytest.mark.parametrize("name", ["a", "system.ping", "a-b_c.d", "0", "x" * 64])
def test_capability_names_are_lower_case_words(name: str) -> None:
    """Joined by dots, dashes and underscores."""
    assert msgspec.convert({"name": name, "version": "1"}, Capability).name == name


@pytest.mark.parametrize(
    "name", ["", "A", "a.", ".a", "a..b", "a b", "a\n", "\na", "a.b\n", "é", "x" * 65, "a/b", "a\x00"]
)
def test_other_capability_names_are_refused(name: str) -> None:
    """A trailing newline does not slip past the end of the pattern."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name, "version": "1"}, Capability)


@pytest.mark.parametrize("version", ["", "1\n", "1 2", "x" * 33, "1;2", "٣"])
def test_other_capability_versions_are_refused(version: str) -> None:
    """Digits, letters, dots, plus and minus; no newline at the end."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "a", "version": version}, Capability)


def test_the_capability_hash_tells_sets_apart_and_ignores_order() -> None:
    """Eight characters for the TXT record."""
    assert capability_hash(BUILT_INS) == capability_hash(reversed(BUILT_INS))
    assert len(capability_hash(())) == 8
    distinct = {
        capability_hash(()),
        capability_hash([Capability("a", "1")]),
        capability_hash([Capability("a", "2")]),
        capability_hash([Capability("a", "1"), Capability("b", "1")]),
    }
    assert len(distinct) == 4
    assert encode_base64url(decode_base64url(capability_hash(BUILT_INS))) == capability_hash(BUILT_INS)
