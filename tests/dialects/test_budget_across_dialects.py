"""One code-less budget for all dialects, and no secret of any of them at rest, in the log or in a repr."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import types
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

import pytest

from tests.dialects.asking import Outcome, ask_once, post
from tests.dialects.conformance import Driver
from tests.dialects.drivers import CODELESS, ROWS, MylzipLegacy, MylzipShort
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Nodes

SECRET_NAMES = ("pin", "code", "linking_code", "pairing_code", "pairingCode", "pairToken")
TIMES = re.compile(rb"\d\d:\d\d:\d\d\.\d+|\d{10}\.\d+")  # whose fractions can look like a PIN


class Spread:
    """Failures at every code-less way in turn, each from another address and under another id."""

    def __init__(self, host: LocalNode, rows: tuple[type[Driver], ...] = CODELESS) -> None:
        self._drivers = [row(host) for row in rows]
        self._tickets = {driver.name: driver.open(driver.fresh()) for driver in self._drivers}
        self._turns = cycle(self._drivers)
        self._asked = 0

    def __iter__(self) -> Spread:
        return self

    def __next__(self) -> tuple[Driver, Outcome]:
        driver = next(self._turns)
        self._asked += 1
        source = {"X-Forwarded-For": f"10.{self._asked}.2.3"}
        wrong = driver.wrong(self._tickets[driver.name])
        return driver, driver.pair(wrong, driver.fresh(), headers=source)


@pytest.fixture
def behind_proxy(make_host: Callable[..., LocalNode]) -> LocalNode:
    """A node that believes us for whom we ask."""
    return make_host(**{"http.trusted_proxies": ["127.0.0.0/8"]})


def check_locked(host: LocalNode) -> None:
    """Every code-less way is locked, for right and wrong; what nobody can guess goes on."""
    for row in ROWS:
        driver = row(host)
        outcome = driver.attempt(driver.fresh())
        if row.is_codeless:
            assert (row.name, outcome.code, outcome.status) == (row.name, "locked_out", 429)
            assert (outcome.retry_after_s or 0) > 800
        else:
            assert (row.name, outcome.code) == (row.name, "ok")


def test_failures_spread_over_dialects_addresses_and_ids_add_up(behind_proxy: LocalNode) -> None:
    """Ten in all, not ten each: then mesh by PIN, aisopod, short and legacy codes are locked together."""
    failed = list(islice(Spread(behind_proxy), 10))
    assert len({driver.name for driver, _ in failed}) == len(CODELESS) == 4
    for driver, outcome in failed:
        assert outcome.code == driver.wrong_code, (driver.name, outcome)
    check_locked(behind_proxy)


def test_the_tenth_failure_locks_and_not_the_ninth(behind_proxy: LocalNode) -> None:
    """Nine failures, and everybody still pairs; a success gives nothing of the others' failures back."""
    spread = Spread(behind_proxy, tuple(row for row in CODELESS if row.dialect != "mesh"))
    assert all(outcome.code == driver.wrong_code for driver, outcome in islice(spread, 9))
    for row in CODELESS:
        assert row(behind_proxy).paired()[1].is_ok
    legacy = MylzipLegacy(behind_proxy)
    assert legacy.pair(legacy.wrong(legacy.open(legacy.fresh())), legacy.fresh()).code == "code_unknown"
    check_locked(behind_proxy)


@pytest.mark.parametrize("row", CODELESS, ids=lambda row: row.name)
def test_one_dialects_failures_lock_all_others(row: type[Driver], host: LocalNode) -> None:
    """Whichever is guessed at."""
    assert all(not outcome.is_ok for outcome in islice(row(host).failures(), 10))
    check_locked(host)


def test_many_at_once_get_no_further_than_one_after_the_other(host: LocalNode) -> None:
    """Thirty guesses in flight together: ten are looked at, the others are locked out."""
    drivers = [MylzipShort(host), MylzipLegacy(host)]
    tickets = [driver.open(driver.fresh()) for driver in drivers]

    async def storm() -> list[Outcome]:
        def guess(number: int) -> Outcome:
            driver, ticket = drivers[number % 2], tickets[number % 2]
            return driver.pair(driver.wrong(ticket), driver.fresh())

        return await asyncio.gather(*(asyncio.to_thread(guess, number) for number in range(24)))

    codes = [outcome.code for outcome in asyncio.run(storm())]
    assert (codes.count("code_unknown"), codes.count("locked_out")) == (10, 14)


