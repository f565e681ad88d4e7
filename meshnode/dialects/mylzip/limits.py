"""How often devices may make and try codes. In memory, answered before the database is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from meshnode.dialects.mylzip.settings import MylzipSettings
from meshnode.domain.errors import OF_THE_STORE, MeshError
from meshnode.domain.pairing_code import CODE_FORMATS, CodeFormat
from meshnode.domain.rate_limit import Rate, RateLimiter
from meshnode.node.counters import Counters
from meshnode.node.ports import Clock

HOUR_S: Final = 3600.0
FAILURES_PER_HOUR: Final = 30  # of one source address: whoever guesses chooses the deviceId, not that
DIALECT: Final = "mylzip"
_KEYS: Final = 16_384  # device ids; one source can make up no more than its failures
_UNTRIED: Final = OF_THE_STORE | {"locked_out", "rate_limited"}  # the code was not looked at


class _Limiter(RateLimiter):
    """A rate per key whose events can be taken back."""

    def __init__(self, per_hour: int) -> None:
        super().__init__(Rate(per_hour, HOUR_S, burst=per_hour), _KEYS)

    def give_back(self, key: str, now: float) -> None:
        """One event less for `key`."""
        due = self._arrivals.get(key, now) - self._rate.spacing_s
        if due > now:
            self._arrivals[key] = due
        else:
            self._arrivals.pop(key, None)


class Limits:
    """One per node."""

    def __init__(self, settings: MylzipSettings, clock: Clock, counters: Counters) -> None:
        self._clock = clock
        self._counters = counters
        self._codes = _by_format(settings, "pairing_code_rate_limit")
        self._attempts = _by_format(settings, "pairing_attempt_rate_limit")
        self._failures = _Limiter(FAILURES_PER_HOUR)

    def count_code(self, device_id: str, code_format: CodeFormat) -> None:
        """Count a code about to be made. Raises `rate_limited`."""
        self._take("codes", self._codes[code_format], device_id, "codes made for this device")

    @contextmanager
    def attempt(self, device_id: str, source: str, code_format: CodeFormat) -> Iterator[None]:
        """Count an attempt while it is made: a failure against its source too. Raises `rate_limited`.

        Both count from the start, so that many at once get no further than one after the other.
        """
        attempts = self._attempts[code_format]
        self._take("failures", self._failures, source, "failed attempts from this address")
        try:
            self._take("attempts", attempts, device_id, "attempts by this device")
        except MeshError:
            self._failures.give_back(source, self._clock.monotonic())
            raise
        try:
            yield
        except MeshError as error:
            if error.code in _UNTRIED:
                attempts.give_back(device_id, self._clock.monotonic())
                self._failures.give_back(source, self._clock.monotonic())
            raise
        else:
            self._failures.give_back(source, self._clock.monotonic())

    def _take(self, which: str, limiter: _Limiter, key: str, what: str) -> None:
        wait = limiter.wait_s(key, self._clock.monotonic())
        if wait:
            self._counters.limit_hits[DIALECT, which] += 1
            raise MeshError("rate_limited", f"too many {what} in an hour", retry_after_s=wait)


def _by_format(settings: MylzipSettings, setting: str) -> Mapping[CodeFormat, _Limiter]:
    """The limiter of each format: one for all that share the general limit, one for each that has its own."""
    shared = _Limiter(getattr(settings, setting))
    own = {kind: getattr(settings, f"{setting}_{kind}") for kind in CODE_FORMATS}
    return {kind: shared if own[kind] is None else _Limiter(own[kind]) for kind in CODE_FORMATS}
