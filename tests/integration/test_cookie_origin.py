"""The browser's cookie over real TLS: whose page may use it, for what, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.salita_phone import Phone, owner, start
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
BEAT = json.dumps({"name": "renamed by a page"}).encode()


class Browser:
    """A browser that has paired, and whatever page is open in it."""

    def __init__(self, node: LocalNode) -> None:
        self.node = node
        self.phone = Phone(node, "phone-1")
        answer = self.phone.verify(start(node))
        self.set_cookie = answer.headers["set-cookie"]
        self.cookie = self.set_cookie.split(";", 1)[0]

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """A request as the browser sends it: the cookie is there whether the page knows it or not."""
        sent = {"Cookie": self.cookie} | {name.replace("_", "-"): value for name, value in headers.items()}
        return Joiner(self.node.port).request(method, path, body, sent)

    def beat(self, **headers: str) -> Answer:
        """Something that changes the device's own row."""
        return self.ask("POST", "/api/node/heartbeat", BEAT, **({"Content_Type": "application/json"} | headers))

    @property
    def origin(self) -> str:
        """Of our own pages."""
        return f"https://{self.node.address}"

    @property
    def name(self) -> Any:
        """What the device is called now."""
        return self.node.shown("phone-1")["name"]


@pytest.fixture
def browser(host: LocalNode) -> Browser:
    return Browser(host)


def test_the_cookie_is_for_our_own_pages_alone(browser: Browser) -> None:
    """Never over plain HTTP, for a script, from another site, or for another host of the domain."""
    name, *attributes = (part.strip() for part in browser.set_cookie.split(";"))
    assert name.startswith("__Host-meshnode=")
    said = {attribute.lower() for attribute in attributes}
    assert {"secure", "httponly", "samesite=strict", "path=/"} <= said
    assert not any(attribute.startswith("domain") for attribute in said)
    assert browser.phone.token
    assert browser.phone.token in name


def test_our_page_may_do_what_the_device_may(browser: Browser) -> None:
    """Read and write."""
    assert browser.ask("GET", "/api/node/identity").status == 200
    assert browser.beat(Origin=browser.origin).status == 200
    assert browser.name == "renamed by a page"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://{host}"},
        {"Origin": "https://{host}.evil.example"},
        {"Host": "evil.example", "Origin": "https://evil.example"},
        {"Origin": "https://{host}", "Content_Type": "text/plain"},
        {"Origin": "https://{host}", "Content_Type": "application/x-www-form-urlencoded"},
    ],
)
def test_other_pages_change_nothing_with_it(browser: Browser, headers: dict[str, str]) -> None:
    """403 before anything is read; also a name that was pointed at us, and a form."""
    before = browser.node.dump()
    sent = {name: value.format(host=browser.node.address) for name, value in headers.items()}
    answer = browser.beat(**sent)
    assert (answer.status, answer.code) == (403, "bad_origin")
    if "Content_Type" not in sent:
        upgrade = browser.ask("GET", "/ws", **UPGRADE, **sent)
        assert (upgrade.status, upgrade.code) == (403, "bad_origin")
        assert browser.ask("POST", "/graphql", b'{"query": "{ nodes { id } }"}', **sent).code == "bad_origin"
    assert browser.node.dump() == before


def test_our_page_opens_a_socket(browser: Browser) -> None:
    """With its Origin, as that device; without a cookie anybody may, as nobody."""
    assert browser.ask("GET", "/ws", **UPGRADE, Origin=browser.origin).status == 101
    browser.cookie = "theme=dark"
    assert browser.ask("GET", "/ws", **UPGRADE, Origin="https://evil.example").status == 101


def test_a_revoked_devices_cookie_is_worth_nothing(browser: Browser) -> None:
    """At once, on every route and for the socket."""
    assert owner(browser.node, "POST", "/api/v1/nodes/phone-1/revoke", {}).status == 200
    assert browser.beat(Origin=browser.origin).code == "token_expired"
    assert browser.ask("GET", "/ws", **UPGRADE, Origin=browser.origin).code == "token_expired"


def test_who_comes_back_with_a_dead_cookie_can_pair_again(browser: Browser) -> None:
    """Its browser sends it for as long as it thinks it good; another site still can't."""
    owner(browser.node, "POST", "/api/v1/nodes/phone-1/revoke", {})
    page = {"Cookie": browser.cookie, "Origin": browser.origin}
    answer = browser.phone.ask("POST", "/auth/pair/verify", b"{}", **(page | {"Origin": "https://evil.example"}))
    assert answer.code == "bad_origin"
    offer = start(browser.node)
    body = {name: offer[name] for name in ("code", "pin", "linking_code")} | {"node_identity": browser.phone.identity}
    assert browser.phone.ask("POST", "/auth/pair/verify", body, **page).status == 200
    assert browser.node.trust("phone-1") == "paired"


def test_the_session_lives_on_over_a_restart(browser: Browser) -> None:
    """Sliding: each use starts it anew."""
    for _ in range(3):
        browser.node.clock.step(500 * 3600)
        assert browser.beat(Origin=browser.origin).status == 200
        browser.node.run(browser.node.graph.use.tokens.flush())
        browser.node.restart()
    browser.node.clock.step(721 * 3600)
    assert browser.beat(Origin=browser.origin).code == "token_expired"


def test_the_control_listener_knows_no_cookie(browser: Browser) -> None:
    """It reads none, sets none, and answers under its own names only."""
    node, bearer = browser.node, {"Authorization": f"Bearer {browser.node.owner_token}"}
    answer = ask_control(node.control_address, "GET", "/api/v1/nodes", None, {"Cookie": browser.cookie})
    assert answer.code == "token_required"
    answer = ask_control(node.control_address, "GET", "/api/v1/nodes", None, bearer)
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    port = node.control_address.rpartition(":")[2]
    for host in (f"evil.example:{port}", "localhost", node.address):
        assert ask_control(node.control_address, "GET", "/healthz", None, bearer | {"Host": host}).code == "bad_origin"
    for origin in ("https://evil.example", browser.origin, "null"):
        headers = bearer | {"Origin": origin}
        assert ask_control(node.control_address, "GET", "/healthz", None, headers).code == "bad_origin"
