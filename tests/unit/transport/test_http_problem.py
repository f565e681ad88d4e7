"""Errors on HTTP, out and in again."""

import json
from typing import Any

import pytest
from aiohttp import web

from meshnode.domain.errors import CODES, NEVER_SENT, MeshError
from meshnode.transport.http_problem import error_of_problem, problem_of_http, problem_response


def body_of(response: web.Response) -> dict[str, Any]:
    assert isinstance(response.body, bytes)
    decoded: dict[str, Any] = json.loads(response.body)
    return decoded


@pytest.mark.parametrize("code", CODES)
def test_every_code_becomes_a_problem_and_comes_back(code: str) -> None:
    """RFC 9457, never cached."""
    response = problem_response(MeshError(code, "why"))
    body = body_of(response)
    assert response.status == body["status"] == CODES[code].status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert (body["code"], body["detail"]) == (code, "why")
    again = error_of_problem(body, None)
    if code in NEVER_SENT:  # a peer can't tell us what only we can know
        assert again is None
        return
    assert again is not None
    assert (again.code, again.detail) == (code, "why")


@pytest.mark.parametrize(("wait", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2"), (900.0, "900")])
def test_the_wait_is_told_in_whole_seconds_rounded_up(wait: float, header: str) -> None:
    """In header and body; none without a wait."""
    response = problem_response(MeshError("locked_out", "wait", retry_after_s=wait))
    assert response.headers["Retry-After"] == header
    assert body_of(response)["retry_after"] == int(header)
    assert "Retry-After" not in problem_response(MeshError("locked_out", "wait")).headers


def test_a_401_asks_for_a_bearer_token() -> None:
    """And only a 401."""
    assert problem_response(MeshError("not_paired", "x")).headers["WWW-Authenticate"] == "Bearer"
    assert "WWW-Authenticate" not in problem_response(MeshError("bad_pin", "x")).headers


def test_members_travel() -> None:
    """Attempts left, both ways."""
    body = body_of(problem_response(MeshError("bad_pin", "x", attempts_left=2)))
    assert body["attempts_left"] == 2
    again = error_of_problem(body, "7")
    assert again is not None
    assert (again.members, again.retry_after_s) == ({"attempts_left": 2}, 7.0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (web.HTTPNotFound(), "not_found"),
        (web.HTTPMethodNotAllowed("PUT", ["GET", "POST"]), "method_not_allowed"),
        (web.HTTPRequestEntityTooLarge(10, 11), "body_too_large"),
        (web.HTTPUnsupportedMediaType(), "unsupported_media_type"),
        (web.HTTPRequestTimeout(), "request_timeout"),
        (web.HTTPBadRequest(), "invalid_params"),
        (web.HTTPExpectationFailed(), "invalid_params"),
        (web.HTTPServiceUnavailable(), "internal_error"),
    ],
)
def test_aiohttps_own_refusals_are_problems_too(error: web.HTTPException, code: str) -> None:
    """With `Allow` kept."""
    response = problem_of_http(error)
    assert body_of(response)["code"] == code
    assert response.headers.get("Allow") == error.headers.get("Allow")


@pytest.mark.parametrize(
    "body",
    [None, [], "x", 7, {}, {"code": "x"}, {"code": 5}, {"code": None}, {"code": ["bad_pin"]}, {"detail": "x"}],
)
def test_what_is_no_problem_of_ours_is_none(body: object) -> None:
    """Another server answers at that address."""
    assert error_of_problem(body, None) is None


@pytest.mark.parametrize(
    "retry_after", ["", "-1", "1.5", "tomorrow", "9" * 8, "²", "٣", "1\n", "Wed, 21 Oct 2026 07:28:00 GMT"]
)
def test_a_strange_retry_after_is_ignored(retry_after: str) -> None:
    """No peer makes us wait for years."""
    error = error_of_problem({"code": "locked_out", "detail": 5, "attempts_left": "x"}, retry_after)
    assert error is not None
    assert (error.retry_after_s, error.detail, error.members) == (None, "locked_out", {})


def test_a_peers_detail_is_capped_and_cleaned() -> None:
    """It is shown to a person."""
    error = error_of_problem({"code": "bad_pin", "detail": "\x1b\u202e" + "x" * 10_000}, None)
    assert error is not None
    assert error.detail == "x" * len(error.detail)
    assert 200 < len(error.detail) <= 300
