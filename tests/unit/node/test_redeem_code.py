"""A code becomes a row and a token: once, for one device, and never over somebody else's row."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from meshnode.domain.device import DeviceClaim
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError
from meshnode.domain.lockout import FAILURES
from meshnode.domain.principal import OWNER, Principal, Role
from meshnode.node.code_records import OpenedCode
from meshnode.node.pair_device import Admitted
from meshnode.node.redeem_code import Redeemed
from meshnode.node.tables import Transaction
from tests.fakes.bare_node import BareNode
from tests.unit.samples import make_node


async def refusal(core: BareNode, code: OpenedCode | str, device: str = "phone", **sent: Any) -> MeshError:
    """And nobody was paired by it."""
    before = await core.query("SELECT id, trust, trust_level FROM mesh_nodes ORDER BY id")
    tokens = await core.query("SELECT digest FROM device_tokens WHERE revoked_at IS NULL")
    with pytest.raises(MeshError) as refused:
        await core.redeem(code, device, **sent)
    assert await core.query("SELECT id, trust, trust_level FROM mesh_nodes ORDER BY id") == before
    assert await core.query("SELECT digest FROM device_tokens WHERE revoked_at IS NULL") == tokens
    return refused.value


def wrong(pin: str) -> str:
    return f"{(int(pin) + 1) % 1_000_000:06d}"


async def test_a_device_becomes_a_row(core: BareNode) -> None:
    """In memory and in the table, at level 1, watched, audited, announced to who listens."""
    done = await core.redeem(await core.open())
    stored = await core.stored("phone")
    assert stored is not None
    assert core.row("phone") == stored
    assert (stored.trust, stored.trust_level, stored.status, stored.dialect) == ("paired", 1, "online", "salita")
    assert (stored.public_key, stored.introduced_by, done.admitted.was) == (None, None, None)
    assert core.session(str(done.admitted.token)).principal == Principal(Role.DEVICE, "phone", 1)
    async with core.database.read() as tx:
        events = [(entry.event, entry.node_id) for entry in await tx.audit.latest(10)]
    assert events == [("node.paired", "phone"), ("offer.opened", None)]


async def test_one_code_pairs_one_of_eight_that_send_it_at_once(core: BareNode) -> None:
    """Each other one is told that it is used."""
    for code_format in ("uuid", "short", "legacy"):
        code = await core.open(format=code_format)
        sent = (core.redeem(code, f"{code_format}{i}") for i in range(8))
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert Counter(a.code if isinstance(a, MeshError) else type(a) for a in answers) == {
            Redeemed: 1,
            "code_used": 7,
        }
        rows = await core.query("SELECT id FROM mesh_nodes WHERE id LIKE ?", f"{code_format}%")
        assert len(rows) == 1


async def test_a_wrong_pin_or_linking_code_costs_one_of_three_attempts(core: BareNode) -> None:
    """The third burns the code, for the right PIN too; restarts change nothing."""
    code = await core.open(has_pin=True)
    bad = [
        {"pin": wrong(code.secrets.pin)},
        {"linking_code": "AAAA0000"},
        {"pin": None, "linking_code": None},
    ]
    for left, sent in zip((2, 1, 0), bad, strict=True):
        error = await refusal(core, code, **sent)
        assert (error.code, error.members) == ("bad_pin", {"attempts_left": left})
        if left:
            await core.restart()
    assert (await refusal(core, code)).code == "offer_burned"


async def test_wrong_pins_that_come_at_once_are_each_counted(core: BareNode) -> None:
    """Three, whatever the order."""
    code = await core.open(has_pin=True)
    sent = (core.redeem(code, pin=wrong(code.secrets.pin)) for _ in range(12))
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert Counter(a.code for a in answers if isinstance(a, MeshError)) == {"bad_pin": 3, "offer_burned": 9}


@pytest.mark.parametrize("code_format", ["short", "legacy"])
async def test_guesses_are_ten_an_hour(core: BareNode, code_format: Any) -> None:
    """Then the right code is refused too, over restarts, and in every dialect."""
    code = await core.open(format=code_format)
    other = await core.open(dialect="mylzip", format="legacy")
    guess = wrong(code.text) if code_format == "legacy" else "0" * 12
    for _ in range(FAILURES):
        assert (await refusal(core, guess, format=code_format)).code == "code_unknown"
    for _ in range(2):
        for held in (code, other):
            error = await refusal(core, held)
            assert error.code == "locked_out"
            assert error.retry_after_s
        await core.restart()
    core.clock.advance(15 * 60)
    fresh = await core.open(format=code_format)
    assert (await core.redeem(fresh)).admitted.node.id == "phone"


async def test_guesses_that_come_at_once_are_ten_too(core: BareNode) -> None:
    """The right one behind them is refused: otherwise an attacker only has to be quick."""
    code = await core.open(format="legacy")
    guesses = [core.redeem(wrong(code.text), format="legacy") for _ in range(30)]
    answers = await asyncio.gather(*guesses, core.redeem(code), return_exceptions=True)
    assert Counter(getattr(a, "code", "paired") for a in answers) == {
        "code_unknown": FAILURES,
        "locked_out": 31 - FAILURES,
    }


async def test_what_nobody_can_guess_spends_no_budget(core: BareNode) -> None:
    """Nor does a guess while there is nothing to be guessed."""
    for _ in range(2 * FAILURES):
        assert (await refusal(core, "00000000-0000-4000-8000-000000000000")).code == "code_unknown"
        assert (await refusal(core, "123456", format="legacy")).code == "code_unknown"
    assert (await core.redeem(await core.open(format="legacy"))).admitted.was is None


async def test_hostile_texts_are_unknown_codes(core: BareNode) -> None:
    """And break nothing."""
    await core.open(format="legacy", has_pin=True)
    for text in ("", "\x00", "é" * 10, "' OR 1=1 --", "0" * 100_000, "٠١٢٣٤٥", "\ud800"[:0]):
        assert (await refusal(core, text)).code == "code_unknown"
    code = await core.open(has_pin=True)
    assert (await refusal(core, code, pin="\ud800", linking_code="\udfff")).code == "bad_pin"


# ── whose row ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_device_that_pairs_again_keeps_its_row(core: BareNode) -> None:
    """With what it says now; its older tokens and sessions end, and without one of them its level falls."""
    first = await core.pair()
    await core.set_level("phone", 2)
    await core.use.nodes.set_alias(OWNER, "phone", "mine")
    before = core.row("phone")
    claim = DeviceClaim(id="phone", name="New name", hostname="192.0.2.10")
    done = await core.redeem(await core.open(), claim=claim)
    after = core.row("phone")
    assert (after.name, after.hostname, after.trust_level) == ("New name", "192.0.2.10", 1)
    assert (after.created_at, after.alias, done.admitted.was) == (before.created_at, "mine", "paired")
    with pytest.raises(MeshError):
        core.session(first)


async def test_a_live_token_of_its_own_keeps_its_level(core: BareNode) -> None:
    """Another device's does not, nor one that has died since it was shown."""
    token, other = await core.pair(), await core.pair("tablet")
    await core.set_level("phone", 2)
    session = core.session(token)
    done = await core.redeem(await core.open(), session=session)
    assert done.admitted.node.trust_level == 2
    for stale in (session, core.session(other)):  # the first died with that pairing
        await core.set_level("phone", 2)
        done = await core.redeem(await core.open(), session=stale)
        assert done.admitted.node.trust_level == 1


