"""The owner's browser: a link that works once, the token it is traded for, and how that ends."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.dialects.asking import RpcClient, bearer
from tests.dialects.salita_phone import Phone
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.other_user import as_user
from tests.fakes.plain_http import ask_control

TICKETS, REDEEM = "/api/v1/tickets", "/api/v1/tickets/redeem"
HOURS_12 = 12 * 3600.0
JSON = {"Content-Type": "application/json"}


def ask(node: LocalNode, method: str, path: str, token: str | None = None, body: Any = None, **headers: str) -> Answer:
    """A request on the control listener."""
    sent = None if body is None else json.dumps(body).encode()
    return ask_control(node.control_address, method, path, sent, JSON | bearer(token) | headers)


def ticket_of(node: LocalNode) -> str:
    """As `meshnode open` asks for it."""
    made: str = node.call("POST", TICKETS)["ticket"]
    return made


def redeem(node: LocalNode, ticket: str, **headers: str) -> Answer:
    """As the page does, without a token."""
    return ask(node, "POST", REDEEM, None, {"ticket": ticket}, **headers)


def signed_in(node: LocalNode) -> str:
    """A browser's token."""
    answer = redeem(node, ticket_of(node))
    assert answer.status == 200, answer
    token: str = answer.json["token"]
    return token


def test_the_link_has_the_ticket_in_its_fragment_and_nowhere_else(host: LocalNode) -> None:
    """A fragment is never sent; host and port are those by which the owner reached us."""
    made = host.call("POST", TICKETS)
    assert made["url"] == f"http://{host.control_address}/#ticket={made['ticket']}"
    assert made.keys() == {"ticket", "url", "expires_at"}
    assert len(made["ticket"]) == 43


def test_a_ticket_is_traded_for_the_owners_rights(host: LocalNode) -> None:
    """All of them, and the answer is kept by nobody on the way."""
    answer = redeem(host, ticket_of(host))
    assert (answer.status, answer.json.keys()) == (200, {"token", "expires_at"})
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    token = answer.json["token"]
    seen = ask(host, "GET", "/api/v1/node", token)
    assert seen.json["caller"] == {"role": "owner", "node_id": None, "level": 3}
    assert ask(host, "PATCH", "/api/v1/node", token, {"name": "renamed"}).status == 200


def test_a_ticket_dies_on_its_first_use(host: LocalNode) -> None:
    """Eight at the same moment: one browser."""
    ticket = ticket_of(host)
    with ThreadPoolExecutor(8) as pool:
        codes = sorted(answer.code for answer in pool.map(lambda _: redeem(host, ticket), range(8)))
    assert codes == ["ok"] + ["ticket_unknown"] * 7


@pytest.mark.parametrize("ticket", ["A" * 43, "x", "é" * 20])
def test_a_wrong_ticket_is_refused(host: LocalNode, ticket: str) -> None:
    """As a used one is; the right one still works."""
    right = ticket_of(host)
    answer = redeem(host, ticket)
    assert (answer.status, answer.code) == (403, "ticket_unknown")
    assert redeem(host, right).status == 200


def test_a_ticket_ends_after_a_minute(host: LocalNode) -> None:
    """Also while the machine sleeps."""
    early, late, slept = ticket_of(host), ticket_of(host), ticket_of(host)
    host.clock.step(59)
    assert redeem(host, early).status == 200
    host.clock.sleep(1.5)
    assert redeem(host, slept).code == "ticket_unknown"
    host.clock.step(2)
    assert redeem(host, late).code == "ticket_unknown"


def test_few_tickets_wait_at_a_time(host: LocalNode) -> None:
    """The ninth ends the oldest."""
    tickets = [ticket_of(host) for _ in range(9)]
    assert [redeem(host, ticket).status for ticket in (tickets[0], tickets[1], tickets[8])] == [403, 200, 200]


def test_a_page_of_another_site_can_neither_ask_nor_redeem(host: LocalNode) -> None:
    """Origin and Host are those of this listener, with a token and without."""
    ticket, token = ticket_of(host), signed_in(host)
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
        assert redeem(host, ticket, **headers).code == "bad_origin"
        assert ask(host, "POST", TICKETS, token, **headers).code == "bad_origin"
        assert ask(host, "GET", "/api/v1/nodes", token, **headers).code == "bad_origin"
    own = {"Origin": f"http://{host.control_address}"}
    assert redeem(host, ticket, **own).status == 200


