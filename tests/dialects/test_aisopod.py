"""aisopod as we speak it: who decides, who is told, what a stranger gets, how tokens end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from meshnode.daemon.system import SystemEntropy
from meshnode.domain.device_request import RequestingDevice
from meshnode.domain.errors import MeshError
from meshnode.domain.peer import MeshNode
from tests.dialects.aisopod_app import (
    OTHER_ID,
    PHONE,
    REQUESTS,
    App,
    approve,
    asked,
    connect,
    connect_owner,
    is_let_in,
    paired,
    waiting,
)
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Nodes, wait_for

Make = Callable[..., LocalNode]
ID = PHONE["device_id"]
TAKEN = (-32003, "code_unknown")
NOT_PERMITTED = (-32003, "not_permitted")


async def put_row(host: LocalNode, node_id: str, **members: Any) -> None:
    """A row as another dialect would have made it."""
    now = datetime.now(UTC)
    members = {"name": "Other", "trust": "paired", "trust_level": 1, "dialect": "mylzip", "paired_at": now} | members
    node = MeshNode(id=node_id, hostname="127.0.0.1", port=1, status="offline", created_at=now, **members)

    async def put() -> None:
        async with host.graph.use.store.write() as tx:
            await tx.nodes.upsert(node)
        host.graph.roster.put(node, host.clock.monotonic())

    await asyncio.to_thread(host.run, put())


async def set_level(host: LocalNode, device_id: str, level: int) -> None:
    await asked(host, "PUT", f"/api/v1/nodes/{device_id}/trust", {"level": level})


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_asked_again_on_one_socket_it_is_the_same_code(host: LocalNode) -> None:
    """While the request is open, in any spelling of the id; then another."""
    async with connect(host) as app:
        code = await app.ask()
        for spelling in (ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}"):
            assert await app.ask(device_id=spelling) == code
        (request,) = await waiting(host)
        assert (request["device_id"], request["is_duplicate"]) == (ID, False)
        host.clock.step(301)
        again = await app.ask()
        (request,) = await waiting(host)
        assert request["code"] == again


async def test_another_socket_gets_another_code_and_one_approval_rejects_the_other(host: LocalNode) -> None:
    """Both are shown as duplicate; who was refused is told, and its code is over."""
    async with connect(host) as app, connect(host) as beside:
        own, other = await app.ask(), await beside.ask()
        assert own != other
        assert [r["is_duplicate"] for r in await waiting(host)] == [True, True]
        await approve(host, own)
        assert await app.hear() == {
            "jsonrpc": "2.0", "method": "node.pair.approved", "params": {"device_id": ID},
        }  # fmt: skip
        assert (await beside.hear())["method"] == "node.pair.rejected"
        assert await beside.refused(other) == (-32003, "offer_closed")
        assert (await app.confirm(own))["node"]["id"] == host.id


async def test_who_knows_a_device_id_gets_another_code_and_never_its_token(host: LocalNode) -> None:
    """Neither before the approval, nor after it, nor once the device has its token."""
    async with connect(host) as app, connect(host) as attacker:
        code = await app.ask()
        beside = await attacker.ask()
        assert beside != code
        assert await attacker.refused(beside) == (-32003, "approval_pending")
        await approve(host, code)
        assert (await attacker.hear())["method"] == "node.pair.rejected"
        late = await attacker.ask()
        assert late not in (code, beside)
        assert await attacker.refused(late) == (-32003, "approval_pending")
        await app.hear()
        token = (await app.confirm(code))["device_token"]
        assert (await attacker.hear())["method"] == "node.pair.rejected"
        assert await attacker.refused(late) == (-32003, "offer_closed")
        assert await attacker.refused(code) == (-32003, "code_used")
    assert await is_let_in(host, token)


async def test_a_source_has_three_requests_waiting_and_all_have_sixteen(host: LocalNode) -> None:
    """The next is told when to come back; a decision makes room."""
    async with connect(host) as app:
        ids = [f"00000000-0000-4000-8000-{n:012d}" for n in range(4)]
        codes = [await app.ask(device_id=device_id) for device_id in ids[:3]]
        answer = await app.call("node.pair.request", PHONE | {"device_id": ids[3]})
        assert answer["error"]["data"]["code"] == "rate_limited"
        assert 290 < answer["error"]["data"]["retry_after"] <= 300
        await approve(host, codes[0])
        await app.hear()
        await app.confirm(codes[0], ids[0])
        await app.ask(device_id=ids[3])

    def device(n: int) -> RequestingDevice:
        return RequestingDevice(
            dialect="aisopod", id=f"id-{n}", name="x", type="ios", version="1", address="10.0.0.1", source=f"s{n}"
        )

    requests = host.graph.use.requests
    for n in range(13):
        await asyncio.to_thread(host.run, requests.ask(device(n), 300))
    with pytest.raises(MeshError, match="too many requests"):
        await asyncio.to_thread(host.run, requests.ask(device(13), 300))
    assert len({r["code"] for r in await waiting(host)}) == 16


class Stuck(SystemEntropy):
    """Draws the same code twice before it goes on."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(self, size_bytes: int) -> bytes:
        self.drawn += size_bytes == 16
        return bytes(16) if size_bytes == 16 and self.drawn <= 2 else super().draw(size_bytes)


