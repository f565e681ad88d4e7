"""How long a certificate is good for, and what the owner is told."""

from datetime import UTC, datetime, timedelta

import pytest

from meshnode.domain.served_certificate import (
    CertificateFacts,
    ServedCertificate,
    has_expired,
    judge_certificate,
    judge_dates,
    must_renew,
)

SINCE = datetime(2026, 6, 1, tzinfo=UTC)
UNTIL = datetime(2026, 12, 1, tzinfo=UTC)
FACTS = CertificateFacts(names=("tower.example",), not_before=SINCE, not_after=UNTIL)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (SINCE, False),
        (UNTIL - 30 * DAY - timedelta(seconds=1), False),
        (UNTIL - 30 * DAY, True),
        (UNTIL + 3650 * DAY, True),
        (SINCE - timedelta(seconds=1), True),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (datetime(2099, 1, 1, tzinfo=UTC), False),
    ],
)
def test_ours_is_renewed_thirty_days_before(now: datetime, expected: bool) -> None:
    """Also one that a clock once ahead made; never by a clock that can't be right."""
    assert must_renew(FACTS, now) is expected


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (UNTIL - 14 * DAY - timedelta(seconds=1), ""),
        (UNTIL - 14 * DAY, "runs out on 2026-12-01"),
        (UNTIL - timedelta(seconds=1), "runs out on 2026-12-01"),
        (UNTIL, "ran out on 2026-12-01"),
        (SINCE - DAY, "valid from 2026-06-01"),
        (datetime(1970, 1, 1, tzinfo=UTC), ""),
        (datetime(2099, 1, 1, tzinfo=UTC), ""),
    ],
)
def test_the_owners_is_told_fourteen_days_before(now: datetime, told: str) -> None:
    """And from then on; a wrong clock blames nobody."""
    judged = judge_dates(FACTS, now)
    assert told in judged
    assert bool(judged) is bool(told)
    assert has_expired(FACTS, now) is ("ran out" in told)


def test_the_finding_names_certificate_trouble_and_fix() -> None:
    """Ok, warning, and failure once it has expired."""
    ours = judge_certificate(ServedCertificate(sha256=bytes(32), facts=FACTS, is_owners=False))
    assert (ours.verdict, ours.detail) == ("ok", "made and renewed by this node, until 2026-12-01")
    own = ServedCertificate(sha256=bytes(32), facts=FACTS, is_owners=True, trouble="t", fix="f")
    assert own.label == "your own for tower.example, until 2026-12-01"
    told = judge_certificate(own)
    assert (told.stage, told.verdict, told.detail, told.fix) == ("certificate", "warning", "t", "f")
    expired = ServedCertificate(sha256=bytes(32), facts=FACTS, is_owners=True, trouble="t", fix="f", is_expired=True)
    assert judge_certificate(expired).verdict == "failure"
