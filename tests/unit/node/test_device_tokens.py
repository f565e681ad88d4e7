"""Tokens of thin clients: what counts, for how long, and what is left of that after a restart."""

import asyncio
from typing import Any

import pytest

from meshnode.crypto.token import token_digest
from meshnode.domain.errors import MeshError
from meshnode.domain.principal import OWNER, Principal, Role
from meshnode.node.device_tokens import REPLACED_S
from meshnode.node.pair_device import TokenRules
from tests.fakes.bare_node import BareNode

HOUR = 3600.0
SESSION = TokenRules(kind="session", lifetime_s=10 * HOUR)


def is_dead(core: BareNode, token: str) -> bool:
    try:
        core.use.sessions.find(token)
    except MeshError as error:
        return error.code == "token_expired"
    return False


async def test_a_token_is_kept_as_its_digest_alone(core: BareNode) -> None:
    """Nowhere in the database file or its log is there the text."""
    token = await core.pair(token=TokenRules(prefix="dev_"))
    assert token.startswith("dev_")
    assert await core.query("SELECT digest, node_id, revoked_at FROM device_tokens") == [
        (token_digest(token), "phone", None)
    ]
    files = [file for file in core.path.iterdir() if file.name.startswith("meshnode.db")]
    assert files
    assert not any(token[4:].encode() in file.read_bytes() for file in files)
    assert token not in repr(core.session(token))


async def test_a_device_token_lasts_through_restarts(core: BareNode) -> None:
    """With its node and its level."""
    token = await core.pair()
    for _ in range(2):
        core.clock.advance(400 * 24 * HOUR)
        await core.restart()
        assert core.session(token).principal == Principal(Role.DEVICE, "phone", 1)


async def test_a_session_slides_with_every_use(core: BareNode) -> None:
    """And ends its lifetime after the last one."""
    token = await core.pair(token=SESSION)
    for _ in range(3):
        core.clock.advance(9 * HOUR)
        assert not is_dead(core, token)
    session = core.session(token)
    core.clock.advance(10 * HOUR)
    assert not core.use.sessions.is_live(session)
    assert is_dead(core, token)


@pytest.mark.parametrize("idle_s", [0.0, 4.0, HOUR])
async def test_a_session_keeps_its_lifetime_over_restarts(core: BareNode, idle_s: float) -> None:
    """However long after the use it was written; it neither grows nor shrinks."""
    token = await core.pair(token=SESSION)
    for _ in range(5):
        core.clock.advance(HOUR)
        core.session(token)
        core.clock.advance(idle_s)
        await core.use.tokens.flush()
        await core.restart()
        (held,) = core.use.tokens._live.values()
        assert held.lifetime_s == pytest.approx(10 * HOUR, abs=0.001)
    core.session(token)
    core.clock.advance(10 * HOUR - 1)
    assert not is_dead(core, token)


async def test_a_use_that_was_not_written_costs_a_session_no_more_than_that(core: BareNode) -> None:
    """After a kill it ends as if it had not been used."""
    token = await core.pair(token=SESSION)
    core.clock.advance(6 * HOUR)
    assert not is_dead(core, token)
    await core.restart()
    core.clock.advance(4 * HOUR)
    assert is_dead(core, token)


async def test_a_clock_that_goes_back_makes_no_session_longer(core: BareNode) -> None:
    """Made while the clock was years ahead, it ends its lifetime after the clock was set right."""
    core.clock.jump(5 * 365 * 24 * HOUR)
    token = await core.pair(token=SESSION)
    core.clock.jump(-5 * 365 * 24 * HOUR)
    await core.restart()
    assert not is_dead(core, token)
    await core.restart()
    core.clock.advance(10 * HOUR)
    assert is_dead(core, token)


async def test_a_clock_set_back_makes_no_running_session_longer(core: BareNode) -> None:
    """The monotonic end is the sooner one."""
    token = await core.pair(token=SESSION)
    core.clock.jump(-1000 * HOUR)
    core.clock.advance(10 * HOUR - 1)
    assert core.use.tokens.is_live(core.session(token))
    core.clock.advance(10 * HOUR)
    assert is_dead(core, token)
    await core.use.tokens.flush()
    await core.restart()
    assert is_dead(core, token)


