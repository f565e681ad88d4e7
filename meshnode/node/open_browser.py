"""Let the owner's browser in: a one-use ticket, traded for a token that is the owner's on the control listener.

A ticket lives in memory for a minute. A token's digest rests among the device tokens in a row of our own id, which
no device can have (there `listener` has no word for the control one): so it survives a restart, and ends with the
identity, with a restored backup, or when nobody used it for twelve hours.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from meshnode.crypto.token import make_token, token_digest
from meshnode.domain.errors import MeshError
from meshnode.domain.expiry import Expiry, expiry_after, expiry_of
from meshnode.domain.pairing_code import Secret
from meshnode.domain.principal import ANONYMOUS, OWNER
from meshnode.node.describe_node import SelfDescription
from meshnode.node.ports import Clock, Entropy
from meshnode.node.roster import Roster
from meshnode.node.session import Session
from meshnode.node.tables import AuditEntry, Store, StoredToken

TICKET_S: Final = 60.0
TICKETS_MAX: Final = 8  # not yet used
BROWSER_S: Final = 12 * 3600.0  # each use starts them anew
BROWSERS_MAX: Final = 16  # one more ends the one unused for longest
WRITTEN_S: Final = 60.0  # a use is written down when the last one written is older
DIALECT: Final = "control"

log = logging.getLogger(__name__)


class BrowserSession(Session, kw_only=True):
    """A browser that acts for the owner."""

    digest: bytes
    ends: Expiry
    used_mono: float  # when it was last used
    written_mono: float  # the last use that the store knows of


class Ticket(NamedTuple):
    """What `meshnode open` puts into a link; shown once."""

    text: Secret
    expires_at: datetime


class SignedIn(NamedTuple):
    """What the ticket was traded for; shown once."""

    token: Secret
    expires_at: datetime


class OpenBrowser:
    """Tickets, and the tokens of the owner's browsers."""

    def __init__(self, me: SelfDescription, roster: Roster, store: Store, clock: Clock, entropy: Entropy) -> None:
        self._me = me
        self._roster = roster
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._tickets: dict[bytes, tuple[Expiry, int | None]] = {}  # by digest, oldest first
        self._live: dict[bytes, BrowserSession] = {}
        self.on_used: Callable[[], None] = lambda: None  # there may be something to flush

    async def load(self) -> None:
        """Read the stored tokens; the roster has been loaded."""
        async with self._store.read() as tx:
            stored = await tx.tokens.live(self._clock.now())
        now, mono = self._clock.now(), self._clock.monotonic()
        for one in stored:
            if one.node_id == self._me.identity.id and one.expires_at is not None:
                began = one.expires_at - timedelta(seconds=BROWSER_S)
                self._hold(one.digest, expiry_of(began, one.expires_at, now, mono))

    # ── tickets ────────────────────────────────────────────────────────────────────────────────────────────────────

    def issue(self, user: int | None = None) -> Ticket:
        """A ticket for one use within a minute, by that user of this machine only if one is named."""
        ends = expiry_after(TICKET_S, self._clock.now(), self._clock.monotonic())
        text = make_token(self._entropy.draw(32))
        while len(self._tickets) >= TICKETS_MAX:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[token_digest(text)] = (ends, user)
        return Ticket(text, ends.at)

    async def redeem(self, ticket: str, address: str, user: int | None = None) -> SignedIn:
        """Trade a ticket, once; another user of the machine does not use it up. Raises `ticket_unknown`."""
        digest = token_digest(ticket)
        ends, asked_by = self._tickets.get(digest, (None, None))
        if ends is None or ends.left_s(self._clock.now(), self._clock.monotonic()) <= 0:
            raise MeshError("ticket_unknown", "that link was used already, is older than a minute, or was never made")
        if asked_by is not None and user != asked_by:
            log.warning("another user of this machine tried a link to the dashboard; it stays good for its own")
            raise MeshError("ticket_unknown", "that link was made for another user of this machine")
        del self._tickets[digest]
        return await self._admit(address, user)

    async def _admit(self, address: str, user: int | None) -> SignedIn:
        own, now = self._me.identity, self._clock.now()
        text = make_token(self._entropy.draw(32))
        if user is not None:  # whoever takes our port while we are stopped is shown the token by an open page
            text = Secret(f"{text}.{user}")
        ends = expiry_after(BROWSER_S, now, self._clock.monotonic())
        stored = StoredToken(
            digest=token_digest(text), node_id=own.id, kind="session", listener="public", created_at=now,
            expires_at=ends.at,
        )  # fmt: skip
        async with self._store.write() as tx:
            by_use = sorted(self._live.values(), key=lambda session: session.used_mono)
            ended = by_use[: max(0, len(by_use) - BROWSERS_MAX + 1)]
            await tx.tokens.revoke([session.digest for session in ended], now)
            await tx.tokens.delete_dead(own.id, now)
            await tx.tokens.insert(stored)
            await tx.audit.append(
                AuditEntry(at=now, event="owner.signed_in", dialect=DIALECT, node_id=own.id, address=address)
            )
        for session in ended:
            self._end(session.digest)
        self._hold(stored.digest, ends)
        return SignedIn(text, ends.at)

    def _hold(self, digest: bytes, ends: Expiry) -> None:
        entry = self._roster.get(self._me.identity.id)
        if entry is not None:
            mono = self._clock.monotonic()
            self._live[digest] = BrowserSession(
                principal=OWNER, entry=entry, epoch=0, listener="control", digest=digest, ends=ends,
                used_mono=mono, written_mono=mono,
            )  # fmt: skip

    def _end(self, digest: bytes) -> None:
        session = self._live.pop(digest, None)
        if session is not None:
            session.principal = ANONYMOUS  # its sockets hear nothing from now on; they are closed at the next look

    async def end_all(self) -> int:
        """Every browser is signed out and every ticket void; how many browsers there were."""
        self._tickets.clear()
        async with self._store.write() as tx:
            now, own_id = self._clock.now(), self._me.identity.id
            ended = list(self._live)
            await tx.tokens.revoke_all(own_id, now)
            if ended:
                await tx.audit.append(AuditEntry(at=now, event="owner.signed_out", dialect=DIALECT, node_id=own_id))
        for digest in ended:
            self._end(digest)
        return len(ended)

    # ── using ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, token: str, user: Callable[[], int | None]) -> BrowserSession | None:
        """The session of a token, None if it does not count (any more), or not for that `user`; a use of it."""
        session = self._live.get(token_digest(token))
        if session is None or not self.is_live(session):
            return None
        _, _, only_for = token.partition(".")  # ours: the digest is of the whole
        if only_for and user() != int(only_for):
            return None
        self.touch(session)
        return session

    def touch(self, session: BrowserSession) -> None:
        """It is in use: its time starts anew."""
        session.used_mono = self._clock.monotonic()
        session.ends = expiry_after(BROWSER_S, self._clock.now(), session.used_mono)
        self.on_used()

    def is_live(self, session: BrowserSession) -> bool:
        """Whether that very token still counts."""
        left_s = session.ends.left_s(self._clock.now(), self._clock.monotonic())
        if left_s <= 0:
            self._end(session.digest)
        return self._live.get(session.digest) is session

    @property
    def has_unwritten(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._unwritten(WRITTEN_S))

    def _unwritten(self, least_s: float) -> list[BrowserSession]:
        return [session for session in self._live.values() if session.used_mono > session.written_mono + least_s]

    async def flush(self, *, all_of_it: bool = False) -> None:
        """Write when tokens were used, once a minute; all of it when the node stops."""
        due = self._unwritten(0.0 if all_of_it else WRITTEN_S)
        if not due:
            return
        async with self._store.write(durable=False) as tx:
            now = self._clock.now()
            await tx.tokens.used([(s.digest, now, s.ends.at) for s in due])
        for session in due:
            session.written_mono = session.used_mono
