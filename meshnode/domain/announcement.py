"""A node's signed statement about itself, and when one supersedes another. Source: docs/protocol.md, Announcement."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec

from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.capability import Capability
from meshnode.domain.errors import invalid
from meshnode.domain.identity import Kind, is_node_id
from meshnode.domain.source_address import parse_ip
from meshnode.domain.untrusted_text import NAME_MAX, clean_text

ANNOUNCEMENT_TYPE: Final = "meshnode-announcement+jws"
ANNOUNCEMENT_MAX_BYTES: Final = 4096  # the whole compact JWS
PROTOCOLS: Final = (1,)  # versions of the mesh protocol this program speaks, ascending
COUNTER_MAX: Final = 2**52  # epochs and revisions above it are ignored: they could never be exceeded

Counter = Annotated[int, msgspec.Meta(ge=0, le=COUNTER_MAX)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Address = Annotated[str, msgspec.Meta(min_length=2, max_length=64, pattern=r"^[0-9A-Za-z:.%_-]+$(?!\n)")]
Interval = Annotated[float, msgspec.Meta(ge=0.2, le=300)]  # seconds


class Announcement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The content of an announcement. `public_key` and `tls_sha256` are base64url of 32 bytes each."""

    id: Annotated[str, msgspec.Meta(max_length=128)]
    public_key: Annotated[str, msgspec.Meta(min_length=43, max_length=43)]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    kind: Kind
    platform: Annotated[str, msgspec.Meta(max_length=64)]
    version: Annotated[str, msgspec.Meta(max_length=64)]
    protocols: Annotated[list[int], msgspec.Meta(min_length=1, max_length=16)]
    port: Port
    addresses: Annotated[list[Address], msgspec.Meta(max_length=8)]
    public_url: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    tls_sha256: Annotated[str, msgspec.Meta(min_length=43, max_length=43)]
    capabilities: Annotated[list[Capability], msgspec.Meta(max_length=128)]
    interval_s: Interval
    mdns: bool = True
    epoch: Counter
    revision: Counter

    @property
    def pair(self) -> tuple[int, int]:
        """(epoch, revision): the order in which a node's announcements supersede each other."""
        return (self.epoch, self.revision)

    @property
    def certificate_hash(self) -> bytes:
        """SHA-256 of the TLS certificate's DER, 32 bytes."""
        return decode_base64url(self.tls_sha256)

    @property
    def key(self) -> bytes:
        """The Ed25519 identity key, 32 bytes."""
        return decode_base64url(self.public_key)

    @property
    def display_name(self) -> str:
        """The name, fit to be shown."""
        return clean_text(self.name, NAME_MAX) or self.id


_DECODER: Final = msgspec.json.Decoder(Announcement)


def decode_announcement(payload: bytes) -> Announcement:
    """The announcement in a verified JWS payload. Raises `invalid_params` naming what is wrong."""
    try:
        announcement = _DECODER.decode(payload)
        if len(announcement.key) != 32 or len(announcement.certificate_hash) != 32:
            raise ValueError("public_key and tls_sha256 are 32 bytes each")
        for address in announcement.addresses:
            parse_ip(address)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise invalid("announcement", str(error)) from error
    if not is_node_id(announcement.id):
        raise invalid("announcement.id", "not a node id")
    return announcement


def announcement_sha256(jws: str) -> str:
    """base64url SHA-256 of a compact announcement."""
    return encode_base64url(hashlib.sha256(jws.encode()).digest())


def supersedes(candidate: Announcement, held: Announcement | None) -> bool:
    """Whether `candidate` may replace what we hold: a greater (epoch, revision), or nothing held."""
    return held is None or candidate.pair > held.pair
