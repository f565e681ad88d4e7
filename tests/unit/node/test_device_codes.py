"""The codes that pair thin clients: how they open, end, survive a restart, and what of them is kept."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from meshnode.crypto.seal import Vault
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import OfferState
from meshnode.domain.pairing_code import parse_code
from meshnode.node.code_records import CodeRules, OpenedCode
from meshnode.node.device_codes import OPEN_MAX, DeviceCodes
from meshnode.node.revocations import Revocations
from tests.fakes.bare_node import BareNode

FORMATS = ("uuid", "short", "legacy")


async def state_of(core: BareNode, code: OpenedCode) -> OfferState:
    """As stored; what is watched says the same."""
    async with core.database.read() as tx:
        stored = await tx.device_codes.get(code.code.id)
    assert stored is not None
    watched = core.use.codes.watched(code.code.id)
    assert watched is None or watched.code.state is stored.code.state
    assert (stored.digest is None) == (stored.sealed is None) == (stored.code.state is not OfferState.OPEN)
    return stored.code.state


async def refusal(core: BareNode, code: OpenedCode | str, **sent: Any) -> str:
    with pytest.raises(MeshError) as refused:
        await core.redeem(code, "somebody", **sent)
    return refused.value.code


@pytest.mark.parametrize("code_format", FORMATS)
async def test_a_code_is_spelled_as_its_format_says(core: BareNode, code_format: Any) -> None:
    """And rests in no readable form."""
    code = await core.open(format=code_format, has_pin=True)
    spelled = parse_code(code.text)
    assert spelled is not None
    assert (spelled.format, spelled.text) == (code_format, code.text)
    files = [file.read_bytes() for file in core.path.iterdir() if file.name.startswith("meshnode.db")]
    for secret in (code.text, code.secrets.linking_code):
        assert secret
        assert not any(secret.encode() in content for content in files)
        assert secret not in repr(code)


async def test_a_token_code_has_128_bits_and_no_attempts_to_guess(core: BareNode) -> None:
    """32 hexadecimal digits; its failures are nobody's budget."""
    code = await core.open(is_token=True)
    assert len(bytes.fromhex(code.text)) == 16
    assert not code.code.is_codeless


@pytest.mark.parametrize(
    ("opens", "left"),
    [
        ("beside", ["uuid", "legacy", "uuid"]),
        ("instead of its format", ["legacy", "uuid"]),
        ("instead of all", ["uuid"]),
    ],
)
async def test_a_new_code_ends_the_others_it_replaces(core: BareNode, opens: Any, left: list[str]) -> None:
    """Of its own dialect; told as replaced."""
    other = await core.open(dialect="mylzip")
    codes = [await core.open(format=f, opens="beside") for f in ("uuid", "legacy")]
    codes.append(await core.open(opens=opens))
    assert [c.code.format for c in codes if await state_of(core, c) is OfferState.OPEN] == left
    assert await state_of(core, other) is OfferState.OPEN
    for code in codes:
        if await state_of(core, code) is OfferState.REPLACED:
            assert await refusal(core, code) == "offer_replaced"


async def test_no_more_codes_are_open_than_fit(core: BareNode) -> None:
    """Room comes back with time; other dialects have their own."""
    for _ in range(OPEN_MAX):
        await core.open(opens="beside")
    with pytest.raises(MeshError) as refused:
        await core.open(opens="beside")
    assert refused.value.code == "rate_limited"
    assert refused.value.retry_after_s
    await core.open(dialect="mylzip", opens="beside")
    core.clock.advance(300)
    await core.open(opens="beside")


async def test_memory_of_codes_is_bounded(core: BareNode) -> None:
    """However many have come and gone; the latest are remembered for their right refusal."""
    last = [await core.open() for _ in range(400)][-2:]
    assert len(core.use.codes._known) <= 256
    assert await refusal(core, last[0]) == "offer_replaced"
    await core.redeem(last[1])
    core.clock.advance(2 * 24 * 3600)
    await core.open()
    assert len(await core.query("SELECT id FROM pairing_codes")) == 1


async def test_a_code_survives_a_restart_with_its_secrets_and_attempts(core: BareNode) -> None:
    """It is on somebody's screen."""
    code = await core.open(has_pin=True)
    assert await refusal(core, code, pin="0" if code.secrets.pin == "000000" else "000000") == "bad_pin"
    await core.restart()
    async with core.database.read() as tx:
        stored = await tx.device_codes.get(code.code.id)
    assert stored is not None
    assert stored.code == replace(code.code, attempts=2)
    assert core.use.codes.secrets(stored) == code.secrets
    assert (await core.redeem(code)).admitted.node.id == "phone"


async def test_codes_expire_at_their_time_and_not_before(core: BareNode) -> None:
    """Refused at once; closed by the next sweep, restarts or not."""
    code = await core.open(lifetime_s=60.0)
    core.clock.advance(59.9)
    assert await core.use.codes.expire("offer") == 0
    core.clock.advance(0.1)
    assert await refusal(core, code) == "code_expired"
    await core.restart()
    assert await refusal(core, code) == "code_expired"
    assert await core.use.codes.expire("request") == 0
    assert await core.use.codes.expire("offer", "mylzip") == 0
    assert await core.use.codes.expire("offer", "salita") == 1
    assert await state_of(core, code) is OfferState.EXPIRED
    assert await refusal(core, code) == "code_expired"
    assert await core.use.codes.expire("offer") == 0


