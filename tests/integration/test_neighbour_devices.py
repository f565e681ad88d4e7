"""What a stranger on the network, or a web page in somebody's browser, cannot do to the thin clients' pairing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from meshnode.domain.device import DeviceClaim
from meshnode.domain.errors import MeshError
from meshnode.node.pair_device import Caller
from meshnode.node.redeem_code import Redemption
from meshnode.store import audit_log
from tests.dialects.asking import Outcome, RpcClient, ask_once, get, open_socket, outcome_of, post
from tests.dialects.conformance import Driver
from tests.dialects.drivers import Abpa3, Aisopod, Mylzip, MylzipLegacy, Salita
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "http://192.0.2.7"},
    {"Origin": "null"},
    {"Origin": "https://{address}.evil.example"},
    {"Origin": "https://evil.example", "Host": "evil.example"},  # a name that was pointed at us
]
OWN = [
    {"Origin": "https://{address}"},
    {"Origin": "https://127.0.0.1"},
    {"Origin": "file://"},
    {"Origin": "chrome-extension://abcdefgh"},
    {"Origin": "capacitor://localhost"},
    {"Origin": "http://localhost:8100"},
    {},
]


def asking() -> dict[str, str]:
    return {"device_name": "x", "device_type": "ios", "client_version": "1", "device_id": str(uuid.uuid4())}


def named(host: LocalNode, headers: dict[str, str]) -> dict[str, str]:
    return {name: value.format(address=host.address) for name, value in headers.items()}


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_page_of_another_site_is_not_local(host: LocalNode, headers: dict[str, str]) -> None:
    """Its browser is on our network, the page isn't: no request, no code redeemed, nothing stored."""
    page = named(host, headers)
    ticket = Salita(host).open(Salita(host).fresh())
    before = host.dump()
    if "Host" not in page:  # the client here sends its own
        assert ask_once(host, "node.pair.request", asking(), headers=page).code == "bad_origin"
    identity = {"node_id": "phone", "name": "phone"}
    answer = post(host, "/auth/pair/verify", {**ticket.secrets, "node_identity": identity}, page)
    assert (answer.status, answer.code) == (403, "bad_origin")
    assert host.dump() == before


@pytest.mark.parametrize("headers", OWN)
def test_apps_and_our_own_pages_pair(host: LocalNode, headers: dict[str, str]) -> None:
    """Whatever an app's web view calls its origin."""
    page = named(host, headers)
    assert ask_once(host, "node.pair.request", asking(), headers=page).is_ok
    driver = Salita(host)
    assert driver.pair(driver.open(driver.fresh()), driver.fresh(), headers=page).is_ok


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[LocalNode]:
    """A node with a plain listener for all dialects."""
    flags: dict[str, Any] = {"listen.plain": "127.0.0.1:0", "listen.plain_dialects": ["aisopod", "abpa3"]}
    node = LocalNode(tmp_path / "plain", **flags)
    try:
        yield node.start()
    finally:
        node.close()


def test_a_name_pointed_at_the_plain_listener_gets_nothing(plain: LocalNode) -> None:
    """No certificate stands in a rebound page's way there: its Host and Origin fit, and are not ours."""
    page = {"Origin": "http://evil.example", "Host": "evil.example", "Content-Type": "application/json"}
    address = f"127.0.0.1:{plain.plain_port}"
    token = Abpa3(plain).open(Abpa3(plain).fresh())["pairToken"]
    body = b'{"pairToken": "%s", "deviceInfo": {"name": "page"}}' % token.encode()
    assert outcome_of(ask_control(address, "POST", "/api/pair", body, page)).code == "bad_origin"
    with pytest.raises(InvalidStatus) as refused:
        RpcClient(f"ws://{address}/ws", {"Origin": "http://evil.example"}).__enter__()
    assert refused.value.response.status_code == 403
    assert plain.row("page") is None