async def test_codes_are_unique_among_the_waiting(host: LocalNode) -> None:
    """A code that is drawn again is drawn anew."""
    entropy = host.graph.use.codes._entropy = Stuck()
    async with connect(host) as app:
        assert await app.ask() == "000000"
        assert await app.ask(device_id=OTHER_ID) != "000000"
    assert entropy.drawn == 3


async def test_hostile_names_are_cleaned_everywhere(host: LocalNode) -> None:
    """Controls and direction marks go, length is cut; markup stays text."""
    name = "<b>\u202eevil\x1b[31m\u200b</b>\n" + "x" * 4000
    async with connect(host) as app, connect_owner(host) as user:
        code = await app.ask(device_name=name, client_version="\x07" + "9" * 500)
        (request,) = await waiting(host)
        assert request["device_name"] == ("<b>evil[31m</b> " + "x" * 100)[:64]
        assert request["client_version"] == "9" * 64
        (pending,) = (await user.result("node.pair.list", {}))["pending"]
        assert pending["device_name"] == request["device_name"]
        await approve(host, code)
        assert (await app.hear())["params"] == {"device_id": ID}
        await app.confirm(code)
    assert host.shown(ID)["name"] == request["device_name"]


# ── deciding ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_gets_its_token_after_the_approval_and_once(host: LocalNode) -> None:
    """`approval_pending` until then, `code_used` after; what it said is its row."""
    async with connect(host) as app:
        code = await app.ask()
        assert await app.refused(code) == (-32003, "approval_pending")
        approved = await approve(host, code)
        assert (approved["is_approved"], approved["code"], approved["was"]) == (True, None, None)
        await app.hear()
        assert (await app.confirm(code)).keys() == {"device_token", "paired_at", "node"}
        assert await app.refused(code) == (-32003, "code_used")
    row = host.row(ID)
    assert row is not None
    assert (row["name"], row["kind"], row["trust"], row["trust_level"], row["dialect"]) == (
        PHONE["device_name"], "phone", "paired", 1, "aisopod",
    )  # fmt: skip


async def test_the_owners_token_ends_when_the_device_fetches_its_own(host: LocalNode) -> None:
    """The code stays good for the device; the row says where the device is, not the owner."""
    async with connect(host) as app, connect_owner(host) as user:
        code = await app.ask()
        owners = (await user.confirm(code))["device_token"]
        assert (await app.hear())["method"] == "node.pair.approved"
        assert await is_let_in(host, owners)
        own = (await app.confirm(code))["device_token"]
        assert await user.refused(code) == (-32003, "code_used")
    assert not await is_let_in(host, owners)
    assert await is_let_in(host, own)


async def test_the_owners_token_is_the_devices_own(host: LocalNode) -> None:
    """Audited under the device's address; for a device without TLS it counts there only."""
    for listener, counts in (("public", True), ("plain", False)):
        device = RequestingDevice(
            dialect="aisopod", id=ID, name="x", type="ios", version="1", address="10.9.8.7", source="10.9.8.7",
            listener=listener,
        )  # fmt: skip
        request = await asyncio.to_thread(host.run, host.graph.use.requests.ask(device, 300))
        async with connect_owner(host) as user:
            token = (await user.confirm(request.code))["device_token"]
        assert await is_let_in(host, token) == counts
    entries = (await asked(host, "GET", "/api/v1/audit"))["entries"]
    assert {e["address"] for e in entries if e["event"] == "node.paired"} == {"10.9.8.7"}