@pytest.mark.parametrize("asleep", [False, True])
async def test_a_session_whose_end_passes_by_the_wall_clock_is_over(core: BareNode, asleep: bool) -> None:
    """Set ahead, or a machine that slept over it: also in the process that runs; a minute before it counts."""
    token = await core.pair(token=SESSION)
    pass_by = core.clock.sleep if asleep else core.clock.jump
    pass_by(10 * HOUR - 60)
    assert not is_dead(core, token)
    pass_by(10 * HOUR)
    assert is_dead(core, token)


async def test_a_use_after_the_clock_was_set_ahead_counts_from_there(core: BareNode) -> None:
    """What is written for the next start follows the wall clock."""
    token = await core.pair(token=SESSION)
    core.clock.jump(9 * HOUR)
    assert not is_dead(core, token)
    core.clock.jump(9 * HOUR)
    assert not is_dead(core, token)
    await core.use.tokens.flush()
    await core.restart()
    assert not is_dead(core, token)


async def test_the_first_use_of_a_new_token_ends_the_old_one(core: BareNode) -> None:
    """Until then both count; for good, as the next start finds it."""
    old = await core.pair()
    new = str(await core.use.tokens.refresh(core.session(old)))
    assert not is_dead(core, old)
    assert not is_dead(core, new)
    assert is_dead(core, old)
    await core.use.tokens.flush()
    await core.restart()
    assert is_dead(core, old)
    assert not is_dead(core, new)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("rules", [TokenRules(), SESSION])
async def test_a_replaced_token_dies_after_a_minute_however_often_it_is_used(
    core: BareNode, rules: TokenRules, restarts: bool
) -> None:
    """Also over a restart, and if it slid before: a use makes its end no later."""
    old = await core.pair(token=rules)
    core.clock.advance(HOUR)
    new = str(await core.use.tokens.refresh(core.session(old)))
    for _ in range(5):
        core.clock.advance(REPLACED_S / 6)
        assert not is_dead(core, old)
        await core.use.tokens.flush()
        if restarts:
            await core.restart()
    core.clock.advance(REPLACED_S / 6)
    assert is_dead(core, old)
    if restarts:
        await core.restart()
        assert is_dead(core, old)
    assert not is_dead(core, new)


async def test_a_flush_under_way_does_not_undo_a_refresh(core: BareNode) -> None:
    """It waits for the writer while the old token's end is set."""
    old = await core.pair(token=SESSION)
    session = core.session(old)
    async with core.database.write() as tx:  # the refresh and then the flush wait behind this
        await tx.audit.latest(1)
        refreshing = asyncio.ensure_future(core.use.tokens.refresh(session))
        await asyncio.sleep(0)
        flushing = asyncio.ensure_future(core.use.tokens.flush())
        await asyncio.sleep(0)
    await refreshing
    await flushing
    await core.restart()
    core.clock.advance(REPLACED_S)
    assert is_dead(core, old)


async def test_refreshing_again_voids_the_token_that_never_arrived(core: BareNode) -> None:
    """So a device holds two at most, however often it asks; and the table does not grow with it."""
    old = await core.pair()
    tokens = [str(await core.use.tokens.refresh(core.session(old))) for _ in range(20)]
    assert [is_dead(core, token) for token in tokens[:-1]] == [True] * 19
    for _ in range(20):
        tokens.append(str(await core.use.tokens.refresh(core.session(tokens[-1]))))
    assert len(core.use.tokens._live) == 2
    await core.use.tokens.flush()
    tokens.append(str(await core.use.tokens.refresh(core.session(tokens[-1]))))
    assert (await core.query("SELECT count(*) FROM device_tokens"))[0][0] <= 4
    assert not is_dead(core, tokens[-1])
    await core.use.tokens.flush()
    await core.restart()
    assert [token for token in (old, *tokens) if not is_dead(core, token)] == tokens[-1:]


