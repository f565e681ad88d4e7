"""The bodies of salita's wire. Sans-IO. Source: SPEC.md of this folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec

from meshnode.domain.device import (
    DEFAULT_PORT,
    DeviceClaim,
    check_device_id,
    clean_metadata,
    kind_of,
    parse_capabilities,
)
from meshnode.domain.errors import invalid
from meshnode.domain.pairing_code import Hidden, Secret, parse_code
from meshnode.domain.peer import MeshNode
from meshnode.domain.source_address import parse_ip
from meshnode.domain.timestamps import format_time
from meshnode.domain.untrusted_text import clean_text

HOSTNAME_MAX: Final = 253
ADDRESSES_MAX: Final = 8
URL_MAX: Final = 256
QUERY_MAX: Final = 16 * 1024  # characters

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Addresses = Annotated[list[str], msgspec.Meta(max_length=ADDRESSES_MAX)]


# ── what is sent to us ─────────────────────────────────────────────────────────────────────────────────────────────


class NodeIdentity(msgspec.Struct, kw_only=True):
    """What a phone says about itself; the reference's members first, then what we added."""

    node_id: str
    name: str
    capabilities: list[str] = []
    device_info: dict[str, Any] | None = None
    hostname: str | None = None
    port: Port | None = None
    addresses: Addresses = []
    public_url: str | None = None
    kind: str | None = None


class Verify(Hidden, msgspec.Struct, kw_only=True):
    """`POST /auth/pair/verify`."""

    code: str
    pin: str
    linking_code: str
    node_identity: NodeIdentity


class Opened(Hidden, msgspec.Struct, kw_only=True):
    """`POST /p/opened`: the phone page stands before somebody who will type the PIN."""

    code: Annotated[str, msgspec.Meta(max_length=64)]
    name: Annotated[str, msgspec.Meta(max_length=256)] = ""


class DeviceHeartbeat(msgspec.Struct, kw_only=True):
    """`POST /api/node/heartbeat`: what has changed, if anything."""

    name: str | None = None
    hostname: str | None = None
    port: Port | None = None
    addresses: Addresses | None = None
    capabilities: list[str] | None = None
    metadata: dict[str, Any] | None = None


class GraphQLRequest(msgspec.Struct, kw_only=True):
    """`POST /graphql`."""

    query: Annotated[str, msgspec.Meta(max_length=QUERY_MAX)]
    variables: dict[str, Any] | None = None
    operationName: str | None = None  # noqa: N815 - the wire's name
    extensions: dict[str, Any] | None = None


DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Verify, Opened, DeviceHeartbeat, GraphQLRequest)
}


# ── what we answer ─────────────────────────────────────────────────────────────────────────────────────────────────


class Started(Hidden, msgspec.Struct, kw_only=True):
    """An open offer, shown to the owner."""

    offer_id: str
    code: str
    pin: str
    linking_code: str
    url: str
    expires_at: str


class StartedWithQr(Started, kw_only=True):
    """The same, with the URL as a picture."""

    qr_svg: str


class OfferSeen(msgspec.Struct, kw_only=True):
    """How an offer stands, for who holds its code."""

    state: str
    expires_at: str
    expires_in: float  # seconds: the phone's clock may be another
    attempts_left: int


class DesktopNode(msgspec.Struct, kw_only=True):
    """We, as the reference's phone stores us."""

    node_id: str
    name: str
    hostname: str
    port: int
    capabilities: list[str]


class Verified(Hidden, msgspec.Struct, kw_only=True):
    """The phone is paired."""

    ok: bool = True
    session_token: str
    desktop_node: DesktopNode
    node: dict[str, Any]


