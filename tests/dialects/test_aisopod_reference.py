"""aisopod's own documents as a client: its methods, shapes, error codes, and what its unit tests hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from tests.dialects.aisopod_app import PHONE, WAIT_S, approve, connect, connect_owner, is_let_in, paired
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import wait_for

Make = Callable[..., LocalNode]


async def test_a_request_is_answered_with_six_digits_and_their_end(host: LocalNode) -> None:
    """PairRequestResult: `pairing_code`, `expires_at` five minutes from now."""
    async with connect(host) as app:
        result = await app.result("node.pair.request", PHONE)
    assert result.keys() >= {"pairing_code", "expires_at"}
    assert re.fullmatch(r"[0-9]{6}", result["pairing_code"])
    left_s = (datetime.fromisoformat(result["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert 290 < left_s <= 300


async def test_the_user_confirms_and_the_device_token_works(host: LocalNode) -> None:
    """The reference's flow: the device asks, the user confirms the code, the token is for reconnecting."""
    async with connect(host) as app, connect_owner(host) as user:
        code = await app.ask()
        result = await user.confirm(code)
    assert result.keys() >= {"device_token", "paired_at"}
    assert abs((datetime.fromisoformat(result["paired_at"]) - datetime.now(UTC)).total_seconds()) < 60
    async with connect(host, result["device_token"]) as again:
        described = await again.result("node.describe", {})
    assert described["id"] == host.id


async def test_the_whole_flow_on_the_users_own_socket_is_answers_only(host: LocalNode) -> None:
    """A simple client reads the next frame as the answer: nothing comes in between."""
    async with connect_owner(host) as user:
        code = await user.ask()
        token = (await user.confirm(code))["device_token"]
        assert await user.result("node.pair.revoke", {"device_id": PHONE["device_id"]}) == {"revoked": True}
    assert not await is_let_in(host, token)


async def test_without_approval_the_device_confirms_by_itself(make_host: Make) -> None:
    """`aisopod.require_approval = false`: request and confirm on one socket, as the reference does literally."""
    host = make_host(**{"aisopod.require_approval": False})
    async with connect(host) as app:
        result = await app.confirm(await app.ask())
    assert await is_let_in(host, result["device_token"])
    assert {d["code"] for d in host.call("GET", "/api/v1/node")["degraded"]} == {"approval_off"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device_type", "toaster"),
        ("device_type", "IOS"),
        ("device_id", "not-a-uuid"),
        ("device_id", "6f1c0b52-8a3e-4c2f-9d51-2b7a4f0e9c1_"),
        ("device_id", 7),
        ("device_name", None),
        ("device_name", "\u202e\u200b"),
        ("client_version", ["1"]),
    ],
)
async def test_a_bad_parameter_is_named(host: LocalNode, field: str, value: object) -> None:
    """-32602 with the field."""
    async with connect(host) as app:
        error = (await app.call("node.pair.request", PHONE | {field: value}))["error"]
    assert (error["code"], error["data"]["field"]) == (-32602, field)


@pytest.mark.parametrize("field", list(PHONE))
async def test_a_missing_parameter_is_named(host: LocalNode, field: str) -> None:
    """-32602 with the field."""
    async with connect(host) as app:
        error = (await app.call("node.pair.request", {k: v for k, v in PHONE.items() if k != field}))["error"]
    assert (error["code"], error["data"]["field"]) == (-32602, field)


async def test_a_wrong_code_and_another_devices_code_are_application_errors(host: LocalNode) -> None:
    """-32003 for both, alike."""
    async with connect(host) as app:
        code = await app.ask()
        wrong = f"{(int(code) + 1) % 1_000_000:06d}"
        assert await app.refused(wrong) == (-32003, "code_unknown")
        assert await app.refused("no digits") == (-32003, "code_unknown")
        assert await app.refused(code, "00000000-0000-4000-8000-000000000000") == (-32003, "code_unknown")
        assert await app.error("node.pair.confirm", {"pairing_code": code, "device_id": "x"}) == (
            -32602,
            "invalid_params",
        )


async def test_an_expired_code_is_an_application_error(host: LocalNode) -> None:
    """-32003, approved or not, and the time is the configured one."""
    async with connect(host) as app:
        code = await app.ask()
        await approve(host, code)
        await app.hear()
        host.clock.step(301)
        assert await app.refused(code) == (-32003, "code_expired")
        assert host.row(PHONE["device_id"]) is None


async def test_the_lifetime_is_configurable(make_host: Make) -> None:
    """Their notes list the fixed five minutes as a fault."""
    host = make_host(**{"aisopod.request_s": 60})
    async with connect(host) as app:
        result = await app.result("node.pair.request", PHONE)
    left_s = (datetime.fromisoformat(result["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert 50 < left_s <= 60


async def test_revoking_ends_the_token(host: LocalNode) -> None:
    """`revoked` tells whether there was such a device; a second time there is none."""
    token = await paired(host)
    async with connect_owner(host) as user:
        assert await user.result("node.pair.revoke", {"device_id": PHONE["device_id"]}) == {"revoked": True}
        assert await user.result("node.pair.revoke", {"device_id": PHONE["device_id"]}) == {"revoked": False}
    assert not await is_let_in(host, token)


async def test_paired_devices_survive_a_restart(host: LocalNode) -> None:
    """The token is good for the next run, and the request for approval too."""
    token = await paired(host)
    async with connect(host) as app:
        code = await app.ask(device_id="11111111-2222-4333-8444-555555555555")
    host.restart()
    assert await is_let_in(host, token)
    await approve(host, code)


async def test_the_sweep_runs(make_host: Make) -> None:
    """Their first version never started it: expired requests end by themselves, in the configured interval."""
    host = make_host(**{"aisopod.pairing_cleanup_interval": 1.0})
    async with connect(host) as app:
        await app.ask()
    (row,) = host.rows("pairing_codes")
    assert (row["state"], row["sealed"] is None) == ("open", False)
    host.clock.step(301)
    wait_for("the sweep", lambda: host.rows("pairing_codes")[0]["state"] == "expired", WAIT_S)
    (row,) = host.rows("pairing_codes")
    assert (row["sealed"], row["code_digest"]) == (None, None)
    assert wait_for("the count", lambda: host.graph.use.counters.sweeps["aisopod"], WAIT_S) >= 1


async def test_the_list_they_miss_is_there(host: LocalNode) -> None:
    """`node.pair.list`: what waits, with codes, and what is paired."""
    await paired(host)
    async with connect(host) as app, connect_owner(host) as user:
        code = await app.ask(device_id="11111111-2222-4333-8444-555555555555")
        listed = await user.result("node.pair.list", {})
        (pending,), (device,) = listed["pending"], listed["paired"]
        assert (pending["pairing_code"], pending["is_approved"]) == (code, False)
        assert {k: device[k] for k in ("device_id", "device_type", "client_version")} == {
            "device_id": PHONE["device_id"],
            "device_type": "ios",
            "client_version": "1.4.0",
        }
        approved = await user.result("node.pair.approve", {"request_id": pending["id"]})
        assert approved["approved"]["is_approved"]
        assert (await app.hear())["method"] == "node.pair.approved"
