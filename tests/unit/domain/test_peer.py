"""Who may become or replace a row of mesh_nodes."""

from datetime import timedelta
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.identity import Identity
from meshnode.domain.peer import MeshNode, check_claim, introduce, update_from
from tests.fakes.clock import START
from tests.unit.samples import CERTIFICATE, ID, KEY, OTHER_ID, OTHER_KEY, make_announcement, make_node

OWN = Identity("node-own", "own", START, bytes(32))
LATER = START + timedelta(days=3)


def again(before: MeshNode | None, **changes: Any) -> MeshNode:
    return introduce(
        make_announcement(**changes), "new.jws", before=before, reached=("192.0.2.9", 7002), trust="paired", now=LATER
    )


@pytest.mark.parametrize(
    ("by_id", "by_key"),
    [
        (None, None),
        (make_node(), make_node()),  # known, with this very key
        (make_node(public_key=None), None),  # known without a key: may gain one
        (make_node(trust="revoked"), make_node(trust="revoked")),
    ],
)
def test_a_claim_that_contradicts_nothing_passes(by_id: MeshNode | None, by_key: MeshNode | None) -> None:
    """Unknown, or known with this id and this key."""
    check_claim(OWN, ID, KEY.public_key, by_id, by_key)
    assert OWN.id != ID


@pytest.mark.parametrize(
    ("node_id", "key", "by_id", "by_key"),
    [
        (OWN.id, KEY.public_key, None, None),
        (ID, OWN.public_key, None, None),
        (ID, OTHER_KEY.public_key, make_node(), None),
        (OTHER_ID, KEY.public_key, None, make_node()),
        (OTHER_ID, KEY.public_key, make_node(id=OTHER_ID, public_key=None), make_node()),
        (ID, OTHER_KEY.public_key, make_node(trust="revoked"), None),
        (ID, OTHER_KEY.public_key, make_node(trust="unconfirmed"), None),
    ],
)
def test_a_contradicting_claim_is_a_mismatch(
    node_id: str, key: bytes, by_id: MeshNode | None, by_key: MeshNode | None
) -> None:
    """Our own id or key, an id with another key, a key with another id; whatever the row's trust."""
    with pytest.raises(MeshError) as caught:
        check_claim(OWN, node_id, key, by_id, by_key)
    assert caught.value.code == "identity_mismatch"


def test_a_new_node_starts_at_level_1_online_as_announced() -> None:
    """Reached where it called from."""
    row = again(None, name="new\u202e", port=7000)
    assert (row.id, row.name, row.hostname, row.port) == (ID, "new", "192.0.2.9", 7002)
    assert (row.status, row.trust, row.trust_level, row.status_reason) == ("online", "paired", 1, None)
    assert (row.public_key, row.tls_sha256) == (KEY.public_key, CERTIFICATE)
    assert (row.created_at, row.paired_at, row.last_seen) == (LATER, LATER, LATER)
    assert (row.announcement, row.sequence, row.is_current) == ("new.jws", 0, False)
    assert (row.epoch, row.revision) == make_announcement().pair


def test_pairing_again_keeps_level_alias_and_first_time() -> None:
    """It refreshes the rest."""
    row = again(make_node(trust_level=2, revoked_at=None, revoked_by=None))
    assert (row.trust_level, row.alias, row.paired_at, row.created_at) == (2, "Schreibtisch", START, START)
    assert row.metadata == {"colour": "grün", "n": [1, 2]}
    assert row.status_reason is None


@pytest.mark.parametrize("trust", ["revoked", "announced", "unconfirmed"])
def test_a_row_that_was_not_paired_comes_back_at_level_1(trust: str) -> None:
    """No level survives a revocation, and its marks are gone."""
    row = again(make_node(trust=trust, trust_level=2))
    assert (row.trust, row.trust_level, row.paired_at) == ("paired", 1, LATER)
    assert (row.revoked_at, row.revoked_by) == (None, None)


def test_a_keyless_row_loses_level_and_metadata() -> None:
    """It belonged to somebody who could not prove to be this node."""
    row = again(make_node(public_key=None, trust="paired", trust_level=2))
    assert (row.trust_level, dict(row.metadata), row.paired_at) == (1, {}, LATER)


def test_an_update_changes_what_is_announced_and_nothing_else() -> None:
    """Trust, level and liveness stay, and so does where it was reached."""
    before = make_node()
    after = update_from(
        before, make_announcement(name="renamed", port=7001, revision=4, addresses=["192.0.2.8"], kind="server"), "n.j"
    )
    assert (after.name, after.port, after.revision, after.kind, after.announcement) == (
        "renamed", 7001, 4, "server", "n.j",
    )  # fmt: skip
    assert after.addresses == ("192.0.2.8",)
    for kept in (
        "id",
        "public_key",
        "trust",
        "trust_level",
        "status",
        "last_seen",
        "hostname",
        "alias",
        "epoch",
        "sequence",
    ):
        assert getattr(after, kept) == getattr(before, kept)


@pytest.mark.parametrize(("alias", "label"), [("Büro", "Büro"), (None, "desk"), ("", "desk")])
def test_the_label_is_the_owners_word_for_it(alias: str | None, label: str) -> None:
    """Else its own name."""
    assert make_node(alias=alias).label == label
