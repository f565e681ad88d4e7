"""Which entries of the audit log the owner is told of, in which words, and until which mark."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshnode.domain.notice import CODES, DETAIL_MAX, SEEN, SHOWN_MAX, encode_notice, mark_one, mark_up_to, unseen
from meshnode.node.tables import AuditEntry

AT = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
OWN = "node-own"


def entry(number: int, event: str = "node.paired", **changes: Any) -> AuditEntry:
    """An entry of the log, a minute after the one before."""
    known = {"node_id": f"node-{number}", "node_name": f"name {number}", "address": "192.0.2.7", "dialect": "mesh"}
    return AuditEntry(**{"id": number, "at": AT + timedelta(minutes=number), "event": event} | known | changes)


def told(*entries: AuditEntry) -> list[tuple[int, str, int]]:
    """Id, code and count of what is unseen."""
    return [(notice.id, notice.code, notice.times) for notice in unseen(entries, OWN)]


@pytest.mark.parametrize("event", CODES)
def test_each_event_has_words_and_a_next_step(event: str) -> None:
    """What is shown is told of with what to do; what a node said of itself can't break a line."""
    (notice,) = unseen([entry(7, event, node_name="b\u202ead\n\x1b[31m" + "x" * 500, detail="until noon")], OWN)
    shown = encode_notice(notice)
    assert (shown["id"], shown["at"], shown["code"]) == (7, "2026-03-14T09:33:53.000000Z", CODES[event])
    assert 0 < len(shown["detail"]) <= DETAIL_MAX
    assert shown["next_step"]
    assert all(text.isprintable() for text in (shown["detail"], shown["next_step"], shown["node"]["name"]))


def test_what_a_pairing_was_is_said() -> None:
    """The dialect, the address, and that it had been revoked."""
    (notice,) = unseen([entry(1, dialect="abpa3", detail="was revoked")], OWN)
    assert notice.detail == "paired with name 1 (abpa3) at 192.0.2.7 (was revoked)"
    assert notice.next_step.endswith("`meshnode node revoke node-1`")


def test_an_id_that_a_shell_would_read_is_not_put_into_a_command() -> None:
    """A thin client chooses its own."""
    for bad in ("x; rm -rf ~", "$(id)", "--yes", "a`b"):
        (notice,) = unseen([entry(1, node_id=bad)], OWN)
        assert bad not in notice.next_step
        assert "meshnode node revoke" in notice.next_step


def test_our_own_identity_copied_has_other_words() -> None:
    """Here one can't revoke oneself."""
    mine, theirs = unseen([entry(1, "node.cloned", node_id=OWN), entry(2, "node.cloned")], OWN)
    assert "this node's identity" in mine.detail
    assert "revoke" not in mine.next_step
    assert "meshnode node revoke node-2" in theirs.next_step


def test_other_events_are_no_notices() -> None:
    """The log holds more than what an owner must see."""
    assert told(entry(1, "node.revoked"), entry(2, "pairing.bad_pin"), entry(3, "offer.opened")) == []


def test_a_mark_ends_what_came_before_it() -> None:
    """Up to an id, or one alone; in whatever order the entries come."""
    three = [entry(1), entry(2), entry(3)]
    mark = entry(9, SEEN, detail=mark_up_to(2))
    assert told(*three, mark) == told(mark, *reversed(three)) == [(3, "paired", 1)]
    assert told(*three, entry(9, SEEN, detail=mark_one(2))) == [(1, "paired", 1), (3, "paired", 1)]
    later = entry(10, SEEN, detail=mark_up_to(1))  # an older screen's click takes nothing back
    assert told(*three, mark, later) == [(3, "paired", 1)]


@pytest.mark.parametrize("detail", [None, "", "up to", "up to x", "-1", "up to ٣", "1 2"])
def test_a_mark_that_says_nothing_hides_nothing(detail: str | None) -> None:
    """Whoever wrote it."""
    assert told(entry(1), entry(2, SEEN, detail=detail)) == [(1, "paired", 1)]


def test_the_same_again_counts() -> None:
    """One notice with the newest id; what differs in word or node stays apart."""
    again = {"node_id": "phone", "node_name": "Phone", "detail": "paired again"}
    entries = [entry(1, **again), entry(2), entry(3, **again), entry(4, **again | {"detail": "was revoked"})]
    assert told(*entries) == [(2, "paired", 1), (3, "paired", 2), (4, "paired", 1)]
    assert told(*entries, entry(9, SEEN, detail=mark_one(3))) == [(1, "paired", 1), (2, "paired", 1), (4, "paired", 1)]


def test_a_lock_is_told_of_until_it_is_unlocked() -> None:
    """By the owner, or because the tenth PIN was right."""
    lock, unlock = entry(1, "pairing.locked"), entry(2, "pairing.unlocked")
    assert told(lock) == [(1, "locked_out", 1)]
    assert told(lock, unlock) == []
    assert told(lock, unlock, entry(3, "pairing.locked")) == [(3, "locked_out", 1)]
    assert told(lock, entry(4, "pairing.locked", detail="until later")) == [(4, "locked_out", 2)]


def test_the_newest_hundred_are_shown() -> None:
    """Oldest first."""
    shown = told(*(entry(n) for n in range(1, SHOWN_MAX + 11)))
    assert [number for number, _, _ in shown] == list(range(11, SHOWN_MAX + 11))
