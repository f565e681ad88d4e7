"""salita's bodies: what is believed, cut, cleaned and refused; nothing else than `invalid_params` comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.dialects.qr_code import encode_qr_svg
from meshnode.dialects.salita.codec import (
    DECODERS,
    DeviceHeartbeat,
    NodeIdentity,
    Verified,
    Verify,
    clean_changes,
    decode_announced,
    decode_claim,
    parse_addresses,
    parse_offer_code,
)
from meshnode.domain.errors import MeshError

T = TypeVar("T")
CODE = "550e8400-e29b-41d4-a716-446655440000"
texts = st.text(max_size=300)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=12,
)


def tried(decode: Callable[[], T]) -> T | MeshError:
    """What was decoded, or its refusal; nothing else may be raised."""
    try:
        return decode()
    except MeshError as refused:
        return refused


@pytest.mark.parametrize("text", [CODE, CODE.upper(), CODE.replace("-", ""), f" {{{CODE}}} ", f"urn:uuid:{CODE}"])
def test_any_spelling_of_a_uuid_is_the_code(text: str) -> None:
    """One spelling is looked up."""
    assert parse_offer_code(text) == CODE


@pytest.mark.parametrize("text", ["", "550e8400-...", "123456", "0123456789ab", CODE[:-1], "x" * 36])
def test_anything_else_is_no_code_of_ours(text: str) -> None:
    """Other dialects' formats too."""
    with pytest.raises(MeshError) as refused:
        parse_offer_code(text)
    assert refused.value.members == {"field": "code"}


def test_a_claim_has_defaults() -> None:
    """What the reference lets a phone leave out; its source address stands for its host name."""
    claim = decode_claim(NodeIdentity(node_id="x", name="\u202e"), "192.0.2.1")
    assert (claim.name, claim.hostname, claim.port, claim.kind) == ("x", "192.0.2.1", 6969, "other")
    assert (claim.capabilities, claim.addresses, claim.metadata) == ((), (), {})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"device_info": {"platform": "ios"}}, "phone"),
        ({"device_info": {"platform": "Android"}}, "phone"),
        ({"device_info": {"platform": "Linux armv8l"}}, "other"),
        ({"device_info": {"platform": ["ios"]}}, "other"),
        ({"kind": "desktop", "device_info": {"platform": "ios"}}, "desktop"),
        ({"kind": "chrome-extension"}, "browser"),
    ],
)
def test_the_kind_is_what_it_says_or_runs_on(said: dict[str, Any], kind: str) -> None:
    """`kind` wins over the platform."""
    assert decode_claim(NodeIdentity(node_id="x", name="x", **said), "").kind == kind


@given(texts, texts, st.lists(texts, max_size=3), st.dictionaries(texts, json_values, max_size=3), texts, texts)
def test_any_identity_is_a_clean_claim_or_refused(
    node_id: str, name: str, capabilities: list[str], info: dict[str, Any], hostname: str, url: str
) -> None:
    """Never another exception, and what passes can be stored and shown."""
    said = NodeIdentity(
        node_id=node_id, name=name, capabilities=capabilities, device_info=info, hostname=hostname, public_url=url
    )
    claim = tried(lambda: decode_claim(said, "192.0.2.1"))
    if isinstance(claim, MeshError):
        assert claim.members["field"].startswith("node_identity.")
        return
    assert claim.name.isprintable()
    assert claim.hostname.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(claim.metadata)) == claim.metadata


@given(json_values, st.integers(-(2**31), 2**31 - 1), texts)
def test_any_announcement_is_clean_or_refused(metadata: Any, port: int, hostname: str) -> None:
    """Whatever the JSON scalar and the Int let through."""
    said = {"node_id": "x", "name": "x", "hostname": hostname, "port": port, "metadata": metadata}
    decoded = tried(lambda: decode_announced(said))
    if isinstance(decoded, MeshError):
        assert decoded.members["field"] in ("hostname", "port", "metadata")
        return
    claim, changes = decoded
    assert 1 <= claim.port <= 65535
    assert claim.hostname
    assert ("metadata" in changes) == (metadata is not None)


def test_an_announcement_changes_what_it_says_only() -> None:
    """Absent and null members are no change."""
    said = {"node_id": "x", "name": "n", "hostname": "h", "port": 1, "capabilities": None}
    assert decode_announced(said)[1] == {"name": "n", "hostname": "h", "port": 1}


def test_a_heartbeat_changes_what_it_says_only() -> None:
    """A blank name is none; an empty list is one."""
    assert clean_changes(DeviceHeartbeat()) == {}
    assert clean_changes(DeviceHeartbeat(name=" \u200b", capabilities=[], addresses=[])) == {
        "capabilities": (),
        "addresses": (),
    }


def test_addresses_have_one_spelling() -> None:
    """Mapped and scoped ones are plain, repeated ones single."""
    assert parse_addresses("addresses", ["::ffff:10.0.0.1", "10.0.0.1", "FE80::1%wlan0"]) == ("10.0.0.1", "fe80::1")


def test_secrets_have_no_repr() -> None:
    """Neither what a phone sends nor what it is given."""
    body = DECODERS[Verify].decode(
        b'{"code":"c0de","pin":"123456","linking_code":"ABCD-1234","node_identity":{"node_id":"x","name":"x"}}'
    )
    node = msgspec.convert({"node_id": "", "name": "", "hostname": "", "port": 1, "capabilities": []}, Any)
    for shown in (repr(body), repr(Verified(session_token="t0ken", desktop_node=node, node={}))):
        assert not [secret for secret in ("c0de", "123456", "ABCD", "t0ken") if secret in shown]


def test_the_qr_is_an_svg_of_its_own() -> None:
    """It can be a file or stand in a page, and needs no script."""
    picture = encode_qr_svg("https://192.0.2.1:6969/p#" + "a" * 60)
    assert picture.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "<script" not in picture
