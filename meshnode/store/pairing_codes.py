"""Table `pairing_codes`: offers, and what `finish` answered to the joiner that used one."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any, Final

import aiosqlite

from meshnode.domain.pairing import Offer, OfferState
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.node.tables import StoredAnswer, StoredOffer

_OFFER: Final = (
    "SELECT id, state, sealed, device_id, pin_attempts, invite_attempts, expires_at, created_at FROM pairing_codes "
    "WHERE kind = 'offer' AND dialect = ?"
)
_ANSWER: Final = (
    "SELECT id, sid, created_at, finish_sha256, finish_answer, peer_id, peer_key, peer_hostname, peer_announcement, "
    "answered_at, confirmed_at, device_id, json_extract(details, '$.remote') AS remote FROM pairing_codes "
    "WHERE sid IS NOT NULL"
)
_WIPE: Final = "sealed = NULL, code_digest = NULL"


def _decode_offer(row: sqlite3.Row) -> StoredOffer:
    return StoredOffer(
        offer=Offer(
            id=row["id"],
            created_at=parse_time(row["created_at"]),
            expires_at=parse_time(row["expires_at"]),
            state=OfferState(row["state"]),
            pin_attempts=row["pin_attempts"],
            invite_attempts=row["invite_attempts"],
            maker=row["device_id"],
        ),
        sealed=row["sealed"],
    )


def _decode_answer(row: sqlite3.Row) -> StoredAnswer:
    return StoredAnswer(
        offer_id=row["id"],
        offer_created_at=parse_time(row["created_at"]),
        sid=row["sid"],
        finish_sha256=row["finish_sha256"],
        finish_answer=row["finish_answer"],
        peer_id=row["peer_id"],
        peer_key=row["peer_key"],
        peer_hostname=row["peer_hostname"],
        is_remote=bool(row["remote"]),
        peer_announcement=row["peer_announcement"],
        answered_at=parse_time(row["answered_at"]),
        is_confirmed=row["confirmed_at"] is not None,
        maker=row["device_id"],
    )


class PairingCodes:
    """The table, within one transaction."""

    __slots__ = ("_connection",)

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return list(await self._connection.execute_fetchall(sql, values))

    async def insert_offer(self, offer: Offer, dialect: str, code_digest: bytes, sealed: bytes) -> None:
        """A new open offer."""
        await self._connection.execute(
            "INSERT INTO pairing_codes (id, dialect, kind, format, state, code_digest, sealed, device_id, "
            "pin_attempts, invite_attempts, expires_at, created_at) "
            "VALUES (?, ?, 'offer', 'uuid', ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                offer.id, dialect, offer.state.value, code_digest, sealed, offer.maker, offer.pin_attempts,
                offer.invite_attempts, format_time(offer.expires_at), format_time(offer.created_at),
            ),
        )  # fmt: skip

    async def offer(self, offer_id: str, dialect: str) -> StoredOffer | None:
        """The offer of an id, in any state."""
        rows = await self._rows(f"{_OFFER} AND id = ?", dialect, offer_id)
        return _decode_offer(rows[0]) if rows else None

    async def open_offer(self, dialect: str) -> StoredOffer | None:
        """The one open offer of a dialect (it may have expired meanwhile)."""
        rows = await self._rows(f"{_OFFER} AND state = 'open' ORDER BY created_at DESC LIMIT 1", dialect)
        return _decode_offer(rows[0]) if rows else None

    async def code_digest(self, offer_id: str) -> bytes | None:
        """The digest of an open offer's code."""
        rows = await self._rows("SELECT code_digest FROM pairing_codes WHERE id = ?", offer_id)
        return rows[0]["code_digest"] if rows else None

    async def save_offer(self, offer: Offer) -> None:
        """Write state and attempts; the secrets of an offer that is no longer open are wiped."""
        await self._connection.execute(
            "UPDATE pairing_codes SET state = ?, pin_attempts = ?, invite_attempts = ? WHERE id = ?",
            (offer.state.value, offer.pin_attempts, offer.invite_attempts, offer.id),
        )
        if offer.state is not OfferState.OPEN:
            await self._connection.execute(f"UPDATE pairing_codes SET {_WIPE} WHERE id = ?", (offer.id,))

    async def consume_offer(self, offer: Offer, answer: StoredAnswer) -> bool:
        """Mark an offer used and keep the answer; False if somebody else was faster. Exactly one caller wins."""
        rows = await self._rows(
            f"UPDATE pairing_codes SET is_used = 1, state = 'used', {_WIPE}, pin_attempts = ?, invite_attempts = ?, "
            "sid = ?, finish_sha256 = ?, finish_answer = ?, peer_id = ?, peer_key = ?, peer_hostname = ?, "
            "peer_announcement = ?, answered_at = ?, details = ? "
            "WHERE id = ? AND is_used = 0 AND state = 'open' RETURNING id",
            offer.pin_attempts, offer.invite_attempts, answer.sid, answer.finish_sha256, answer.finish_answer,
            answer.peer_id, answer.peer_key, answer.peer_hostname, answer.peer_announcement,
            format_time(answer.answered_at), '{"remote": true}' if answer.is_remote else "{}", answer.offer_id,
        )  # fmt: skip
        return bool(rows)

    async def answer(self, sid: bytes) -> StoredAnswer | None:
        """The answer kept for a ceremony."""
        rows = await self._rows(f"{_ANSWER} AND sid = ?", sid)
        return _decode_answer(rows[0]) if rows else None

    async def unconfirmed_answers(self, answered_before: datetime | None = None) -> list[StoredAnswer]:
        """Answers never acknowledged; only those older than the time given, if one is."""
        limit = "9999" if answered_before is None else format_time(answered_before)
        rows = await self._rows(f"{_ANSWER} AND confirmed_at IS NULL AND answered_at < ? ORDER BY answered_at", limit)
        return [_decode_answer(row) for row in rows]

    async def confirm_answer(self, sid: bytes, now: datetime) -> None:
        """The joiner has acknowledged: forget the sealed answer, remember that it was so."""
        await self._connection.execute(
            "UPDATE pairing_codes SET confirmed_at = ?, finish_answer = NULL WHERE sid = ?", (format_time(now), sid)
        )

    async def drop_answer(self, sid: bytes) -> None:
        """Forget a ceremony that came to nothing."""
        await self._connection.execute(
            "UPDATE pairing_codes SET sid = NULL, finish_answer = NULL, finish_sha256 = NULL, peer_key = NULL, "
            "peer_announcement = NULL WHERE sid = ?",
            (sid,),
        )

    async def delete_before(self, created_before: datetime) -> None:
        """Housekeeping: closed offers from before the time given."""
        await self._connection.execute(
            "DELETE FROM pairing_codes WHERE state <> 'open' AND created_at < ? "
            "AND (sid IS NULL OR confirmed_at IS NOT NULL)",
            (format_time(created_before),),
        )
