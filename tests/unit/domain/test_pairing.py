"""The pairing protocol as values."""

from dataclasses import fields
from datetime import timedelta
from typing import Any, Literal

import pytest

from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import (
    ATTEMPTS,
    CLOSED_CODE,
    TRANSITIONS,
    Offer,
    OfferState,
    Stage,
    Step,
    Terms,
    Way,
    advance,
    check_open,
    choose_version,
    judge_tag,
    shares_sha256,
    spend_attempt,
)
from tests.fakes.clock import START
from tests.unit.samples import OTHER_KEY, make_terms

OFFER = Offer(id="o", created_at=START, expires_at=START + timedelta(seconds=600))
WAYS: tuple[Way, Way] = ("pin", "invite")
Side = Literal["host", "joiner"]
SIDES: tuple[Side, Side] = ("host", "joiner")


def code_of(offer: Offer, way: Way, after_s: float = 0) -> str | None:
    try:
        check_open(offer, way, START + timedelta(seconds=after_s))
    except MeshError as error:
        return error.code
    return None


@pytest.mark.parametrize("way", WAYS)
def test_an_offer_is_open_until_it_expires(way: Way) -> None:
    """To the microsecond."""
    assert code_of(OFFER, way, 599.999999) is None
    assert code_of(OFFER, way, 600) == "code_expired"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("state", "code"),
    [
        (OfferState.USED, "session_over"),
        (OfferState.BURNED, "offer_burned"),
        (OfferState.EXPIRED, "code_expired"),
        (OfferState.REPLACED, "offer_replaced"),
        (OfferState.CANCELLED, "offer_closed"),
    ],
)
def test_a_closed_offer_says_why(state: OfferState, code: str, way: Way) -> None:
    """Also after its time; and nothing can be spent on it."""
    closed = Offer(id="o", created_at=START, expires_at=OFFER.expires_at, state=state)
    assert code_of(closed, way) == code
    assert code_of(closed, way, 601) == code
    with pytest.raises(MeshError):
        spend_attempt(closed, way, START)


def test_every_state_but_open_has_its_code() -> None:
    """A new state must be given one."""
    assert set(CLOSED_CODE) == set(OfferState) - {OfferState.OPEN}


@pytest.mark.parametrize(("way", "other"), [("pin", "invite"), ("invite", "pin")])
def test_each_way_has_three_attempts_of_its_own(way: Way, other: Way) -> None:
    """The fourth finds the way used up; the other way is untouched."""
    offer = OFFER
    for left in (2, 1, 0):
        offer = spend_attempt(offer, way, START)
        assert (offer.attempts(way), offer.attempts(other)) == (left, ATTEMPTS)
    assert code_of(offer, way) == "offer_burned"
    assert code_of(offer, other) is None
    with pytest.raises(MeshError):
        spend_attempt(offer, way, START)


def test_three_wrong_pins_by_invite_burn_the_offer() -> None:
    """For both ways."""
    offer = OFFER
    for state in (OfferState.OPEN, OfferState.OPEN, OfferState.BURNED):
        offer = judge_tag(spend_attempt(offer, "invite", START), "invite", right=False)
        assert offer.state is state
    assert code_of(offer, "pin") == "offer_burned"


def test_three_wrong_pins_by_pin_alone_close_only_that_way() -> None:
    """A neighbour's guesses cannot stop the owner's own pairing."""
    offer = OFFER
    for _ in range(3):
        offer = judge_tag(spend_attempt(offer, "pin", START), "pin", right=False)
    assert offer.state is OfferState.OPEN
    assert code_of(offer, "pin") == "offer_burned"
    used = judge_tag(spend_attempt(offer, "invite", START), "invite", right=True)
    assert used.state is OfferState.USED


def test_a_wrong_pin_by_pin_alone_never_burns() -> None:
    """Not even when the invite's attempts were all abandoned."""
    offer = OFFER
    for _ in range(3):
        offer = spend_attempt(offer, "invite", START)
    offer = judge_tag(spend_attempt(offer, "pin", START), "pin", right=False)
    assert offer.state is OfferState.OPEN


@pytest.mark.parametrize("way", WAYS)
def test_a_right_tag_uses_the_offer_and_gives_the_attempt_back(way: Way) -> None:
    """Never more than there were."""
    offer = judge_tag(spend_attempt(OFFER, way, START), way, right=True)
    assert offer.state is OfferState.USED
    assert offer.attempts(way) == ATTEMPTS
    assert judge_tag(OFFER, way, right=True).attempts(way) == ATTEMPTS


