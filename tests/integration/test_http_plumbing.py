"""Problem documents everywhere, who counts as local, what a page on another site can reach, levels against levels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """A node that these tests only look at."""
    node = LocalNode(Path(tmp_path_factory.mktemp("plumbing")) / "host")
    try:
        node.start()
        yield node
    finally:
        node.close()


def ask(node: LocalNode, listener: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if listener == "public":
        return Joiner(node.port).request(method, path, body, named)
    return ask_control(node.control_address, method, path, body, named)


def owner(node: LocalNode) -> dict[str, str]:
    return {"Authorization": f"Bearer {node.owner_token}"}


@pytest.mark.parametrize("listener", ["public", "control"])
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/index.html", 404, "not_found"),
        ("GET", "/../../etc/passwd", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("TRACE", "/healthz", 405, "method_not_allowed"),
        ("GET", "/readyz", 401, "token_required"),
        ("GET", "/api/v1/nodes", 401, "token_required"),
    ],
)
def test_every_refusal_is_a_problem_document(
    quiet: LocalNode, listener: str, method: str, path: str, status: int, code: str
) -> None:
    """aiohttp's own too, with its members, and never cached."""
    answer = ask(quiet, listener, method, path)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["type"] == "about:blank"
    assert answer.json["title"]
    assert (status == 405) == ("allow" in answer.headers)
    assert (status == 401) == ("www-authenticate" in answer.headers)


def test_bodies_are_capped_after_authentication_too(quiet: LocalNode) -> None:
    """A mebibyte for the owner, more is 413; strangers have 8 KiB."""
    padding = b'{"alias": null' + b" " * (1024 * 1024)
    headers = owner(quiet) | {"Content-Type": "application/json"}
    path = f"/api/v1/nodes/{quiet.id}"
    answer = ask_control(quiet.control_address, "PATCH", path, padding + b"}", headers)
    assert (answer.status, answer.code) == (413, "body_too_large")
    fitting = padding[: 1024 * 1024 - 1] + b"}"
    assert ask_control(quiet.control_address, "PATCH", path, fitting, headers).code == "invalid_params"  # ourselves
    wrong_type = owner(quiet) | {"Content-Type": "text/plain"}
    assert ask_control(quiet.control_address, "PATCH", path, b"{}", wrong_type).code == "unsupported_media_type"


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "", "localhost.evil"])
def test_the_control_listener_refuses_a_foreign_host(quiet: LocalNode, name: str) -> None:
    """A name that was pointed at 127.0.0.1 reaches nothing, not even with the token."""
    answer = ask_control(quiet.control_address, "GET", "/api/v1/nodes", None, owner(quiet) | {"Host": name})
    assert (answer.status, answer.code) == (403, "bad_origin")
    assert ask_control(quiet.control_address, "GET", "/healthz", None, {"Host": name}).status == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1", "file://"]
)
def test_the_control_listener_refuses_a_foreign_origin(quiet: LocalNode, origin: str) -> None:
    """A page on another site cannot even find out that we are here."""
    answer = ask_control(quiet.control_address, "GET", "/api/v1/nodes", None, owner(quiet) | {"Origin": origin})
    assert (answer.status, answer.code) == (403, "bad_origin")


def test_the_control_listener_serves_its_own_pages_and_sets_no_cookie(quiet: LocalNode) -> None:
    """Its own origin passes; a cookie is neither set nor read."""
    own = owner(quiet) | {"Origin": f"http://{quiet.control_address}"}
    answer = ask_control(quiet.control_address, "GET", "/api/v1/nodes", None, own)
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    assert not any(name.startswith("access-control") for name in answer.headers)
    cookie = {"Cookie": f"token={quiet.owner_token}; __Host-token={quiet.owner_token}"}
    assert ask_control(quiet.control_address, "GET", "/api/v1/nodes", None, cookie).status == 401
    preflight = own | {"Access-Control-Request-Method": "POST"}
    assert ask_control(quiet.control_address, "OPTIONS", "/api/v1/nodes", None, preflight).status == 405


