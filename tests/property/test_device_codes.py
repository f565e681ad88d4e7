"""No sequence of codes, guesses, time and restarts pairs a thin client that did not have a secret."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from meshnode.domain.errors import MeshError
from meshnode.domain.lockout import FAILURES
from meshnode.domain.pairing import ATTEMPTS
from meshnode.node.code_records import OpenedCode
from tests.fakes.bare_node import BareNode

LIFETIME_S = 300.0
DIALECTS = ("salita", "mylzip")
DEVICES = ("a", "b", "c")


class Guessing(RuleBasedStateMachine):
    """Two dialects, three devices, an owner who opens and cancels, and everybody guesses."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.core = BareNode(Path(self.folder.name) / "data")
        self.do(self.core.start())
        self.codes: list[OpenedCode] = []
        self.deserved: set[str] = set()  # who has shown a whole secret in time
        self.users: Counter[str] = Counter()  # of each code
        self.wrong_pins: Counter[str] = Counter()  # of each code
        self.guesses: list[datetime] = []  # code-less ones that were judged

    def do(self, work: Any) -> Any:
        """Run on the machine's own loop."""
        return self.runner.run(work)

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.do(self.core.stop())
        self.runner.close()
        self.folder.cleanup()

    def redeem(self, code: OpenedCode | str, device: str, **sent: Any) -> str:
        """The refusal, or `paired`."""
        try:
            self.do(self.core.redeem(code, device, **sent))
        except MeshError as error:
            return error.code
        return "paired"

    # few rules of many kinds: Hypothesis leaves some rules out of every example

    @initialize()
    def begin(self) -> None:
        """There is something to be had from the start, and to be guessed."""
        self.open("salita", "uuid", "beside", has_pin=True)
        self.open("mylzip", "legacy", "beside", has_pin=False)

    def open(self, dialect: str, code_format: str, opens: str, *, has_pin: bool) -> None:
        """The owner shows a code."""
        rules = {"dialect": dialect, "format": code_format, "opens": opens, "has_pin": has_pin}
        self.codes.append(self.do(self.core.open(lifetime_s=LIFETIME_S, **rules)))

    @rule(
        dialect=st.sampled_from(DIALECTS),
        code_format=st.sampled_from(["uuid", "short", "legacy"]),
        opens=st.sampled_from(["beside", "beside", "instead of its format", "instead of all"]),
        has_pin=st.booleans(),
    )
    def open_another(self, dialect: str, code_format: str, opens: str, has_pin: bool) -> None:
        """Beside the others or in their place."""
        self.open(dialect, code_format, opens, has_pin=has_pin)

    @rule(
        which=st.integers(1, 4),
        device=st.sampled_from(DEVICES),
        what=st.sampled_from(["all", "all", "another PIN", "another PIN", "another linking code", "no PIN"]),
        times=st.sampled_from([1, 1, ATTEMPTS + 1]),
    )
    def redeem_code(self, which: int, device: str, what: str, times: int) -> None:
        """A device that was shown one of the latest codes sends all of it, or is wrong in half."""
        for _ in range(times):
            self.redeem_once(self.codes[-min(which, len(self.codes))], device, what)

    def redeem_once(self, code: OpenedCode, device: str, what: str) -> None:
        """Judged as the reference model says."""
        other = f"{(int(code.secrets.pin or 0) + 1) % 1_000_000:06d}"
        wrong = {
            "all": {}, "another PIN": {"pin": other}, "another linking code": {"linking_code": "IIII0000"},
            "no PIN": {"pin": None, "linking_code": None},
        }[what]  # fmt: skip
        outcome = self.redeem(code, device, **wrong)
        if outcome == "paired":
            assert what == "all" or not code.secrets.pin
            assert self.core.clock.now() < code.code.expires_at
            assert self.wrong_pins[code.code.id] < ATTEMPTS
            self.deserved.add(device)
            self.users[code.code.id] += 1
        elif outcome == "bad_pin":
            assert what != "all"
            self.wrong_pins[code.code.id] += 1
            if code.code.is_codeless:
                self.guesses.append(self.core.clock.now())

    @rule(
        dialect=st.sampled_from(DIALECTS),
        device=st.sampled_from(DEVICES),
        digits=st.integers(0, 999_999),
        times=st.sampled_from([1, 4, FAILURES + 1]),
    )
    def guess(self, dialect: str, device: str, digits: int, times: int) -> None:
        """A device that has nothing tries codes of six digits; patience doesn't help."""
        for text in (f"{(digits + i) % 1_000_000:06d}" for i in range(times)):
            if any(code.text == text for code in self.codes):
                continue
            guessable = self.do(self.is_guessable(dialect))
            outcome = self.redeem(text, device, dialect=dialect, format="legacy")
            assert outcome in ("code_unknown", "locked_out")
            if outcome == "code_unknown" and guessable:
                self.guesses.append(self.core.clock.now())

    async def is_guessable(self, dialect: str) -> bool:
        """As the table says."""
        now = self.core.clock.now()
        async with self.core.database.read() as tx:
            stored = await tx.device_codes.open(dialect)
        return any(s.code.is_codeless and now < s.code.expires_at for s in stored)

    @rule(device=st.sampled_from(DEVICES), which=st.integers(1, 4), is_device=st.booleans())
    def end(self, device: str, which: int, is_device: bool) -> None:
        """The owner revokes a device, or changes their mind about a code."""
        entry = self.core.graph.roster.get(device)
        if not is_device:
            self.do(self.core.use.codes.cancel(self.codes[-min(which, len(self.codes))].code.id))
        elif entry is not None and entry.is_paired:
            self.do(self.core.revoke(device))
            self.deserved.discard(device)

    @rule(
        seconds=st.sampled_from([0.0, 1.0, 1.0, 60.0, 301.0, 900.0, 3601.0]),
        then=st.sampled_from(["", "sweep", "kill"]),
    )
    def wait(self, seconds: float, then: str) -> None:
        """Time passes; housekeeping, or `kill -9` and the next start."""
        self.core.clock.advance(seconds)
        if then == "sweep":
            self.do(self.core.use.codes.expire("offer"))
        elif then == "kill":
            self.do(self.core.restart())

    @invariant()
    def nobody_is_paired_without_a_secret(self) -> None:
        """In memory and in the table; and nobody else holds a token."""
        rows = self.do(self.core.query("SELECT id FROM mesh_nodes WHERE trust = 'paired'"))
        assert {node_id for (node_id,) in rows} == self.deserved
        assert {entry.node.id for entry in self.core.graph.roster if entry.is_paired} == self.deserved
        held = self.do(self.core.query("SELECT node_id FROM device_tokens WHERE revoked_at IS NULL"))
        assert {node_id for (node_id,) in held} == self.deserved
        assert {s.stored.node_id for s in self.core.use.tokens._live.values()} == self.deserved

    @invariant()
    def a_code_pairs_one_device(self) -> None:
        """At most."""
        assert all(times == 1 for times in self.users.values())

    @invariant()
    def guesses_are_few(self) -> None:
        """Three at a code; at everything that needs none ten, then a lock of 15 minutes, ten, one of 30, ten."""
        assert all(times <= ATTEMPTS for times in self.wrong_pins.values())
        now = self.core.clock.now()
        self.guesses = [at for at in self.guesses if now - at <= timedelta(hours=1)]
        assert len(self.guesses) <= 3 * FAILURES
        assert sum(now - at < timedelta(minutes=15) for at in self.guesses) <= FAILURES


def test_no_sequence_pairs_without_a_secret() -> None:
    """Whatever comes between: wrong PINs, expiry, cancels, revocations, restarts."""
    # no shrinking: every step writes to a disk, and the first failing sequence is short enough to read
    run_state_machine_as_test(
        Guessing, settings=settings(max_examples=15, stateful_step_count=30, phases=[Phase.generate])
    )
