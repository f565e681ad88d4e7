"""The pairing runs in memory: who may start, who holds a slot, when one is over. Source: docs/protocol.md, Pairing."""

from __future__ import annotations

import hmac
from typing import Final

import msgspec

from meshnode.crypto.pake import Pake
from meshnode.domain.errors import MeshError
from meshnode.domain.pairing import BEGUN_S, SLOT_S, Stage, Step, Terms, Way, advance
from meshnode.node.open_offer import LiveOffer
from meshnode.node.ports import Clock

SOURCE_MAX: Final = 4  # unused begins of one source
BEGUN_MAX: Final = 64  # by PIN alone, in all
INVITED_MAX: Final = 8  # by invite: they know the code, and have places of their own


class Ceremony(msgspec.Struct):
    """One run, in memory until its answer is stored."""

    terms: Terms
    live: LiveOffer
    source: str
    started: float
    stage: Stage = Stage.BEGUN
    pake: Pake | None = None  # from `exchange` on
    shares_sha256: bytes = b""


class Ceremonies:
    """Runs by session id; one slot for PIN alone and one for invites, held between `exchange` and `finish`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[bytes, Ceremony] = {}
        self._slots: dict[Way, bytes | None] = {"pin": None, "invite": None}

    def __contains__(self, sid: bytes) -> bool:
        return sid in self._runs

    def add(self, run: Ceremony) -> None:
        """Start a run. Raises `pairing_busy` when too many have begun."""
        self._make_room(run.terms.way, run.source)
        self._runs[run.terms.sid] = run

    def _make_room(self, way: Way, source: str) -> None:
        """Forget what has timed out; then the source's own oldest begin, or an invited one, makes place."""
        now = self._clock.monotonic()
        for sid, run in list(self._runs.items()):
            if run.stage is Stage.BEGUN and now - run.started > BEGUN_S:
                del self._runs[sid]
        begun = [(sid, run) for sid, run in self._runs.items() if run.stage is Stage.BEGUN and run.terms.way == way]
        if way == "invite":
            for sid, _ in begun[: max(0, len(begun) - INVITED_MAX + 1)]:
                del self._runs[sid]
            return
        of_source = [sid for sid, run in begun if run.source == source]
        if len(of_source) >= SOURCE_MAX:
            del self._runs[of_source[0]]
        elif len(begun) >= BEGUN_MAX:
            raise MeshError("pairing_busy", "too many devices are starting to pair", retry_after_s=BEGUN_S)

    def get(self, sid: bytes, certificate_hash: bytes, step: Step) -> Ceremony:
        """The run, if `step` is due. Raises `session_over`."""
        run = self._runs.get(sid)
        limit = SLOT_S if run is not None and run.stage is Stage.EXCHANGED else BEGUN_S
        if run is None or self._clock.monotonic() - run.started > limit:
            self.end(sid)
            raise MeshError("session_over", "this pairing session is over")
        if not hmac.compare_digest(run.terms.certificate_hash, certificate_hash):
            self.end(sid)
            raise MeshError("session_over", "the certificate changed during the pairing")
        advance("host", run.stage, step)
        return run

    def take_slot(self, way: Way, sid: bytes) -> None:
        """Hold the way's slot. Raises `pairing_busy` with the seconds it is still held by another."""
        holder = self._slots[way]
        run = self._runs.get(holder) if holder is not None else None
        if run is not None and holder is not None and holder != sid:
            left = SLOT_S - (self._clock.monotonic() - run.started)
            if left > 0:
                raise MeshError("pairing_busy", "another device is pairing right now", retry_after_s=left)
            self.end(holder)
        self._slots[way] = sid

    def end(self, sid: bytes) -> None:
        """Forget a run and free its slot; harmless when repeated."""
        run = self._runs.pop(sid, None)
        if run is not None and self._slots[run.terms.way] == sid:
            self._slots[run.terms.way] = None

    def end_offer(self, offer_id: str) -> None:
        """The offer was closed: its runs are over and their slot is free."""
        for sid, run in list(self._runs.items()):
            if run.live.offer.id == offer_id:
                self.end(sid)