@pytest.mark.parametrize("path", ["identity", "pair/begin", "pair/exchange", "nonce", "session", "heartbeat"])
def test_the_mesh_wire_is_absent_from_the_control_listener(quiet: LocalNode, path: str) -> None:
    """404 even with the owner's token."""
    for method in ("GET", "POST"):
        answer = ask_control(quiet.control_address, method, f"/mesh/v1/{path}", None, owner(quiet))
        assert (answer.status, answer.code) == (404, "not_found")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Host"])
@pytest.mark.parametrize("step", ["begin", "exchange", "finish", "ack"])
def test_forwarding_headers_of_an_unknown_proxy_end_a_pairing(quiet: LocalNode, header: str, step: str) -> None:
    """Nobody can say to be local by a header, and a forgotten proxy opens pairing to nobody."""
    answer = Joiner(quiet.port).request("POST", f"/mesh/v1/pair/{step}", b"{}", {header: "192.168.1.2"})
    assert (answer.status, answer.code) == (403, "proxy_not_configured")


def test_behind_a_trusted_proxy_the_last_unknown_hop_counts(tmp_path: Path) -> None:
    """What a client wrote itself stands further left and is not believed."""
    node = LocalNode(tmp_path / "host", **{"http.trusted_proxies": ["127.0.0.0/8"]})
    cases = {
        "192.168.1.2": "no_open_offer",
        "192.168.1.2, 127.0.0.1": "no_open_offer",
        "203.0.113.9": "not_local",
        "192.168.1.2, 203.0.113.9": "not_local",
        "192.168.1.2, 203.0.113.9, 127.0.0.1": "not_local",
        "2001:db8::1": "not_local",
        "127.0.0.1": "proxy_not_configured",
        "garbage": "proxy_not_configured",
        "": "proxy_not_configured",
    }
    try:
        node.start()
        for hops, code in cases.items():
            joiner = Joiner(node.port)
            body = json.dumps({"id": joiner.id, "public_key": "A" * 43, "protocols": [1], "way": "pin"}).encode()
            headers = {"Content-Type": "application/json", "X-Forwarded-For": hops}
            answer = joiner.request("POST", "/mesh/v1/pair/begin", body, headers)
            assert (hops, answer.code) == (hops, code)
    finally:
        node.close()


def test_strangers_are_limited_and_told_when_to_return(tmp_path: Path) -> None:
    """429 with Retry-After once a source has used up its share; a session is not counted."""
    node = LocalNode(tmp_path / "host", **{"http.anonymous_per_minute": 60})
    try:
        node.start()
        joiner = Joiner(node.port)
        joiner.pair(node.offer().pin)
        assert joiner.open_session().status == 200
        answers = [joiner.request("GET", "/healthz") for _ in range(20)]
        limited = [answer for answer in answers if answer.status != 200]
        assert limited
        assert {answer.code for answer in limited} == {"rate_limited"}
        assert int(limited[0].headers["retry-after"]) >= 1
        assert all(joiner.beat().status == 200 for _ in range(20))
    finally:
        node.close()


def test_an_operator_acts_only_on_nodes_below_its_own_level(host: LocalNode) -> None:
    """A level-2 peer revokes a level-1 node, no other operator, and grants nobody a level."""
    first, second, third = (Joiner(host.port) for _ in range(3))
    for joiner in (first, second, third):
        joiner.pair(host.offer().pin)
    for joiner in (first, second):
        host.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
        assert joiner.open_session().status == 200

    def act(method: str, path: str, by: Joiner = first) -> Answer:
        headers = {"Authorization": f"Bearer {by.token}", "Content-Type": "application/json"}
        return by.request(method, f"/api/v1/nodes/{path}", b'{"level": 2, "alias": "x"}', headers)

    before = host.dump("mesh_nodes")
    for method, path in (("POST", f"{second.id}/revoke"), ("DELETE", second.id), ("POST", f"{first.id}/revoke")):
        answer = act(method, path)
        assert (answer.status, answer.code) == (403, "not_permitted")
    assert act("PUT", f"{third.id}/trust").code == "not_found"
    assert host.dump("mesh_nodes") == before
    assert act("POST", f"{third.id}/revoke").status == 200
    row = host.row(third.id)
    assert row is not None
    assert (row["trust"], row["revoked_by"]) == ("revoked", first.id)
    host.call("PUT", f"/api/v1/nodes/{first.id}/trust", {"level": 1})
    assert act("POST", f"{third.id}/revoke").code == "not_permitted"  # the live token follows at once
