"""Tokens of thin clients: held in memory by digest, so that a request costs one SHA-256 and one lookup."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from meshnode.crypto.token import make_token, token_digest
from meshnode.domain.errors import MeshError
from meshnode.domain.expiry import Expiry, expiry_after, expiry_of
from meshnode.domain.pairing_code import Secret
from meshnode.domain.principal import Principal, Role
from meshnode.node.ports import Clock, Entropy
from meshnode.node.roster import Entry, Roster
from meshnode.node.session import Session
from meshnode.node.tables import Store, StoredToken, Transaction

REPLACED_S: Final = 60.0  # a refreshed token's predecessor lives on, unless the new one is used before
PLAIN_LEVEL: Final = 1  # what anybody on the wire can read must not be an operator's


class DeviceSession(Session, kw_only=True):
    """A live token of a thin client."""

    stored: StoredToken
    ends: Expiry | None
    lifetime_s: float | None  # of a session: each use starts it anew
    is_replaced: bool = False  # by a refresh: its end is set
    is_used: bool = False  # since the last flush


class IssuedToken(NamedTuple):
    """A token that counts once its transaction is committed; the text is handed out once."""

    text: Secret
    stored: StoredToken
    lifetime_s: float | None


class DeviceTokens:
    """The tokens that count, as committed."""

    def __init__(self, roster: Roster, store: Store, clock: Clock, entropy: Entropy) -> None:
        self._roster = roster
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._live: dict[bytes, DeviceSession] = {}
        self._of_node: dict[str, list[bytes]] = {}
        self._dead: list[bytes] = []  # dead, to be written so
        self.on_used: Callable[[], None] = lambda: None  # there is something to flush
        self.prefixes: dict[str, str] = {}  # by dialect: how its clients expect a token to begin

    async def load(self) -> None:
        """Read the stored tokens; the roster has been loaded."""
        async with self._store.read() as tx:
            live = await tx.tokens.live(self._clock.now())
        successors = {stored.replaces: stored for stored in live if stored.replaces is not None}
        for stored in live:
            entry = self._roster.get(stored.node_id)
            if entry is None or entry.node.trust != "paired":
                continue
            measure = successors.get(stored.digest, stored)  # a replaced one's own end is near
            began = measure.last_used_at or measure.created_at
            slides = measure.kind == "session" and measure.expires_at is not None
            lifetime_s = (measure.expires_at - began).total_seconds() if slides and measure.expires_at else None
            self._take(stored, lifetime_s, entry, is_replaced=measure is not stored)

    # ── in a transaction, and once it is committed ─────────────────────────────────────────────────────────────────

    async def issue(
        self,
        tx: Transaction,
        node_id: str,
        *,
        kind: Literal["session", "device"],
        listener: Literal["public", "plain"],
        lifetime_s: float | None = None,
        prefix: str = "",
        replaces: bytes | None = None,
    ) -> IssuedToken:
        """A new token of a node, whose row stands; `take` it after the commit."""
        now = self._clock.now()
        text = Secret(prefix + make_token(self._entropy.draw(32)))
        stored = StoredToken(
            digest=token_digest(text),
            node_id=node_id,
            kind=kind,
            listener=listener,
            created_at=now,
            expires_at=None if lifetime_s is None else now + timedelta(seconds=lifetime_s),
            replaces=replaces,
        )
        await tx.tokens.delete_dead(node_id, now)
        await tx.tokens.insert(stored)
        return IssuedToken(text, stored, lifetime_s)

    def take(self, issued: IssuedToken) -> None:
        """Its transaction is committed and the roster knows the row: the token counts."""
        entry = self._roster.get(issued.stored.node_id)
        if entry is not None:
            self._take(issued.stored, issued.lifetime_s, entry)

    def _take(self, stored: StoredToken, lifetime_s: float | None, entry: Entry, *, is_replaced: bool = False) -> None:
        ends = None
        if stored.expires_at is not None:
            longest_s = REPLACED_S if is_replaced else lifetime_s
            span = None if longest_s is None else timedelta(seconds=longest_s)
            began = stored.created_at if span is None else stored.expires_at - span
            ends = expiry_of(began, stored.expires_at, self._clock.now(), self._clock.monotonic())
        self._hold(
            DeviceSession(
                principal=_principal(stored, entry.node.trust_level),
                entry=entry,
                epoch=0,
                ends=ends,
                listener=stored.listener,
                stored=stored,
                lifetime_s=lifetime_s,
                is_replaced=is_replaced,
            )
        )

    def _hold(self, session: DeviceSession) -> None:
        self._live[session.stored.digest] = session
        self._of_node.setdefault(session.stored.node_id, []).append(session.stored.digest)

    async def refresh(self, session: DeviceSession) -> Secret:
        """A new token in place of the session's, which dies at the new one's first use, at the latest after 60 s.

        An earlier new one that nobody has used is void. Raises `token_expired`.
        """
        old = session.stored
        unused: list[DeviceSession] = []
        try:
            async with self._store.write() as tx:
                if not self.is_live(session):
                    raise MeshError("token_expired", "the token is not valid any more")
                ends_in_s = min(REPLACED_S, self._left_s(session))
                unused = [s for d in self._of_node[old.node_id] if (s := self._live[d]).stored.replaces == old.digest]
                for void in unused:  # now: a use of it meanwhile would end `session`
                    self._drop(void.stored)
                now = self._clock.now()
                issued = await self.issue(
                    tx,
                    old.node_id,
                    kind=old.kind,
                    listener=old.listener,
                    lifetime_s=session.lifetime_s,
                    prefix=self.prefixes.get(session.entry.node.dialect, ""),
                    replaces=old.digest,
                )
                await tx.tokens.revoke([void.stored.digest for void in unused], now)
                await tx.tokens.expire_at(old.digest, now + timedelta(seconds=ends_in_s))
        except BaseException:
            for void in unused:
                self._hold(void)
            raise
        session.ends = expiry_after(ends_in_s, self._clock.now(), self._clock.monotonic())
        session.is_replaced = True
        if not self.is_live(session):
            raise MeshError("token_expired", "the token was revoked meanwhile")
        self.take(issued)
        return issued.text

    def end(self, node_id: str) -> None:
        """The node's tokens are revoked, as committed."""
        for digest in self._of_node.pop(node_id, []):
            self._live.pop(digest, None)

    def set_level(self, node_id: str, level: int) -> None:
        """The node's trust level changed: its live tokens follow."""
        for digest in self._of_node.get(node_id, []):
            session = self._live[digest]
            session.principal = _principal(session.stored, level)

    # ── using ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, digest: bytes) -> DeviceSession | None:
        """The session of a token's digest, None if it does not count (any more); a use of it."""
        session = self._live.get(digest)
        if session is None:
            return None
        self.on_used()
        if self._left_s(session) <= 0:
            self._drop(session.stored)
            self._dead.append(digest)  # for good, also if the wall clock was set back
            return None
        if session.lifetime_s is not None and not session.is_replaced:
            session.ends = expiry_after(session.lifetime_s, self._clock.now(), self._clock.monotonic())
        session.is_used = True
        if session.stored.replaces is not None:
            old = self._live.get(session.stored.replaces)
            if old is not None:
                self._drop(old.stored)
                self._dead.append(old.stored.digest)
        return session

    def is_live(self, session: DeviceSession) -> bool:
        """Whether that very token still counts."""
        return self._live.get(session.stored.digest) is session and self._left_s(session) > 0

    def _left_s(self, session: DeviceSession) -> float:
        if session.ends is None:
            return math.inf
        return session.ends.left_s(self._clock.now(), self._clock.monotonic())

    def _drop(self, stored: StoredToken) -> None:
        self._live.pop(stored.digest, None)
        own = self._of_node.get(stored.node_id, [])
        if stored.digest in own:
            own.remove(stored.digest)

    @property
    def has_unwritten(self) -> bool:
        """Whether there is something to flush."""
        return bool(self._dead) or any(session.is_used for session in self._live.values())

    async def flush(self) -> None:
        """Write when tokens were used; a crash may lose some seconds of that."""
        if not self.has_unwritten:
            return
        used: list[DeviceSession] = []
        dead: list[bytes] = []
        try:
            async with self._store.write(durable=False) as tx:
                now, now_mono = self._clock.now(), self._clock.monotonic()  # once nobody else writes
                used = [session for session in self._live.values() if session.is_used]
                dead, self._dead = self._dead, []
                for session in used:
                    session.is_used = False
                await tx.tokens.used([_use_of(session, now, now_mono) for session in used])
                await tx.tokens.revoke(dead, now)
        except BaseException:
            for session in used:
                session.is_used = True
            self._dead += dead
            raise


def _use_of(session: DeviceSession, now: datetime, now_mono: float) -> tuple[bytes, datetime, datetime | None]:
    """When it was last used and, if it slides, when it ends now: the two lie its lifetime apart, as `load` expects."""
    if session.ends is None or session.lifetime_s is None or session.is_replaced:
        return session.stored.digest, now, None
    ends_at = now + timedelta(seconds=session.ends.mono - now_mono)  # as now runs, also if it was set meanwhile
    return session.stored.digest, ends_at - timedelta(seconds=session.lifetime_s), ends_at


def _principal(stored: StoredToken, level: int) -> Principal:
    return Principal(Role.DEVICE, stored.node_id, min(level, PLAIN_LEVEL) if stored.listener == "plain" else level)
