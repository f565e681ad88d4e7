"""The object graph, on one page."""

from __future__ import annotations

import ipaddress
from functools import partial
from socket import gethostname
from typing import Final

import msgspec

from meshnode import __version__
from meshnode.config import Config
from meshnode.crypto.seal import Vault
from meshnode.crypto.token import make_token, token_digest
from meshnode.daemon.compose_doctor import compose_doctor
from meshnode.daemon.follow_certificate import LOOK_S, FollowCertificate
from meshnode.daemon.keep_house import KeepHouse
from meshnode.daemon.offline import DataDirectory
from meshnode.daemon.serve_dialects import serve_dialects
from meshnode.daemon.system import describe_platform, detect_kind
from meshnode.dialects.contract import Service
from meshnode.dialects.mesh.client import MeshClient
from meshnode.domain.capability import BUILT_INS
from meshnode.domain.invite import CERT_BYTES, Invite, format_invite, parse_host_port
from meshnode.domain.liveness import DEFAULT_INTERVAL_S, PHONE_INTERVAL_S
from meshnode.domain.principal import Action, ListenerName
from meshnode.domain.rate_limit import Rate
from meshnode.node.accept_peer import AcceptPeer
from meshnode.node.announce_node import AnnounceNode
from meshnode.node.answer_heartbeat import AnswerHeartbeat
from meshnode.node.attempt_budget import AttemptBudget
from meshnode.node.authenticate import Sessions
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.counters import Counters
from meshnode.node.decide_request import Requests
from meshnode.node.describe_node import SelfDescription, SelfFacts
from meshnode.node.device_codes import DeviceCodes
from meshnode.node.device_tokens import DeviceTokens
from meshnode.node.discover_peers import DiscoverPeers, Sighting
from meshnode.node.event_bus import EventBus
from meshnode.node.event_stream import EventStream
from meshnode.node.exchange_heartbeats import ExchangeHeartbeats
from meshnode.node.join_peer import JoinPeer
from meshnode.node.learn_announcement import LearnAnnouncement
from meshnode.node.manage_nodes import ManageNodes
from meshnode.node.notices import Notices
from meshnode.node.open_browser import OpenBrowser
from meshnode.node.open_offer import Offers
from meshnode.node.open_session import OpenSession
from meshnode.node.pair_device import PairDevice
from meshnode.node.ports import Clock, Entropy
from meshnode.node.prove_address import ProveAddress
from meshnode.node.redeem_code import RedeemCode
from meshnode.node.rename_self import RenameSelf
from meshnode.node.report_status import ReportStatus
from meshnode.node.revocations import Revocations
from meshnode.node.roster import Entry, Roster
from meshnode.node.sweep_liveness import SweepLiveness
from meshnode.node.update_device import UpdateDevice
from meshnode.node.use_cases import UseCases
from meshnode.store.database import Database
from meshnode.store.tls_files import TlsIdentity
from meshnode.transport.admission import Admission
from meshnode.transport.connections import LiveConnections
from meshnode.transport.gate import Gate, Policy
from meshnode.transport.http_client import HttpClient
from meshnode.transport.http_server import Route, build_app
from meshnode.transport.interfaces import OwnAddresses
from meshnode.transport.metrics import metrics_route
from meshnode.transport.openapi import openapi_route
from meshnode.transport.rpc_message import encode_notification
from meshnode.transport.rpc_server import RpcServer, SocketLimits
from meshnode.transport.rpc_socket import Method
from meshnode.transport.tls_listener import Listener, TlsContexts
from meshnode.web.routes import serve_pages

