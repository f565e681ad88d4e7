"""Well-formed values for tests to start from; each keyword replaces one field."""

from dataclasses import replace
from typing import Any

import msgspec

from meshnode.crypto.jws import sign_jws
from meshnode.crypto.key_pair import KeyPair
from meshnode.domain.announcement import ANNOUNCEMENT_TYPE, Announcement
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.capability import Capability
from meshnode.domain.pairing import Terms
from meshnode.domain.peer import MeshNode
from tests.fakes.clock import START

ID = "node-01890a5d-ac96-774b-bcce-b302099a8057"
OTHER_ID = "node-01890a5d-ac96-774b-bcce-b302099a8058"
KEY = KeyPair(bytes(range(32)))
OTHER_KEY = KeyPair(bytes(range(1, 33)))
CERTIFICATE = bytes(range(100, 132))


def announcement_fields(**changes: Any) -> dict[str, Any]:
    """The members of an announcement, as JSON has them."""
    fields = {
        "id": ID,
        "public_key": encode_base64url(KEY.public_key),
        "name": "desk",
        "kind": "desktop",
        "platform": "linux x86_64",
        "version": "0.1.0",
        "protocols": [1],
        "port": 6969,
        "addresses": ["192.0.2.7", "2001:db8::7"],
        "tls_sha256": encode_base64url(CERTIFICATE),
        "capabilities": [{"name": "system.ping", "version": "1"}],
        "interval_s": 15.0,
        "epoch": 1_700_000_000,
        "revision": 1,
    }
    return {**fields, **changes}


def make_announcement(**changes: Any) -> Announcement:
    """An announcement."""
    return msgspec.convert(announcement_fields(**changes), Announcement)


def sign_announcement(announcement: Announcement, key: KeyPair = KEY) -> str:
    """The compact JWS of an announcement."""
    return sign_jws(key, ANNOUNCEMENT_TYPE, msgspec.json.encode(announcement))


def make_node(**changes: Any) -> MeshNode:
    """A paired peer, with every optional column filled."""
    node = MeshNode(
        id=ID,
        name="desk",
        hostname="192.0.2.7",
        port=6969,
        status="online",
        trust="paired",
        created_at=START,
        status_reason="silent",
        capabilities=(Capability("notify", "1"), Capability("system.ping", "1.2")),
        last_seen=START,
        metadata={"colour": "grün", "n": [1, 2]},
        alias="Schreibtisch",
        kind="desktop",
        public_key=KEY.public_key,
        tls_sha256=CERTIFICATE,
        addresses=("192.0.2.7", "2001:db8::7"),
        trust_level=2,
        introduced_by=OTHER_ID,
        paired_at=START,
        revoked_at=START,
        revoked_by="owner",
        epoch=1_700_000_000,
        revision=3,
        sequence=9,
        announcement="a.b.c",
    )
    return replace(node, **changes)


def make_terms(**changes: Any) -> Terms:
    """The terms of one pairing run."""
    terms = Terms(
        sid=bytes(range(16)),
        way="pin",
        joiner_id=ID,
        joiner_key=KEY.public_key,
        joiner_protocols=(1,),
        host_id=OTHER_ID,
        host_key=OTHER_KEY.public_key,
        host_protocols=(1, 2),
        version=1,
        certificate_hash=CERTIFICATE,
    )
    return replace(terms, **changes)
