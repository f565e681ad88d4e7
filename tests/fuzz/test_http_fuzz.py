"""schemathesis against /openapi.json of a running node, as everybody who may ask.

Nothing that the owner can ask is left out; only where `join` dials is ours to say, else it would ask the network for
names. An offer, a lock, a row that a run has ended is renewed before the next operation.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from meshnode.domain.errors import CODES
from tests.fakes.joiner import Joiner, b64
from tests.fuzz.target import Caller, Target, try_

# the node's own certificate, by a client that knows authorities only
pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")

ANSWER_S: Final = 10.0
WARM_UP: Final = 2  # examples an operation and mode
EXAMPLES: Final = 8  # where the caller is let in
JOIN: Final = "/api/v1/pairing/join"
LEAVE: Final = "/api/v1/session"
ANY_PATH: Final = "/static/{path}"  # no text is wrong there
NOT_LET_IN: Final = {401, 403}
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
DESTINATIONS: Final = ("127.0.0.1:1", "[::1]:1", "https://127.0.0.1:1/pair#A.B", "nobody.invalid:x", "")
LET_IN_LESS: Final = [pytest.param(name, marks=pytest.mark.long) for name in ("phone", "peer")]  # than the operator


class Fuzzer:
    """Asks everything that the document offers on the caller's listener."""

    def __init__(self, target: Target, caller: Caller) -> None:
        self._target = target
        self._caller = caller
        self._session = requests.Session()
        document = target.node.call("GET", "/openapi.json")
        schema = schemathesis.openapi.from_dict(document)
        self.operations = [
            operation
            for operation in (found.ok() for found in schema.get_all_operations())
            if caller.listener in operation.definition.raw["x-listeners"]
            and (operation.path != LEAVE or caller.name not in ("phone", "operator"))  # who leaves asks nothing more
        ]
        self.asked = 0
        self._known: dict[str, Sequence[Any]] = {}

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    def renew(self) -> None:
        """Open doors, and learn what is behind them. Nothing of it lets anybody in."""
        target, offer = self._target, self._target.open_doors()
        joiner = Joiner(target.node.port)
        begun = joiner.begin()
        ids = (*target.tokens, target.node.id, target.peer.id, joiner.id, "related", "new-one")
        self._known = dict.fromkeys(("ref", "node_id", "deviceId", "device_id", "id", "caller"), ids) | {
            "offer_id": (offer["offer_id"], offer["code"]),
            "code": (offer["code"], b64(bytes(16))),
            "linking_code": (offer["linking_code"],),
            "pin": (f"{(int(offer['pin']) + 1) % 1_000_000:06d}",),  # a wrong one
            "pairingCode": ("000000", "00000000-0000-4000-8000-000000000000", "0123456789ab"),
            "sid": (begun.json["sid"] if begun.status == 200 else b64(bytes(16)),),
            "public_key": (b64(target.peer.public), b64(joiner.public), b64(bytes(32))),
            "protocols": ([1],),
            "share": (b64(bytes(32)), b64(b"\x01" * 32)),
            "tag": (b64(bytes(64)),),
            "sealed": (b64(bytes(64)), b64(bytes(2000))),
            "jws": (target.peer.announcement(), "e30.e30.AA"),
            "announcement": (target.peer.announcement(revision=2), "e30.e30.AA"),
            "announcement_sha256": (b64(bytes(32)),),
            "known_sha256": (b64(bytes(32)),),
            "nonce": (b64(bytes(32)),),
            "limit": ("1", "1000"),
        }

    def run(self, operations: Iterable[APIOperation], examples: int, seed_: int) -> list[APIOperation]:
        """Try each in right and wrong ways; those that let the caller in."""
        open_ones = []
        for operation in operations:
            if not self._known or "pair" in operation.path:
                self.renew()
            statuses: set[int] = set()
            for mode in GenerationMode:
                self._try(operation, mode, examples, seed_, statuses)
            if statuses - NOT_LET_IN:
                open_ones.append(operation)
        return open_ones

    def _try(
        self, operation: APIOperation, mode: GenerationMode, examples: int, seed_: int, statuses: set[int]
    ) -> None:
        if mode is GenerationMode.NEGATIVE and not _can_be_wrong(operation):
            return

        def ask(case_and_data: tuple[Case, st.DataObject]) -> None:
            case, data = case_and_data
            self._put_known(case, data)
            statuses.add(self._ask(case).status_code)

        try_(st.tuples(operation.as_strategy(generation_mode=mode), st.data()), ask, examples, seed_)

    def _put_known(self, case: Case, data: st.DataObject) -> None:
        """Put what this node knows in place of some of what was made up."""
        for part in (case.path_parameters, case.query, case.body):
            if isinstance(part, dict):
                self._put_into(part, data)
        if case.operation.path == JOIN and isinstance(case.body, dict) and isinstance(case.body.get("to"), str):
            case.body["to"] = data.draw(st.sampled_from(DESTINATIONS))

    def _put_into(self, part: dict[str, Any], data: st.DataObject) -> None:
        for name, value in part.items():
            if isinstance(value, Mapping):
                self._put_into(part[name], data)
            elif name in self._known and data.draw(st.booleans()):
                part[name] = data.draw(st.sampled_from(self._known[name]))

    def _ask(self, case: Case) -> Response:
        self.asked += 1
        began = time.monotonic()
        response = case.call(
            base_url=self._caller.url,
            session=self._session,
            headers=dict(self._caller.headers),
            timeout=ANSWER_S,
            verify=False,
        )
        assert time.monotonic() - began < ANSWER_S
        checks = CHECKS
        if case.operation.path == JOIN and response.status_code == 502:  # what is wrong is the other side
            assert CODES[response.json()["code"]].status == 502
            checks = CHECKS[1:]
        case.validate_response(response, checks=checks)
        return response


def _can_be_wrong(operation: APIOperation) -> bool:
    """Whether there is anything in which a request could differ from the document."""
    raw = operation.definition.raw
    return operation.path != ANY_PATH and ("requestBody" in raw or "parameters" in raw)


@pytest.mark.parametrize("name", ["anonymous", "operator", "owner", *LET_IN_LESS])
def test_every_operation_stands_what_is_made_up_for_it(target: Target, name: str, effort: int) -> None:
    """No 5xx but what `join` finds, answers as documented, nothing hangs, grows or changes that may not."""
    caller = target.caller(name)
    fuzzer = Fuzzer(target, caller)
    try:
        admitted = fuzzer.run(fuzzer.operations, WARM_UP, 1)
        assert admitted
        target.metrics()  # loads a library
        warm = target.rss_bytes
        fuzzer.run(admitted, EXAMPLES * effort, 2)
    finally:
        fuzzer.close()
    assert fuzzer.asked > len(fuzzer.operations)
    target.check(caller, warm)