EVERYWHERE: Final[frozenset[ListenerName]] = frozenset({"public", "control", "plain"})
SEEN_S: Final = 1.0  # a thin client's next sign of life within this tells nothing new


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is started and stopped."""

    use: UseCases
    roster: Roster
    sweeper: SweepLiveness
    house: KeepHouse
    http: HttpClient
    public: Listener
    control: Listener
    plain: Listener | None
    control_gate: Gate
    connections: LiveConnections
    certificate: FollowCertificate
    services: tuple[Service, ...]
    routes: tuple[Route, ...]  # of all listeners
    methods: tuple[Method, ...]
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
        has_mdns=config.mdns.enabled,
    )
    connections, counters = LiveConnections(), Counters()
    bus, roster, http = EventBus(), Roster(), HttpClient()
    client, vault = MeshClient(http), Vault(data.key.private_bytes)
    notices = Notices(data.identity.id, database, clock, bus)
    me = SelfDescription(data.identity, data.key, facts, database, clock, roster, bus, notices)
    events = EventStream(clock, data.identity.id, encode_notification)
    budget = AttemptBudget(database, clock)
    # peers
    revocations = Revocations()
    offers = Offers(database, clock, entropy, vault, counters, bus, revocations)
    confirmations = ConfirmPeer(me, offers, database, roster, counters, clock, bus)
    accepting = AcceptPeer(me, offers, budget, confirmations, database, clock, entropy)
    joining = JoinPeer(me, client, database, roster, clock, bus, revocations)
    # thin clients
    tokens = DeviceTokens(roster, database, clock, entropy)
    codes = DeviceCodes(database, clock, entropy, vault, counters, bus, revocations)
    pairing = PairDevice(me, tokens, roster, connections, counters, clock, bus, revocations)
    redeeming = RedeemCode(codes, pairing, budget, counters, database, clock)
    requests = Requests(codes, pairing, budget, counters, database, clock, entropy, bus)
    updating = UpdateDevice(roster, database, bus)
    # everybody
    browsers = OpenBrowser(me, roster, database, clock, entropy)
    sessions = Sessions(me, roster, tokens, confirmations, browsers, clock, entropy)
    learning = LearnAnnouncement(database, clock, bus)
    answering = AnswerHeartbeat(me, roster, learning, clock, bus, notices)
    proving = ProveAddress(client, database, entropy)
    opening = OpenSession(me, client)
    heartbeats = ExchangeHeartbeats(me, roster, answering, learning, joining, opening, proving, client, clock, entropy)
    sweeper = SweepLiveness(roster, database, clock, bus, facts.interval_s)
    heartbeats.on_link = addresses.on_link
    me.on_changed = partial(heartbeats.all_now, hang_up=False)
    discovery, status = DiscoverPeers(data.identity.id), ReportStatus(roster)
    diagnosing = compose_doctor(
        config, me, roster, discovery, status, client, opening, proving, heartbeats, addresses, clock, entropy
    )
    nodes = ManageNodes(roster, sessions, heartbeats, confirmations, joining, codes, connections, database, clock, bus)

    def paired(node_id: str) -> None:
        sessions.end(node_id)  # tokens of a former pairing
        heartbeats.add(node_id)
        sweeper.watch(node_id)
        diagnosing.ladder.wake()

    def sighted(sighting: Sighting) -> None:
        heartbeats.sighted(sighting.id, tuple((a, sighting.port) for a in sighting.addresses))

    def device_seen(entry: Entry) -> None:
        if entry.status != "online" or clock.monotonic() - entry.heard_mono > SEEN_S:
            answering.heard(entry)

    def socket_opened(entry: Entry) -> None:
        entry.sockets += 1
        answering.heard(entry)

    def socket_closed(entry: Entry) -> None:
        entry.sockets = 0
        answering.heard(entry)

    confirmations.on_confirmed = paired
    joining.on_joined = paired
    pairing.on_paired = sweeper.watch
    sessions.on_opened = answering.session_opened
    sessions.on_device = device_seen
    bus.react(events.take)
    discovery.on_sighting = sighted
    database.on_trouble, database.on_mended = status.store_refuses, status.store_accepts
    database.on_logged = notices.take
    sweeper.on_woken = sweeper.look = heartbeats.all_now

    contexts = TlsContexts(tls.path, tls.sha256, tls.key)

    def invite_url(code: bytes, link: str | None = None) -> str:
        host, port = addresses.best(), me.port
        if config.listen.public_url:
            host, port = parse_host_port(config.listen.public_url.removeprefix("https://").rstrip("/"), 443)
        return format_invite(Invite(host=host, port=port, code=code, cert=contexts.sha256[:CERT_BYTES], link=link))

    use = UseCases(
        me=me,
        offers=offers,
        budget=budget,
        accepting=accepting,
        confirmations=confirmations,
        joining=joining,
        sessions=sessions,
        browsers=browsers,
        answering=answering,
        heartbeats=heartbeats,
        discovery=discovery,
        nodes=nodes,
        entropy=entropy,
        codes=codes,
        redeeming=redeeming,
        requests=requests,
        tokens=tokens,
        updating=updating,
        announcing=AnnounceNode(me, roster, updating, database, clock, bus),
        events=events,
        counters=counters,
        renaming=RenameSelf(me, data.rename),
        diagnosing=diagnosing,
        notices=notices,
        status=status,
        store=database,
        clock=clock,
        bus=bus,
        offer_s=config.pairing.offer_s,
        invite_url=invite_url,
        best_address=addresses.best,
    )
    policy = Policy(
        lan_only=config.pairing.lan_only,
        allowed_networks=tuple(ipaddress.ip_network(n, strict=False) for n in config.pairing.allowed_networks),
        trusted_proxies=tuple(ipaddress.ip_network(n, strict=False) for n in config.http.trusted_proxies),
        on_link=addresses.on_link,
        own_names=lambda: own_names(config, me),
        anonymous_rate=Rate(
            config.http.anonymous_per_minute, 60.0, burst=max(10, config.http.anonymous_per_minute // 4)
        ),
    )
    wires = serve_dialects(config, use)
    methods = tuple(method for wire in wires.values() for method in wire.methods)
    rpc = RpcServer(
        methods,
        connections,
        events,
        sessions,
        clock,
        on_opened=socket_opened,
        on_closed=socket_closed,
        on_limited=counters.limited,
        lan_only_dialects=frozenset({"abpa3"} if config.abpa3.lan_only else ()),
        limits=SocketLimits(source_rate=policy.anonymous_rate),
    )
    socket = Route(method="GET", path="/ws", action=Action.CONNECT, answer=rpc.serve, listeners=EVERYWHERE)
    routes = [socket, *serve_pages(), metrics_route(counters, roster, connections, status, __version__)]
    routes += [route for wire in wires.values() for route in wire.routes]
    routes.append(openapi_route(routes, __version__))
    certificate = FollowCertificate(config, data.path, tls, use, contexts)
    owner_token = make_token(entropy.draw(32))
    public_app, public_gate = build_app("public", routes, sessions, policy, tls=contexts)
    control_app, gate = build_app("control", routes, sessions, policy, owner_digest=token_digest(owner_token))
    public_gate.on_limited = gate.on_limited = counters.limited
    plain = None
    if config.listen.plain is not None:
        plain_app, plain_gate = build_app("plain", routes, sessions, policy)
        plain_gate.on_limited = counters.limited
        plain = Listener(plain_app, Admission(), connections, None, addresses.on_link)
    return Graph(
        use=use,
        roster=roster,
        sweeper=sweeper,
        house=KeepHouse(use, sweeper, database),
        http=http,
        public=Listener(public_app, Admission(), connections, contexts, addresses.on_link),
        control=Listener(control_app, Admission(per_source=64, in_all=64), connections, None),
        plain=plain,
        control_gate=gate,
        connections=connections,
        certificate=certificate,
        services=(
            Service(name="certificate", interval_s=LOOK_S, work=certificate.look),
            *(service for wire in wires.values() for service in wire.services),
        ),
        routes=tuple(routes),
        methods=methods,
        owner_token=owner_token,
    )


def own_names(config: Config, me: SelfDescription) -> frozenset[str]:
    """The host names under which a browser may reach us; addresses always do."""
    host = gethostname().lower()
    names = {"localhost", host, f"{host}.local", f"{me.identity.id}.local"}
    if config.listen.public_url is not None:
        names.add(parse_host_port(config.listen.public_url.removeprefix("https://").rstrip("/"))[0])
    return frozenset(names)
