"""A real node with something to lose, those who ask it, and what must hold of it after any of them has been hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.dialects.asking import bearer, get, post
from tests.fakes.joiner import Joiner
from tests.fakes.nodes import Node, wait_for
from tests.fakes.plain_http import ask_control

MIB = 1024 * 1024
TRUST_TABLES = ("mesh_nodes", "device_tokens", "trust_relationships")
VOLATILE = {"status", "status_reason", "last_seen", "last_used_at"}  # signs of life
OWN_SAY = {"name", "hostname", "port", "addresses", "kind", "capabilities", "metadata"}  # what a device says of itself
IDENTITY = ("id", "is_current", "trust", "trust_level", "public_key", "revoked_at")
BAD_LOG = re.compile(r"Traceback|unexpected error|never retrieved|never awaited", re.IGNORECASE)


@dataclass(frozen=True)
class Caller:
    """Who asks: on which listener, with which header, and whose row."""

    name: str
    listener: str
    url: str  # https://HOST:PORT or http://HOST:PORT
    headers: dict[str, str]
    node_id: str | None = None
    level: int = 0  # 3 = the owner

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self.url.rpartition("/")[2].rsplit(":", 1)
        return host, int(port)


def try_(made: st.SearchStrategy[Any], ask: Callable[..., None], examples: int, seed_: int) -> None:
    """Ask with what is made: as many times, the same every time, nothing kept and nothing shrunk."""
    rules = settings(
        max_examples=examples,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def told(one: Any) -> None:
        try:
            ask(one)
        except Exception as error:
            error.add_note(f"asked with {one!r:.3000}")
            raise

    seed(seed_)(rules(given(made)(told)))()


class Target:
    """A node that knows a peer, some devices, a relationship and a revoked device."""

    def __init__(self, node: Node, growth_max: int) -> None:
        self.node = node
        self._growth_max = growth_max
        self.peer = Joiner(node.port)
        self.peer.pair(node.offer().pin)
        assert self.peer.open_session().status == 200
        self.tokens = {name: self.pair_phone(name) for name in ("phone", "bystander", "operator", "director", "gone")}
        for name in ("operator", "director"):
            node.call("PUT", f"/api/v1/nodes/{name}/trust", {"level": 2})
        self._relate("bystander")
        node.call("POST", "/api/v1/nodes/gone/revoke")
        self._before = self._tables()
        self._process = node.process

    # ── callers ────────────────────────────────────────────────────────────────────────────────────────────────────

    def caller(self, name: str) -> Caller:
        """`anonymous`, `phone` (level 1), `operator` (level 2), `peer` (level 1) or `owner`."""
        public = f"https://{self.node.address}"
        if name == "owner":
            url, headers = self.owner_socket()
            return Caller(name, "control", url.replace("ws:", "http:").removesuffix("/ws"), headers, level=3)
        if name == "peer":
            return Caller(name, "public", public, bearer(self.peer.token), self.peer.id, 1)
        if name == "anonymous":
            return Caller(name, "public", public, {})
        return Caller(name, "public", public, bearer(self.tokens[name]), name, 2 if name == "operator" else 1)

    def live(self, name: str) -> Caller:
        """The same, with a token that counts: a device's is another one once it was refreshed."""
        if name in self.tokens and get(self.node, "/readyz", self.tokens[name]).status == 401:
            self.check_tables(self.caller(name))
            self.tokens[name] = self.pair_phone(name)
            self._before = self._tables()
        return self.caller(name)

    def metrics(self) -> str:
        """What Prometheus would read."""
        caller = self.caller("owner")
        host, port = caller.address
        return ask_control(f"{host}:{port}", "GET", "/metrics", None, caller.headers).body.decode()

    def owner_socket(self) -> tuple[str, dict[str, str]]:
        """Where the owner opens a socket, and with which header."""
        assert self.node._control is not None
        return self.node._control.socket

    def pair_phone(self, node_id: str) -> str:
        """Pair a phone, by salita; its token."""
        offer = self.node.call("POST", "/auth/pair/start")
        body = {name: offer[name] for name in ("code", "pin", "linking_code")}
        answer = post(self.node, "/auth/pair/verify", body | {"node_identity": {"node_id": node_id, "name": node_id}})
        assert answer.status == 200, answer
        return str(answer.json["session_token"])

    def _relate(self, device_id: str) -> None:
        """Another device pairs by a code of that device's, and leaves it something."""
        codes = "/api/v1/encrypted/devices"
        made = self.node.call("POST", f"{codes}/pairing-code", {"deviceId": device_id})
        body = {"deviceId": "related", "pairingCode": made["pairingCode"], "encryptedTrustData": "opaque"}
        answer = post(self.node, f"{codes}/pair", body)
        assert answer.status == 200, answer

    def open_doors(self) -> dict[str, Any]:
        """Open an offer of every dialect and lift every lock, so that a run gets behind them; what salita's shows."""
        for dialect in ("mesh", "mylzip", "abpa3"):
            self.node.call("POST", "/api/v1/pairing/offers", {"dialect": dialect})
        self.node.call("POST", "/api/v1/pairing/unlock")
        shown: dict[str, Any] = self.node.call("POST", "/auth/pair/start")
        return shown

    # ── what must hold ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the process."""
        assert self.node.process is not None
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.node.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def stand(
        self, by: Caller, made: st.SearchStrategy[Any], ask: Callable[..., None], examples: int, warm_up: int = 40
    ) -> None:
        """Warm up, ask with everything that is made, and look around."""
        try_(made, ask, warm_up, 1)
        self.metrics()  # loads a library
        warm_bytes = self.rss_bytes
        try_(made, ask, examples, 2)
        wait_for("all sockets to be gone", lambda: "meshnode_sockets 0.0" in self.metrics())
        self.check(by, warm_bytes)

    def check(self, by: Caller, warm_bytes: int) -> None:
        """The node lives as before, and nothing has changed that `by` may not change."""
        assert self.node.process is self._process, "the node was started again"
        assert self.node.is_running
        grown = self.rss_bytes - warm_bytes
        assert grown < self._growth_max, f"{grown / MIB:.1f} MiB more memory than after the warm-up"
        self.check_tables(by)
        assert get(self.node, "/healthz").status == 200
        self.node.call("POST", "/api/v1/pairing/unlock")
        token = self.pair_phone("afterwards")
        assert post(self.node, "/api/node/heartbeat", {}, bearer(token)).status == 200
        assert self.node.trust("afterwards") == "paired"
        bad = [line for line in self.node.log().splitlines() if BAD_LOG.search(line)]
        assert not bad, bad[0][-3000:]

    def _tables(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Rows by key, without signs of life."""
        key = {"device_tokens": "digest"}
        return {
            table: {
                str(row[key.get(table, "id")]): {k: v for k, v in row.items() if k not in VOLATILE}
                for row in self.node.rows(table)
            }
            for table in TRUST_TABLES
        }

    def check_tables(self, by: Caller) -> None:
        """Compare with the beginning."""
        now, own_id = self._tables(), self.node.id
        for table, before in self._before.items():
            for key, row in before.items():
                assert _kept(by, own_id, table, row, now[table].get(key)), (by.name, table, row, now[table].get(key))
            for key in now[table].keys() - before.keys():
                assert _may_add(by, table, now[table][key]), (by.name, table, now[table][key])


def _kept(by: Caller, own_id: str, table: str, row: dict[str, Any], now: dict[str, Any] | None) -> bool:
    """Whether a row is as it was, or changed as far as the caller may."""
    if row == now:
        return True
    if table != "mesh_nodes":  # its own tokens slide and are refreshed; an operator may revoke a device with them
        return by.level > 1 or (row.get("node_id") == by.node_id is not None and now is not None)
    if row["id"] == own_id:  # the owner may rename this node, and nobody may do more to it
        return by.level == 3 and now is not None and all(row[name] == now[name] for name in IDENTITY)
    if by.level == 3:
        return True
    if row["id"] == by.node_id:
        return now is not None and {k for k in row if row[k] != now[k]} <= OWN_SAY
    return by.level == 2 and row["trust_level"] < 2


def _may_add(by: Caller, table: str, row: dict[str, Any]) -> bool:
    """Whether the caller may have added a row."""
    if by.level == 3:
        return True
    if table == "mesh_nodes":  # a device may tell of another one, which has no rights
        return by.level >= 1 and (row["trust"], row["introduced_by"]) == ("announced", by.node_id)
    return table == "device_tokens" and row["node_id"] == by.node_id is not None


def dumped(found: object) -> str:
    """For a failure's message."""
    return json.dumps(found, default=repr)[:2000]
