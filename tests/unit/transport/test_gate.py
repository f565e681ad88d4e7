"""Who may knock at a listener: which page, which host, which proxy, which network, which token."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from meshnode.crypto.token import token_digest
from meshnode.domain.errors import MeshError
from meshnode.domain.principal import Action, ListenerName, Role
from meshnode.domain.rate_limit import Rate
from meshnode.node.pair_device import TokenRules
from meshnode.transport.gate import COOKIE, Admitted, Gate, Policy
from tests.fakes.bare_node import BareNode

JSON = {"Content-Type": "application/json"}
OWNER_TOKEN = "o" * 43
ORIGIN = "https://192.0.2.1:6969"


class Door:
    """Gates over one node's sessions, and callers at them."""

    def __init__(self, core: BareNode) -> None:
        self.core = core
        self.token = ""

    def gate(self, name: ListenerName = "public", **changes: Any) -> Gate:
        """A gate; each keyword replaces something of its policy."""
        policy: dict[str, Any] = {
            "lan_only": True,
            "allowed_networks": (),
            "trusted_proxies": (),
            "on_link": tuple,
            "anonymous_rate": Rate(1000, 60.0, burst=1000),
            "own_names": lambda: frozenset({"desk", "desk.local", "mesh.example.org"}),
        }
        gate = Gate(name, self.core.use.sessions, Policy(**(policy | changes)), token_digest(OWNER_TOKEN))
        gate.hosts = frozenset({"127.0.0.1:6970", "localhost:6970", "[::1]:6970"})
        return gate

    def ask(
        self,
        gate: Gate | None = None,
        method: str = "GET",
        action: Action = Action.CHECK_HEALTH,
        *,
        peer: str = "192.168.1.9",
        is_local_only: bool = False,
        **headers: str,
    ) -> Admitted:
        """One request; `A_B="x"` is the header `A-B: x`."""
        sent = {"Host": "192.0.2.1:6969"} | {name.replace("_", "-"): value for name, value in headers.items()}
        transport = Mock()
        transport.get_extra_info = lambda name, default=None: (peer, 50_000) if name == "peername" else default
        request: web.Request = make_mocked_request(method, "/x", headers=sent, transport=transport)
        return (gate or self.gate()).admit(request, action, is_local_only=is_local_only)

    def refusal(self, *args: Any, **kwargs: Any) -> str:
        """The code of the refusal."""
        with pytest.raises(MeshError) as refused:
            self.ask(*args, **kwargs)
        return refused.value.code

    @property
    def cookie(self) -> str:
        """The Cookie header of a browser that has paired."""
        return f"theme=dark; {COOKIE}={self.token}"


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    core = await BareNode(tmp_path / "data").start()
    door = Door(core)
    door.token = await core.pair(token=TokenRules(kind="session", lifetime_s=3600.0))
    yield door
    await core.stop()


# ── cookies ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cookie_is_who_the_browser_is(door: Door) -> None:
    """For reading without an Origin: a page of another site can't see the answer."""
    for method in ("GET", "HEAD", "OPTIONS"):
        admitted = door.ask(method=method, Cookie=door.cookie)
        assert (admitted.principal.role, admitted.principal.node_id) == (Role.DEVICE, "phone")
        assert admitted.session is not None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "POKE"])
@pytest.mark.parametrize(
    ("origin", "is_good"),
    [
        (ORIGIN, True),
        (ORIGIN.upper().replace("HTTPS", "https"), True),
        (None, False),
        ("", False),
        ("null", False),
        ("http://192.0.2.1:6969", False),
        ("https://192.0.2.1", False),
        ("https://192.0.2.1:6970", False),
        ("https://192.0.2.1:6969.evil.example", False),
        ("https://evil.example", False),
        ("192.0.2.1:6969", False),
        (f"{ORIGIN}/", False),
        (f"{ORIGIN} {ORIGIN}", False),
    ],
)
async def test_what_changes_anything_comes_from_our_own_page(
    door: Door, method: str, origin: str | None, is_good: bool
) -> None:
    """Origin = https:// + Host, whatever the method; whether or not the cookie is any good."""
    headers = JSON | ({} if origin is None else {"Origin": origin})
    if is_good:
        assert door.ask(method=method, Cookie=door.cookie, **headers).principal.node_id == "phone"
    else:
        for cookie in (door.cookie, f"{COOKIE}=stale"):
            assert door.refusal(method=method, Cookie=cookie, **headers) == "bad_origin"


