"""No sequence of codes, guesses, time and restarts pairs a thin client that did not have a secret."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from meshnode.domain.errors import MeshError
from meshnode.domain.lockout import FAILURES
from meshnode.domain.pairing import ATTEMPTS
from meshnode.node.device_codes import OpenedCode
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

    @rule(
        dialect=st.sampled_from(DIALECTS),
        code_format=st.sampled_from(["uuid", "short", "legacy"]),
        opens=st.sampled_from(["beside", "instead of its format", "instead of all"]),
        has_pin=st.booleans(),
    )
    def open(self, dialect: str, code_format: str, opens: str, has_pin: bool) -> None:
        """The owner shows a code."""
        rules = {"dialect": dialect, "format": code_format, "opens": opens, "has_pin": has_pin}
        self.codes.append(self.do(self.core.open(lifetime_s=LIFETIME_S, **rules)))

    @precondition(lambda self: self.codes)
    @rule(data=st.data(), device=st.sampled_from(DEVICES))
    def redeem_rightly(self, data: st.DataObject, device: str) -> None:
        """A device that was shown a code sends all of it."""
        code = data.draw(st.sampled_from(self.codes))
        if self.redeem(code, device) == "paired":
            self.deserved.add(device)
            self.users[code.code.id] += 1
            assert self.core.clock.now() < code.code.expires_at
            assert self.wrong_pins[code.code.id] < ATTEMPTS

    @precondition(lambda self: any(code.secrets.pin for code in self.codes))
    @rule(data=st.data(), device=st.sampled_from(DEVICES), is_link=st.booleans())
    def guess_pin(self, data: st.DataObject, device: str, is_link: bool) -> None:
        """A device that has a code only by halves tries its luck."""
        code = data.draw(st.sampled_from([code for code in self.codes if code.secrets.pin]))
        other = f"{(int(code.secrets.pin) + 1) % 1_000_000:06d}"
        outcome = self.redeem(code, device, **({"linking_code": "IIII0000"} if is_link else {"pin": other}))
        assert outcome != "paired"
        if outcome == "bad_pin":
            self.wrong_pins[code.code.id] += 1
            if code.code.is_codeless:
                self.guesses.append(self.core.clock.now())

    @rule(dialect=st.sampled_from(DIALECTS), device=st.sampled_from(DEVICES), digits=st.integers(0, 999_999))
    def guess_code(self, dialect: str, device: str, digits: int) -> None:
        """A device that has nothing tries a code of six digits."""
        text = f"{digits:06d}"
        if any(code.text == text for code in self.codes):
            return
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

    @rule(device=st.sampled_from(DEVICES))
    def guess_often(self, device: str) -> None:
        """Patience doesn't help either."""
        for digits in range(FAILURES + 1):
            self.guess_code("salita", device, digits)

    @precondition(lambda self: self.codes)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """The owner changes their mind."""
        self.do(self.core.use.codes.cancel(data.draw(st.sampled_from(self.codes)).code.id))

    @rule(device=st.sampled_from(DEVICES))
    def revoke(self, device: str) -> None:
        """The owner ends a device."""
        entry = self.core.graph.roster.get(device)
        if entry is not None and entry.is_paired:
            self.do(self.core.revoke(device))
            self.deserved.discard(device)

    @rule(seconds=st.sampled_from([1.0, 60.0, 299.0, 301.0, 900.0, 3601.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.core.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        """Housekeeping."""
        self.do(self.core.use.codes.expire("offer"))

    @rule()
    def restart(self) -> None:
        """`kill -9`, and the next start."""
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
    run_state_machine_as_test(Guessing, settings=settings(max_examples=10, stateful_step_count=40))
