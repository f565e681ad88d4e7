"""What a thin client says about itself, and which row it may become."""

import json
import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.domain.device import (
    CAPABILITIES_MAX,
    METADATA_MAX_BYTES,
    DeviceClaim,
    admit,
    check_device,
    check_device_id,
    clean_metadata,
    kind_of,
    parse_capabilities,
)
from meshnode.domain.errors import MeshError
from tests.fakes.clock import START
from tests.unit.samples import make_node

ROW = make_node(id="phone", public_key=None, dialect="salita", revoked_at=None, revoked_by=None)
CLAIM = DeviceClaim(id="phone", name="Phone", hostname="192.0.2.9", metadata={"model": "x"})
HOSTILE_TEXT = "a\x00b\u202ec\u200dd\x1b[31m<script>"


def nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def refused_field(value: Any) -> str:
    with pytest.raises(MeshError) as refused:
        clean_metadata("metadata", value)
    assert refused.value.code == "invalid_params"
    return str(refused.value.members["field"])


# ── ids, kinds, capabilities ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("good", ["a", "A-1", "0f8fad5b-d9cb-469f-a165-70867728950e", "x" * 128, "a:b_c.d"])
def test_ids_of_devices(good: str) -> None:
    """As they are, neither trimmed nor folded."""
    assert check_device_id("device_id", good) == good


@pytest.mark.parametrize(
    "bad", ["", " a", "a ", "-a", ".", "a/b", "a\n", "x" * 129, "é", "a\x00", "a b", "../a", "\u0661", "a\u202e"]
)
def test_hostile_ids_are_refused_by_field(bad: str) -> None:
    """Nothing is made of them."""
    with pytest.raises(MeshError) as refused:
        check_device_id("device_id", bad)
    assert (refused.value.code, refused.value.members["field"]) == ("invalid_params", "device_id")


def test_kinds_by_device_type() -> None:
    """Case and blanks don't matter; what is unknown is `other`."""
    said = ["ios", " Android ", "MOBILE", "desktop", "chrome-extension", "toaster", "", "\u0130OS"]
    assert [kind_of(text) for text in said] == [
        "phone", "phone", "phone", "desktop", "browser", "other", "other", "other",
    ]  # fmt: skip


def test_capabilities_by_bare_names() -> None:
    """Each once, in the order said."""
    found = parse_capabilities("capabilities", ["media.upload", "notify", "media.upload"])
    assert [(c.name, c.version) for c in found] == [("media.upload", "1"), ("notify", "1")]
    assert parse_capabilities("capabilities", []) == ()


@pytest.mark.parametrize(
    "names",
    [["Upper"], [""], ["a" * 65], ["a\n"], ["a..b"], ["\u202e"], ["a" * 100_000], [f"c{i}" for i in range(129)]],
)
def test_hostile_capabilities_are_refused_by_field(names: list[str]) -> None:
    """Too many count as one mistake."""
    assert CAPABILITIES_MAX == 128
    with pytest.raises(MeshError) as refused:
        parse_capabilities("node.capabilities", names)
    assert (refused.value.code, refused.value.members["field"]) == ("invalid_params", "node.capabilities")


# ── metadata ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_metadata_is_cleaned_throughout() -> None:
    """Keys and values, in every depth; numbers and constants stay."""
    said = {"model": HOSTILE_TEXT, HOSTILE_TEXT: [True, None, 1, -2.5, {"k": HOSTILE_TEXT}]}
    clean = "a" + "bcd[31m<script>"
    assert clean_metadata("metadata", said) == {"model": clean, clean: [True, None, 1, -2.5, {"k": clean}]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53 + 1, -(2**53) - 1, 10**30, 1e300], ids=repr)
def test_numbers_that_not_every_reader_takes_are_refused(value: float) -> None:
    """Wherever they stand."""
    assert refused_field(value) == "metadata"
    assert refused_field({"a": [{"b": value}]}) == "metadata"


def test_numbers_up_to_2_to_the_53rd_stay() -> None:
    """Exactly."""
    said = [2**53, -(2**53), 0.1]
    assert clean_metadata("metadata", said) == said