async def test_nobody_pairs_as_this_node_or_over_a_key(core: BareNode) -> None:
    """Whatever that peer's state; the code stays good for who it is for."""
    code = await core.open()
    for trust in ("paired", "revoked", "unconfirmed", "announced"):
        async with core.database.write() as tx:
            await tx.nodes.upsert(make_node(id="keyed", trust=trust))
        assert (await refusal(core, code, "keyed")).code == "identity_mismatch"
    assert (await refusal(core, code, core.use.me.identity.id)).code == "identity_mismatch"
    await core.redeem(code)


@pytest.mark.parametrize("trust", ["paired", "revoked"])
async def test_nobody_takes_another_apps_row(core: BareNode, trust: str) -> None:
    """Not even a revoked one."""
    await core.pair()
    if trust == "revoked":
        await core.revoke("phone")
    code = await core.open(dialect="mylzip")
    assert (await refusal(core, code)).code == "identity_mismatch"


async def test_a_revoked_device_comes_back_by_a_later_offer_only(core: BareNode) -> None:
    """At level 1, the owner told; not by one that was open when it was revoked."""
    await core.pair()
    await core.set_level("phone", 2)
    code = await core.open()
    core.clock.advance(1)
    await core.revoke("phone")
    assert (await refusal(core, code)).code == "identity_mismatch"
    core.clock.advance(1)
    done = await core.redeem(await core.open())
    assert (done.admitted.node.trust, done.admitted.node.trust_level, done.admitted.was) == ("paired", 1, "revoked")
    assert done.admitted.node.revoked_at is None
    async with core.database.read() as tx:
        (entry, *_) = await tx.audit.latest(1)
    assert (entry.event, entry.detail) == ("node.paired", "was revoked")


