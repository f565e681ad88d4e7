"""What two paired nodes tell each other every interval. Source: docs/protocol.md, Heartbeat."""

from __future__ import annotations

import msgspec

from meshnode.domain.announcement import Counter
from meshnode.domain.statements import Digest, Jws


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A heartbeat and its answer: they have one form.

    `announcement_sha256` is of the sender's announcement, `known_sha256` of the receiver's that the sender holds;
    whoever sees an outdated one includes `announcement` in its next message.
    """

    epoch: Counter
    sequence: Counter
    announcement_sha256: Digest
    known_sha256: Digest | None
    announcement: Jws | None = None
    leaving: bool = False
