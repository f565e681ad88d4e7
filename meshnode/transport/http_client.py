"""Calls to other nodes: https only, pinned, no redirects, no proxies, deadlines and size caps."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import aiohttp
from aiohttp.client import URL  # type: ignore[attr-defined]  # yarl's

from meshnode.domain.errors import MeshError
from meshnode.domain.json_text import load_json
from meshnode.transport.http_problem import error_of_problem

CONNECT_S: Final = 4.0
TOTAL_S: Final = 10.0
ANSWER_MAX: Final = 64 * 1024  # bytes
KEEPALIVE_S: Final = 320.0
CONNECTIONS_MAX: Final = 0  # the grid bounds how many are opened at once; every peer keeps its own


@lru_cache(maxsize=4096)
def _url(host: str, port: int, path: str) -> URL:
    """Parsed once for a peer, not for each of its heartbeats. Raises ValueError."""
    # a scope's % unescaped: the resolver gets the host as it stands here
    return URL(f"https://{f'[{host}]' if ':' in host else host}:{port}{path}")


class FirstContact(aiohttp.Fingerprint):
    """Records the certificate of the first connection before a byte is sent; later connections must show the same.

    `prefix` is what an invite promises of the hash.
    """

    def __init__(self, prefix: bytes = b"") -> None:
        super().__init__(bytes(32))
        self._prefix = prefix
        self.seen: bytes | None = None

    def check(self, transport: asyncio.Transport) -> None:
        """Called by aiohttp after the handshake, before the request."""
        tls = transport.get_extra_info("ssl_object")
        got = hashlib.sha256(tls.getpeercert(binary_form=True)).digest()
        expected = self.seen if self.seen is not None else self._prefix
        if not hmac.compare_digest(got[: len(expected)], expected):
            host, port, *_ = transport.get_extra_info("peername")
            raise aiohttp.ServerFingerprintMismatch(expected, got, host, port)
        self.seen = got


def pin(sha256: bytes) -> aiohttp.Fingerprint:
    """Require this certificate. Keep the object: a new one per call would defeat keep-alive."""
    return aiohttp.Fingerprint(sha256)


class HttpClient:
    """One session for all outgoing calls."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=KEEPALIVE_S),
                timeout=aiohttp.ClientTimeout(total=TOTAL_S, sock_connect=CONNECT_S, connect=CONNECT_S),
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept-Encoding": "identity"},
            )
        return self._session

    async def close(self) -> None:
        """Close every connection; calls under way end as `unreachable`, later ones open their own."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def call(
        self,
        method: str,
        host: str,
        port: int,
        path: str,
        *,
        fingerprint: aiohttp.Fingerprint,
        body: bytes | None = None,
        token: str | None = None,
        on_date: Callable[[str], None] | None = None,
    ) -> bytes:
        """The body of a 200 answer; `on_date` is told its Date.

        Raises the node's own refusal, `unreachable`, `certificate_mismatch`, or `bad_answer` for anything else.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        where = f"{host}:{port}"
        try:
            async with self._open().request(
                method, _url(host, port, path), data=body, headers=headers, ssl=fingerprint, allow_redirects=False
            ) as response:
                if on_date is not None:
                    on_date(response.headers.get("Date", ""))
                data = await response.content.read(ANSWER_MAX + 1)
                while len(data) <= ANSWER_MAX and not response.content.at_eof():
                    data += await response.content.read(ANSWER_MAX + 1 - len(data))
        except aiohttp.ServerFingerprintMismatch as error:
            raise MeshError("certificate_mismatch", f"another certificate than expected answers at {where}") from error
        except (TimeoutError, aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            raise MeshError("unreachable", f"no answer from {where} ({_reason(error)})") from error
        if len(data) > ANSWER_MAX:
            raise MeshError("bad_answer", f"{where} answers with more than {ANSWER_MAX} bytes")
        if response.status == 200:
            return data
        raise self._refusal(where, response, data)

    def _refusal(self, where: str, response: aiohttp.ClientResponse, data: bytes) -> MeshError:
        document: Any = None
        with suppress(ValueError):
            document = load_json(data)
        error = error_of_problem(document, response.headers.get("Retry-After"))
        return error or MeshError("bad_answer", f"{where} answers {response.status}, not as a meshnode would")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    inner = getattr(error, "os_error", None) or error
    text = getattr(inner, "strerror", None) or type(inner).__name__
    if isinstance(inner, OSError) and not isinstance(inner, ssl.SSLError | socket.gaierror):
        text = os.strerror(inner.errno) if inner.errno else text  # asyncio's own words only say where
    return str(text).split("\n", 1)[0][:120]