async def test_an_expired_code_stays_expired_when_the_clock_goes_back(core: BareNode) -> None:
    """Once it has been swept."""
    code = await core.open()
    core.clock.advance(300)
    await core.use.codes.expire("offer")
    core.clock.jump(-3600)
    assert await refusal(core, code) == "code_expired"


async def test_cancelling_closes_once(core: BareNode) -> None:
    """One, or all of them; requests are not offers."""
    first, second = await core.open(opens="beside"), await core.open(opens="beside")
    assert await core.use.codes.cancel(first.code.id)
    assert not await core.use.codes.cancel(first.code.id)
    assert not await core.use.codes.cancel("no such")
    assert await refusal(core, first) == "offer_closed"
    assert await core.use.codes.cancel_all()
    assert not await core.use.codes.cancel_all()
    assert await refusal(core, second) == "offer_closed"


async def test_a_code_belongs_to_one_dialect(core: BareNode) -> None:
    """The same text is unknown to every other."""
    code = await core.open()
    for dialect in ("mylzip", "abpa3", "aisopod", "mesh"):
        assert await refusal(core, code, dialect=dialect) == "code_unknown"
    assert (await core.redeem(code)).code.id == code.code.id


async def test_codes_of_a_revoked_device_end_with_it(core: BareNode) -> None:
    """Those it made; ours and others' stay."""
    for device in ("maker", "other"):
        await core.pair(device)
    codes = {maker: await core.open(maker=maker, opens="beside") for maker in ("maker", "other", None)}
    await core.revoke("maker")
    states = {maker: await state_of(core, code) for maker, code in codes.items()}
    assert states == {"maker": OfferState.CANCELLED, "other": OfferState.OPEN, None: OfferState.OPEN}
    assert await refusal(core, codes["maker"]) == "offer_closed"
    await core.restart()
    assert await refusal(core, codes["maker"]) == "code_unknown"


@pytest.fixture
async def foreign(core: BareNode) -> OpenedCode:
    """An open code that was sealed under another identity key."""
    use, other = core.use, Vault(bytes(32))
    codes = DeviceCodes(core.database, core.clock, core.entropy, other, use.counters, use.bus, Revocations())
    code = await codes.open(CodeRules(dialect="salita", lifetime_s=300.0, format="legacy", has_pin=True))
    await core.restart()
    return code


async def test_a_code_sealed_under_another_identity_neither_crashes_nor_counts(
    core: BareNode, foreign: OpenedCode
) -> None:
    """It is closed at the start, pairs nobody, and spends nobody's budget."""
    assert await state_of(core, foreign) is OfferState.CANCELLED
    assert not core.use.codes.is_guessable_open("salita")
    for _ in range(12):
        assert await refusal(core, foreign) == "code_unknown"
    assert await core.use.codes.expire("offer") == 0
    assert not await core.use.codes.cancel_all()


async def test_a_damaged_seal_is_no_secret(core: BareNode) -> None:
    """As if it had been sealed under another key; the code can still be found and is never matched."""
    code = await core.open(has_pin=True)
    await core.database._writer.execute("UPDATE pairing_codes SET sealed = x'00112233' WHERE id = ?", (code.code.id,))
    assert await refusal(core, code) == "bad_pin"
    async with core.database.read() as tx:
        stored = await tx.device_codes.get(code.code.id)
    assert stored is not None
    assert core.use.codes.secrets(stored) is None


async def test_only_open_guessable_codes_of_that_dialect_count(core: BareNode) -> None:
    """Neither one that nobody can guess, nor an expired one."""

    def is_guessable() -> bool:
        return core.use.codes.is_guessable_open("salita")

    await core.open(opens="beside")
    await core.open(dialect="mylzip", format="legacy")
    assert not is_guessable()
    code = await core.open(format="short", opens="beside")
    assert is_guessable()
    await core.restart()
    assert is_guessable()
    core.clock.advance(300)
    assert not is_guessable()
    core.clock.jump(-300)
    await core.use.codes.cancel(code.code.id)
    assert not is_guessable()


async def test_what_happens_to_a_code_is_told(core: BareNode) -> None:
    """To who waits beside it: wrong attempts, and who paired."""
    code = await core.open(has_pin=True)
    await refusal(core, code, linking_code="AAAA0000")
    watched = core.use.codes.watched(code.code.id)
    assert watched is not None
    assert watched.activity == {"joiner": "192.0.2.9", "attempts_left": 2, "wrong": True}
    await core.redeem(code)
    assert watched.activity == {"paired": "phone", "name": "Phone", "address": "192.0.2.9", "was": None}
    assert watched.code.state is OfferState.USED


async def test_requests_and_codes_of_one_text_do_not_meet(core: BareNode) -> None:
    """A request's code is shown to whoever asks, so knowing it must not pair."""
    now = core.clock.now()
    request = DeviceCode(
        id="r", dialect="salita", kind="request", format="legacy", created_at=now,
        expires_at=now + timedelta(seconds=60), device_id="phone",
    )  # fmt: skip
    async with core.database.write() as tx:
        await tx.device_codes.insert(request, core.use.codes.digest("salita", "123456"), None)
    assert await refusal(core, "123456", format="legacy") == "code_unknown"