async def test_a_rejected_device_is_told(host: LocalNode) -> None:
    """By notification, and when it confirms; even after an approval it has not used."""
    async with connect(host) as app, connect_owner(host) as user:
        for is_approved in (False, True):
            code = await app.ask()
            (pending,) = await waiting(host)
            if is_approved:
                await user.result("node.pair.approve", {"request_id": pending["id"]})
                await app.hear()
            await user.result("node.pair.reject", {"request_id": pending["id"]})
            assert (await app.hear())["method"] == "node.pair.rejected"
            assert await app.refused(code) == (-32003, "offer_closed")
            assert await user.error("node.pair.approve", {"request_id": pending["id"]}) == (-32003, "request_unknown")
    assert host.row(ID) is None


async def test_strangers_and_level_one_decide_nothing(host: LocalNode) -> None:
    """Every method of the owner's, and what needs a device, by whom it is refused."""
    token = await paired(host)
    async with connect(host) as app, connect(host, token) as device, connect_owner(host) as user:
        code = await app.ask(device_id=OTHER_ID)
        (pending,) = await waiting(host)
        decide = {"request_id": pending["id"]}
        calls = [("list", {}), ("approve", decide), ("reject", decide)]
        for name, params in calls:
            assert await app.error(f"node.pair.{name}", params) == (-32003, "token_required")
            assert await device.error(f"node.pair.{name}", params) == NOT_PERMITTED
        assert await app.error("node.pair.revoke", {"device_id": ID}) == (-32003, "token_required")
        assert await app.error("node.token.refresh", {}) == (-32003, "token_required")
        assert await user.error("node.token.refresh", {}) == NOT_PERMITTED
        assert await device.refused(code, OTHER_ID) == (-32003, "approval_pending")
    assert host.row(OTHER_ID) is None


async def test_an_operator_decides_but_not_on_itself_nor_on_its_equals(host: LocalNode) -> None:
    """Level 2 confirms for others below it; its own id and another operator's wait for the owner."""
    token = await paired(host)
    await paired(host, device_id=OTHER_ID)
    await set_level(host, ID, 2)
    await set_level(host, OTHER_ID, 2)
    third = "11111111-2222-4333-8444-555555555555"
    async with connect(host, token) as operator, connect(host) as app:
        own, equal = await app.ask(), await app.ask(device_id=OTHER_ID)
        assert await operator.refused(own) == (-32003, "approval_pending")
        assert await operator.refused(equal, OTHER_ID) == NOT_PERMITTED
        for request in await waiting(host):
            assert await operator.error("node.pair.approve", {"request_id": request["id"]}) == NOT_PERMITTED
        assert await operator.error("node.pair.revoke", {"device_id": OTHER_ID}) == NOT_PERMITTED
        assert await operator.confirm(await app.ask(device_id=third), third)
        assert (await app.hear())["params"] == {"device_id": third}
        assert await operator.result("node.pair.revoke", {"device_id": third}) == {"revoked": True}
    assert {host.row(i)["trust_level"] for i in (ID, OTHER_ID)} == {2}


@pytest.mark.parametrize("members", [{}, {"trust": "revoked"}, {"public_key": bytes(32), "dialect": "mesh"}])
async def test_an_id_of_another_dialect_or_of_a_peer_is_refused_at_the_approval(
    host: LocalNode, members: dict[str, Any]
) -> None:
    """The owner learns it at once, and the row stays as it is."""
    await put_row(host, ID, **members)
    before = host.row(ID)
    async with connect(host) as app, connect_owner(host) as user:
        code = await app.ask()
        with pytest.raises(MeshError) as refusal:
            await approve(host, code)
        assert refusal.value.code == "identity_mismatch"
        assert await user.refused(code) == (-32003, "identity_mismatch")
    assert host.row(ID) == before


async def test_a_revoked_device_comes_back_by_the_owner_only(make_host: Make) -> None:
    """Even where nobody else is asked; the owner is told what it was."""
    host = make_host(**{"aisopod.require_approval": False})
    async with connect(host) as app:
        await app.confirm(await app.ask())
        assert await asked(host, "POST", f"/api/v1/nodes/{ID}/revoke")
        code = await app.ask()
        assert await app.refused(code) == (-32003, "approval_pending")
        assert [r["was"] for r in await waiting(host)] == ["revoked"]
        await approve(host, code)
        assert (await app.hear())["method"] == "node.pair.approved"
        await app.confirm(code)
    assert host.trust(ID) == "paired"


