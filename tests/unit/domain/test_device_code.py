"""The rules of one code: when it pairs, and what a wrong PIN costs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from meshnode.domain.device_code import DeviceCode, check_redeemable, spend_wrong
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import ATTEMPTS, OfferState
from tests.fakes.clock import START

CODE = DeviceCode(
    id="c", dialect="salita", kind="offer", format="uuid", created_at=START, expires_at=START + timedelta(seconds=60)
)


def refusal(code: DeviceCode, seconds: float = 0.0) -> str:
    with pytest.raises(MeshError) as refused:
        check_redeemable(code, START + timedelta(seconds=seconds))
    return refused.value.code


def test_an_open_code_is_good_until_its_time() -> None:
    """To the instant, which is too late itself."""
    check_redeemable(CODE, START + timedelta(seconds=59.999))
    assert refusal(CODE, 60) == "code_expired"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (OfferState.USED, "code_used"),
        (OfferState.BURNED, "offer_burned"),
        (OfferState.EXPIRED, "code_expired"),
        (OfferState.REPLACED, "offer_replaced"),
        (OfferState.CANCELLED, "offer_closed"),
    ],
)
def test_a_code_that_is_over_says_how_it_ended(state: OfferState, code: str) -> None:
    """Whatever the time."""
    for seconds in (0.0, 3600.0):
        assert refusal(replace(CODE, state=state), seconds) == code


def test_every_state_has_its_refusal() -> None:
    """None is forgotten."""
    for state in OfferState:
        if state is not OfferState.OPEN:
            assert refusal(replace(CODE, state=state))


def test_the_last_wrong_pin_burns_the_code() -> None:
    """And it never has less than no attempt."""
    code = CODE
    for left in range(ATTEMPTS - 1, 0, -1):
        code = spend_wrong(code)
        assert (code.attempts, code.state) == (left, OfferState.OPEN)
    code = spend_wrong(code)
    assert (code.attempts, code.state) == (0, OfferState.BURNED)
    assert refusal(code) == "offer_burned"


@pytest.mark.parametrize(("code_format", "expected"), [("uuid", False), ("short", True), ("legacy", True)])
def test_what_can_be_guessed_counts_as_code_less(code_format: str, expected: bool) -> None:
    """122 bits can't."""
    assert replace(CODE, format=code_format).is_codeless is expected