async def test_an_announced_row_is_taken_up(core: BareNode) -> None:
    """By any ceremony, with no right from before."""
    row = make_node(id="phone", trust="announced", public_key=None, trust_level=0, announcement=None)
    async with core.database.write() as tx:
        await tx.nodes.upsert(row)
    core.graph.roster.put(row, core.clock.monotonic())
    done = await core.redeem(await core.open())
    assert (done.admitted.node.trust_level, done.admitted.was) == (1, None)


# ── made by a device ───────────────────────────────────────────────────────────────────────────────────────────────


async def operator(core: BareNode, node_id: str = "maker") -> str:
    token = await core.pair(node_id)
    await core.set_level(node_id, 2)
    return token


async def introduce(core: BareNode, maker: str | None, device: str) -> str:
    """`device` pairs by a code that `maker` made while it was an operator; its token."""
    if maker is not None:
        await core.set_level(maker, 2)
    done = await core.redeem(await core.open(maker=maker), device)
    if maker is not None:
        await core.set_level(maker, 1)
    return str(done.admitted.token)


async def test_who_comes_by_a_devices_code_is_introduced_by_it(core: BareNode) -> None:
    """At level 1; by our own id it is us."""
    await operator(core)
    done = await core.redeem(await core.open(maker="maker"))
    assert (done.admitted.node.introduced_by, done.admitted.node.trust_level) == ("maker", 1)
    done = await core.redeem(await core.open(maker=core.use.me.identity.id))
    assert done.admitted.node.introduced_by is None


async def test_a_device_cannot_take_an_operators_row_by_its_own_code(core: BareNode) -> None:
    """Operators don't judge each other; the owner's code can, and so can the operator's own token."""
    await operator(core)
    token = await operator(core, "victim")
    code = await core.open(maker="maker")
    assert (await refusal(core, code, "victim")).code == "identity_mismatch"
    assert core.session(token).principal.level == 2
    assert (await core.redeem(code, "victim", session=core.session(token))).admitted.node.trust_level == 2
    assert (await core.redeem(await core.open(), "victim")).admitted.node.trust_level == 1


async def test_revoking_ends_what_was_introduced_too(core: BareNode) -> None:
    """Directly or not, tokens and codes and all; others stay."""
    await operator(core)
    tokens = {}
    for device, maker in (("a", "maker"), ("b", "a"), ("c", "b"), ("other", None)):
        tokens[device] = await introduce(core, maker, device)
    await core.set_level("c", 2)
    code = await core.open(maker="c")
    await core.revoke("maker")
    assert {d: core.row(d).trust for d in ("maker", *tokens)} == {
        "maker": "revoked", "a": "revoked", "b": "revoked", "c": "revoked", "other": "paired",
    }  # fmt: skip
    assert (await refusal(core, code)).code == "offer_closed"
    await core.restart()
    for device, token in tokens.items():
        if device == "other":
            assert core.session(token).principal.node_id == device
        else:
            assert core.row(device).trust == "revoked"
            with pytest.raises(MeshError):
                core.session(token)


async def test_keep_introduced_spares_them(core: BareNode) -> None:
    """And so does a device that leaves by itself."""
    await operator(core)
    token = await introduce(core, "maker", "a")
    await core.revoke("maker", keeps_introduced=True)
    assert core.row("maker").trust == "revoked"
    assert core.session(token).principal.node_id == "a"
    await introduce(core, "a", "b")
    await core.use.nodes.revoke_itself(Principal(Role.DEVICE, "a", 1))
    assert (core.row("a").trust, core.row("b").trust) == ("revoked", "paired")


async def test_a_circle_of_introductions_ends(core: BareNode) -> None:
    """Each once."""
    for device, maker in (("a", None), ("b", "a"), ("a", "b")):
        await introduce(core, maker, device)
    assert [row.id for row in await core.use.nodes.revoke(OWNER, "a")] == ["a", "b"]


