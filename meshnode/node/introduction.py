"""What each side proves to the other in step 3: its announcement, and its part in this very run."""

from __future__ import annotations

import hmac
from typing import Literal

import msgspec

from meshnode.crypto.jws import sign_jws, verify_jws
from meshnode.crypto.seal import open_introduction, seal_introduction
from meshnode.domain.announcement import ANNOUNCEMENT_TYPE, Announcement, decode_announcement
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import invalid
from meshnode.domain.pairing import Terms
from meshnode.domain.statements import PAIRING_TYPE, Introduction, PairingProof, decode_statement
from meshnode.node.describe_node import SelfDescription

Side = Literal["joiner", "host"]


class Proven(msgspec.Struct, frozen=True):
    """An announcement whose key, id and part in the run are proven."""

    announcement: Announcement
    jws: str


def _parties(side: Side, terms: Terms) -> tuple[str, bytes, str]:
    """(id, key, peer id) of a side."""
    if side == "joiner":
        return terms.joiner_id, terms.joiner_key, terms.host_id
    return terms.host_id, terms.host_key, terms.joiner_id


def make_introduction(
    side: Side, terms: Terms, pake_key: bytes, tag: bytes, me: SelfDescription, shares_sha256: bytes
) -> bytes:
    """Our announcement and proof, sealed."""
    own_id, _, peer_id = _parties(side, terms)
    proof = PairingProof(
        sid=encode_base64url(terms.sid),
        role=side,
        id=own_id,
        peer_id=peer_id,
        shares_sha256=encode_base64url(shares_sha256),
    )
    introduction = Introduction(announcement=me.jws, proof=sign_jws(me.key, PAIRING_TYPE, msgspec.json.encode(proof)))
    return seal_introduction(side, pake_key, terms.sid, tag, msgspec.json.encode(introduction))


def verify_introduction(
    side: Side, terms: Terms, pake_key: bytes, tag: bytes, sealed: bytes, shares_sha256: bytes
) -> Proven:
    """What `side` sealed, if id and key are those of step 1 throughout and the proof is of this run.

    A host must announce the very certificate of this session. Raises `invalid_params`.
    """
    text = open_introduction(side, pake_key, terms.sid, tag, sealed)
    introduction = decode_statement(text, Introduction, "sealed")
    node_id, key, peer_id = _parties(side, terms)
    announcement = decode_announcement(verify_jws(key, ANNOUNCEMENT_TYPE, introduction.announcement, "announcement"))
    if announcement.id != node_id or announcement.key != key:
        raise invalid("announcement", "id or key is not that of step 1")
    if side == "host" and not hmac.compare_digest(announcement.certificate_hash, terms.certificate_hash):
        raise invalid("announcement", "announces another certificate than the one of this connection")
    proof = decode_statement(verify_jws(key, PAIRING_TYPE, introduction.proof, "proof"), PairingProof, "proof")
    expected = PairingProof(
        sid=encode_base64url(terms.sid),
        role=side,
        id=node_id,
        peer_id=peer_id,
        shares_sha256=encode_base64url(shares_sha256),
    )
    if proof != expected:
        raise invalid("proof", "is of another run")
    return Proven(announcement, introduction.announcement)