@pytest.mark.parametrize("depth", [5, 100, 5000, 200_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    """Before it costs a stack."""
    assert refused_field(nested(depth)) == "metadata"
    assert refused_field({"a": nested(depth)}) == "metadata"


def test_four_levels_are_enough_for_anybody() -> None:
    """Lists and objects alike."""
    assert clean_metadata("metadata", {"a": {"b": {"c": [1]}}}) == {"a": {"b": {"c": [1]}}}
    assert refused_field({"a": {"b": {"c": {"d": [1]}}}}) == "metadata"


def test_size_is_bounded_before_cleaning() -> None:
    """Whole, not text by text; what is dropped in cleaning counts too."""
    assert refused_field("x" * METADATA_MAX_BYTES) == "metadata"
    assert refused_field(["\u202e" * 100] * 20) == "metadata"
    assert refused_field({str(i): i for i in range(1000)}) == "metadata"
    assert refused_field([[]] * 3000) == "metadata"


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a", "\ud83d"], object(), {None: 1}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    """Half a character too: it could be neither stored nor sent."""
    assert refused_field(value) == "metadata"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=20,
    )
)
def test_any_json_is_cleaned_or_refused(value: Any) -> None:
    """And what is clean can be stored and sent."""
    try:
        clean = clean_metadata("metadata", value)
    except MeshError as error:
        assert error.code == "invalid_params"  # noqa: PT017 - most values are no mistake
        return
    assert json.dumps(clean, allow_nan=False).isprintable()
    assert json.dumps(clean, ensure_ascii=False).encode()


# ── whose row ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "is_allowed"),
    [
        ({"trust": "paired"}, True),
        ({"trust": "paired", "dialect": "mylzip"}, False),
        ({"trust": "announced", "dialect": "mylzip"}, True),
        ({"trust": "announced", "public_key": bytes(32)}, False),
        ({"trust": "paired", "public_key": bytes(32)}, False),
        ({"trust": "unconfirmed", "public_key": bytes(32)}, False),
        ({"trust": "revoked", "public_key": bytes(32)}, False),
        ({"trust": "revoked"}, True),
        ({"trust": "revoked", "revoked_at": START + timedelta(days=30000)}, True),
        ({"trust": "revoked", "dialect": "mylzip"}, False),
    ],
)
def test_who_may_become_a_row(changes: dict[str, Any], is_allowed: bool) -> None:
    """By a code of salita that is newer than any revocation."""
    row = replace(ROW, **changes)
    if is_allowed:
        check_device("own", "phone", "salita", row, is_outdated=False)
        return
    with pytest.raises(MeshError) as refused:
        check_device("own", "phone", "salita", row, is_outdated=False)
    assert refused.value.code == "identity_mismatch"


def test_an_outdated_code_brings_no_revoked_row_back() -> None:
    """Others it still pairs."""
    check_device("own", "phone", "salita", replace(ROW, trust="paired"), is_outdated=True)
    with pytest.raises(MeshError) as refused:
        check_device("own", "phone", "salita", replace(ROW, trust="revoked"), is_outdated=True)
    assert refused.value.code == "identity_mismatch"


def test_an_unknown_id_is_free_and_ours_is_not() -> None:
    """Known or not."""
    check_device("own", "phone", "salita", None, is_outdated=True)
    with pytest.raises(MeshError) as refused:
        check_device("own", "own", "salita", None, is_outdated=False)
    assert refused.value.code == "identity_mismatch"


@pytest.mark.parametrize(
    ("trust", "keeps", "expected"),
    [("paired", True, 2), ("paired", False, 1), ("revoked", True, 1), ("announced", True, 1), (None, True, 1)],
)
def test_the_level_after_pairing(trust: Any, keeps: bool, expected: int) -> None:
    """Only a live token of a paired row keeps it."""
    before = None if trust is None else replace(ROW, trust=trust, trust_level=2)
    row = admit(CLAIM, before, dialect="salita", keeps_level=keeps, introduced_by=None, now=START)
    assert (row.trust_level, row.trust, row.public_key) == (expected, "paired", None)


def test_a_row_paired_anew_is_what_the_device_says_now() -> None:
    """But for when we met it and what we call it; nothing of a revocation or a key is left."""
    before = replace(ROW, trust="revoked", revoked_at=START, revoked_by="owner", created_at=START - timedelta(days=9))
    now = START + timedelta(days=1)
    row = admit(CLAIM, before, dialect="salita", keeps_level=False, introduced_by="maker", now=now, is_remote=True)
    assert (row.name, row.hostname, row.capabilities, row.addresses) == ("Phone", "192.0.2.9", (), ())
    assert (row.created_at, row.alias) == (before.created_at, before.alias)
    assert (row.revoked_at, row.revoked_by, row.announcement, row.tls_sha256) == (None, None, None, None)
    assert (row.introduced_by, row.paired_at, row.last_seen, row.status) == ("maker", now, now, "online")
    assert row.metadata == {"model": "x", "remote": True}