async def test_an_upgrade_with_a_cookie_needs_the_origin_too(door: Door) -> None:
    """It is a GET, and any page may open one; it has no body, so no type."""
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
    for origin in ({}, {"Origin": "https://evil.example"}):
        assert door.refusal(action=Action.CONNECT, Cookie=door.cookie, **upgrade, **origin) == "bad_origin"
    admitted = door.ask(action=Action.CONNECT, Cookie=door.cookie, Origin=ORIGIN, **upgrade)
    assert admitted.principal.node_id == "phone"


@pytest.mark.parametrize(
    ("content_type", "is_good"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("text/plain", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("", False),
        ("text/plain; application/json", False),
    ],
)
async def test_a_form_of_another_site_is_no_json(door: Door, content_type: str, is_good: bool) -> None:
    """A second wall, should a browser send no Origin one day."""
    headers = {"Content_Type": content_type, "Origin": ORIGIN, "Cookie": door.cookie}
    if is_good:
        assert door.ask(method="POST", **headers).principal.node_id == "phone"
    else:
        assert door.refusal(method="POST", **headers) == "bad_origin"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("192.0.2.1:6969", True),
        ("192.0.2.1", True),
        ("[2001:db8::1]:6969", True),
        ("[2001:db8::1]", True),
        ("desk:6969", True),
        ("DESK.local", True),
        ("mesh.example.org", True),
        ("evil.example", False),
        ("evil.example:6969", False),
        ("desk.local.evil.example", False),
        ("desk.local.", False),
        ("", False),
        ("192.0.2.1.evil.example", False),
        (":6969", False),
    ],
)
async def test_a_cookie_counts_under_our_own_names_only(door: Door, host: str, is_ours: bool) -> None:
    """A name that was pointed at us is somebody else's page, with an Origin that fits it; even for reading."""
    headers = {"Host": host, "Origin": f"https://{host}", "Cookie": door.cookie}
    if is_ours:
        assert door.ask(**headers).principal.node_id == "phone"
        assert door.ask(method="POST", **JSON, **headers).principal.node_id == "phone"
    else:
        assert door.refusal(**headers) == "bad_origin"
        assert door.refusal(method="POST", **JSON, **headers) == "bad_origin"


async def test_a_stale_cookie_is_no_hindrance_to_pairing_again(door: Door) -> None:
    """But no right either; a socket is told, for it would wait in vain."""
    door.token = "stale"
    assert door.ask(action=Action.PAIR_DEVICE, Cookie=door.cookie).principal.role is Role.ANONYMOUS
    assert door.refusal(action=Action.READ_API, Cookie=door.cookie) == "token_expired"
    assert door.refusal(action=Action.CONNECT, Cookie=door.cookie, Origin=ORIGIN, Upgrade="websocket") == (
        "token_expired"
    )


async def test_a_cookie_counts_on_the_public_listener_only(door: Door) -> None:
    """The others neither set nor read one."""
    assert door.ask(door.gate("plain"), Cookie=door.cookie).principal.role is Role.ANONYMOUS
    control = door.ask(door.gate("control"), Host="127.0.0.1:6970", Cookie=f"{COOKIE}={OWNER_TOKEN}")
    assert control.principal.role is Role.ANONYMOUS


async def test_a_token_in_the_header_needs_no_page(door: Door) -> None:
    """No browser adds it by itself; it is judged in place of a cookie."""
    bearer = f"Bearer {door.token}"
    assert door.ask(method="POST", Authorization=bearer, Origin="https://evil.example").principal.node_id == "phone"
    assert door.refusal(Authorization="Bearer wrong", Cookie=door.cookie) == "token_expired"


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["Bearer", "Device"])
async def test_both_schemes_say_the_same(door: Door, scheme: str) -> None:
    """For any token of a thin client."""
    assert door.ask(Authorization=f"{scheme} {door.token}").principal.node_id == "phone"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "bearer {}", "Bearer  {}", "{}", "Device{}"])
async def test_other_headers_are_refused(door: Door, header: str) -> None:
    """Also where no token is needed."""
    assert door.refusal(Authorization=header.format(door.token)) in ("token_required", "token_expired")


