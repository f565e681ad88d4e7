"""Who may do what: the whole table, written out."""

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.principal import (
    ANONYMOUS,
    NEEDS,
    OWNER,
    Action,
    Principal,
    Role,
    authorise,
    authorise_target,
)

CALLERS = {
    "anonymous": ANONYMOUS,
    "device 0": Principal(Role.DEVICE, "d", 0),
    "device 1": Principal(Role.DEVICE, "d", 1),
    "device 2": Principal(Role.DEVICE, "d", 2),
    "peer 0": Principal(Role.PEER, "p", 0),
    "peer 1": Principal(Role.PEER, "p", 1),
    "peer 2": Principal(Role.PEER, "p", 2),
    "owner": OWNER,
}
EVERYBODY = set(CALLERS)
PAIRED = {"device 1", "device 2", "peer 1", "peer 2", "owner"}
OPERATORS = {"device 2", "peer 2", "owner"}

MAY = {
    "check_health": EVERYBODY,
    "check_readiness": PAIRED,
    "read_public_identity": EVERYBODY,
    "pair": EVERYBODY,
    "open_session": EVERYBODY,
    "send_heartbeat": {"peer 1", "peer 2"},
    "read_page": EVERYBODY,
    "read_nodes": OPERATORS,
    "read_mesh": {"device 1", "device 2"},
    "issue_ticket": {"owner"},
    "redeem_ticket": EVERYBODY,
    "leave_mesh": {"device 1", "device 2"},
    "open_offer": OPERATORS,
    "join_node": OPERATORS,
    "alias_node": OPERATORS,
    "revoke_node": OPERATORS,
    "forget_node": OPERATORS,
    "set_trust": {"owner"},
    "unlock_pairing": {"owner"},
    "rename_self": {"owner"},
    "diagnose_node": {"owner"},
    "dismiss_notices": {"owner"},
    "read_metrics": OPERATORS,
    "read_api": PAIRED,
    "pair_device": EVERYBODY,
    "refresh_token": {"device 1", "device 2"},
    "update_device": PAIRED,
    "announce_node": PAIRED,
    "query_graphql": PAIRED,
    "read_trust_data": PAIRED,
    "revoke_device": PAIRED,
    "decide_request": OPERATORS,
    "connect": EVERYBODY,
    "describe_node": PAIRED,
    "subscribe": PAIRED,
    "publish": PAIRED,
}


def test_every_action_has_its_need_and_its_row_here() -> None:
    """A new action must be decided, and the decision written down twice."""
    assert set(NEEDS) == set(Action)
    assert set(MAY) == {action.value for action in Action}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("action", Action, ids=lambda action: action.value)
def test_a_caller_may_do_exactly_what_the_table_says(action: Action, caller: str) -> None:
    """A stranger is asked for a token; a known caller is told it is not permitted."""
    principal = CALLERS[caller]
    if caller in MAY[action.value]:
        authorise(principal, action)
        assert action in NEEDS
        return
    with pytest.raises(MeshError) as caught:
        authorise(principal, action)
    assert caught.value.code == ("token_required" if principal is ANONYMOUS else "not_permitted")


@pytest.mark.parametrize(
    ("caller", "target_level", "allowed"),
    [
        ("owner", 2, True),
        ("owner", 3, True),
        ("peer 2", 0, True),
        ("peer 2", 1, True),
        ("peer 2", 2, False),
        ("peer 2", 3, False),
        ("device 2", 1, True),
        ("device 2", 2, False),
        ("peer 1", 0, False),
        ("anonymous", 0, False),
    ],
)
def test_operators_act_only_below_their_own_level(caller: str, target_level: int, allowed: bool) -> None:
    """The owner acts on anybody; who may not act at all may not act on the weak either."""
    if allowed:
        authorise_target(CALLERS[caller], Action.REVOKE_NODE, target_level)
        assert caller in OPERATORS
        return
    with pytest.raises(MeshError):
        authorise_target(CALLERS[caller], Action.REVOKE_NODE, target_level)


def test_a_level_does_not_make_an_owner() -> None:
    """Not even one beyond those that exist."""
    with pytest.raises(MeshError):
        authorise(Principal(Role.PEER, "p", 99), Action.SET_TRUST)
    with pytest.raises(MeshError):
        authorise(Principal(Role.ANONYMOUS, "p", 99), Action.READ_NODES)