@pytest.mark.parametrize("name", ["X-Forwarded-Port", "X-Forwarded-Server", "x-forwarded-prefix"])
def test_any_forwarding_header_is_one(host: LocalNode, name: str) -> None:
    """Whatever a proxy says of itself: it is no neighbour."""
    assert ask_once(host, "node.pair.request", asking(), headers={name: "x"}).code == "proxy_not_configured"


def test_new_sockets_bring_no_new_calls(tmp_path: Path) -> None:
    """What a source may call without a token, it may call on all its sockets together."""
    node = LocalNode(tmp_path / "node", **{"http.anonymous_per_minute": 60})
    guess = {"pairing_code": "123456", "device_id": str(uuid.uuid4())}
    outcomes: list[Outcome] = []
    try:
        node.start()
        for _ in range(3):
            with open_socket(node) as socket:
                outcomes += [socket.ask("node.pair.confirm", guess) for _ in range(10)]
    finally:
        node.close()
    codes = [outcome.code for outcome in outcomes]
    assert codes[:15] == ["code_unknown"] * 15
    assert codes[20:] == ["rate_limited"] * 10
    assert outcomes[-1].retry_after_s


@pytest.mark.parametrize("driver", [Salita, Aisopod, Mylzip, MylzipLegacy, Abpa3])
def test_a_clock_put_back_lengthens_no_codes_life(
    host: LocalNode, driver: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an hour: what is open then ends in its own ten minutes all the same, and takes up nobody's place."""
    right = host.clock.now

    def put_back(seconds: float) -> None:  # wall time alone
        monkeypatch.setattr(host.clock, "now", lambda: right() - timedelta(seconds=seconds))

    row = driver(host)
    first, second = row.fresh(), row.fresh()
    ticket = row.open(first)
    put_back(10)
    assert row.pair(ticket, first).is_ok
    late = row.open(second)
    put_back(3600)
    host.clock.step(601)
    assert row.pair(late, second).code == "code_expired"
    assert host.call("GET", "/api/v1/pairing/requests")["requests"] == []
    assert row.paired()[1].is_ok


def test_a_code_read_on_the_plain_wire_gives_no_token_for_tls(plain: LocalNode) -> None:
    """Whoever overhears a request and confirms it over TLS, before the device does, has a token for plain HTTP only."""
    said = asking()
    with RpcClient(f"ws://127.0.0.1:{plain.plain_port}/ws") as device:
        code = device.ask("node.pair.request", said).body["pairing_code"]
    (request,) = plain.call("GET", "/api/v1/pairing/requests")["requests"]
    plain.call("POST", f"/api/v1/pairing/requests/{request['id']}/approve")
    overheard = ask_once(plain, "node.pair.confirm", {"pairing_code": code, "device_id": said["device_id"]})
    assert overheard.is_ok
    assert get(plain, "/readyz", overheard.body["device_token"]).status == 401


def test_strangers_failures_push_no_deed_out_of_the_audit(host: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses they come from."""
    monkeypatch.setattr(audit_log, "ROWS_MAX", 10)
    monkeypatch.setattr(audit_log, "TRIM_EVERY", 1)
    driver = Mylzip(host)
    device, _ = driver.paired()

    async def guess(source: str) -> None:
        caller = Caller(address=source, source=source)
        claim = DeviceClaim(id="guesser", name="guesser", hostname=source)
        asked = Redemption(dialect="mylzip", format="uuid", code=str(uuid.uuid4()), claim=claim, caller=caller)
        with pytest.raises(MeshError, match="code"):
            await host.graph.use.redeeming.redeem(asked)

    for n in range(30):
        host.run(guess(f"10.0.0.{n}"))
    entries = host.call("GET", "/api/v1/audit")["entries"]
    assert [e["event"] for e in entries].count("pairing.refused") == 10
    assert device.id in [e["node_id"] for e in entries if e["event"] == "node.paired"]
