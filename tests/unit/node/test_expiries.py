"""Offers, codes, requests, the lockout: each ends by the wall clock and by the monotonic one, the sooner wins."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import pytest

from meshnode.domain.device_request import RequestingDevice
from meshnode.domain.errors import MeshError
from meshnode.domain.lockout import FAILURES
from tests.fakes.bare_node import BareNode

DAY_S = 86400.0


@dataclass
class Ending(ABC):
    """One kind of thing that ends."""

    core: BareNode
    lifetime_s = 300.0

    @abstractmethod
    async def begin(self) -> None:
        """Make one."""

    @abstractmethod
    async def is_over(self) -> bool:
        """Whether it counts no more, wherever that is asked."""


class MeshOffer(Ending):
    """A PIN of ours."""

    async def begin(self) -> None:
        self.code = (await self.core.use.offers.open(self.lifetime_s)).code

    async def is_over(self) -> bool:
        offers = self.core.use.offers
        is_over = offers.current is None
        codes = []
        for way, code in (("pin", None), ("invite", self.code)):
            try:
                offers.find(way, code)
            except MeshError as error:
                codes.append(error.code)
        assert codes == (["no_open_offer", "code_expired"] if is_over else [])
        await offers.expire()
        assert (offers.current is None) is is_over
        return is_over


class DialectCode(Ending):
    """A code for a thin client."""

    async def begin(self) -> None:
        self.opened = await self.core.open(lifetime_s=self.lifetime_s, format="short")

    async def is_over(self) -> bool:
        codes = self.core.use.codes
        is_over = codes.expiries.is_over(self.opened.code)
        assert codes.is_guessable_open("salita") is not is_over
        if is_over:
            with pytest.raises(MeshError, match="expired"):
                await self.core.redeem(self.opened)
        assert await codes.expire("offer") == is_over
        return is_over


class DeviceRequest(Ending):
    """A device that waits for the owner."""

    async def begin(self) -> None:
        device = RequestingDevice(
            dialect="aisopod", id="phone", name="Phone", type="x", version="1", address="192.0.2.9", source="192.0.2.9"
        )
        self.request = await self.core.use.requests.ask(device, self.lifetime_s)

    async def is_over(self) -> bool:
        requests = self.core.use.requests
        is_over = not await requests.pending()
        assert (await requests.again(self.request.id) is None) is is_over
        return is_over


class Lock(Ending):
    """Too many wrong PINs."""

    lifetime_s = 900.0

    async def begin(self) -> None:
        for _ in range(FAILURES):
            await self.fail()

    async def fail(self) -> None:
        """One failure more."""
        budget = self.core.use.budget
        async with self.core.database.write() as tx:
            spent = await budget.spend(tx)
        budget.committed(spent)

    async def is_over(self) -> bool:
        try:
            self.core.use.budget.check()
        except MeshError as error:
            left_s = error.retry_after_s or 0.0
        else:
            return True
        assert 0 < left_s <= self.lifetime_s
        with pytest.raises(MeshError, match="locked"):
            await self.fail()
        return False


@pytest.fixture(params=[MeshOffer, DialectCode, DeviceRequest, Lock], ids=lambda kind: kind.__name__)
async def ending(request: pytest.FixtureRequest, core: BareNode) -> Ending:
    made: Ending = request.param(core)
    await made.begin()
    return made


async def test_it_ends_at_its_time(core: BareNode, ending: Ending) -> None:
    """Not a second before."""
    core.clock.advance(ending.lifetime_s - 1)
    assert not await ending.is_over()
    core.clock.advance(1)
    assert await ending.is_over()


async def test_a_wall_clock_set_back_gives_it_no_more_time(core: BareNode, ending: Ending) -> None:
    """Nor does it end sooner: the monotonic clock has not moved."""
    core.clock.jump(-DAY_S)
    core.clock.advance(ending.lifetime_s - 1)
    assert not await ending.is_over()
    core.clock.advance(1)
    assert await ending.is_over()


@pytest.mark.parametrize("asleep", [False, True])
async def test_it_ends_when_the_wall_clock_passes_its_end(core: BareNode, ending: Ending, asleep: bool) -> None:
    """Because the clock was set ahead, or the machine slept over it."""
    pass_by = core.clock.sleep if asleep else core.clock.jump
    pass_by(ending.lifetime_s - 1)
    assert not await ending.is_over()
    pass_by(1)
    assert await ending.is_over()


async def test_after_a_restart_it_lasts_no_longer_than_it_ever_would(core: BareNode, ending: Ending) -> None:
    """The clock was a day ahead when it began, and was set right before the restart."""
    core.clock.jump(-DAY_S)
    await core.restart()
    assert not await ending.is_over()
    core.clock.advance(ending.lifetime_s - 1)
    assert not await ending.is_over()
    core.clock.advance(1)
    assert await ending.is_over()


async def test_a_restart_alone_changes_nothing(core: BareNode, ending: Ending) -> None:
    """It goes on counting from what is stored."""
    core.clock.advance(ending.lifetime_s / 2)
    await core.restart()
    core.clock.advance(ending.lifetime_s / 2 - 1)
    assert not await ending.is_over()
    core.clock.advance(1)
    assert await ending.is_over()


async def test_a_lock_served_with_the_clock_set_back_gives_ten_fresh_failures(core: BareNode) -> None:
    """And the next one is the second in a row."""
    lock = Lock(core)
    await lock.begin()
    core.clock.jump(-DAY_S)
    core.clock.advance(901)
    for _ in range(FAILURES - 1):
        await lock.fail()
    assert await lock.is_over()
    await lock.fail()
    with pytest.raises(MeshError) as caught:
        core.use.budget.check()
    assert caught.value.retry_after_s == pytest.approx(1800)
