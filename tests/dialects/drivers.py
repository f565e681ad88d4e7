"""The drivers of the thin clients' dialects, and the table of all rows."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from tests.dialects.asking import Outcome, RpcClient, ask_once, bearer, outcome_of, post
from tests.dialects.conformance import (
    OK,
    Device,
    Driver,
    Headers,
    Mesh,
    MeshByPin,
    RefusedError,
    Step,
    Ticket,
    other_digits,
)

DEVICES: Final = "/api/v1/encrypted/devices"


class Salita(Driver):
    """Code, PIN and linking code of one offer."""

    name = dialect = "salita"
    capabilities = ("media.upload",)
    metadata: ClassVar[Mapping[str, Any]] = {"platform": "ios", "os_version": "17.2"}
    wrong_code = "bad_pin"
    lifetime_s = 600.0
    burns_after = 3

    def open(self, device: Device, headers: Headers | None = None) -> Ticket:
        started = self.node.call("POST", "/auth/pair/start", {})
        return Ticket({name: started[name] for name in ("code", "pin", "linking_code")})

    def pair(self, ticket: Ticket, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        said = {
            "node_id": device.id,
            "name": device.name,
            "capabilities": list(self.capabilities),
            "device_info": self.metadata,
        }
        body = {**ticket.secrets, "node_identity": said}
        answer = post(self.node, "/auth/pair/verify", body, {**bearer(token), **(headers or {})})
        return replace(outcome_of(answer, token_key="session_token"), node_id=device.id)

    def wrong(self, ticket: Ticket) -> Ticket:
        return ticket.but(pin=other_digits(ticket["pin"]))

    def unknown(self) -> Ticket:
        return Ticket({"code": str(uuid.uuid4()), "pin": "123456", "linking_code": "ABCD-1234"})


class Aisopod(Driver):
    """The device asks, the owner approves, the device fetches its token."""

    name = dialect = "aisopod"
    is_codeless = True
    own_id_code = "invalid_params"  # its device ids are UUIDs, ours isn't one
    metadata: ClassVar[Mapping[str, Any]] = {"device_type": "ios", "client_version": "1.2.3"}

    def open(self, device: Device, headers: Headers | None = None) -> Ticket:
        ticket = self.ask(device, headers)
        self.approve(device)
        return ticket

    def ask(self, device: Device, headers: Headers | None = None) -> Ticket:
        """Until the owner sees the request."""
        said = {
            "device_name": device.name, "device_type": "ios", "client_version": "1.2.3", "device_id": device.id,
        }  # fmt: skip
        asked = ask_once(self.node, "node.pair.request", said, None, headers)
        if not asked.is_ok:
            raise RefusedError(asked)
        return Ticket({"pairing_code": asked.body["pairing_code"], "device_id": device.id})

    def owner(self) -> RpcClient:
        """The owner's socket."""
        return RpcClient(*self.node._control.socket)  # type: ignore[attr-defined]

    def approve(self, device: Device) -> None:
        """The owner says yes."""
        with self.owner() as owner:
            listed = owner.ask("node.pair.list", {})
            assert listed.is_ok, listed
            mine = [r for r in listed.body["pending"] if r["device_id"] == device.id]
            approved = owner.ask("node.pair.approve", {"request_id": mine[0]["id"]})
        if not approved.is_ok:
            raise RefusedError(approved)

    def pair(self, ticket: Ticket, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        done = ask_once(self.node, "node.pair.confirm", ticket.secrets, token, headers)
        return replace(done, node_id=ticket["device_id"], token=done.body.get("device_token", ""))

    def wrong(self, ticket: Ticket) -> Ticket:
        return ticket.but(pairing_code=other_digits(ticket["pairing_code"]))

    def unknown(self) -> Ticket:
        return Ticket({"pairing_code": "123456", "device_id": str(uuid.uuid4())})

    def journey(self, device: Device) -> Iterator[Step]:
        tickets: list[Ticket] = []

        def asking() -> Outcome:
            tickets.append(self.ask(device))
            return OK

        def approving() -> Outcome:
            self.approve(device)
            return OK

        yield asking
        yield approving
        yield lambda: self.pair(tickets[0], device)


class Mylzip(Driver):
    """A uuid code."""

    name, dialect = "mylzip", "mylzip"
    format: ClassVar[str] = "uuid"
    says_name = False
    metadata: ClassVar[Mapping[str, Any]] = {"device_type": "mobile", "device_version": "Pixel 7"}
    lifetime_s = 600.0

    def open(self, device: Device, headers: Headers | None = None) -> Ticket:
        # ten codes an hour for one device id: each is asked for in the name of another
        body = {"deviceId": f"maker-{secrets.token_hex(8)}", "format": self.format}
        made = self.node.call("POST", f"{DEVICES}/pairing-code", body)
        assert made["format"] == self.format
        return Ticket({"pairingCode": made["pairingCode"]})

    def pair(self, ticket: Ticket, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        body = {
            "deviceId": device.id,
            "pairingCode": ticket["pairingCode"],
            "encryptedTrustData": "b3BhcXVl",
            "deviceType": "mobile",
            "deviceVersion": device.name,  # the only free text there is
        }
        answer = post(self.node, f"{DEVICES}/pair", body, {**bearer(token), **(headers or {})})
        return replace(outcome_of(answer, token_key="deviceToken"), node_id=device.id)

    def wrong(self, ticket: Ticket) -> Ticket:
        return self.unknown()

    def unknown(self) -> Ticket:
        return Ticket({"pairingCode": str(uuid.uuid4())})


class MylzipShort(Mylzip):
    """Twelve hexadecimal digits."""

    name, format = "mylzip-short", "short"
    is_codeless = True
    lifetime_s = 300.0

    def unknown(self) -> Ticket:
        return Ticket({"pairingCode": secrets.token_hex(6)})


class MylzipLegacy(Mylzip):
    """Six digits."""

    name, format = "mylzip-legacy", "legacy"
    is_codeless = True
    lifetime_s = 180.0

    def wrong(self, ticket: Ticket) -> Ticket:
        return ticket.but(pairingCode=other_digits(ticket["pairingCode"]))

    def unknown(self) -> Ticket:
        return Ticket({"pairingCode": "123456"})


class Abpa3(Driver):
    """A pair token in a QR code."""

    name = dialect = "abpa3"
    picks_its_id = False
    metadata: ClassVar[Mapping[str, Any]] = {"type": "mobile"}
    no_choice = "deviceId is a slug of the name that the node makes unique: nobody can name another's row"

    def open(self, device: Device, headers: Headers | None = None) -> Ticket:
        offer = self.node.call("POST", "/api/v1/pairing/offers", {"dialect": "abpa3"})
        return Ticket({"pairToken": offer["qr"]["pairToken"]})

    def pair(self, ticket: Ticket, device: Device, token: str | None = None, headers: Headers | None = None) -> Outcome:
        body = {"pairToken": ticket["pairToken"], "deviceInfo": {"name": device.name, "type": "mobile"}}
        answer = post(self.node, "/api/pair", body, {**bearer(token), **(headers or {})})
        return outcome_of(answer, id_key="deviceId", token_key="deviceKey")

    def wrong(self, ticket: Ticket) -> Ticket:
        return self.unknown()

    def unknown(self) -> Ticket:
        return Ticket({"pairToken": secrets.token_hex(16)})


ROWS: Final[tuple[type[Driver], ...]] = (
    Mesh, MeshByPin, Salita, Aisopod, Mylzip, MylzipShort, MylzipLegacy, Abpa3,
)  # fmt: skip
"""Every dialect has a row here; a test holds it."""
CODELESS: Final = tuple(row for row in ROWS if row.is_codeless)
