"""How many guesses a neighbour has: spent before an answer leaves, over restarts; a success gives its own back."""

from __future__ import annotations

import pytest

from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Asked, Nodes, Offer


def guess(host: Asked, pin: str, code: bytes | None = None) -> Answer:
    """The answer to a whole attempt, or to the step that was refused."""
    joiner = Joiner(host.port)
    answer = joiner.begin(code)
    if answer.status == 200:
        answer = joiner.exchange(pin)
    return joiner.finish() if answer.status == 200 else answer


def attempts(host: Asked, offer: Offer) -> tuple[str, int, int]:
    """State and attempts left: by PIN alone, by invite."""
    watched = host.call("GET", f"/api/v1/pairing/offers/{offer.id}")
    return watched["state"], watched["pin_attempts"], watched["invite_attempts"]


def lock(host: Asked) -> None:
    """Ten code-less failures."""
    failures = 0
    while failures < 10:
        offer = host.offer()
        for _ in range(3):
            if failures < 10:
                assert guess(host, offer.wrong_pin).code == "bad_pin"
                failures += 1


def test_three_wrong_pins_by_invite_burn_the_offer(host: LocalNode) -> None:
    """`attempts_left` counts down; afterwards the right PIN gets 410 by either way, and the PIN is wiped."""
    offer = host.offer()
    for left in (2, 1, 0):
        answer = guess(host, offer.wrong_pin, offer.code)
        assert (answer.status, answer.code, answer.json["attempts_left"]) == (403, "bad_pin", left)
    answer = guess(host, offer.pin, offer.code)
    assert (answer.status, answer.code) == (410, "offer_burned")
    assert guess(host, offer.pin).code == "no_open_offer"
    (row,) = host.rows("pairing_codes")
    assert (row["state"], row["sealed"], row["code_digest"]) == ("burned", None, None)
    assert host.rows("failed_attempts") == []
    assert len(host.rows()) == 1


def test_three_wrong_pins_by_pin_alone_close_that_way_only(host: LocalNode) -> None:
    """A neighbour's guesses cannot stop the owner's own pairing by invite."""
    offer = host.offer()
    for left in (2, 1, 0):
        assert guess(host, offer.wrong_pin).json["attempts_left"] == left
    answer = guess(host, offer.pin)
    assert (answer.status, answer.code) == (410, "offer_burned")
    assert attempts(host, offer) == ("open", 0, 3)
    joiner = Joiner(host.port)
    joiner.pair(offer.pin, offer.code)
    assert host.trust(joiner.id) == "paired"


def test_ten_code_less_failures_lock_and_an_invite_still_works(host: LocalNode) -> None:
    """429 with Retry-After, refused before SQLite is touched; the lock ends after 15 minutes, the next lasts 30."""
    lock(host)
    offer = host.offer()
    before = host.dump()
    answer = guess(host, offer.pin)
    assert (answer.status, answer.code) == (429, "locked_out")
    assert 880 < int(answer.headers["retry-after"]) <= 900
    assert host.dump() == before
    Joiner(host.port).pair(offer.pin, offer.code)
    host.clock.step(901)
    Joiner(host.port).pair(host.offer().pin)
    lock(host)
    host.offer()
    assert 1780 < int(guess(host, "000000").headers["retry-after"]) <= 1800


def test_unlock_ends_a_lock(host: LocalNode) -> None:
    """`pair unlock` is for the owner, and forgets the failures."""
    lock(host)
    offer = host.offer()
    assert guess(host, offer.pin).code == "locked_out"
    host.call("POST", "/api/v1/pairing/unlock", {})
    assert guess(host, offer.wrong_pin).code == "bad_pin"
    assert guess(host, offer.pin).status == 200


def test_a_lock_holds_across_kill_9(nodes: Nodes) -> None:
    """Locked before, locked after, and an honest invite works meanwhile."""
    host, joiner = nodes.start(), nodes.start()
    lock(host)
    offer = host.offer()
    for _ in range(2):
        assert guess(host, offer.pin).code == "locked_out"
        host.kill()
        host.start()
    assert guess(host, offer.pin).code == "locked_out"
    joiner.join(offer.url, offer.pin)
    assert host.trust(joiner.id) == "paired"


