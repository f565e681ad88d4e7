"""Every route of both listeners against every kind of caller, as the one authorisation table says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.dialects.table import DIALECTS
from meshnode.domain.principal import NEEDS, Action, Need
from meshnode.transport.http_server import Route
from tests.fakes.joiner import Answer, Joiner, new_id
from tests.fakes.local_node import LocalNode
from tests.fakes.plain_http import ask_control

CALLERS = ("anonymous", "level 1", "level 2", "owner")
ALLOWED = {
    Need.ANYONE: {"anonymous", "level 1", "level 2", "owner"},
    Need.PEER: {"level 1", "level 2"},
    Need.PAIRED: {"level 1", "level 2", "owner"},
    Need.OPERATOR: {"level 2", "owner"},
    Need.OWNER: {"owner"},
}
REFUSALS = {"token_required", "not_permitted"}


class Caller:
    """One way to ask."""

    def __init__(self, host: LocalNode, name: str) -> None:
        self._host = host
        self._token: str | None = None
        if name == "owner":
            self._token = host.owner_token
        elif name != "anonymous":
            joiner = Joiner(host.port)
            joiner.pair(host.offer().pin)
            if name == "level 2":
                host.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
            assert joiner.open_session().status == 200
            self._token = joiner.token

    def ask(self, listener: str, route: Route) -> Answer:
        """A call that is harmless if it is permitted."""
        path = route.path.replace("{ref}", new_id()).replace("{offer_id}", "no-such-offer")
        headers = {"Content-Type": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        body = None if route.body is None else json.dumps({"to": ""}).encode()
        if listener == "public":
            return Joiner(self._host.port).request(route.method, path, body, headers)
        return ask_control(self._host.control_address, route.method, path, body, headers)


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Caller]]:
    """One node, asked by all."""
    node = LocalNode(Path(tmp_path_factory.mktemp("authorisation")) / "host")
    try:
        node.start()
        yield {name: Caller(node, name) for name in CALLERS}
    finally:
        node.close()


class Nothing:
    """Stands for the use cases while routes are only listed."""

    def __getattr__(self, name: str) -> Any:
        return Nothing()


ROUTES: list[Route] = [route for dialect in DIALECTS for route in dialect.routes(Nothing())]  # type: ignore[arg-type]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("name", CALLERS)
def test_every_route_asks_the_table(callers: dict[str, Caller], name: str, route: Route) -> None:
    """Permitted callers get past the gate, all others 401 without a token and 403 with one."""
    for listener in route.listeners:
        answer = callers[name].ask(listener, route)
        if name != "anonymous" and (name == "owner") != (listener == "control"):
            assert answer.status == 401, "a token of the other listener is worth nothing here"
        elif name in ALLOWED[NEEDS[route.action]]:
            assert answer.status < 500
            assert answer.code not in REFUSALS, answer
        else:
            expected = (401, "token_required") if name == "anonymous" else (403, "not_permitted")
            assert (answer.status, answer.code) == expected


def test_every_action_is_judged_and_used() -> None:
    """The table is complete, and no route asks for something it doesn't know."""
    assert set(NEEDS) == set(Action)
    assert {route.action for route in ROUTES} == set(Action)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_lives_on_its_listeners_only(callers: dict[str, Caller], route: Route) -> None:
    """The mesh wire is absent from the control listener; what only the owner may do, from the public one."""
    if route.path.startswith("/mesh/"):
        assert route.listeners == {"public"}
    if NEEDS[route.action] is Need.OWNER:
        assert route.listeners == {"control"}
    for listener, name in (("public", "level 2"), ("control", "owner")):
        if listener not in route.listeners:
            answer = callers[name].ask(listener, route)
            assert answer.code in ("not_found", "method_not_allowed")


@pytest.mark.parametrize(
    ("listener", "token"),
    [("public", "x"), ("public", ""), ("public", "\u00e9"), ("control", "x"), ("control", "A" * 5000)],
)
@pytest.mark.parametrize("scheme", ["Bearer", "Device", "Basic", "bearer", ""])
def test_a_wrong_token_is_401_even_where_none_is_needed(
    callers: dict[str, Caller], listener: str, token: str, scheme: str
) -> None:
    """Whoever shows a token is judged by it."""
    headers = {"Authorization": f"{scheme} {token}".encode("latin-1").decode("latin-1")}
    host = callers["owner"]._host
    if listener == "public":
        answer = Joiner(host.port).request("GET", "/healthz", None, headers)
    else:
        answer = ask_control(host.control_address, "GET", "/healthz", None, headers)
    assert answer.status == 401
    assert answer.code in ("token_required", "token_expired")
    assert answer.headers["www-authenticate"].startswith("Bearer")
