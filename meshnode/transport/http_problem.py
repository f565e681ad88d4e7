"""Errors on HTTP: RFC 9457 problem+json everywhere, aiohttp's own 404, 405 and 413 too."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from meshnode.domain.errors import CODES, NEVER_SENT, MeshError
from meshnode.domain.json_text import dump_json
from meshnode.domain.untrusted_text import clean_text

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
_BY_STATUS: Final = {
    400: "invalid_params",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def problem_response(error: MeshError, members: Mapping[str, Any] | None = None) -> web.Response:
    """The answer to a refused request; `members` are what a dialect's own clients read besides."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "next_step": error.next_step,
        **error.members,
        **(members or {}),
    }
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_s is not None:
        seconds = max(1, math.ceil(error.retry_after_s))
        headers["Retry-After"] = str(seconds)
        body["retry_after"] = seconds
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(status=error.status, body=dump_json(body), content_type=PROBLEM, headers=headers)


def problem_of_http(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusal as a problem; keeps `Allow`."""
    code = _BY_STATUS.get(error.status, "internal_error" if error.status >= 500 else "invalid_params")
    detail = {
        "not_found": "nothing lives at this path",
        "method_not_allowed": "this path knows other methods",
        "body_too_large": "the body is too large",
    }.get(code, error.reason)
    response = problem_response(MeshError(code, detail))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def error_of_problem(body: object, retry_after: str | None) -> MeshError | None:
    """The MeshError in another node's problem document; None if it isn't one that a node sends."""
    if not isinstance(body, dict):
        return None
    code, detail = body.get("code"), body.get("detail")
    if not isinstance(code, str) or code not in CODES or code in NEVER_SENT:
        return None
    members = {}
    if isinstance(body.get("attempts_left"), int):
        members["attempts_left"] = body["attempts_left"]
    wait = float(retry_after) if retry_after is not None and re.fullmatch(r"[0-9]{1,7}", retry_after) else None
    # what stands in backticks is a command that we tell our owner to type, so not what another node writes there
    text = clean_text(detail, 300).replace("`", "'") if isinstance(detail, str) else ""
    return MeshError(code, text or code, retry_after_s=wait, **members)
