"""The TLS certificate that is served: how long it is good for, and what to tell the owner about it.

Peers pin its hash and look at no date; browsers and other apps do.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from meshnode.domain.diagnosis import NOT_AFTER, NOT_BEFORE, Finding

RENEW_BEFORE: Final = timedelta(days=30)  # ours, by ourselves
WARN_BEFORE: Final = timedelta(days=14)  # the owner's, whose renewal should have come by then
RENEW_FIX: Final = "renew it with what made it (an ACME client, `tailscale cert`, mkcert); it is taken up by itself"


class CertificateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says about itself."""

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


class ServedCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner is told of the certificate that new connections get."""

    sha256: bytes
    facts: CertificateFacts
    is_owners: bool  # else we made it
    trouble: str = ""
    fix: str = ""
    is_expired: bool = False

    @property
    def label(self) -> str:
        """In one line: whose, for which names, until when."""
        whose = "your own" if self.is_owners else "made and renewed by this node"
        names = f" for {', '.join(self.facts.names[:3])}" if self.is_owners and self.facts.names else ""
        return f"{whose}{names}, until {self.facts.not_after:%Y-%m-%d}"


def _is_plausible(now: datetime) -> bool:
    return NOT_BEFORE <= now.timestamp() < NOT_AFTER


def has_expired(facts: CertificateFacts, now: datetime) -> bool:
    """Whether its time is over; never by a clock that can't be right."""
    return _is_plausible(now) and now >= facts.not_after


def must_renew(facts: CertificateFacts, now: datetime) -> bool:
    """Whether ours is to be made anew: soon over, or made while the clock was ahead. Not by a clock that is wrong."""
    return _is_plausible(now) and (now < facts.not_before or now >= facts.not_after - RENEW_BEFORE)


def judge_dates(facts: CertificateFacts, now: datetime) -> str:
    """What is wrong with the dates of an owner's certificate; empty if nothing is."""
    if has_expired(facts, now):
        return f"your certificate ran out on {facts.not_after:%Y-%m-%d}: browsers refuse it, paired nodes don't mind"
    if _is_plausible(now) and now >= facts.not_after - WARN_BEFORE:
        return f"your certificate runs out on {facts.not_after:%Y-%m-%d}"
    if _is_plausible(now) and now < facts.not_before:
        return f"your certificate is valid from {facts.not_before:%Y-%m-%d} on only, or this machine's clock is behind"
    return ""


def judge_certificate(served: ServedCertificate) -> Finding:
    """`certificate`: which one is served, and what is to be done about it."""
    if not served.trouble:
        return Finding(stage="certificate", verdict="ok", detail=served.label)
    return Finding(
        stage="certificate",
        verdict="failure" if served.is_expired else "warning",
        detail=served.trouble,
        cause="certificate",
        fix=served.fix,
    )
