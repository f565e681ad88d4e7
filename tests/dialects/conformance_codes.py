"""The drivers of the dialects whose code alone pairs: mylzip's three formats and abpa3; and the table of all rows."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from tests.dialects.asking import Outcome, bearer, outcome_of, post
from tests.dialects.conformance import (
    Aisopod,
    Device,
    Driver,
    Headers,
    Mesh,
    MeshByPin,
    Salita,
    Ticket,
    other_digits,
)

DEVICES: Final = "/api/v1/encrypted/devices"


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
