"""Tokens of thin clients: held in memory by digest, so that a request costs one SHA-256 and one lookup."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from meshnode.crypto.token import make_token, token_digest
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
    lifetime_s: float | None  # of a session: each use starts it anew
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
        self._replaced: list[bytes] = []  # dead, to be written so

    async def load(self) -> None:
        """Read the stored tokens; the roster has been loaded."""
        async with self._store.read() as tx:
            for stored in await tx.tokens.live(self._clock.now()):
                entry = self._roster.get(stored.node_id)
                if entry is None or entry.node.trust != "paired":
                    continue
                began = stored.last_used_at or stored.created_at
                slides = stored.kind == "session" and stored.expires_at is not None
                lifetime_s = (stored.expires_at - began).total_seconds() if slides and stored.expires_at else None
                self._take(stored, lifetime_s, entry)

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
        await tx.tokens.insert(stored)
        return IssuedToken(text, stored, lifetime_s)

    def take(self, issued: IssuedToken) -> None:
        """Its transaction is committed and the roster knows the row: the token counts."""
        entry = self._roster.get(issued.stored.node_id)
        if entry is not None:
            self._take(issued.stored, issued.lifetime_s, entry)

    def _take(self, stored: StoredToken, lifetime_s: float | None, entry: Entry) -> None:
        expires = math.inf
        if stored.expires_at is not None:
            expires = self._clock.monotonic() + (stored.expires_at - self._clock.now()).total_seconds()
        self._live[stored.digest] = DeviceSession(
            principal=_principal(stored, entry.node.trust_level),
            entry=entry,
            epoch=0,
            expires_mono=expires,
            listener=stored.listener,
            stored=stored,
            lifetime_s=lifetime_s,
        )
        self._of_node.setdefault(stored.node_id, []).append(stored.digest)

    async def refresh(self, session: DeviceSession) -> Secret:
        """A new token in place of the session's, which dies at the new one's first use, at the latest after 60 s."""
        old = session.stored
        ends = self._clock.now() + timedelta(seconds=REPLACED_S)
        async with self._store.write() as tx:
            issued = await self.issue(
                tx,
                old.node_id,
                kind=old.kind,
                listener=old.listener,
                lifetime_s=session.lifetime_s,
                replaces=old.digest,
            )
            await tx.tokens.expire_at(old.digest, ends)
        session.expires_mono = min(session.expires_mono, self._clock.monotonic() + REPLACED_S)
        session.lifetime_s = None
        if self.is_live(session):
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
        now = self._clock.monotonic()
        if now >= session.expires_mono:
            self._drop(session.stored)
            return None
        if session.lifetime_s is not None:
            session.expires_mono = now + session.lifetime_s
        session.is_used = True
        if session.stored.replaces is not None:
            old = self._live.get(session.stored.replaces)
            if old is not None:
                self._drop(old.stored)
                self._replaced.append(old.stored.digest)
        return session

    def is_live(self, session: DeviceSession) -> bool:
        """Whether that very token still counts."""
        return self._live.get(session.stored.digest) is session and self._clock.monotonic() < session.expires_mono

    def _drop(self, stored: StoredToken) -> None:
        self._live.pop(stored.digest, None)
        own = self._of_node.get(stored.node_id, [])
        if stored.digest in own:
            own.remove(stored.digest)

    async def flush(self) -> None:
        """Write when tokens were used; a crash may lose some seconds of that."""
        used = [session for session in self._live.values() if session.is_used]
        if not used and not self._replaced:
            return
        now, now_mono = self._clock.now(), self._clock.monotonic()
        ends: list[tuple[bytes, datetime, datetime | None]] = [
            (s.stored.digest, now, None if s.lifetime_s is None else now + timedelta(seconds=s.expires_mono - now_mono))
            for s in used
        ]
        dead, self._replaced = self._replaced, []
        for session in used:
            session.is_used = False
        async with self._store.write(durable=False) as tx:
            await tx.tokens.used(ends)
            await tx.tokens.revoke(dead, now)


def _principal(stored: StoredToken, level: int) -> Principal:
    return Principal(Role.DEVICE, stored.node_id, min(level, PLAIN_LEVEL) if stored.listener == "plain" else level)
