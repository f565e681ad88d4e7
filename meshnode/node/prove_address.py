"""Another certificate than the pinned one answers at a peer's address: its new one, or another node?

Source: docs/protocol.md, Sessions, The pin.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from meshnode.crypto.jws import verify_jws
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.statements import IDENTITY_TYPE, IdentityStatement, decode_statement
from meshnode.node.ports import Entropy, PeerClient
from meshnode.node.roster import Entry
from meshnode.node.tables import Store

log = logging.getLogger(__name__)


class ProveAddress:
    """Asks who answers, and believes a signature only."""

    def __init__(self, client: PeerClient, store: Store, entropy: Entropy) -> None:
        self._client = client
        self._store = store
        self._entropy = entropy

    async def prove(self, entry: Entry, host: str, port: int) -> bool:
        """Pin the certificate that answers, if the peer's key signs it and our nonce; whether it was pinned.

        Raises `wrong_node_at_address` if another node answers, `unreachable` and `bad_answer` if none does.
        """
        key, node_id = entry.node.public_key, entry.node.id
        nonce = self._entropy.draw(32)
        answer = await self._client.identity(host, port, nonce)
        if answer.id != node_id or answer.proof is None or key is None:
            raise MeshError("wrong_node_at_address", f"{answer.id} answers at {host}:{port}")
        expected = IdentityStatement(
            id=node_id, tls_sha256=encode_base64url(answer.certificate_hash), nonce=encode_base64url(nonce)
        )
        try:
            proven = decode_statement(verify_jws(key, IDENTITY_TYPE, answer.proof), IdentityStatement, "proof")
        except MeshError as error:
            raise MeshError("wrong_node_at_address", f"{host}:{port} claims to be {node_id}, without proof") from error
        if proven != expected:
            raise MeshError("wrong_node_at_address", "the proof is of another connection")
        async with self._store.write() as tx:
            row = await tx.nodes.get(node_id)
            if row is None or row.trust != "paired" or row.public_key != key:
                return False
            row = replace(row, tls_sha256=answer.certificate_hash)
            await tx.nodes.upsert(row)
        entry.set_row(row)
        log.info("%s has a new certificate, proven by its key", entry.node.label)
        return True