ALLOWED: dict[Side, set[tuple[str, str, str]]] = {
    "host": {
        ("begun", "exchange", "exchanged"),
        ("begun", "time out or offer closed", "over"),
        ("exchanged", "right tag", "answered"),
        ("exchanged", "wrong tag", "over"),
        ("exchanged", "time out or offer closed", "over"),
        ("answered", "same finish again", "answered"),
        ("answered", "ack or session", "confirmed"),
        ("answered", "time out or offer closed", "over"),
        ("confirmed", "ack or session", "confirmed"),
    },
    "joiner": {
        ("begun", "exchange", "exchanged"),
        ("begun", "time out or offer closed", "over"),
        ("exchanged", "same finish again", "answered"),
        ("exchanged", "time out or offer closed", "over"),
        ("answered", "same finish again", "answered"),
        ("answered", "right tag", "stored"),
        ("answered", "wrong tag", "over"),
        ("answered", "time out or offer closed", "over"),
        ("stored", "ack or session", "confirmed"),
        ("stored", "not_paired", "over"),
    },
}


@pytest.mark.parametrize("side", SIDES)
def test_the_transitions_are_those_of_the_protocol(side: Side) -> None:
    """The whole table, written out a second time."""
    table = {(stage.value, step.value, after.value) for (stage, step), after in TRANSITIONS[side].items()}
    assert table == ALLOWED[side]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("step", Step)
def test_a_step_is_taken_when_due_and_refused_when_not(side: Side, stage: Stage, step: Step) -> None:
    """With `session_over`, from every stage."""
    due = TRANSITIONS[side].get((stage, step))
    if due is not None:
        assert advance(side, stage, step) is due
        return
    with pytest.raises(MeshError) as caught:
        advance(side, stage, step)
    assert caught.value.code == "session_over"


@pytest.mark.parametrize("side", SIDES)
def test_nothing_leads_out_of_over(side: Side) -> None:
    """And every stage that is entered can be left or is final."""
    assert not [stage for stage, _ in TRANSITIONS[side] if stage is Stage.OVER]
    entered = set(TRANSITIONS[side].values())
    assert entered - {stage for stage, _ in TRANSITIONS[side]} <= {Stage.OVER, Stage.CONFIRMED}


@pytest.mark.parametrize(
    ("joiner", "host", "chosen"), [((1,), (1,), 1), ((1, 2, 3), (2, 3, 4), 3), ((3, 1), (1, 2), 1)]
)
def test_the_highest_common_version_is_chosen(joiner: tuple[int, ...], host: tuple[int, ...], chosen: int) -> None:
    """In whatever order they are named."""
    assert choose_version(joiner, host) == chosen


@pytest.mark.parametrize("joiner", [(), (2,)])
def test_no_common_version_is_refused(joiner: tuple[int, ...]) -> None:
    """Rather than guessed."""
    with pytest.raises(MeshError) as caught:
        choose_version(joiner, (1,))
    assert caught.value.code == "version_unsupported"


def test_associated_data_is_length_prefixed_fields_in_order() -> None:
    """Spelled out, so that somebody else can write a client."""

    def field(data: bytes) -> bytes:
        return len(data).to_bytes(2, "big") + data

    terms = make_terms(joiner_protocols=(3, 1), host_protocols=(1, 2))
    tail = b"".join(map(field, (b"1,3", b"1,2", b"1", b"pin", terms.certificate_hash)))
    joiner = field(b"joiner") + field(terms.joiner_id.encode()) + field(terms.joiner_key) + tail
    host = field(b"host") + field(terms.host_id.encode()) + field(terms.host_key) + tail
    assert terms.associated_data("joiner") == joiner
    assert terms.associated_data("host") == host


CHANGES: dict[str, Any] = {
    "sid": None,  # bound by CPace itself
    "way": "invite",
    "joiner_id": "node-x",
    "joiner_key": OTHER_KEY.public_key,
    "joiner_protocols": (1, 9),
    "host_id": "node-y",
    "host_key": bytes(32),
    "host_protocols": (9,),
    "version": 2,
    "certificate_hash": bytes(32),
}


def test_every_term_is_tried_below() -> None:
    """A new term must be bound in."""
    assert set(CHANGES) == {field.name for field in fields(Terms)}


@pytest.mark.parametrize("name", [name for name, value in CHANGES.items() if value is not None])
def test_a_change_of_any_term_changes_what_is_bound_in(name: str) -> None:
    """In one side's associated data at least."""

    def both(terms: Terms) -> tuple[bytes, bytes]:
        return terms.associated_data("joiner"), terms.associated_data("host")

    assert both(make_terms(**{name: CHANGES[name]})) != both(make_terms())


def test_fields_cannot_flow_into_each_other() -> None:
    """Lengths keep `a` `bc` apart from `ab` `c`."""
    one = make_terms(joiner_id="ab", joiner_key=b"c" * 32).associated_data("joiner")
    assert one != make_terms(joiner_id="abc", joiner_key=b"c" * 31).associated_data("joiner")


def test_the_shares_digest_depends_on_their_order() -> None:
    """The joiner's first."""
    assert shares_sha256(b"a" * 32, b"b" * 32) != shares_sha256(b"b" * 32, b"a" * 32)
