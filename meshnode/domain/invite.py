"""The invite: the URL or QR that carries an offer, its secrets in the fragment only. Source: docs/protocol.md, Invite.

Grammar: `https://HOST:PORT/p#CODE.CERT`, CODE = the uuid's 16 bytes, CERT = the first 16 bytes of the
certificate hash, both base64url without padding. A phone's invite has `.LINK` behind: the linking code, no dash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.errors import MeshError, invalid

DEFAULT_PORT: Final = 6969
CODE_BYTES: Final = 16
CERT_BYTES: Final = 16

_HOST: Final = r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[\w.-]{1,253}))"
_HOST_PORT: Final = re.compile(_HOST + r"(?::(?P<port>[0-9]{1,5}))?\Z")
_INVITE_FORM: Final = "must look like https://HOST:PORT/p#CODE.CERT"


@dataclass(frozen=True, slots=True)
class Invite:
    """Where an offer is, its code, and the start of the certificate hash to expect there."""

    host: str
    port: int
    code: bytes = field(repr=False)
    cert: bytes
    link: str | None = field(default=None, repr=False)  # a phone's linking code


def format_host(host: str) -> str:
    """`host` as it stands in a URL: IPv6 in brackets, a scope's % escaped."""
    return f"[{host.replace('%', '%25')}]" if ":" in host else host


def format_invite(invite: Invite) -> str:
    """The invite as text."""
    secrets = f"{encode_base64url(invite.code)}.{encode_base64url(invite.cert)}"
    if invite.link is not None:
        secrets += f".{invite.link.replace('-', '')}"
    return f"https://{format_host(invite.host)}:{invite.port}/p#{secrets}"


def parse_invite(text: str) -> Invite:
    """The invite in `text`. Raises `invalid_params` saying which part is wrong."""
    if len(text) > 512:
        raise invalid("invite", "longer than an invite can be")
    try:
        url = urlsplit(text.strip())
        host, port = parse_host_port(url.netloc)
    except (ValueError, MeshError) as error:
        raise invalid("invite", _INVITE_FORM) from error
    if url.scheme != "https" or not port or url.path != "/p" or url.query:
        raise invalid("invite", _INVITE_FORM)
    parts = url.fragment.split(".")
    if len(parts) == 3:
        raise invalid("invite", "is a phone's invite; open it in the phone's browser, or run `meshnode pair` there")
    try:
        if len(parts) != 2:
            raise ValueError("two parts after the #")
        code, cert = (decode_base64url(part) for part in parts)
        if len(code) != CODE_BYTES or len(cert) != CERT_BYTES:
            raise ValueError("16 bytes each")
    except ValueError as error:
        raise invalid("invite", "the part after # is damaged; copy the whole URL, in quotes") from error
    return Invite(host=host, port=port, code=code, cert=cert)


def parse_host_port(text: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """(host, port) of `HOST`, `HOST:PORT`, `[V6]`, `[V6]:PORT` or a bare IPv6 address.

    Raises `invalid_params`.
    """
    text = text.strip()
    bare = text.count(":") > 1 and not text.startswith("[")
    match = _HOST_PORT.match((f"[{text}]" if bare else text).replace("%25", "%"))
    try:
        if match is None:
            raise ValueError("must look like HOST, HOST:PORT or [IPv6]:PORT")
        if match["v6"]:
            IPv6Address(match["v6"])
        port = default_port if match["port"] is None else int(match["port"])
        if port > 65535:
            raise ValueError("a port is at most 65535")
    except ValueError as error:
        raise invalid("address", f"{text!r}: {error}") from error
    return match["v6"] or match["name"].lower(), port