async def test_an_operator_ends_nobody_of_its_own_level_by_the_way(core: BareNode) -> None:
    """What the revoked device introduced, and the owner raised since, stays; so does the operator itself."""
    await core.pair("maker")
    for device in ("raised", "low"):
        await introduce(core, "maker", device)
    await core.set_level("raised", 2)
    revoked = await core.use.nodes.revoke(Principal(Role.DEVICE, "raised", 2), "maker")
    assert [row.id for row in revoked] == ["maker", "low"]
    assert core.row("raised").trust == "paired"


# ── at the same time ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_revoke_during_a_redemption(core: BareNode, is_first: bool) -> None:
    """Whichever commits first: the maker's new device is never left paired."""
    await operator(core)
    code = await core.open(maker="maker")
    async with core.database.write():  # both wait behind this
        redeeming = asyncio.ensure_future(core.redeem(code))
        if is_first:
            await asyncio.sleep(0)
        revoking = asyncio.ensure_future(core.revoke("maker"))
        if not is_first:
            redeeming.cancel()
            await asyncio.sleep(0)
            redeeming = asyncio.ensure_future(core.redeem(code))
        await asyncio.sleep(0)
    redeemed, _ = await asyncio.gather(redeeming, revoking, return_exceptions=True)
    assert isinstance(redeemed, Redeemed if is_first else MeshError)
    row = await core.stored("phone")
    assert row is None or row.trust == "revoked"
    assert await core.query("SELECT 1 FROM device_tokens WHERE revoked_at IS NULL") == []
    assert core.use.tokens._live == {}


async def test_two_revocations_at_once_are_one(core: BareNode) -> None:
    """One line in the audit log, one time of revocation."""
    await core.pair()
    await asyncio.gather(core.revoke("phone"), core.revoke("phone"))
    assert await core.query("SELECT count(*) FROM audit_log WHERE event = 'node.revoked'") == [(1,)]


async def test_a_level_does_not_land_on_a_node_that_was_revoked_meanwhile(core: BareNode) -> None:
    """The owner's two commands cross."""
    await core.pair()
    async with core.database.write():
        revoking = asyncio.ensure_future(core.revoke("phone"))
        await asyncio.sleep(0)
        raising = asyncio.ensure_future(core.set_level("phone", 2))
        await asyncio.sleep(0)
    _, raised = await asyncio.gather(revoking, raising, return_exceptions=True)
    assert isinstance(raised, MeshError)
    assert (core.row("phone").trust, core.row("phone").trust_level) == ("revoked", 0)


async def test_what_the_dialect_stores_besides_stands_or_falls_with_the_pairing(core: BareNode) -> None:
    """One transaction."""

    async def fails(tx: Transaction, code: DeviceCode, done: Admitted) -> None:
        await tx.nodes.upsert(replace(done.node, id="besides"))
        raise MeshError("invalid_params", "no")

    code = await core.open()
    assert (await refusal(core, code, within=fails)).code == "invalid_params"
    assert await core.stored("besides") is None
    assert core.graph.roster.get("phone") is None
    await core.redeem(code)


async def test_a_claim_may_depend_on_the_rows_that_stand(core: BareNode) -> None:
    """Two devices of one name that pair at once get two ids."""

    async def unique(tx: Transaction, code: DeviceCode) -> DeviceClaim:
        taken = {node.id for node in await tx.nodes.all()}
        free = next(name for name in ("pixel", "pixel-2", "pixel-3") if name not in taken)
        return DeviceClaim(id=free, name="Pixel", hostname="192.0.2.9")

    codes = [await core.open(opens="beside") for _ in range(3)]
    done = await asyncio.gather(*(core.redeem(code, claim=unique) for code in codes))
    assert sorted(d.admitted.node.id for d in done) == ["pixel", "pixel-2", "pixel-3"]


async def test_outcomes_are_counted_by_dialect_and_format(core: BareNode) -> None:
    """Made, paired, refused."""
    code = await core.open(format="short")
    await refusal(core, "0" * 12, format="short")
    await core.redeem(code)
    counters = core.use.counters
    assert counters.codes_made["salita", "short"] == 1
    assert counters.outcomes["salita", "short", "code_unknown"] == 1
    assert counters.outcomes["salita", "short", "paired"] == 1
