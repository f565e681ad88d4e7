"""Who calls: a peer's session, opened by a signature, or a thin client's token; then one SHA-256, one lookup a request.

Source: docs/protocol.md, Sessions.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from meshnode.crypto.jws import verify_jws
from meshnode.crypto.token import make_token, token_digest
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.pairing_code import Secret
from meshnode.domain.principal import Principal, Role
from meshnode.domain.statements import SESSION_TYPE, SessionStatement, decode_statement
from meshnode.node.confirm_peer import ConfirmPeer
from meshnode.node.describe_node import SelfDescription
from meshnode.node.device_tokens import DeviceSession, DeviceTokens
from meshnode.node.open_browser import BrowserSession, OpenBrowser
from meshnode.node.ports import Clock, Entropy, SessionAnswer
from meshnode.node.roster import Entry, Roster
from meshnode.node.session import Session

NONCE_S: Final = 30.0
NONCES_PER_SOURCE: Final = 4
NONCES_MAX: Final = 1024
SESSION_S: Final = 3600.0
SESSIONS_PER_PEER: Final = 4


class Sessions:
    """Nonces and tokens of peers, in memory only; beside them those of thin clients and of the owner's browsers."""

    def __init__(
        self,
        me: SelfDescription,
        roster: Roster,
        devices: DeviceTokens,
        confirmations: ConfirmPeer,
        browsers: OpenBrowser,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._me = me
        self._roster = roster
        self._devices = devices
        self._confirmations = confirmations
        self._browsers = browsers
        self._clock = clock
        self._entropy = entropy
        self._nonces: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # oldest first
        self._sessions: dict[bytes, Session] = {}
        self._of_peer: dict[str, list[bytes]] = {}
        self.on_opened: Callable[[Entry, int], Awaitable[None]] | None = None
        self.on_device: Callable[[Entry], None] = lambda _: None  # a thin client has shown itself

    # ── opening ────────────────────────────────────────────────────────────────────────────────────────────────────

    def nonce(self, source: str) -> bytes:
        """32 bytes, for one use within 30 s; a source's fifth replaces its oldest."""
        now = self._clock.monotonic()
        while self._nonces and next(iter(self._nonces.values()))[1] <= now:
            self._nonces.popitem(last=False)
        own = [nonce for nonce, (of, _) in self._nonces.items() if of == source]
        if len(own) >= NONCES_PER_SOURCE:
            del self._nonces[own[0]]
        elif len(self._nonces) >= NONCES_MAX:
            raise MeshError("rate_limited", "too many sessions are being opened", retry_after_s=NONCE_S)
        nonce = self._entropy.draw(32)
        self._nonces[nonce] = (source, now + NONCE_S)
        return nonce

    async def open(
        self, caller: str, jws: str, nonce_of: Callable[[str], bytes], certificate_hash: bytes
    ) -> SessionAnswer:
        """A token for a paired peer that signs our nonce, our id and the certificate it sees.

        A stranger, a revoked node and a wrong signature get the same `not_paired`, after the same work.
        `nonce_of` decodes the statement's nonce.
        """
        entry = self._roster.get(caller)
        waiting_key = self._confirmations.waiting_key(caller)
        stored_key = entry.node.public_key if entry is not None and entry.is_peer else None
        key = waiting_key or stored_key
        try:
            payload = verify_jws(key or self._me.identity.public_key, SESSION_TYPE, jws)
        except MeshError as error:
            raise MeshError("not_paired", "this node has no pairing with that id and key") from error
        if key is None:
            raise MeshError("not_paired", "this node has no pairing with that id and key")
        statement = decode_statement(payload, SessionStatement, "jws")
        self._check(statement, caller, nonce_of(statement.nonce), certificate_hash)
        if waiting_key is not None:
            await self._confirmations.confirm(caller)
            entry = self._roster.get(caller)
        if entry is None or not entry.is_peer:
            raise MeshError("not_paired", "this node has no pairing with that id and key")
        if self.on_opened is not None:
            await self.on_opened(entry, statement.epoch)
        token = self._issue(entry, statement.epoch)
        held = entry.announcement
        pair = max(held.pair if held else (0, 0), (entry.epoch, 0))  # it may have spoken since, and not said who it is
        return SessionAnswer(
            token=token,
            expires_in_s=SESSION_S,
            epoch_held=pair[0],
            revision_held=pair[1],
            known_sha256=entry.announcement_sha256,
        )

    def _check(self, statement: SessionStatement, caller: str, nonce: bytes, certificate_hash: bytes) -> None:
        _, expires = self._nonces.pop(nonce, ("", 0.0))
        if self._clock.monotonic() >= expires:
            raise invalid("jws", "the nonce is unknown, used or older than 30 s")
        if statement.caller != caller or statement.receiver != self._me.identity.id:
            raise invalid("jws", "was made for another caller or receiver")
        if not hmac.compare_digest(statement.tls_sha256, encode_base64url(certificate_hash)):
            raise invalid("jws", "was made for another certificate: somebody is in between")

    def _issue(self, entry: Entry, epoch: int) -> Secret:
        token = make_token(self._entropy.draw(32))
        digest = token_digest(token)
        node_id = entry.node.id
        live, now = self._of_peer.setdefault(node_id, []), self._clock.monotonic()
        while live and (len(live) >= SESSIONS_PER_PEER or self._sessions[live[0]].expires_mono <= now):
            self._sessions.pop(live.pop(0), None)
        live.append(digest)
        principal = Principal(Role.PEER, node_id, entry.node.trust_level)
        self._sessions[digest] = Session(principal, entry, epoch, now + SESSION_S)
        return token

    # ── using ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, token: str) -> Session:
        """The session of a token.

        Raises `token_expired`, for an unknown one too: tokens live in memory, so after a restart nobody can tell an
        old one from a wrong one. Opening another session tells who is paired.
        """
        digest = token_digest(token)
        session = self._sessions.get(digest)
        if session is None:
            device = self._devices.find(digest)
            if device is None:
                raise MeshError("token_expired", "the token is not valid (any more)")
            self.on_device(device.entry)
            return device
        if self._clock.monotonic() >= session.expires_mono:
            self._forget(session.principal.node_id or "", digest)
            raise MeshError("token_expired", "the session has expired")
        return session

    def find_browser(self, token: str, user: Callable[[], int | None]) -> BrowserSession | None:
        """The session of a token of the owner's browser, from that user; it counts on the control listener only."""
        return self._browsers.find(token, user)

    def spoke(self, session: Session | None) -> None:
        """A call came on a connection that was opened with it."""
        if isinstance(session, BrowserSession):
            self._browsers.touch(session)

    def is_live(self, session: Session) -> bool:
        """Whether the session's token still counts, for who holds a connection opened with it."""
        if isinstance(session, DeviceSession):
            return self._devices.is_live(session)
        if isinstance(session, BrowserSession):
            return self._browsers.is_live(session)
        return self._clock.monotonic() < session.expires_mono and any(
            self._sessions.get(digest) is session for digest in self._of_peer.get(session.entry.node.id, [])
        )

    def _forget(self, node_id: str, digest: bytes) -> None:
        self._sessions.pop(digest, None)
        live = self._of_peer.get(node_id, [])
        if digest in live:
            live.remove(digest)

    def end(self, node_id: str) -> None:
        """A node was revoked or paired anew: its tokens die at once."""
        for digest in self._of_peer.pop(node_id, []):
            self._sessions.pop(digest, None)
        self._devices.end(node_id)

    def set_level(self, node_id: str, level: int) -> None:
        """A node's trust level changed: its live tokens follow."""
        for digest in self._of_peer.get(node_id, []):
            session = self._sessions[digest]
            session.principal = Principal(Role.PEER, node_id, level)
        self._devices.set_level(node_id, level)