@pytest.mark.parametrize("how", ["revoke", "forget", "pair again"])
async def test_a_refresh_that_comes_too_late_makes_no_token(core: BareNode, how: str) -> None:
    """The node was revoked, forgotten or paired anew while the refresh waited; nothing is left for the next start."""
    old = await core.pair()
    session = core.session(old)
    if how == "revoke":
        await core.revoke("phone")
    elif how == "forget":
        await core.use.nodes.forget(OWNER, "phone")
    else:
        await core.pair()
    before = await core.query("SELECT * FROM device_tokens WHERE revoked_at IS NULL")
    with pytest.raises(MeshError) as refused:
        await core.use.tokens.refresh(session)
    assert refused.value.code == "token_expired"
    assert await core.query("SELECT * FROM device_tokens WHERE revoked_at IS NULL") == before


async def test_levels_follow_at_once(core: BareNode) -> None:
    """On live sessions, new ones, and after a restart."""
    token = await core.pair()
    session = core.session(token)
    for level in (2, 1, 2):
        await core.set_level("phone", level)
        assert session.principal.level == level
        assert core.session(token).principal.level == level
    await core.restart()
    assert core.session(token).principal.level == 2


async def test_a_token_of_the_plain_listener_never_counts_for_more_than_level_1(core: BareNode) -> None:
    """Whatever its node is trusted with, before or after; and it says where it was issued."""
    token = await core.pair(listener="plain")
    await core.set_level("phone", 2)
    assert core.session(token).principal.level == 1
    new = str(await core.use.tokens.refresh(core.session(token)))
    await core.restart()
    for held in (token, new):
        assert core.session(held).principal.level == 1
        assert core.session(held).listener == "plain"


async def end_by(core: BareNode, how: str) -> None:
    done: dict[str, Any] = {
        "revoke": lambda: core.revoke("phone"),
        "forget": lambda: core.use.nodes.forget(OWNER, "phone"),
        "itself": lambda: core.use.nodes.revoke_itself(Principal(Role.DEVICE, "phone", 1)),
        "pair again": core.pair,
    }
    await done[how]()


@pytest.mark.parametrize("how", ["revoke", "forget", "itself", "pair again"])
async def test_tokens_end_with_their_pairing(core: BareNode, how: str) -> None:
    """At once and for good; another device's stay."""
    token, other = await core.pair(), await core.pair("tablet")
    session = core.session(token)
    await end_by(core, how)
    assert is_dead(core, token)
    assert not core.use.sessions.is_live(session)
    await core.use.tokens.flush()
    await core.restart()
    assert is_dead(core, token)
    assert not is_dead(core, other)


async def test_a_flush_that_fails_is_made_up_for(core: BareNode) -> None:
    """What was used, and what has died, is written with the next one."""
    old = await core.pair()
    new = str(await core.use.tokens.refresh(core.session(old)))
    core.session(new)
    await core.database._writer.execute("ALTER TABLE device_tokens RENAME TO away")
    with pytest.raises(MeshError):
        await core.use.tokens.flush()
    await core.database._writer.execute("ALTER TABLE away RENAME TO device_tokens")
    await core.use.tokens.flush()
    rows = await core.query("SELECT digest, last_used_at IS NULL, revoked_at IS NULL FROM device_tokens")
    assert set(rows) == {(token_digest(old), True, False), (token_digest(new), False, True)}


async def test_a_restored_database_brings_no_token_and_no_code_back(core: BareNode) -> None:
    """A token revoked since the backup would live again, and a code used since then."""
    token = await core.pair()
    code = await core.open()
    backup = core.path.parent / "backup.db"
    await core.database._writer.execute("VACUUM INTO ?", (str(backup),))
    await core.revoke("phone")
    await core.restart()  # draws another epoch
    await core.stop()
    (core.path / "meshnode.db").unlink()
    for suffix in ("-wal", "-shm"):
        (core.path / f"meshnode.db{suffix}").unlink(missing_ok=True)
    backup.rename(core.path / "meshnode.db")
    await core.start()
    assert core.row("phone").trust == "paired"
    assert is_dead(core, token)
    with pytest.raises(MeshError) as refused:
        await core.redeem(code, "thief")
    assert refused.value.code == "code_unknown"
    await core.restart()
    assert is_dead(core, token)
    assert not is_dead(core, await core.pair())
