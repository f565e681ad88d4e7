"""JSON-RPC 2.0 messages: the specification's own examples, ids, errors, and garbage."""

import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.domain.errors import MeshError, invalid
from meshnode.transport.rpc_message import (
    APPLICATION_ERROR,
    BATCH_MAX,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    Request,
    RpcError,
    decode_message,
    decode_params,
    encode_batch,
    encode_error,
    encode_notification,
    encode_result,
    error_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2.0, None]),
        "method": st.text(max_size=8) | JSON,
        "params": JSON,
        "id": JSON,
    },
)


class Params(msgspec.Struct):
    """Of some method."""

    name: str
    sizes: list[int] = []


def call(**members: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "method": "x", **members})


def only(text: str | bytes) -> Any:
    (request,) = decode_message(text).requests
    return request


@pytest.mark.parametrize("id_", ["", "a", 0, -1, 2**53 - 1, 2**64 - 1, 1.5, None])
def test_an_id_comes_back_as_it_was(id_: object) -> None:
    """A string, a number or null; null is an id, absence makes a notification."""
    request = only(call(id=id_))
    assert not request.is_notification
    answer = json.loads(encode_result(request.id, {}))
    assert answer == {"jsonrpc": "2.0", "id": id_, "result": {}}
    assert type(answer["id"]) is type(id_)
    assert only(call()).is_notification


@pytest.mark.parametrize("id_", [True, False, [], {}, ["a"], 1e300, 10**30])
def test_any_other_id_is_an_invalid_request_answered_with_null(id_: object) -> None:
    """Also a number that could not be sent back as it came."""
    error = only(call(id=id_))
    assert isinstance(error, RpcError)
    assert (error.code, error.id) == (INVALID_REQUEST, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nul",
        '{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]',
        "[1,]",
        "NaN",
        "[" * 2000,
        "\ufeff{}",
        '[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},{"jsonrpc": "2.0", "method"]',
        b"\xff",
    ],
)
def test_what_is_not_json_is_a_parse_error(text: str | bytes) -> None:
    """The whole of it, a batch too."""
    with pytest.raises(RpcError) as error:
        decode_message(text)
    assert (error.value.code, error.value.id) == (PARSE_ERROR, None)


@pytest.mark.parametrize(
    "found",
    [
        1,
        "x",
        None,
        {},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": 1, "params": "bar"},
        {"jsonrpc": "1.0", "method": "x"},
    ]
    + [{"jsonrpc": "2.0", "method": "x", "params": p} for p in ("a", 1, None, True)],
)
def test_what_is_no_call_is_an_invalid_request(found: object) -> None:
    """Answered even without an id: it is no notification either."""
    error = only(json.dumps(found))
    assert isinstance(error, RpcError)
    assert error.code == INVALID_REQUEST


def test_an_invalid_call_with_a_readable_id_gets_it_back() -> None:
    """So that its maker knows which one it was."""
    assert only('{"jsonrpc": "2.0", "id": 7}').id == 7


def test_a_batch_has_between_one_and_twenty_calls() -> None:
    """Each is judged alone; an empty or too large one is refused as a whole."""
    message = decode_message(f"[1, {call(id=1)}, {call()}]")
    assert message.is_batch
    first, second, third = message.requests
    assert isinstance(first, RpcError)
    assert first.code == INVALID_REQUEST
    assert second == Request("x", {}, 1, is_notification=False)
    assert third == Request("x", {}, None, is_notification=True)
    assert len(decode_message("[" + ",".join([call()] * BATCH_MAX) + "]").requests) == BATCH_MAX
    for text in ("[]", "[" + ",".join([call()] * (BATCH_MAX + 1)) + "]"):
        with pytest.raises(RpcError) as error:
            decode_message(text)
        assert (error.value.code, error.value.id) == (INVALID_REQUEST, None)
    assert json.loads(encode_batch([encode_result(1, 2), encode_result(2, 3)]))[1]["result"] == 3


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ([], "params"),
        (["a"], "params"),
        ({}, "name"),
        ({"name": 1}, "name"),
        ({"name": "a", "sizes": [1, "x"]}, "sizes"),
    ],
)
def test_wrong_parameters_name_the_field(params: Any, field: str) -> None:
    """In the sentence and as data; parameters by position are none of ours."""
    with pytest.raises(MeshError) as refusal:
        decode_params(params, Params)
    error = error_of(refusal.value, 1)
    assert error.code == INVALID_PARAMS
    assert error.data == {"code": "invalid_params", "field": field}
    assert field in error.message
    assert decode_params({"name": "a", "more": 1}, Params) == Params("a")


def test_a_refusal_says_the_same_as_over_http() -> None:
    """Code, status, next step, seconds to wait, and its own members, none of which can hide the others."""
    error = error_of(MeshError("locked_out", "wait", retry_after_s=1.2, attempts_left=2, status="no"), "q")
    answer = json.loads(encode_error(error))
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", "q")
    assert answer["error"]["code"] == APPLICATION_ERROR
    assert answer["error"]["message"] == "wait"
    data = answer["error"]["data"]
    assert (data["code"], data["status"], data["retry_after"], data["attempts_left"]) == ("locked_out", 429, 2, 2)
    assert data["next_step"]
    assert json.loads(encode_error(error_of(invalid("a", "b"), None)))["error"]["code"] == INVALID_PARAMS
    assert json.loads(encode_notification("event", {"a": 1})) == {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {"a": 1},
    }


@given(st.binary(max_size=64) | st.text(max_size=64) | JSON.map(json.dumps))
def test_garbage_raises_nothing_but_rpc_errors(text: str | bytes) -> None:
    """Bytes, text, any JSON: calls, or errors that can be sent."""
    try:
        requests = decode_message(text).requests
    except RpcError as error:
        requests = [error]
    for request in requests:
        assert isinstance(request, RpcError)
        assert json.loads(encode_error(request))["error"]["code"] in (PARSE_ERROR, INVALID_REQUEST)


@given(st.lists(CALLS | JSON, max_size=BATCH_MAX + 1) | CALLS)
def test_nearly_calls_are_calls_or_errors_with_an_answer(found: Any) -> None:
    """Whatever is decoded can be answered, and its parameters raise only refusals."""
    try:
        requests = decode_message(json.dumps(found)).requests
    except RpcError as error:
        assert error.code in (PARSE_ERROR, INVALID_REQUEST)  # noqa: PT017 - the other outcome follows
        return
    for request in requests:
        if isinstance(request, RpcError):
            assert orjson.loads(encode_error(request))["id"] == request.id
            continue
        assert orjson.loads(encode_result(request.id, None))["id"] == request.id
        try:
            decode_params(request.params, Params)
        except MeshError as refusal:
            assert refusal.code == "invalid_params"  # noqa: PT017 - as above
