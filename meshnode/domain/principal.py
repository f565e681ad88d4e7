"""Who is calling, and the one function that says what they may do.

Every route and RPC method names an `Action`; nothing else decides. Trust levels: 0 announced (known, no
rights), 1 paired, 2 operator. Source: docs/protocol.md, Trust levels.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, Literal

import msgspec

from meshnode.domain.errors import MeshError

ListenerName = Literal["public", "control", "plain"]  # where a request came in


class Role(Enum):
    """In whose name a request comes."""

    ANONYMOUS = auto()  # no token, or none that we know
    DEVICE = auto()  # a thin client's token
    PEER = auto()  # a session opened with an identity key
    OWNER = auto()  # the owner's token, on the control listener only

    __hash__ = object.__hash__  # members are single; Enum's own hashes the name, in Python, at every request


class Principal(msgspec.Struct, frozen=True):
    """The caller: a role, and for devices and peers which node and its trust level."""

    role: Role
    node_id: str | None = None
    level: int = 0


ANONYMOUS: Final = Principal(Role.ANONYMOUS)
OWNER: Final = Principal(Role.OWNER, level=3)


class Need(Enum):
    """What an action asks of its caller."""

    ANYONE = auto()
    PEER = auto()  # a peer's own session: it speaks of itself
    DEVICE = auto()  # a thin client's own token
    PAIRED = auto()  # any device or peer at level 1, or the owner
    OPERATOR = auto()  # level 2, or the owner
    OWNER = auto()  # the control listener only

    __hash__ = object.__hash__


class Action(Enum):
    """Everything that can be asked of a node."""

    CHECK_HEALTH = "check_health"
    CHECK_READINESS = "check_readiness"
    READ_PUBLIC_IDENTITY = "read_public_identity"
    READ_PAGE = "read_page"  # the dashboard and the phone page themselves; they hold no data
    PAIR = "pair"  # the four steps of the ceremony
    OPEN_SESSION = "open_session"
    SEND_HEARTBEAT = "send_heartbeat"
    READ_NODES = "read_nodes"  # node, nodes, discovered, audit
    READ_MESH = "read_mesh"  # who is in the mesh: name, kind, status; what a phone's page shows
    ISSUE_TICKET = "issue_ticket"  # for the owner's browser; and the end of all
    REDEEM_TICKET = "redeem_ticket"
    OPEN_OFFER = "open_offer"  # open, watch, cancel
    JOIN_NODE = "join_node"
    ALIAS_NODE = "alias_node"
    REVOKE_NODE = "revoke_node"
    FORGET_NODE = "forget_node"
    SET_TRUST = "set_trust"
    UNLOCK_PAIRING = "unlock_pairing"
    RENAME_SELF = "rename_self"
    DIAGNOSE_NODE = "diagnose_node"
    DISMISS_NOTICES = "dismiss_notices"  # they were seen
    READ_METRICS = "read_metrics"
    READ_API = "read_api"  # /openapi.json
    # thin clients
    PAIR_DEVICE = "pair_device"  # ask for or redeem a code, in any dialect
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - a name
    UPDATE_DEVICE = "update_device"  # its own row
    ANNOUNCE_NODE = "announce_node"
    QUERY_GRAPHQL = "query_graphql"
    READ_TRUST_DATA = "read_trust_data"  # what others left for the caller
    LEAVE_MESH = "leave_mesh"  # a device, by itself, where there is no socket
    REVOKE_DEVICE = "revoke_device"  # itself; another one is REVOKE_NODE
    DECIDE_REQUEST = "decide_request"  # list, approve, reject
    # the socket
    CONNECT = "connect"
    DESCRIBE_NODE = "describe_node"
    SUBSCRIBE = "subscribe"  # which topics: domain/topic.py
    PUBLISH = "publish"

    __hash__ = object.__hash__


NEEDS: Final[dict[Action, Need]] = {
    Action.CHECK_HEALTH: Need.ANYONE,
    Action.CHECK_READINESS: Need.PAIRED,
    Action.READ_PUBLIC_IDENTITY: Need.ANYONE,
    Action.READ_PAGE: Need.ANYONE,
    Action.PAIR: Need.ANYONE,
    Action.OPEN_SESSION: Need.ANYONE,
    Action.SEND_HEARTBEAT: Need.PEER,
    Action.READ_NODES: Need.OPERATOR,
    Action.READ_MESH: Need.DEVICE,
    Action.ISSUE_TICKET: Need.OWNER,
    Action.REDEEM_TICKET: Need.ANYONE,
    Action.OPEN_OFFER: Need.OPERATOR,
    Action.JOIN_NODE: Need.OPERATOR,
    Action.ALIAS_NODE: Need.OPERATOR,
    Action.REVOKE_NODE: Need.OPERATOR,
    Action.FORGET_NODE: Need.OPERATOR,
    Action.SET_TRUST: Need.OWNER,
    Action.UNLOCK_PAIRING: Need.OWNER,
    Action.RENAME_SELF: Need.OWNER,
    Action.DIAGNOSE_NODE: Need.OWNER,
    Action.DISMISS_NOTICES: Need.OWNER,
    Action.READ_METRICS: Need.OPERATOR,
    Action.READ_API: Need.PAIRED,
    Action.PAIR_DEVICE: Need.ANYONE,
    Action.REFRESH_TOKEN: Need.DEVICE,
    Action.UPDATE_DEVICE: Need.PAIRED,
    Action.ANNOUNCE_NODE: Need.PAIRED,
    Action.QUERY_GRAPHQL: Need.PAIRED,
    Action.READ_TRUST_DATA: Need.PAIRED,
    Action.LEAVE_MESH: Need.DEVICE,
    Action.REVOKE_DEVICE: Need.PAIRED,
    Action.DECIDE_REQUEST: Need.OPERATOR,
    Action.CONNECT: Need.ANYONE,
    Action.DESCRIBE_NODE: Need.PAIRED,
    Action.SUBSCRIBE: Need.PAIRED,
    Action.PUBLISH: Need.PAIRED,
}


# need → role → the trust level that is enough; a role that is missing never is
_LEAST: Final[dict[Need, dict[Role, int]]] = {
    Need.ANYONE: dict.fromkeys(Role, 0),
    Need.PEER: {Role.PEER: 1},
    Need.DEVICE: {Role.DEVICE: 1},
    Need.PAIRED: {Role.DEVICE: 1, Role.PEER: 1, Role.OWNER: 0},
    Need.OPERATOR: {Role.DEVICE: 2, Role.PEER: 2, Role.OWNER: 0},
    Need.OWNER: {Role.OWNER: 0},
}


def authorise(principal: Principal, action: Action) -> None:
    """Return if `principal` may do `action`, else raise `token_required` or `not_permitted`."""
    least = _LEAST[NEEDS[action]].get(principal.role)
    if least is not None and principal.level >= least:
        return
    if principal.role is Role.ANONYMOUS:
        raise MeshError("token_required", f"{action.value} needs a token")
    raise MeshError("not_permitted", f"{action.value} is not permitted at trust level {principal.level}")


def authorise_target(principal: Principal, action: Action, target_level: int) -> None:
    """`authorise`, and that `target_level` lies below the caller's own: operators don't judge each other."""
    authorise(principal, action)
    if principal.role is not Role.OWNER and target_level >= principal.level:
        raise MeshError("not_permitted", f"{action.value} acts only on nodes below your own trust level")
