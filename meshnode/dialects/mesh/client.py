"""The outgoing side of the mesh wire, with the codec of the incoming one."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec

from meshnode.dialects.mesh.codec import (
    DECODERS,
    Ack,
    Begin,
    Begun,
    Empty,
    Exchange,
    Exchanged,
    Finish,
    Finished,
    IdentityCard,
    Nonce,
    OpenedSession,
    OpenSession,
    decode_binary,
    encode_binary,
)
from meshnode.domain.errors import MeshError
from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.pairing import Way
from meshnode.domain.pairing_code import Secret
from meshnode.node.ports import BeginAnswer, Destination, FinishAnswer, IdentityAnswer, SessionAnswer
from meshnode.transport.http_client import FirstContact, HttpClient, pin


def _decode(kind: type[Any], data: bytes) -> Any:
    try:
        return DECODERS[kind].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MeshError("bad_answer", f"the answer is not what the protocol says: {error}") from error


def _binary(field: str, text: str, size_bytes: int | None = None) -> bytes:
    try:
        return decode_binary(field, text, size_bytes)
    except MeshError as error:
        raise MeshError("bad_answer", f"the answer is not what the protocol says: {error.detail}") from error


class MeshContact:
    """First contact with a host; see `node.ports.Contact`."""

    def __init__(self, http: HttpClient, host: str, port: int, cert_prefix: bytes) -> None:
        self._http = http
        self._host = host
        self._port = port
        self._fingerprint = FirstContact(cert_prefix)

    @property
    def certificate_hash(self) -> bytes:
        """See `Contact`."""
        if self._fingerprint.seen is None:
            raise MeshError("bad_answer", "no certificate has been seen yet")
        return self._fingerprint.seen

    async def _call(self, step: str, body: msgspec.Struct) -> bytes:
        return await self._http.call(
            "POST",
            self._host,
            self._port,
            f"/mesh/v1/pair/{step}",
            fingerprint=self._fingerprint,
            body=msgspec.json.encode(body),
        )

    async def begin(
        self, node_id: str, public_key: bytes, protocols: tuple[int, ...], way: Way, code: bytes | None
    ) -> BeginAnswer:
        """See `Contact`."""
        body = Begin(
            id=node_id,
            public_key=encode_binary(public_key),
            protocols=list(protocols),
            way=way,
            code=None if code is None else encode_binary(code),
        )
        begun: Begun = _decode(Begun, await self._call("begin", body))
        return BeginAnswer(
            _binary("sid", begun.sid, 16),
            begun.id,
            _binary("public_key", begun.public_key, 32),
            tuple(begun.protocols),
            begun.version,
        )

    async def exchange(self, sid: bytes, share: bytes) -> bytes:
        """See `Contact`."""
        body = Exchange(sid=encode_binary(sid), share=encode_binary(share))
        answer: Exchanged = _decode(Exchanged, await self._call("exchange", body))
        return _binary("share", answer.share, 32)

    async def finish(self, sid: bytes, tag: bytes, sealed: bytes) -> FinishAnswer:
        """See `Contact`."""
        body = Finish(sid=encode_binary(sid), tag=encode_binary(tag), sealed=encode_binary(sealed))
        answer: Finished = _decode(Finished, await self._call("finish", body))
        return FinishAnswer(_binary("tag", answer.tag, 64), _binary("sealed", answer.sealed))

    async def ack(self, sid: bytes, node_id: str, jws: str) -> None:
        """See `Contact`."""
        await self._call("ack", Ack(sid=encode_binary(sid), id=node_id, jws=jws))


class MeshClient:
    """Calls to paired peers; see `node.ports.PeerClient`."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._pins: dict[str, aiohttp.Fingerprint] = {}  # one object a peer, or keep-alive would not find its own

    def contact(self, host: str, port: int, cert_prefix: bytes) -> MeshContact:
        """See `PeerClient`."""
        return MeshContact(self._http, host, port, cert_prefix)

    def _pin(self, to: Destination) -> aiohttp.Fingerprint:
        known = self._pins.get(to.node_id)
        if known is None or known.fingerprint != to.tls_sha256:
            known = self._pins[to.node_id] = pin(to.tls_sha256)
        return known

    async def _call(self, to: Destination, path: str, body: msgspec.Struct, token: str | None = None) -> bytes:
        return await self._http.call(
            "POST",
            to.host,
            to.port,
            path,
            fingerprint=self._pin(to),
            body=msgspec.json.encode(body),
            token=token,
        )

    async def nonce(self, to: Destination) -> bytes:
        """See `PeerClient`."""
        answer: Nonce = _decode(Nonce, await self._call(to, "/mesh/v1/nonce", Empty()))
        return _binary("nonce", answer.nonce, 32)

    async def open_session(self, to: Destination, caller: str, jws: str) -> SessionAnswer:
        """See `PeerClient`."""
        data = await self._call(to, "/mesh/v1/session", OpenSession(caller=caller, jws=jws))
        answer: OpenedSession = _decode(OpenedSession, data)
        return SessionAnswer(
            Secret(answer.token), answer.expires_in, answer.epoch_held, answer.revision_held, answer.known_sha256
        )

    async def heartbeat(self, to: Destination, token: str, beat: Heartbeat) -> Heartbeat:
        """See `PeerClient`."""
        answer: Heartbeat = _decode(Heartbeat, await self._call(to, "/mesh/v1/heartbeat", beat, token))
        return answer

    async def ack(self, to: Destination, sid: bytes, node_id: str, jws: str) -> None:
        """See `PeerClient`."""
        await self._call(to, "/mesh/v1/pair/ack", Ack(sid=encode_binary(sid), id=node_id, jws=jws))

    async def wall_clock(self, to: Destination) -> datetime | None:
        """See `PeerClient`."""
        told: list[str] = []
        await self._http.call("GET", to.host, to.port, "/healthz", fingerprint=self._pin(to), on_date=told.append)
        try:
            return parsedate_to_datetime(told[0]).astimezone(UTC)
        except (ValueError, IndexError):
            return None

    async def identity(self, host: str, port: int, nonce: bytes) -> IdentityAnswer:
        """See `PeerClient`."""
        first = FirstContact()
        path = f"/mesh/v1/identity?nonce={encode_binary(nonce)}"
        card: IdentityCard = _decode(IdentityCard, await self._http.call("GET", host, port, path, fingerprint=first))
        if first.seen is None:
            raise MeshError("bad_answer", "no certificate has been seen")
        return IdentityAnswer(card.id, _binary("public_key", card.public_key, 32), card.proof, first.seen)

    async def hang_up(self) -> None:
        """See `PeerClient`."""
        await self._http.close()
