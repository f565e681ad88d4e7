"""The PAKE behind our own small protocol, so that the library can change without the ceremony noticing.

CPACE-X25519-SHA512 with the draft's key confirmation. Source: draft-irtf-cfrg-cpace; docs/protocol.md, Pairing.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from cpace import CPace, CPaceError, CPaceRole

from meshnode.domain.errors import invalid
from meshnode.domain.pairing import CPACE_CHANNEL

SHARE_BYTES: Final = 32
TAG_BYTES: Final = 64


class Pake(Protocol):
    """One side of one run. Order: `share`, `derive`, then the rest."""

    share: bytes

    def derive(self, peer_share: bytes) -> None:
        """Take the peer's share. Raises `invalid_params` for one of low order or wrong length."""

    def tag(self) -> bytes:
        """This side's confirmation, 64 bytes."""

    def is_right(self, peer_tag: bytes) -> bool:
        """Whether the peer knows the same PIN and saw the same terms; compared in constant time."""

    def key(self) -> bytes:
        """64 bytes of shared key material, equal on both sides if the PINs are."""


class CPacePake:
    """`Pake` over the cpace package."""

    __slots__ = ("_peer_ad", "_run", "share")

    def __init__(self, role: Literal["joiner", "host"], pin: str, sid: bytes, own_ad: bytes, peer_ad: bytes) -> None:
        self._run = CPace.start(
            role=CPaceRole.INITIATOR if role == "joiner" else CPaceRole.RESPONDER,
            prs=pin.encode("ascii"),
            sid=sid,
            ci=CPACE_CHANNEL,
            ad=own_ad,
        )
        self._peer_ad = peer_ad
        self.share: bytes = self._run.public_share

    def derive(self, peer_share: bytes) -> None:
        """See `Pake`."""
        try:
            self._run.derive(peer_share, self._peer_ad)
        except CPaceError as error:
            raise invalid("share", "not a usable share") from error

    def tag(self) -> bytes:
        """See `Pake`."""
        return self._run.tag()

    def is_right(self, peer_tag: bytes) -> bool:
        """See `Pake`."""
        return self._run.verify(peer_tag)

    def key(self) -> bytes:
        """See `Pake`."""
        return self._run.isk