async def test_a_token_counts_on_the_listener_it_was_issued_on(door: Door) -> None:
    """One that was readable on the wire is worth nothing on TLS, nor is any on the control listener."""
    plain = await door.core.pair("old", listener="plain")
    assert door.ask(door.gate("plain"), Authorization=f"Device {plain}").principal.node_id == "old"
    assert door.refusal(Authorization=f"Device {plain}") == "token_required"
    assert door.refusal(door.gate("plain"), Authorization=f"Bearer {door.token}") == "token_required"
    for token in (plain, door.token):
        refused = door.refusal(door.gate("control"), Host="localhost:6970", Authorization=f"Bearer {token}")
        assert refused == "token_required"
    assert door.refusal(Authorization=f"Bearer {OWNER_TOKEN}") == "token_expired"


async def test_who_shows_no_good_token_is_limited(door: Door) -> None:
    """A wrong one counts as none, and so does one without the right; who has one is not limited."""
    gate = door.gate(anonymous_rate=Rate(3, 60.0, burst=3))
    limited: list[tuple[str, str]] = []
    gate.on_limited = lambda *where: limited.append(where)
    door.ask(gate)
    assert door.refusal(gate, Authorization="Bearer wrong") == "token_expired"
    assert door.refusal(gate, action=Action.READ_NODES, Authorization=f"Bearer {door.token}") == "not_permitted"
    assert door.refusal(gate) == "rate_limited"
    assert limited == [("http", "anonymous")]
    for _ in range(10):
        door.ask(gate, Authorization=f"Bearer {door.token}")
    door.ask(gate, peer="192.168.1.10")


# ── the control listener ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["127.0.0.1:6970", "localhost:6970", "LOCALHOST:6970", "[::1]:6970"])
async def test_the_control_listener_answers_by_its_own_names(door: Door, host: str) -> None:
    """With the owner's token, from its own pages or none."""
    for origin in ({}, {"Origin": f"http://{host.lower()}"}):
        admitted = door.ask(door.gate("control"), Host=host, Authorization=f"Bearer {OWNER_TOKEN}", **origin)
        assert admitted.principal.role is Role.OWNER


@pytest.mark.parametrize(
    "host", ["", "localhost", "127.0.0.1", "127.0.0.1:6969", "evil.example:6970", "localhost:6970.", "192.168.1.1:6970"]
)
async def test_the_control_listener_answers_by_no_other_name(door: Door, host: str) -> None:
    """A name that somebody pointed at 127.0.0.1."""
    refused = door.refusal(door.gate("control"), Host=host, Authorization=f"Bearer {OWNER_TOKEN}")
    assert refused == "bad_origin"


@pytest.mark.parametrize(
    "origin", ["", "null", "https://127.0.0.1:6970", "http://127.0.0.1", "http://evil.example", "http://192.0.2.1:6969"]
)
async def test_the_control_listener_answers_no_other_site(door: Door, origin: str) -> None:
    """Even to who knows the token."""
    sent = {"Host": "127.0.0.1:6970", "Origin": origin, "Authorization": f"Bearer {OWNER_TOKEN}"}
    assert door.refusal(door.gate("control"), **sent) == "bad_origin"


# ── where from ─────────────────────────────────────────────────────────────────────────────────────────────────────

FORWARDING = {
    "Forwarded": "for=192.168.1.2",
    "Via": "1.1 proxy",
    "X_Forwarded_For": "192.168.1.2",
    "X_Forwarded_Host": "desk",
    "X_Forwarded_Proto": "https",
    "X_Real_IP": "192.168.1.2",
}


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        ("127.0.0.1", True),
        ("::ffff:192.168.1.9", True),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("100.64.0.1", False),
        ("198.51.100.1", False),
        ("::ffff:198.51.100.1", False),
        ("2001:db8::1", False),
    ],
)
async def test_local_only_is_judged_by_the_peers_address(door: Door, peer: str, is_local: bool) -> None:
    """With lan_only = false nobody is refused; sockets are told why their caller is far."""
    if is_local:
        assert door.ask(peer=peer, is_local_only=True).far is None
    else:
        assert door.refusal(peer=peer, is_local_only=True) == "not_local"
        socket = door.ask(peer=peer, action=Action.CONNECT)
        assert (socket.local_refusal and socket.local_refusal.code) == "not_local"
        allowed = door.ask(door.gate(lan_only=False), peer=peer, is_local_only=True)
        assert (allowed.local_refusal, allowed.far and allowed.far.code) == (None, "not_local")
        networks = (ip_network("100.64.0.0/10"), ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))
        assert door.ask(door.gate(allowed_networks=networks), peer=peer, is_local_only=True).far is None
        assert door.ask(door.gate(on_link=lambda: networks), peer=peer, is_local_only=True).far is None
    assert door.ask(peer=peer).address == peer


