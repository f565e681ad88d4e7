"""No sequence of pairing events ends paired without a right tag, and guesses are few."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import (
    ATTEMPTS,
    Offer,
    OfferState,
    Stage,
    Step,
    Way,
    advance,
    check_open,
    judge_tag,
    spend_attempt,
)
from tests.fakes.clock import START

WAYS: st.SearchStrategy[Way] = st.sampled_from(["pin", "invite"])
SIDES: st.SearchStrategy[Literal["host", "joiner"]] = st.sampled_from(["host", "joiner"])


@settings(max_examples=200)
@given(SIDES, st.lists(st.sampled_from(Step), max_size=25))
def test_no_sequence_of_steps_confirms_without_a_right_tag(side: Literal["host", "joiner"], steps: list[Step]) -> None:
    """On either side, with refused steps skipped as the daemon does."""
    stage = Stage.BEGUN
    taken: list[Step] = []
    for step in steps:
        with suppress(MeshError):
            stage = advance(side, stage, step)
            taken.append(step)
        if stage in (Stage.STORED, Stage.CONFIRMED) or (side == "host" and stage is Stage.ANSWERED):
            assert Step.RIGHT_TAG in taken
            assert Step.WRONG_TAG not in taken
            assert Step.EXCHANGE in taken
    if Step.WRONG_TAG in taken:
        assert stage is Stage.OVER


class OneOffer(RuleBasedStateMachine):
    """One offer and many ceremonies at it, in any order, as a host drives them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.offer = Offer(id="o", created_at=START, expires_at=START + timedelta(seconds=600))
        self.running: list[tuple[Way, Stage]] = []  # attempt spent, tag awaited
        self.spent: Counter[Way] = Counter()
        self.wrong: Counter[Way] = Counter()
        self.right = 0

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.now >= self.offer.expires_at

    @rule(way=WAYS)
    def exchange(self, way: Way) -> None:
        """A joiner takes an attempt, if there is one."""
        try:
            self.offer = spend_attempt(self.offer, way, self.now)
        except MeshError:
            assert self.offer.state is not OfferState.OPEN or not self.offer.attempts(way) or self.expired
            return
        self.spent[way] += 1
        self.running.append((way, advance("host", Stage.BEGUN, Step.EXCHANGE)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), right=st.booleans())
    def finish(self, data: st.DataObject, right: bool) -> None:
        """One of them sends its tag."""
        way, stage = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        after = advance("host", stage, Step.RIGHT_TAG if right else Step.WRONG_TAG)
        if self.offer.state is not OfferState.OPEN:  # the store refuses to consume it
            return
        self.offer = judge_tag(self.offer, way, right=right)
        if right:
            assert after is Stage.ANSWERED
            self.right += 1
        else:
            assert after is Stage.OVER
            self.wrong[way] += 1

    @precondition(lambda self: self.running)
    @rule()
    def abandon(self) -> None:
        """One of them is never heard of again."""
        _, stage = self.running.pop()
        assert advance("host", stage, Step.DROP) is Stage.OVER

    @rule(seconds=st.sampled_from([1, 60, 300, 601]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += timedelta(seconds=seconds)

    @invariant()
    def used_means_one_right_tag(self) -> None:
        """And only ever one."""
        assert self.right == (1 if self.offer.state is OfferState.USED else 0)

    @invariant()
    def guesses_are_bounded(self) -> None:
        """Three per way, abandoned ones included."""
        for way in ("pin", "invite"):
            assert self.wrong[way] <= ATTEMPTS
            assert self.spent[way] <= ATTEMPTS
            assert 0 <= self.offer.attempts(way) <= ATTEMPTS

    @invariant()
    def burned_means_three_wrong_by_invite(self) -> None:
        """Guesses by PIN alone never burn it."""
        if self.offer.state is OfferState.BURNED:
            assert self.wrong["invite"] >= 1
            assert self.spent["invite"] == ATTEMPTS

    @invariant()
    def a_way_without_attempts_is_closed(self) -> None:
        """Whatever came before."""
        for way in ("pin", "invite"):
            if self.offer.attempts(way) > 0:
                continue
            try:
                check_open(self.offer, way, self.now)
            except MeshError:
                continue
            raise AssertionError(f"{way} is open without attempts")


TestOneOffer = OneOffer.TestCase
TestOneOffer.settings = settings(max_examples=50, stateful_step_count=25)
