"""What the owner is told until it was seen: some entries of the audit log, and the marks that say so.

A mark is an entry too (`notice.seen`, detail `up to ID` or `ID`), always newer than what it marks, so that no
trimming of the log brings back what was seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from meshnode.domain.timestamps import format_time
from meshnode.domain.untrusted_text import clean_text

SHOWN_MAX: Final = 100  # the newest
DETAIL_MAX: Final = 300  # characters
SEEN: Final = "notice.seen"
UNLOCKED: Final = "pairing.unlocked"  # nothing is locked any more: whatever told of a lock is over
CODES: Final = {  # event of the audit log → code of the notice
    "node.paired": "paired",
    "node.joined": "paired",
    "pairing.locked": "locked_out",
    "pairing.burned": "offer_burned",
    "node.cloned": "identity_cloned",
    "database.restored": "database_restored",
}
EVENTS: Final = (*CODES, SEEN, UNLOCKED)  # all that matters here
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_.:-]+")


class Logged(Protocol):
    """An entry of the audit log."""

    @property
    def id(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def event(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def node_id(self) -> str | None: ...
    @property
    def node_name(self) -> str | None: ...
    @property
    def address(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to be seen; `times` = how often the same happened, `at` and `id` are of the last time."""

    id: int
    at: datetime
    code: str
    detail: str
    next_step: str
    node_id: str | None = None
    node_name: str | None = None
    times: int = 1


def mark_up_to(entry_id: int) -> str:
    """The detail of a mark: that entry and all before it were seen."""
    return f"up to {entry_id}"


def mark_one(entry_id: int) -> str:
    """The detail of a mark: that one entry was seen."""
    return str(entry_id)


def notice_of(entry: Logged, own_id: str) -> Notice | None:
    """What the owner is told of an entry; None = nothing."""
    code = CODES.get(entry.event)
    if code is None:
        return None
    node_id = clean_text(entry.node_id, DETAIL_MAX) if entry.node_id else None
    name = clean_text(entry.node_name or "") or node_id
    detail, next_step = _words(code, entry, _quoted(name or "a node"), node_id or "", own_id)
    return Notice(
        id=entry.id,
        at=entry.at,
        code=code,
        detail=clean_text(detail, DETAIL_MAX),
        next_step=next_step,
        node_id=node_id,
        node_name=name if node_id else None,
    )


def _words(code: str, entry: Logged, name: str, node_id: str, own_id: str) -> tuple[str, str]:
    """What happened, and what to do about it."""
    match code:
        case "paired":
            did = "joined" if entry.event == "node.joined" else "paired with"
            at = f" at {entry.address}" if entry.address else ""
            before = f" ({entry.detail})" if entry.detail else ""
            return f"{did} {name} ({entry.dialect}){at}{before}", f"if that was not you: {_revoke(node_id)}"
        case "locked_out":
            return (
                f"ten wrong PINs or codes within an hour: pairing without an invite is locked {entry.detail or ''}",
                "`meshnode audit` shows from where; `meshnode pair unlock` ends it",
            )
        case "offer_burned":
            by = f", the last from {entry.address}" if entry.address else ""
            return (
                f"three wrong PINs burned an offer ({entry.dialect}){by}",
                "if that was not you, somebody has read the code: open the next offer out of others' sight",
            )
        case "identity_cloned" if node_id == own_id:
            return (
                "another machine uses this node's identity: one of the two is a copy",
                "stop the copy, and there `meshnode identity reset`; if you know of none: reset here and pair anew",
            )
        case "identity_cloned":
            return (
                f"two machines use the identity of {name}: one of them is a copy",
                f"stop the copy, and there `meshnode identity reset`; if you know of none: {_revoke(node_id)}",
            )
        case _:
            return (
                "the database was restored from a backup; open offers and the tokens of thin clients have ended",
                "`meshnode nodes`: revoke again what was revoked since the backup; join again what was paired since",
            )


def _quoted(name: str) -> str:
    """A name within our own words: what stands in backticks there is a command of ours."""
    return name.replace("`", "'")


def _revoke(node_id: str) -> str:
    if not node_id.isascii() or not _PLAIN_ID.fullmatch(node_id) or node_id.startswith("-"):
        return "revoke it (`meshnode nodes`, `meshnode node revoke`)"
    return f"`meshnode node revoke {node_id}`"


def unseen(entries: Iterable[Logged], own_id: str) -> tuple[Notice, ...]:
    """What the owner has not seen, oldest first, at most the newest SHOWN_MAX; the same again is one that counts."""
    rows = sorted(entries, key=lambda entry: entry.id)
    up_to, ones, unlocked = _marks(rows)
    told: dict[tuple[str, ...], Notice] = {}
    for row in rows:
        notice = notice_of(row, own_id)
        if notice is None or row.id <= up_to or row.id in ones or (notice.code == "locked_out" and row.id < unlocked):
            continue
        is_of_node = notice.code not in ("locked_out", "offer_burned")
        key = (row.event, row.node_id or "", row.dialect, row.detail or "") if is_of_node else (row.event,)
        before = told.pop(key, None)
        told[key] = msgspec.structs.replace(notice, times=before.times + 1) if before else notice
    return tuple(told.values())[-SHOWN_MAX:]


def _marks(rows: Sequence[Logged]) -> tuple[int, frozenset[int], int]:
    """Up to where all was seen, what beyond that, and when the ways in were last unlocked."""
    up_to, ones, unlocked = 0, set(), 0
    for row in rows:
        if row.event == UNLOCKED:
            unlocked = row.id
        elif row.event == SEEN and row.detail:
            number = row.detail.removeprefix("up to ")
            if not number.isascii() or not number.isdecimal():
                continue
            if number == row.detail:
                ones.add(int(number))
            else:
                up_to = max(up_to, int(number))
    return up_to, frozenset(ones), unlocked


def encode_notice(notice: Notice) -> dict[str, Any]:
    """A notice as it is shown; `node` only if it tells of one."""
    found: dict[str, Any] = {
        "id": notice.id,
        "at": format_time(notice.at),
        "code": notice.code,
        "detail": notice.detail,
        "next_step": notice.next_step,
        "times": notice.times,
    }
    if notice.node_id is not None:
        found["node"] = {"id": notice.node_id, "name": notice.node_name}
    return found