def test_nothing_of_it_is_on_the_public_listener(host: LocalNode) -> None:
    """No ticket, and a browser's token is nobody's there."""
    token = signed_in(host)
    public = Joiner(host.port)
    assert public.request("POST", REDEEM, b'{"ticket": "x"}', JSON).status == 404
    assert public.request("POST", TICKETS, b"{}", JSON | bearer(token)).status == 404
    assert public.request("GET", "/api/v1/node", None, bearer(token)).status == 401
    cookie = {"Cookie": f"__Host-meshnode={token}"}
    assert public.request("GET", "/api/v1/node", None, cookie).status == 401


def test_nobody_but_the_owner_asks_for_a_ticket(host: LocalNode) -> None:
    """Neither a stranger nor a device."""
    phone = Phone(host).pair()
    assert ask(host, "POST", TICKETS).code == "token_required"
    assert ask(host, "POST", TICKETS, phone.token).status == 401


def test_guessing_tickets_is_limited(tmp_path: Any) -> None:
    """As everything is that comes without a token."""
    node = LocalNode(tmp_path / "limited", **{"http.anonymous_per_minute": 10})
    node.start()
    try:
        answers = [redeem(node, f"guess-{n}") for n in range(15)]
        assert {answer.code for answer in answers} == {"ticket_unknown", "rate_limited"}
        assert int(answers[-1].headers["retry-after"]) >= 1
    finally:
        node.close()


def test_a_browser_stays_signed_in_over_a_restart(host: LocalNode) -> None:
    """The owner's own token of the run does not; only a digest is stored, and no secret of either."""
    ticket = ticket_of(host)
    token = redeem(host, ticket).json["token"]
    before = host.owner_token
    host.restart()
    assert ask(host, "GET", "/api/v1/nodes", token).status == 200
    assert ask(host, "GET", "/api/v1/nodes", before).status == 401
    stored = b"".join(path.read_bytes() for path in host.data.iterdir() if path.name.startswith("meshnode.db"))
    assert token.encode() not in stored
    assert ticket.encode() not in stored


def test_twelve_hours_unused_end_it_and_each_use_starts_them_anew(host: LocalNode) -> None:
    """Over a restart too."""
    token = signed_in(host)
    host.clock.step(HOURS_12 - 60)
    assert ask(host, "GET", "/api/v1/nodes", token).status == 200
    host.run(host.graph.use.browsers.flush())
    host.restart()
    host.clock.step(HOURS_12 - 60)
    assert ask(host, "GET", "/api/v1/nodes", token).status == 200
    host.clock.step(HOURS_12 + 1)
    answer = ask(host, "GET", "/api/v1/nodes", token)
    assert (answer.status, answer.code) == (401, "token_required")
    host.restart()
    assert ask(host, "GET", "/api/v1/nodes", token).status == 401


def test_a_clock_set_back_gives_no_more_time(host: LocalNode) -> None:
    """Neither while the node runs nor while it is off."""
    token = signed_in(host)
    host.clock.step_wall(-HOURS_12)
    host.restart()
    host.clock.step(HOURS_12 + 1)
    assert ask(host, "GET", "/api/v1/nodes", token).status == 401


def test_many_browsers_end_the_one_unused_for_longest(host: LocalNode) -> None:
    """Sixteen at a time; what ended stays ended."""
    tokens = [signed_in(host) for _ in range(16)]
    assert ask(host, "GET", "/api/v1/nodes", tokens[0]).status == 200
    tokens.append(signed_in(host))
    alive = [ask(host, "GET", "/api/v1/nodes", token).status == 200 for token in tokens]
    assert alive == [True, False] + [True] * 15
    host.restart()
    assert ask(host, "GET", "/api/v1/nodes", tokens[1]).status == 401
    assert ask(host, "GET", "/api/v1/nodes", tokens[2]).status == 200


def test_a_restored_database_ends_it(host: LocalNode) -> None:
    """It may have ended since the backup was made. Told by the epoch, which then lies behind the one on file."""
    token = signed_in(host)
    host.close()
    with closing(sqlite3.connect(host.data / "meshnode.db")) as database, database:
        database.execute("UPDATE mesh_nodes SET epoch = epoch - 1 WHERE is_current = 1")
    host.start()
    assert ask(host, "GET", "/api/v1/nodes", token).status == 401