async def test_requests_outlive_a_kill_between_any_two_steps(nodes: Nodes) -> None:
    """Asked, killed, approved, killed, confirmed, killed: the token is good."""
    node = nodes.start()
    async with connect(node) as app:
        code = await app.ask()
    for step in (lambda: approve(node, code), None):
        await asyncio.to_thread(node.kill)
        await asyncio.to_thread(node.start)
        if step is not None:
            await step()
    async with connect(node) as app:
        token = (await app.confirm(code))["device_token"]
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    assert await is_let_in(node, token)


async def test_a_socket_that_is_gone_leaves_nothing(host: LocalNode) -> None:
    """Its requests stay, its bookkeeping goes; the decision then harms nobody."""
    (asking,) = [
        r.__self__ for r in host.graph.use.bus._reactions if type(getattr(r, "__self__", 0)).__name__ == "AskingSockets"
    ]
    async with connect(host) as app:
        code = await app.ask()
        assert len(asking) == 1

    def is_empty() -> bool:
        gc.collect()
        return len(asking) == 0

    await asyncio.to_thread(wait_for, "the socket to be forgotten", is_empty)
    assert (await approve(host, code))["device_id"] == ID


async def test_it_can_be_switched_off(make_host: Make) -> None:
    """Then there is no such method."""
    host = make_host(**{"aisopod.enabled": False})
    async with connect(host) as app:
        assert (await app.call("node.pair.request", PHONE))["error"]["code"] == -32601


# ── guessing ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_wrong_codes_add_up_over_sockets_and_device_ids(host: LocalNode) -> None:
    """Ten failures lock every code-less way, the right code included; the owner still decides."""
    async with connect(host) as app, connect_owner(host) as user:
        code = await app.ask()
        wrong = f"{(int(code) + 1) % 1_000_000:06d}"
        for n in range(10):
            async with connect(host) as guesser:
                device_id = ID if n % 2 else f"00000000-0000-4000-8000-{n:012d}"
                assert await guesser.refused(wrong if n % 3 else code, device_id if n % 3 else OTHER_ID) == TAKEN
        assert await app.refused(code) == (-32003, "locked_out")
        with pytest.raises(MeshError, match="is locked"):  # for every dialect
            host.graph.use.budget.check()
        assert (await user.confirm(code))["device_token"]


async def test_what_is_no_guess_costs_nothing(host: LocalNode) -> None:
    """Asking too early, or about one's own request that is over; nor can anything be guessed while nobody waits."""
    async with connect(host) as app:
        for _ in range(12):
            assert await app.refused("123456") == TAKEN
        old = await app.ask()
        for _ in range(5):
            assert await app.refused(old) == (-32003, "approval_pending")
        host.clock.step(301)
        assert await app.ask() != ""
        for _ in range(12):
            assert await app.refused(old) in ((-32003, "code_expired"), TAKEN)
    assert [row["failures"] for row in host.rows("failed_attempts")] in ([], [0], ["[]"])


# ── revoking ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_revokes_itself_and_hears_so_before_its_sockets_end(host: LocalNode) -> None:
    """Both of them close with 4001, this one after the answer."""
    token = await paired(host)
    async with connect(host, token) as app, connect(host, token) as second:
        assert await app.result("node.pair.revoke", {"device_id": ID.upper()}) == {"revoked": True}
        assert (await app.closed(), await second.closed()) == (4001, 4001)
    assert not await is_let_in(host, token)
    assert (host.trust(ID), host.row(ID)["revoked_by"]) == ("revoked", ID)


async def test_a_device_learns_nothing_of_others(host: LocalNode) -> None:
    """The same answer whether the id exists or not, and nothing changes."""
    token = await paired(host)
    await paired(host, device_id=OTHER_ID)
    async with connect(host, token) as app:
        known = await app.call("node.pair.revoke", {"device_id": OTHER_ID})
        unknown = await app.call("node.pair.revoke", {"device_id": "11111111-2222-4333-8444-555555555555"})
    assert known["error"] == unknown["error"]
    assert known["error"]["data"]["code"] == "not_permitted"
    assert host.trust(OTHER_ID) == "paired"


