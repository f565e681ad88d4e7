"""Everything a node can do, in one record: what the dialects call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from meshnode.node.accept_peer import AcceptPeer
from meshnode.node.announce_node import AnnounceNode
from meshnode.node.answer_heartbeat import AnswerHeartbeat
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.authenticate import Sessions
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.counters import Counters
from meshnode.node.decide_request import Requests
from meshnode.node.describe_node import SelfDescription
from meshnode.node.device_codes import DeviceCodes
from meshnode.node.device_tokens import DeviceTokens
from meshnode.node.diagnose_node import DiagnoseNode
from meshnode.node.discover_peers import DiscoverPeers
from meshnode.node.event_bus import EventBus
from meshnode.node.event_stream import EventStream
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.join_peer import JoinPeer
from meshnode.node.manage_nodes import ManageNodes
from meshnode.node.notices import Notices
from meshnode.node.open_browser import OpenBrowser
from meshnode.node.open_offer import Offers
from meshnode.node.ports import Clock, Entropy
from meshnode.node.redeem_code import RedeemCode
from meshnode.node.rename_self import RenameSelf
from meshnode.node.report_status import ReportStatus
from meshnode.node.tables import Store
from meshnode.node.update_device import UpdateDevice


class OpenOffer(Protocol):
    """Opens an offer; its answer is what `meshnode pair --dialect NAME --json` prints, with an `offer_id`."""

    def __call__(self, lifetime_s: float | None, maker: str | None = None) -> Awaitable[dict[str, Any]]:
        """`lifetime_s` None = the dialect's own; `maker` = the operator that opens it, None = the owner."""


class UseCases(msgspec.Struct, frozen=True, kw_only=True):
    """The use cases of a running node."""

    me: SelfDescription
    offers: Offers
    budget: AttemptBudget
    accepting: AcceptPeer
    confirmations: ConfirmPeer
    joining: JoinPeer
    sessions: Sessions
    browsers: OpenBrowser
    answering: AnswerHeartbeat
    heartbeats: ExchangeHeartbeats
    discovery: DiscoverPeers
    nodes: ManageNodes
    codes: DeviceCodes
    redeeming: RedeemCode
    requests: Requests
    tokens: DeviceTokens
    updating: UpdateDevice
    announcing: AnnounceNode
    events: EventStream
    counters: Counters
    renaming: RenameSelf
    diagnosing: DiagnoseNode
    status: ReportStatus
    notices: Notices
    store: Store
    clock: Clock
    entropy: Entropy
    bus: EventBus
    offer_s: float
    invite_url: Callable[[bytes, str | None], str]  # of an offer's code, and its linking code if it has one
    best_address: Callable[[], str]  # of ours, for an offer that names one
    # dialect → how to open an offer of it; filled when the dialects are served
    openers: dict[str, OpenOffer] = msgspec.field(default_factory=dict)