class PublicIdentity(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`GET /api/node/identity`; capabilities for who has a token."""

    node_id: str
    name: str
    fingerprint: str
    public_key: str
    protocol: str
    tls_sha256: str
    capabilities: list[str] | None = None


class OwnRow(msgspec.Struct, kw_only=True):
    """The caller as we know it: a browser may have lost what it kept, but not its cookie."""

    id: str
    name: str
    trust_level: int


class HeartbeatAnswer(msgspec.Struct, kw_only=True):
    """Our identity, and how we see the caller now."""

    ok: bool = True
    device: OwnRow
    status: str
    node: dict[str, Any]


class GraphQLRefusal(msgspec.Struct, kw_only=True):
    """A GraphQL request that was not run."""

    errors: list[dict[str, Any]]
    extensions: dict[str, Any]


class GraphQLAnswer(msgspec.Struct, kw_only=True):
    """A GraphQL request that was run, as far as it could be."""

    data: dict[str, Any] | None
    errors: list[dict[str, Any]] | None = None


# ── checked and cleaned ────────────────────────────────────────────────────────────────────────────────────────────


def parse_offer_code(text: str) -> Secret:
    """The code of an offer: a uuid in any spelling. Raises `invalid_params`."""
    code = parse_code(text)
    if code is None or code.format != "uuid":
        raise invalid("code", "a uuid, as in the QR code")
    return code.text


def clean_hostname(where: str, text: str) -> str:
    """A host name or address as somebody gave it. Raises `invalid_params` if nothing is left of it."""
    hostname = clean_text(text, HOSTNAME_MAX)
    if not hostname:
        raise invalid(where, "a host name or an address")
    return hostname


def parse_addresses(where: str, texts: Iterable[str]) -> tuple[str, ...]:
    """IP addresses in their usual spelling. Raises `invalid_params`."""
    try:
        return tuple(dict.fromkeys(str(parse_ip(text)) for text in texts))
    except ValueError as error:
        raise invalid(where, "IP addresses") from error


def decode_claim(said: NodeIdentity, source: str) -> DeviceClaim:
    """What a phone says about itself; `source` is where it speaks from. Raises `invalid_params` naming the field."""
    at = "node_identity"
    node_id = check_device_id(f"{at}.node_id", said.node_id)
    metadata = clean_metadata(f"{at}.device_info", said.device_info or {})
    if said.public_url is not None:
        url = clean_text(said.public_url, URL_MAX)
        if not url.startswith(("https://", "http://")):
            raise invalid(f"{at}.public_url", "must start with https://")
        metadata["public_url"] = url
    hostname = clean_text(said.hostname or "", HOSTNAME_MAX)
    return DeviceClaim(
        id=node_id,
        name=clean_text(said.name) or node_id[:64],
        hostname=hostname or source,
        kind=kind_of(said.kind if said.kind is not None else str(metadata.get("platform", ""))),
        port=said.port or DEFAULT_PORT,
        addresses=parse_addresses(f"{at}.addresses", said.addresses),
        capabilities=parse_capabilities(f"{at}.capabilities", said.capabilities),
        metadata=metadata,
    )


def clean_changes(said: DeviceHeartbeat) -> dict[str, Any]:
    """What a heartbeat says that counts; blank names don't. Raises `invalid_params` naming the field."""
    changes: dict[str, Any] = {}
    if said.name is not None and clean_text(said.name):
        changes["name"] = clean_text(said.name)
    if said.hostname is not None:
        changes["hostname"] = clean_hostname("hostname", said.hostname)
    if said.port is not None:
        changes["port"] = said.port
    if said.addresses is not None:
        changes["addresses"] = parse_addresses("addresses", said.addresses)
    if said.capabilities is not None:
        changes["capabilities"] = parse_capabilities("capabilities", said.capabilities)
    if said.metadata is not None:
        changes["metadata"] = clean_metadata("metadata", said.metadata)
    return changes


def decode_announced(said: Mapping[str, Any]) -> tuple[DeviceClaim, dict[str, Any]]:
    """An AnnounceNodeInput as a claim, and the changes it stands for where the node is known.

    Raises `invalid_params` naming the field.
    """
    node_id = check_device_id("node_id", said["node_id"])
    if not 1 <= said["port"] <= 65535:
        raise invalid("port", "from 1 to 65535")
    changes: dict[str, Any] = {
        "name": clean_text(said["name"]) or node_id[:64],
        "hostname": clean_hostname("hostname", said["hostname"]),
        "port": said["port"],
    }
    if said.get("capabilities") is not None:
        changes["capabilities"] = parse_capabilities("capabilities", said["capabilities"])
    if said.get("metadata") is not None:
        if not isinstance(said["metadata"], dict):
            raise invalid("metadata", "a JSON object")
        changes["metadata"] = clean_metadata("metadata", said["metadata"])
    return DeviceClaim(id=node_id, **changes), changes


# ── encoded ────────────────────────────────────────────────────────────────────────────────────────────────────────


def encode_graphql_node(node: MeshNode) -> dict[str, Any]:
    """A node as the schema has it."""
    return {
        "id": node.id,
        "node_id": node.id,
        "name": node.name,
        "hostname": node.hostname,
        "port": node.port,
        "status": node.status,
        "trust": node.trust,
        "kind": node.kind,
        "dialect": node.dialect,
        "capabilities": [c.name for c in node.capabilities],
        "metadata": dict(node.metadata),
        "last_seen": None if node.last_seen is None else format_time(node.last_seen),
        "created_at": format_time(node.created_at),
        "is_current": node.is_current,
    }