async def test_revoking_means_this_very_id_and_this_dialect(host: LocalNode) -> None:
    """Not a row of another dialect, nor one whose id or name merely looks so; such a name protects nobody either."""
    await put_row(host, OTHER_ID)
    await put_row(host, f"node-{ID}", dialect="mesh", public_key=bytes(32))
    before = host.rows()
    async with connect_owner(host) as user:
        for device_id in (ID, OTHER_ID):
            assert await user.result("node.pair.revoke", {"device_id": device_id}) == {"revoked": False}
        assert host.rows() == before
        await paired(host)
        await put_row(host, "x", name=ID)
        assert await user.result("node.pair.revoke", {"device_id": ID}) == {"revoked": True}
    assert [row["id"] for row in host.rows() if row["trust"] == "revoked"] == [ID]


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def refreshed(app: App) -> str:
    token: str = (await app.result("node.token.refresh", {}))["device_token"]
    return token


async def test_a_refreshed_token_dies_at_the_new_ones_first_use(host: LocalNode) -> None:
    """And the socket that it opened ends."""
    old = await paired(host)
    async with connect(host, old) as app:
        new = await refreshed(app)
        assert await is_let_in(host, old)
        assert await is_let_in(host, new)
        assert not await is_let_in(host, old)
        await app.ws.send_str("{}")
        assert await app.closed() == 4401


async def test_a_refreshed_token_dies_after_a_minute_anyway(host: LocalNode) -> None:
    """Unless it is refreshed again, which neither prolongs it nor leaves a second new one."""
    old = await paired(host)
    async with connect(host, old) as app:
        void = await refreshed(app)
        host.clock.step(40)
        new = await refreshed(app)
    assert await is_let_in(host, old)
    assert not await is_let_in(host, void)
    host.clock.step(21)
    assert not await is_let_in(host, old)
    assert await is_let_in(host, new)


async def test_tokens_end_over_restarts_too(host: LocalNode) -> None:
    """What was void or over stays so, and the minute goes on."""
    old = await paired(host)
    async with connect(host, old) as app:
        void, new = await refreshed(app), await refreshed(app)
    await asyncio.to_thread(host.restart)
    assert not await is_let_in(host, void)
    assert await is_let_in(host, old)
    assert await is_let_in(host, new)
    assert not await is_let_in(host, old)
    async with connect(host, new) as app:
        newer = await refreshed(app)
    host.close()
    host.clock.step(61)
    host.start()
    assert not await is_let_in(host, new)
    assert await is_let_in(host, newer)


async def test_a_new_token_outlives_a_kill(nodes: Nodes) -> None:
    """It was committed before it was handed out; its use still ends the old one."""
    node = nodes.start()
    old = await paired(node)
    async with connect(node, old) as app:
        new = await refreshed(app)
    await asyncio.to_thread(node.kill)
    await asyncio.to_thread(node.start)
    assert await is_let_in(node, new)
    assert not await is_let_in(node, old)


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_sliding_session_that_was_replaced_stops_sliding(host: LocalNode, is_restarted: bool) -> None:
    """Also after a restart; and what replaces it keeps the whole lifetime, however often it is asked for."""
    await paired(host)
    tokens, store = host.graph.use.tokens, host.graph.use.store

    async def issue() -> str:
        async with store.write() as tx:
            issued = await tokens.issue(tx, ID, kind="session", listener="public", lifetime_s=3600)
        tokens.take(issued)
        return issued.text

    old = await asyncio.to_thread(host.run, issue())
    async with connect(host, old) as app:
        await refreshed(app)
        new = await refreshed(app)
    if is_restarted:
        await asyncio.to_thread(host.restart)
    for _ in range(2):
        assert await is_let_in(host, old)
        host.clock.step(31)
    assert not await is_let_in(host, old)
    host.clock.step(3000)
    assert await is_let_in(host, new)
    host.clock.step(3601)
    assert not await is_let_in(host, new)


def test_the_owners_api_refuses_unknown_requests(host: LocalNode) -> None:
    """404 with the code, for nonsense too."""
    for request_id in ("nonsense", "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(MeshError) as refusal:
            host.call("POST", f"{REQUESTS}/{request_id}/approve")
        assert refusal.value.code == "request_unknown"