def test_the_lock_is_the_owners_to_end_and_survives_kill_9(nodes: Nodes) -> None:
    """Locked in one dialect, killed, locked in another; `pair unlock` frees all."""
    node = nodes.start()
    assert all(not outcome.is_ok for outcome in islice(MylzipLegacy(node).failures(), 10))
    node.kill()
    node.start()
    for row in CODELESS:
        driver = row(node)
        assert driver.attempt(driver.fresh()).code == "locked_out"
    node.call("POST", "/api/v1/pairing/unlock", {})
    for row in CODELESS:
        assert row(node).paired()[1].is_ok


# ── secrets ────────────────────────────────────────────────────────────────────────────────────────────────────────


def secret_texts(ticket: Any, token: str) -> set[bytes]:
    """How each secret could be spelled somewhere; linking codes and UUIDs also bare."""
    found = {token.encode(), token.removeprefix("dev_").encode()}
    for name, text in ticket.secrets.items():
        if name in SECRET_NAMES:
            found |= {text.encode(), text.replace("-", "").encode(), text.upper().encode()}
            if len(text) in (32, 36):
                found.add(bytes.fromhex(text.replace("-", "")))
    return found - {b""}


def search(where: dict[str, bytes], secrets: set[bytes]) -> list[tuple[str, bytes]]:
    """Which secret stands where."""
    return [
        (name, secret) for name, content in where.items() for secret in secrets if secret in TIMES.sub(b"", content)
    ]


def test_no_secret_rests_in_files_or_log(row: type[Driver], nodes: Nodes) -> None:
    """Codes, PINs, tokens and keys: nowhere in the data directory or the log, neither while open nor once used."""
    node = nodes.start()
    driver = row(node)
    device = driver.fresh()
    ticket = driver.open(device)
    wrong = driver.pair(driver.wrong(ticket), driver.fresh())
    assert not wrong.is_ok

    def files() -> dict[str, bytes]:
        kept = {"control.json"}  # the owner's own token, mode 0600
        named = {p.name: p.read_bytes() for p in node.data.iterdir() if p.is_file() and p.name not in kept}
        assert "meshnode.db" in named
        return {**named, "log": node.log().encode()}

    while_open = files()
    done = driver.pair(ticket, device)
    assert done.is_ok
    ask_once(node, "node.describe", {}, done.token)
    post(node, "/api/pair", {"pairToken": done.token}, {"Authorization": f"Bearer {done.token}"})
    secrets = secret_texts(ticket, done.token) | secret_texts(driver.open(driver.fresh()), "")
    assert len(secrets) >= 3
    assert search(while_open, secrets) == []
    assert search(files(), secrets) == []
    node.stop()
    assert search(files(), secrets) == []


class Listening(logging.Handler):
    """Every line, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {getattr(record, 'fields', '')}")


class Witness:
    """Keeps what every object of ours that a function was given says of itself."""

    def __init__(self) -> None:
        self.reprs: set[str] = set()
        self._is_busy = False

    def __call__(self, frame: types.FrameType, event: str, arg: Any) -> None:
        if self._is_busy or event not in ("call", "return") or "/meshnode/" not in frame.f_code.co_filename:
            return
        self._is_busy = True
        try:
            for value in [*frame.f_locals.values(), arg]:
                if type(value).__module__.startswith("meshnode.") and "object at 0x" not in (said := repr(value)):
                    self.reprs.add(said)
        except AttributeError:  # a record that is being built
            pass
        finally:
            self._is_busy = False


def test_no_secret_is_in_a_repr_or_a_debug_line(driver: Driver, host: LocalNode) -> None:
    """What a traceback or a debugger would print while opening, failing and pairing."""

    async def watch(witness: Witness | None) -> None:
        sys.setprofile(witness)

    witness, listening = Witness(), Listening()
    root, level = logging.getLogger("meshnode"), logging.getLogger("meshnode").level
    root.addHandler(listening)
    root.setLevel(logging.DEBUG)
    host.run(watch(witness))
    try:
        device = driver.fresh()
        ticket = driver.open(device)
        driver.pair(driver.wrong(ticket), driver.fresh())
        done = driver.pair(ticket, device)
        assert done.is_ok
        ask_once(host, "node.describe", {}, done.token)
    finally:
        host.run(watch(None))
        root.removeHandler(listening)
        root.setLevel(level)
    assert len(witness.reprs) > 10
    said = {"reprs": "\n".join(witness.reprs).encode(), "log": "\n".join(listening.lines).encode()}
    assert search(said, secret_texts(ticket, done.token)) == [], [
        r for r in witness.reprs for s in secret_texts(ticket, done.token) if s.decode("latin-1") in r
    ]
