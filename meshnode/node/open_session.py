"""Open a session with a peer: sign its nonce, take a token. Source: docs/protocol.md, Sessions."""

from __future__ import annotations

import msgspec

from meshnode.crypto.jws import sign_jws
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.statements import SESSION_TYPE, SessionStatement
from meshnode.node.describe_node import SelfDescription
from meshnode.node.ports import Destination, PeerClient, SessionAnswer


class OpenSession:
    """The calling side."""

    def __init__(self, me: SelfDescription, client: PeerClient) -> None:
        self._me = me
        self._client = client

    async def open(self, to: Destination) -> SessionAnswer:
        """A token in our present epoch.

        If the peer holds a later announcement of ours than we remember, our epoch is raised above it first: a
        restored node, or one whose clock was once wrong, comes back by itself.
        """
        answer = await self._ask(to)
        me = self._me
        held, own = (answer.epoch_held, answer.revision_held), (me.epoch, me.revision)
        is_behind = held > own or (held == own and answer.known_sha256 not in (None, me.sha256))
        if is_behind and await me.raise_epoch(answer.epoch_held):
            answer = await self._ask(to)
        return answer

    async def _ask(self, to: Destination) -> SessionAnswer:
        me = self._me
        nonce = await self._client.nonce(to)
        statement = SessionStatement(
            nonce=encode_base64url(nonce),
            caller=me.identity.id,
            receiver=to.node_id,
            tls_sha256=encode_base64url(to.tls_sha256),
            epoch=me.epoch,
        )
        jws = sign_jws(me.key, SESSION_TYPE, msgspec.json.encode(statement))
        return await self._client.open_session(to, me.identity.id, jws)
