"""JSON-RPC 2.0 as bytes: messages in, answers and notifications out. Sans-IO. Source: jsonrpc.org/specification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.json_text import dump_json, load_json
from meshnode.domain.pairing_code import Hidden

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
APPLICATION_ERROR: Final = -32003
BATCH_MAX: Final = 20  # calls
_EXACT: Final = 2**53  # beyond it a JSON number can't be sent back as it came

Id = str | int | float | None
T = TypeVar("T", bound=msgspec.Struct)


class RpcError(Exception):
    """An error answer: its code, message and data, and the id it goes to."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None, id: Id = None) -> None:  # noqa: A002 - the wire's word
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data
        self.id = id


class Request(Hidden, msgspec.Struct, frozen=True):
    """One method call; a notification is never answered. Its parameters may hold a code."""

    method: str
    params: dict[str, Any] | list[Any]
    id: Id
    is_notification: bool


class Message(msgspec.Struct, frozen=True):
    """What came in one frame: calls, and an error in place of each that is none."""

    requests: Sequence[Request | RpcError]
    is_batch: bool


def decode_message(text: str | bytes) -> Message:
    """The calls in a frame. Raises RpcError where the whole of it is no message."""
    try:
        found = load_json(text)
    except ValueError as error:
        raise RpcError(PARSE_ERROR, "this is not JSON") from error
    if not isinstance(found, list):
        return Message([_decode_request(found)], is_batch=False)
    if not 1 <= len(found) <= BATCH_MAX:
        raise RpcError(INVALID_REQUEST, f"a batch has 1 to {BATCH_MAX} calls")
    return Message([_decode_request(item) for item in found], is_batch=True)


def _decode_request(found: Any) -> Request | RpcError:
    if not isinstance(found, dict):
        return RpcError(INVALID_REQUEST, "a call is an object")
    id_ = found.get("id")
    if isinstance(id_, bool) or not isinstance(id_, str | int | float | None):
        return RpcError(INVALID_REQUEST, "id: a string, a number or null")
    if isinstance(id_, float) and abs(id_) >= _EXACT:
        return RpcError(INVALID_REQUEST, "id: too large a number to be sent back as it came")
    if found.get("jsonrpc") != "2.0":
        return RpcError(INVALID_REQUEST, 'jsonrpc: must be "2.0"', id=id_)
    method = found.get("method")
    if not isinstance(method, str):
        return RpcError(INVALID_REQUEST, "method: must be a string", id=id_)
    params = found.get("params", {})
    if not isinstance(params, dict | list):
        return RpcError(INVALID_REQUEST, "params: must be an object", id=id_)
    return Request(method, params, id_, "id" not in found)


def decode_params(params: dict[str, Any] | list[Any], type_: type[T]) -> T:
    """Named parameters as `type_`. Raises `invalid_params` naming the field."""
    if isinstance(params, list):
        raise invalid("params", "are given by name, in an object")
    try:
        return msgspec.convert(params, type_)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        if "missing required field `" in what:
            raise invalid(what.rsplit("`", 2)[1], "is missing") from error
        raise invalid(where.strip("`.").partition("[")[0] or "params", what) from error


def error_of(refusal: MeshError, id_: Id) -> RpcError:
    """A refusal as JSON-RPC says it: the same `code` as over HTTP, in `data`."""
    data: dict[str, Any] = {**refusal.members, "code": refusal.code}
    if refusal.code == "invalid_params":
        return RpcError(INVALID_PARAMS, refusal.detail, data, id_)
    data |= {"status": refusal.status, "next_step": refusal.next_step}
    if refusal.retry_after_s is not None:
        data["retry_after"] = max(1, math.ceil(refusal.retry_after_s))
    return RpcError(APPLICATION_ERROR, refusal.detail, data, id_)


def encode_result(id_: Id, result: Any) -> bytes:
    """The answer to a call. Raises TypeError if `result` is no JSON."""
    return dump_json({"jsonrpc": "2.0", "id": id_, "result": result}, default=msgspec.to_builtins)


def encode_error(error: RpcError) -> bytes:
    """The answer to a call that failed."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return dump_json({"jsonrpc": "2.0", "id": error.id, "error": body}, default=msgspec.to_builtins)


def encode_batch(answers: Sequence[bytes]) -> bytes:
    """The answers to the calls of a batch."""
    return b"[" + b",".join(answers) + b"]"


def encode_notification(method: str, params: Any) -> bytes:
    """Something said unasked. Raises TypeError if `params` is no JSON."""
    return dump_json({"jsonrpc": "2.0", "method": method, "params": params}, default=msgspec.to_builtins)
