"""What a node says it can do: names and versions, and the hash that tells when the set has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from meshnode.domain.base64url import encode_base64url

CapabilityName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$(?!\n)", max_length=64)]
CapabilityVersion = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z.+-]{1,32}$(?!\n)")]


class Capability(msgspec.Struct, frozen=True, order=True):
    """One capability as announced; a claim until proven."""

    name: CapabilityName
    version: CapabilityVersion


BUILT_INS: Final = (Capability("notify", "1"), Capability("system.info", "1"), Capability("system.ping", "1"))


def capability_hash(capabilities: Iterable[Capability]) -> str:
    """Eight characters that change when the set does: the TXT record's `cv`."""
    text = "\n".join(f"{c.name}={c.version}" for c in sorted(capabilities))
    return encode_base64url(hashlib.sha256(text.encode()).digest()[:6])
