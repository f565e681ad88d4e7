"""The verbs that every way to pair has, and the drivers of mesh; `drivers` has the others and the table.

A driver speaks its wire as a stranger's client would. What a dialect has no notion of, its driver says with a reason;
the cases then assert what holds instead.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from tests.dialects.asking import Outcome, get, outcome_of
from tests.fakes.joiner import Answer, Joiner
from tests.fakes.nodes import Asked, Offer

Headers = Mapping[str, str]
Step = Callable[[], Outcome]
OK = Outcome("ok", 200)


@dataclass
class Device:
    """Somebody who wants to pair, and what it says about itself."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    name: str = "Pixel 7"
    joiner: Joiner | None = None  # of a peer: it has a key


@dataclass(frozen=True)
class Ticket:
    """What a device must know to pair: the secrets its wire asks for, by name."""

    secrets: Mapping[str, str]

    def but(self, **changed: str) -> Ticket:
        """Another one."""
        return replace(self, secrets={**self.secrets, **changed})

    def __getitem__(self, name: str) -> str:
        return self.secrets[name]


class RefusedError(Exception):
    """The device was refused before it had a ticket."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def other_digits(text: str) -> str:
    """As many digits, none of them right."""
    return "".join(str((int(digit) + 1) % 10) for digit in text)


class Driver:
    """How one row of the suite pairs."""

    name: ClassVar[str]
    dialect: ClassVar[str]
    kind: ClassVar[str] = "phone"  # of the row that the device becomes
    is_codeless: ClassVar[bool] = False  # a failure spends the code-less budget
    can_guess: ClassVar[bool] = True  # whether a wrong secret can be tried at all
    wrong_code: ClassVar[str] = "code_unknown"  # a wrong secret beside an open code
    unknown_code: ClassVar[str] = "code_unknown"  # nothing is open
    used_code: ClassVar[str] = "code_used"
    expired_code: ClassVar[str] = "code_expired"
    lifetime_s: ClassVar[float] = 300.0
    burns_after: ClassVar[int | None] = None  # wrong secrets; None: see `no_burning`
    no_burning: ClassVar[str] = "the code is all there is to guess: a wrong one names no code that could be burned"
    own_id_code: ClassVar[str] = "identity_mismatch"  # for who claims to be the node itself
    picks_its_id: ClassVar[bool] = True  # False: see `no_choice`
    no_choice: ClassVar[str] = ""
    is_keyed: ClassVar[bool] = False  # its id is proven by a key: re-pairing keeps the level without a token
    can_be_off: ClassVar[bool] = True
    says_name: ClassVar[bool] = True  # False: the wire has no field for it, and the id is the name
    capabilities: ClassVar[tuple[str, ...]] = ()  # what the row says of the driver's device
    metadata: ClassVar[Mapping[str, Any]] = {}
    stale_after_s: ClassVar[float] = 150.0
    offline_after_s: ClassVar[float] = 360.0
    takes_keyless: ClassVar[bool] = False  # may become the row of another dialect: a key proves more than an id

    def __init__(self, node: Asked) -> None:
        self.node = node

    # ── verbs ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self, device: Device, headers: Headers | None = None) -> Ticket:
        """All that has to be done before `device` can pair, by the owner or by itself. May raise RefusedError."""
        raise NotImplementedError

    def pair(self, ticket: Ticket, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        """The device pairs; `token` is one that it presents, `headers` go with each of its requests."""
        raise NotImplementedError

    def wrong(self, ticket: Ticket) -> Ticket:
        """The same with a wrong secret."""
        raise NotImplementedError

    def unknown(self) -> Ticket:
        """Well-formed, and nobody ever opened it."""
        raise NotImplementedError

    def journey(self, device: Device) -> Iterator[Step]:
        """The steps of one pairing, between which the node may die; the last one's outcome has the token."""
        tickets: list[Ticket] = []

        def opening() -> Outcome:
            tickets.append(self.open(device))
            return OK

        yield opening
        yield lambda: self.pair(tickets[0], device)

    def show_life(self, device: Device, token: str) -> Outcome:
        """A request that says that the device lives."""
        return outcome_of(get(self.node, "/readyz", token))

    # ── what the cases use ─────────────────────────────────────────────────────────────────────────────────────────

    def fresh(self, **said: Any) -> Device:
        """A device nobody knows."""
        return Device(**said)

    def attempt(self, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        """Open and pair; the refusal of whichever refuses."""
        try:
            return self.pair(self.open(device, headers), device, token, headers)
        except RefusedError as refused:
            return refused.outcome

    def paired(self, device: Device | None = None, token: str | None = None) -> tuple[Device, Outcome]:
        """A device that has just paired."""
        device = device or self.fresh()
        done = self.attempt(device, token)
        assert done.is_ok, done
        return replace(device, id=done.node_id), done

    def failures(self) -> Iterator[Outcome]:
        """One wrong secret after the other, beside codes that are open."""
        while True:
            ticket = self.open(self.fresh())
            for _ in range(self.burns_after or 1000):
                yield self.pair(self.wrong(ticket), self.fresh())


class Mesh(Driver):
    """The ceremony by invite."""

    name = dialect = "mesh"
    kind = "other"
    wrong_code, used_code = "bad_pin", "session_over"
    lifetime_s = 600.0
    burns_after = 3
    is_keyed = takes_keyless = True
    can_be_off = False
    stale_after_s, offline_after_s = 750.0, 1800.0  # it promised a heartbeat every 300 s

    def fresh(self, **said: Any) -> Device:
        device = Device(**{"id": f"node-{uuid.uuid4()}"} | said)
        device.joiner = Joiner(self.node.port, id=device.id, name=device.name)
        return device

    def open(self, device: Device, headers: Headers | None = None) -> Ticket:
        offer = Offer(self.node.call("POST", "/api/v1/pairing/offers", {}))
        return Ticket({"pin": offer.pin, "code": offer.code.hex()})

    def _code(self, ticket: Ticket) -> bytes | None:
        return bytes.fromhex(ticket["code"])

    def _joiner(self, device: Device, headers: Headers | None) -> Joiner:
        joiner = device.joiner
        assert joiner is not None
        joiner.port = self.node.port
        return joiner if headers is None else HeadedJoiner.of(joiner, headers)

    def pair(self, ticket: Ticket, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        joiner = self._joiner(device, headers)
        steps: tuple[Callable[[], Answer], ...] = (
            lambda: joiner.begin(self._code(ticket)),
            lambda: joiner.exchange(ticket["pin"]),
            joiner.finish,
            joiner.ack,
        )
        for step in steps:
            answer = step()
            if answer.status != 200:
                return outcome_of(answer)
        return self._session(joiner)

    @staticmethod
    def _session(joiner: Joiner) -> Outcome:
        opened = outcome_of(joiner.open_session(), token_key="token")
        return replace(opened, node_id=joiner.id, body={"node": {"id": joiner.host_id}, **opened.body})

    def show_life(self, device: Device, token: str) -> Outcome:
        assert device.joiner is not None
        return outcome_of(device.joiner.beat())

    def wrong(self, ticket: Ticket) -> Ticket:
        return ticket.but(pin=other_digits(ticket["pin"]))

    def unknown(self) -> Ticket:
        return Ticket({"pin": "123456", "code": secrets.token_hex(16)})

    def journey(self, device: Device) -> Iterator[Step]:
        joiner = self._joiner(device, None)
        tickets: list[Ticket] = []

        def opening() -> Outcome:
            tickets.append(self.open(device))
            return OK

        yield opening
        yield lambda: outcome_of(joiner.begin(self._code(tickets[0])))
        yield lambda: outcome_of(joiner.exchange(tickets[0]["pin"]))
        yield lambda: outcome_of(joiner.finish())
        yield lambda: outcome_of(joiner.ack())
        yield lambda: self._session(joiner)


class MeshByPin(Mesh):
    """The ceremony by PIN alone."""

    name = "mesh-pin"
    is_codeless = True
    unknown_code = used_code = expired_code = "no_open_offer"

    def _code(self, ticket: Ticket) -> bytes | None:
        return None


@dataclass
class HeadedJoiner(Joiner):
    """A joiner whose every request carries some headers more."""

    more: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, joiner: Joiner, headers: Headers) -> HeadedJoiner:
        """The same node, with headers."""
        return cls(**{**vars(joiner), "more": dict(headers)})

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """See `Joiner`."""
        return super().request(method, path, body, {**(headers or {}), **self.more})