@pytest.mark.parametrize("name", FORWARDING)
async def test_forwarding_headers_of_a_stranger_are_refused(door: Door, name: str) -> None:
    """Each of them; where it matters, from where somebody calls."""
    header = {name: FORWARDING[name]}
    assert door.refusal(is_local_only=True, **header) == "proxy_not_configured"
    assert door.ask(**header).address == "192.168.1.9"
    socket = door.ask(action=Action.CONNECT, **header)
    assert socket.local_refusal is not None
    assert socket.local_refusal.code == "proxy_not_configured"
    elsewhere = door.gate(trusted_proxies=(ip_network("10.0.0.0/8"),))
    assert door.refusal(elsewhere, is_local_only=True, **header) == "proxy_not_configured"


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        ("192.168.7.7", "192.168.7.7"),
        ("203.0.113.1, 192.168.7.7", "192.168.7.7"),
        ("192.168.7.7, 10.0.0.5", "192.168.7.7"),
        ("1.1.1.1,192.168.7.7 , 10.0.0.5,10.0.0.6", "192.168.7.7"),
        ("::ffff:192.168.7.7", "192.168.7.7"),
        ("fd00::7", "fd00::7"),
    ],
)
async def test_a_trusted_proxy_says_who_asks(door: Door, hops: str, address: str) -> None:
    """The right-most address that is no proxy of ours; what stands left of it anybody could have written."""
    gate = door.gate(trusted_proxies=(ip_network("10.0.0.0/8"),))
    admitted = door.ask(gate, peer="10.0.0.1", is_local_only=True, X_Forwarded_For=hops)
    assert (admitted.address, admitted.is_remote) == (address, True)


@pytest.mark.parametrize("hops", ["unknown", "<script>", "192.168.7.7:5000", "_hidden", "fd00::7, \x7f", "a" * 4000])
async def test_a_proxy_that_gives_no_address_is_refused(door: Door, hops: str) -> None:
    """Nothing of it becomes a key of limits or a line of the audit log."""
    gate = door.gate(trusted_proxies=(ip_network("10.0.0.0/8"),))
    for is_local_only in (True, False):
        refused = door.refusal(gate, peer="10.0.0.1", is_local_only=is_local_only, X_Forwarded_For=hops)
        assert refused == "proxy_not_configured"


async def test_a_proxy_that_hides_who_asks_is_refused(door: Door) -> None:
    """Else the whole world would be the proxy; but it may ask for itself."""
    gate = door.gate(trusted_proxies=(ip_network("10.0.0.0/8"),))
    for name, value in FORWARDING.items():
        if name != "X_Forwarded_For":
            assert door.refusal(gate, peer="10.0.0.1", **{name: value}) == "proxy_not_configured"
    assert door.refusal(gate, peer="10.0.0.1", X_Forwarded_For=", ,10.0.0.2") == "proxy_not_configured"
    itself = door.ask(gate, peer="10.0.0.1", is_local_only=True)
    assert (itself.address, itself.is_remote) == ("10.0.0.1", False)


async def test_a_stranger_behind_a_trusted_proxy_is_no_neighbour(door: Door) -> None:
    """And limited by its own address."""
    gate = door.gate(trusted_proxies=(ip_network("10.0.0.0/8"),), anonymous_rate=Rate(1, 60.0, burst=1))
    assert door.refusal(gate, peer="10.0.0.1", is_local_only=True, X_Forwarded_For="203.0.113.1") == "not_local"
    door.ask(gate, peer="10.0.0.1", X_Forwarded_For="203.0.113.1")
    assert door.refusal(gate, peer="10.0.0.1", X_Forwarded_For="203.0.113.1") == "rate_limited"
    door.ask(gate, peer="10.0.0.1", X_Forwarded_For="203.0.113.2")


async def test_the_plain_listener_answers_neighbours_only(door: Door) -> None:
    """Every route of it, whatever lan_only says, and nobody through a proxy it doesn't know."""
    for lan_only in (True, False):
        gate = door.gate("plain", lan_only=lan_only)
        assert door.refusal(gate, peer="198.51.100.1") == "not_local"
        assert door.refusal(gate, X_Forwarded_For="192.168.1.2") == "proxy_not_configured"
        assert door.ask(gate).principal.role is Role.ANONYMOUS
