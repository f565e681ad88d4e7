"""The bodies of the mylzip wire. Sans-IO. Source: SPEC.md of this folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from meshnode.domain.device import check_device_id
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.pairing_code import CODE_FORMATS, CodeFormat, Hidden, SpelledCode, parse_code
from meshnode.domain.untrusted_text import clean_text

BODY_MAX: Final = 24 * 1024  # bytes of a `pair` request
TRUST_DATA_MAX: Final = 16 * 1024  # bytes of its encryptedTrustData
FORMAT_MESSAGE: Final = 'Format must be "uuid", "short", or "legacy"'
RATE_ERROR: Final = "Rate limit exceeded"
_Told = Annotated[str, msgspec.Meta(max_length=1024)]  # cleaned and cut before it is stored


class MakeCode(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`POST …/pairing-code`."""

    device_id: str
    format: str | None = None
    expires_in: Annotated[int, msgspec.Meta(ge=30, le=3600)] | None = None
    device_type: _Told | None = None
    device_version: _Told | None = None


class Pair(Hidden, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`POST …/pair`."""

    device_id: str
    pairing_code: Annotated[str, msgspec.Meta(max_length=256)]
    encrypted_trust_data: str
    device_type: _Told | None = None
    device_version: _Told | None = None


class CodeMade(Hidden, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to `MakeCode`."""

    success: bool = True
    pairing_code: str
    format: CodeFormat
    expires_at: str
    expires_in: int
    node: dict[str, Any]


class TrustMade(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the new pairing is called."""

    id: str
    trust_level: int
    created_at: str


class PairedDevice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The device that made the code."""

    device_id: str
    device_type: str
    device_version: str


class Paired(Hidden, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to `Pair`."""

    success: bool = True
    trust_relationship: TrustMade
    paired_device: PairedDevice
    pairing_code_format: CodeFormat
    device_token: str
    node: dict[str, Any]


class LeftTrust(Hidden, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one device left for the maker of its code."""

    id: str
    device_id: str
    trust_level: int
    created_at: str
    encrypted_trust_data: str


class TrustLeft(Hidden, msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer to `GET …/trust`, newest first."""

    success: bool = True
    trust_relationships: list[LeftTrust]
    node: dict[str, Any]


DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (MakeCode, Pair)
}


def decode_device_id(text: str) -> str:
    """`deviceId`, well-formed. Raises `invalid_params` naming it."""
    return check_device_id("deviceId", text)


def decode_format(text: str | None, default: CodeFormat) -> CodeFormat:
    """The format asked for, or the default. Raises `invalid_params` in the reference's words."""
    if text is None:
        return default
    for known in CODE_FORMATS:
        if text == known:
            return known
    raise MeshError("invalid_params", FORMAT_MESSAGE, field="format")


def decode_code(text: str) -> SpelledCode:
    """The code and its format, found out from its spelling. Raises `invalid_params`; it names no part of the code."""
    code = parse_code(text)
    if code is None:
        raise invalid("pairingCode", "a UUID, 12 hexadecimal digits, or six digits")
    return code


def decode_trust_data(text: str) -> str:
    """`encryptedTrustData` as it came. Raises `invalid_params` if it is too long or no text."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise invalid("encryptedTrustData", "is not text") from error
    if size > TRUST_DATA_MAX:
        raise invalid("encryptedTrustData", f"at most {TRUST_DATA_MAX} bytes")
    return text


def decode_told(text: str | None, *otherwise: object) -> str:
    """What a device says about its type or version, cleaned; else the first other text that says something."""
    for said in (text, *otherwise):
        if isinstance(said, str) and (cleaned := clean_text(said)):
            return cleaned
    return ""


def encode_refusal(error: MeshError) -> Mapping[str, Any]:
    """What this dialect's clients read in a problem: `success`, `error`, `message`, and how long to wait."""
    field = error.members.get("field")
    said, message = error.code.replace("_", " ").capitalize(), error.detail
    if error.status == 429:
        said = RATE_ERROR
    elif field == "format":
        said, message = "Invalid format parameter", FORMAT_MESSAGE
    elif field is not None:
        said = f"Invalid {field} parameter"
    members: dict[str, Any] = {"success": False, "error": said, "message": message}
    if error.retry_after_s is not None:
        members["retryAfter"] = max(1, math.ceil(error.retry_after_s))
    return members
