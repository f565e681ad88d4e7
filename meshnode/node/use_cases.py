"""Everything a node can do, in one record: what the dialects call."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from meshnode.node.accept_peer import AcceptPeer
from meshnode.node.answer_heartbeat import AnswerHeartbeat
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.authenticate import Sessions
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.describe_node import SelfDescription
from meshnode.node.discover_peers import DiscoverPeers
from meshnode.node.event_bus import EventBus
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.join_peer import JoinPeer
from meshnode.node.manage_nodes import ManageNodes
from meshnode.node.open_offer import Offers
from meshnode.node.ports import Clock, Store
from meshnode.node.rename_self import RenameSelf
from meshnode.node.report_status import ReportStatus


class UseCases(msgspec.Struct, frozen=True, kw_only=True):
    """The use cases of a running node."""

    me: SelfDescription
    offers: Offers
    budget: AttemptBudget
    accepting: AcceptPeer
    confirmations: ConfirmPeer
    joining: JoinPeer
    sessions: Sessions
    answering: AnswerHeartbeat
    heartbeats: ExchangeHeartbeats
    discovery: DiscoverPeers
    nodes: ManageNodes
    renaming: RenameSelf
    status: ReportStatus
    store: Store
    clock: Clock
    bus: EventBus
    offer_s: float
    invite_url: Callable[[bytes], str]  # of an offer's code