def test_the_owner_signs_every_browser_out(host: LocalNode) -> None:
    """At once and for good: tokens, sockets, and links that nobody used yet."""
    first, second, ticket = signed_in(host), signed_in(host), ticket_of(host)
    with socket(host) as page:
        assert page.ask("session.authenticate", {"token": first}).is_ok
        assert host.call("DELETE", TICKETS) == {"ended": 2}
        with pytest.raises(ConnectionClosed) as ended:
            page.call("node.describe", {})
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4401
    assert redeem(host, ticket).code == "ticket_unknown"
    for _ in range(2):
        assert [ask(host, "GET", "/api/v1/nodes", token).status for token in (first, second)] == [401, 401]
        host.restart()
    assert host.call("GET", "/api/v1/audit")["entries"][0]["event"] == "owner.signed_out"


def test_it_is_no_device_and_is_audited(host: LocalNode) -> None:
    """Only this node is listed; the owner sees when and from where somebody signed in."""
    signed_in(host)
    assert [node["is_current"] for node in host.call("GET", "/api/v1/nodes")["nodes"]] == [True]
    assert host.call("GET", "/api/devices")["devices"] == []
    (entry,) = [e for e in host.call("GET", "/api/v1/audit")["entries"] if e["event"] == "owner.signed_in"]
    assert entry["address"] == "127.0.0.1"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs to become another user")
def test_a_ticket_is_for_the_user_who_asked_for_it(host: LocalNode) -> None:
    """All users of a machine can read the command line of a browser; root's ticket is for whom root gives it to."""
    with as_user(1001):
        ticket = ticket_of(host)
    with as_user(1002):
        answer = redeem(host, ticket)
        assert (answer.status, answer.code) == (403, "ticket_unknown")
    with as_user(1001):
        assert redeem(host, ticket).status == 200  # or whoever is faster could keep its owner out
        assert redeem(host, ticket).code == "ticket_unknown"
    ticket = ticket_of(host)
    with as_user(1002):
        assert redeem(host, ticket).status == 200


# ── the socket ─────────────────────────────────────────────────────────────────────────────────────────────────────


def socket(node: LocalNode, **headers: str) -> RpcClient:
    """A socket opened without a token, as a page does."""
    return RpcClient(f"ws://{node.control_address}/ws", headers)


def test_the_first_message_signs_the_socket_in(host: LocalNode) -> None:
    """The owner's rights from then on, events of pairing too."""
    token = signed_in(host)
    with socket(host, Origin=f"http://{host.control_address}") as page:
        assert page.ask("session.authenticate", {"token": token}).is_ok
        assert page.ask("event.subscribe", {"topics": ["mesh.*"]}).is_ok
        assert page.ask("node.pair.list", {}).is_ok


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("session.authenticate", {"token": "wrong"}),
        ("event.subscribe", {"topics": ["mesh.node.*"]}),
        ("node.pair.request", {}),
        ("no.such.method", {}),
    ],
)
def test_any_other_first_message_ends_it(host: LocalNode, method: str, params: Any) -> None:
    """A refusal, then the close frame: 4401."""
    with socket(host) as page:
        assert page.ask(method, params).code == "token_required"
        with pytest.raises(ConnectionClosed) as ended:
            page.call("session.authenticate", {"token": signed_in(host)})
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4401


def test_a_ticket_is_no_token(host: LocalNode) -> None:
    """Neither as a header nor on the socket; it is still good afterwards."""
    ticket = ticket_of(host)
    assert ask(host, "GET", "/api/v1/nodes", ticket).status == 401
    with socket(host) as page:
        assert page.ask("session.authenticate", {"token": ticket}).code == "token_required"
    assert redeem(host, ticket).status == 200


def test_the_socket_ends_with_its_sign_in(host: LocalNode) -> None:
    """Twelve hours of silence on both; a call on the socket is a use."""
    token = signed_in(host)
    with socket(host) as page:
        assert page.ask("session.authenticate", {"token": token}).is_ok
        host.clock.step(HOURS_12 - 60)
        assert page.ask("node.describe", {}).is_ok
        host.clock.step(HOURS_12 - 60)
        assert page.ask("node.describe", {}).is_ok
        host.clock.step(HOURS_12 + 1)
        with pytest.raises(ConnectionClosed) as ended:
            page.call("node.describe", {})
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 4401


def test_the_public_listener_knows_no_such_method(host: LocalNode) -> None:
    """There the cookie comes with the upgrade."""
    token = signed_in(host)
    with RpcClient(f"wss://{host.address}/ws") as page:
        assert page.ask("session.authenticate", {"token": token}).code == "-32601"
