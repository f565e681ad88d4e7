"""The object graph, on one page. The only module beside `offline` and `lifecycle` that names the store."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from meshnode import __version__
from meshnode.config import Config
from meshnode.crypto.seal import Vault
from meshnode.crypto.token import make_token, token_digest
from meshnode.daemon.offline import DataDirectory
from meshnode.daemon.system import describe_platform, detect_kind
from meshnode.dialects.mesh.client import MeshClient
from meshnode.dialects.table import DIALECTS
from meshnode.domain.capability import BUILT_INS
from meshnode.domain.invite import CERT_BYTES, Invite, format_invite, parse_host_port
from meshnode.domain.liveness import DEFAULT_INTERVAL_S, PHONE_INTERVAL_S
from meshnode.domain.rate_limit import Rate
from meshnode.node.accept_peer import AcceptPeer
from meshnode.node.answer_heartbeat import AnswerHeartbeat
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.authenticate import Sessions
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.describe_node import SelfDescription, SelfFacts
from meshnode.node.discover_peers import DiscoverPeers, Sighting
from meshnode.node.event_bus import EventBus
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.join_peer import JoinPeer
from meshnode.node.learn_announcement import LearnAnnouncement
from meshnode.node.manage_nodes import ManageNodes
from meshnode.node.open_offer import Offers
from meshnode.node.open_session import OpenSession
from meshnode.node.ports import Clock, Entropy
from meshnode.node.prove_address import ProveAddress
from meshnode.node.rename_self import RenameSelf
from meshnode.node.report_status import ReportStatus
from meshnode.node.roster import Roster
from meshnode.node.sweep_liveness import SweepLiveness
from meshnode.node.use_cases import UseCases
from meshnode.store.database import Database
from meshnode.store.tls_files import TlsIdentity
from meshnode.transport.admission import Admission
from meshnode.transport.connections import LiveConnections
from meshnode.transport.http_client import HttpClient
from meshnode.transport.http_server import Gate, Policy, build_app
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.tls_listener import Listener, TlsContexts


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is started and stopped."""

    use: UseCases
    roster: Roster
    sweeper: SweepLiveness
    http: HttpClient
    public: Listener
    control: Listener
    control_gate: Gate
    owner_token: str


def compose(
    config: Config,
    data: DataDirectory,
    database: Database,
    tls: TlsIdentity,
    addresses: OwnAddresses,
    clock: Clock,
    entropy: Entropy,
) -> Graph:
    """Build the graph; nothing runs yet."""
    kind = config.node.kind or detect_kind()
    facts = SelfFacts(
        kind=kind,
        platform=describe_platform(),
        version=__version__,
        interval_s=config.heartbeat.interval_s or (PHONE_INTERVAL_S if kind == "phone" else DEFAULT_INTERVAL_S),
        capabilities=BUILT_INS,
        public_url=config.listen.public_url,
    )
    connections = LiveConnections()
    bus, roster, http = EventBus(), Roster(), HttpClient()
    client = MeshClient(http)
    me = SelfDescription(data.identity, data.key, facts, database, clock, roster, bus)
    offers = Offers(database, clock, entropy, Vault(data.key.private_bytes), bus)
    budget = AttemptBudget(database, clock)
    confirmations = ConfirmPeer(me, offers, database, roster, clock, bus)
    accepting = AcceptPeer(me, offers, budget, confirmations, database, clock, entropy)
    joining = JoinPeer(me, client, database, roster, clock, bus)
    sessions = Sessions(me, roster, confirmations, clock, entropy)
    learning = LearnAnnouncement(database, clock, bus)
    answering = AnswerHeartbeat(me, roster, learning, clock, bus)
    proving = ProveAddress(client, database, entropy)
    opening = OpenSession(me, client)
    heartbeats = ExchangeHeartbeats(me, roster, answering, learning, joining, opening, proving, client, clock, entropy)
    sweeper = SweepLiveness(roster, database, clock, bus)
    discovery = DiscoverPeers(data.identity.id)
    nodes = ManageNodes(roster, sessions, heartbeats, confirmations, joining, connections, database, clock, bus)

    def paired(node_id: str) -> None:
        sessions.end(node_id)  # tokens of a former pairing
        heartbeats.add(node_id)
        sweeper.watch(node_id)

    def sighted(sighting: Sighting) -> None:
        heartbeats.sighted(sighting.id, tuple((a, sighting.port) for a in sighting.addresses))

    confirmations.on_confirmed = paired
    joining.on_joined = paired
    sessions.on_opened = answering.session_opened
    discovery.on_sighting = sighted

    def invite_url(code: bytes) -> str:
        host, port = addresses.best(), me.port
        if config.listen.public_url:
            host, port = parse_host_port(config.listen.public_url.removeprefix("https://").rstrip("/"), 443)
        return format_invite(Invite(host=host, port=port, code=code, cert=tls.sha256[:CERT_BYTES]))

    use = UseCases(
        me=me,
        offers=offers,
        budget=budget,
        accepting=accepting,
        confirmations=confirmations,
        joining=joining,
        sessions=sessions,
        answering=answering,
        heartbeats=heartbeats,
        discovery=discovery,
        nodes=nodes,
        renaming=RenameSelf(me, data.rename),
        status=ReportStatus(roster),
        store=database,
        clock=clock,
        bus=bus,
        offer_s=config.pairing.offer_s,
        invite_url=invite_url,
    )
    policy = Policy(
        lan_only=config.pairing.lan_only,
        allowed_networks=tuple(ipaddress.ip_network(n, strict=False) for n in config.pairing.allowed_networks),
        trusted_proxies=tuple(ipaddress.ip_network(n, strict=False) for n in config.http.trusted_proxies),
        on_link=addresses.on_link,
        anonymous_rate=Rate(
            config.http.anonymous_per_minute, 60.0, burst=max(10, config.http.anonymous_per_minute // 4)
        ),
    )
    routes = [route for dialect in DIALECTS for route in dialect.routes(use)]
    contexts = TlsContexts(Path(tls.path), tls.sha256)
    public_app, _ = build_app("public", routes, sessions, policy, tls=contexts)
    owner_token = make_token(entropy.draw(32))
    control_app, gate = build_app("control", routes, sessions, policy, owner_digest=token_digest(owner_token))
    return Graph(
        use=use,
        roster=roster,
        sweeper=sweeper,
        http=http,
        public=Listener(public_app, Admission(), connections, contexts),
        control=Listener(control_app, Admission(per_source=64, in_all=64), connections, None),
        control_gate=gate,
        owner_token=owner_token,
    )
