"""Which node the owner means: what fits two is refused, since peers choose their ids and names."""

from inspect import signature
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from meshnode.node.manage_nodes import ManageNodes
from meshnode.node.roster import Roster
from tests.unit.samples import make_node

ID = "node-01890a5d-ac96-774b-bcce-b302099a8057"
OTHER_ID = "node-01890a5d-ac96-774b-bcce-b302099affff"


def found(reference: str, *nodes: dict[str, Any]) -> str:
    """The id of the one that is meant among nodes of these fields."""
    roster = Roster()
    roster.load([make_node(**{"alias": None, **fields}) for fields in nodes], 0.0)
    unused = dict.fromkeys(list(signature(ManageNodes).parameters)[1:])
    return ManageNodes(roster, **unused).find(reference).node.id  # type: ignore[arg-type]


def refusal(reference: str, *nodes: dict[str, Any]) -> str:
    with pytest.raises(MeshError) as caught:
        found(reference, *nodes)
    assert caught.value.code == "node_unknown"
    return caught.value.detail


@pytest.mark.parametrize(
    "reference", [ID, "desk", "DESK", "Schreibtisch", "schreibtisch", "8057", "099a8057", "node-01890a5d-ac96", "node"]
)
def test_one_node_is_found_by_id_name_alias_and_either_end(reference: str) -> None:
    """Names in any case, ends of four characters at least."""
    assert found(reference, {"id": ID, "name": "desk", "alias": "Schreibtisch"}) == ID


@pytest.mark.parametrize("reference", ["057", "nod", "", "a8", "esk", "bcce-b302"])
def test_less_than_an_end_or_a_whole_name_finds_nothing(reference: str) -> None:
    """Too short, or from the middle."""
    assert "no node is called" in refusal(reference, {"id": ID, "name": "desk"})


@pytest.mark.parametrize(
    ("reference", "other"),
    [
        ("8057", {"id": OTHER_ID, "name": "8057"}),
        ("099a8057", {"id": OTHER_ID, "alias": "099A8057"}),
        ("desk", {"id": OTHER_ID, "name": "Desk"}),
        ("desk", {"id": OTHER_ID, "name": "x", "alias": "desk"}),
        ("desk", {"id": "desk", "name": "x"}),
        ("desk", {"id": "desk-2", "name": "x"}),
        ("desk", {"id": "my-desk", "name": "x"}),
        ("node-01890a5d", {"id": OTHER_ID, "name": "x"}),
        ("8057", {"id": "8057", "name": "x"}),
    ],
)
def test_what_fits_two_nodes_is_refused_naming_both(reference: str, other: dict[str, Any]) -> None:
    """Neither an exact name nor an exact id of another form wins over the end of an id."""
    for nodes in (({"id": ID, "name": "desk"}, other), (other, {"id": ID, "name": "desk"})):
        detail = refusal(reference, *nodes)
        assert ID in detail
        assert other["id"] in detail


@pytest.mark.parametrize("other", [{"name": ID}, {"alias": ID}, {"id": f"x{ID}"}, {"id": f"{ID}-x"}])
def test_a_whole_id_wins_over_everything_that_looks_like_it(other: dict[str, Any]) -> None:
    """A peer can't make itself meant, nor the owner helpless, by calling itself by another's id."""
    impostor = {"id": OTHER_ID, "name": "x", **other}
    for nodes in (({"id": ID, "name": "desk"}, impostor), (impostor, {"id": ID, "name": "desk"})):
        assert found(ID, *nodes) == ID


def test_an_impostor_is_found_by_its_own_id() -> None:
    """It can be revoked."""
    assert found(OTHER_ID, {"id": ID, "name": OTHER_ID}, {"id": OTHER_ID, "name": "desk"}) == OTHER_ID


def test_an_id_of_another_form_is_found_while_it_is_the_only_one() -> None:
    """Ids of thin clients need not be ours."""
    assert found("phone.1", {"id": ID, "name": "desk"}, {"id": "phone.1", "name": "x"}) == "phone.1"


@pytest.mark.parametrize("other", [{"id": "pixel7-2"}, {"id": "my-pixel7"}, {"name": "pixel7"}, {"alias": "id:pixel7"}])
def test_a_thin_clients_whole_id_is_said_so(other: dict[str, Any]) -> None:
    """`id:ID` is that very id, whatever others are called; else an owner couldn't revoke `pixel7` beside `pixel7-2`."""
    nodes = ({"id": "pixel7", "name": "x"}, {"id": OTHER_ID, "name": "y", **other})
    assert found("id:pixel7", *nodes) == "pixel7"
    assert "no node has the id" in refusal("id:pixel", *nodes)