def test_failures_are_counted_across_kill_9(nodes: Nodes) -> None:
    """Nine failures, a crash, the tenth: locked."""
    host = nodes.start()
    for _ in range(3):
        offer = host.offer()
        for _ in range(3):
            assert guess(host, offer.wrong_pin).code == "bad_pin"
    host.kill()
    host.start()
    offer = host.offer()
    assert guess(host, offer.wrong_pin).code == "bad_pin"
    assert guess(host, offer.pin).code == "locked_out"


@pytest.mark.parametrize("way", ["invite", "pin"])
def test_an_attempt_is_spent_by_exchange_even_if_the_node_dies_then(nodes: Nodes, way: str) -> None:
    """The commit comes before the share leaves: kill -9 right after gives nothing back."""
    host = nodes.start()
    offer = host.offer()
    for left in (2, 1, 0):
        joiner = Joiner(host.port)
        assert joiner.begin(offer.code if way == "invite" else None).status == 200
        assert joiner.exchange(offer.pin).status == 200
        host.kill()
        host.start()
        (row,) = host.rows("pairing_codes")
        assert row[f"{way}_attempts"] == left
        assert joiner.finish().code == "session_over"
    answer = guess(host, offer.pin, offer.code if way == "invite" else None)
    assert (answer.status, answer.code) == (410, "offer_burned")
    assert len(host.rows()) == 1


def test_an_abandoned_exchange_keeps_its_attempt_spent(host: LocalNode) -> None:
    """The slot is held ten seconds, others wait with Retry-After; then it is free, and the late tag is over."""
    offer = host.offer()
    joiner, other, invited = Joiner(host.port), Joiner(host.port), Joiner(host.port)
    assert joiner.begin().status == 200
    assert other.begin().status == 200
    assert invited.begin(offer.code).status == 200
    assert joiner.exchange(offer.pin).status == 200
    busy = other.exchange(offer.pin)
    assert (busy.status, busy.code) == (409, "pairing_busy")
    assert 1 <= int(busy.headers["retry-after"]) <= 10
    assert attempts(host, offer) == ("open", 2, 3)
    assert invited.exchange(offer.wrong_pin).status == 200  # invites have a slot of their own
    host.clock.step(11)
    assert other.exchange(offer.wrong_pin).status == 200
    assert joiner.finish().code == "session_over"
    assert attempts(host, offer) == ("open", 1, 2)
    assert len(host.rows()) == 1


def test_thirty_successes_by_pin_alone_lock_nobody_out(host: LocalNode) -> None:
    """A success gives its attempt back, in the pairing transaction."""
    for _ in range(30):
        Joiner(host.port).pair(host.offer().pin)
    (row,) = host.rows("failed_attempts")
    assert (row["failures"], row["locks"], row["locked_until"]) == ("[]", 0, None)
    assert len(host.rows()) == 31


def test_a_success_beside_nine_failures_locks_nobody_out(host: LocalNode) -> None:
    """The tenth attempt locks when it is spent; its right tag takes the lock back too."""
    for _ in range(3):
        offer = host.offer()
        for _ in range(3):
            assert guess(host, offer.wrong_pin).code == "bad_pin"
    Joiner(host.port).pair(host.offer().pin)
    Joiner(host.port).pair(host.offer().pin)
    offer = host.offer()
    assert guess(host, offer.wrong_pin).code == "bad_pin"
    assert guess(host, offer.pin).code == "locked_out"


def test_a_wrong_code_counts_nothing(host: LocalNode) -> None:
    """No offer has it: 404, and no attempt is spent anywhere."""
    offer = host.offer()
    before = host.dump()
    for _ in range(12):
        answer = guess(host, offer.pin, bytes(16))
        assert (answer.status, answer.code) == (404, "code_unknown")
    assert host.dump() == before


def test_a_replaced_or_expired_offer_says_so(host: LocalNode) -> None:
    """Its code gets 410 with the reason; a ceremony under way ends with it."""
    old = host.offer()
    running = Joiner(host.port)
    assert running.begin(old.code).status == 200
    assert running.exchange(old.pin).status == 200
    new = host.offer()
    assert running.finish().code == "session_over"
    answer = guess(host, old.pin, old.code)
    assert (answer.status, answer.code) == (410, "offer_replaced")
    host.clock.step(601)
    answer = guess(host, new.pin, new.code)
    assert (answer.status, answer.code) == (410, "code_expired")
    assert guess(host, new.pin).code == "no_open_offer"
    assert len(host.rows()) == 1
