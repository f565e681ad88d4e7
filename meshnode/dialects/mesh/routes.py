"""The mesh wire on the public TLS listener: decode, call a use case, encode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from meshnode.crypto.jws import sign_jws
from meshnode.dialects.contract import Wire
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
from meshnode.dialects.mesh.methods import mesh_methods
from meshnode.domain.announcement import PROTOCOLS
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.heartbeat import Heartbeat
from meshnode.domain.principal import Action
from meshnode.domain.statements import IDENTITY_TYPE, IdentityStatement
from meshnode.node.open_offer import DIALECT, FORMAT
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import Call, Route


def serve_mesh(use: UseCases, _: None) -> Wire:
    """The routes of /mesh/v1/, and the methods of the socket that every dialect shares."""

    async def identity(call: Call) -> Any:
        me = use.me.identity
        certificate = encode_binary(call.certificate_hash)
        proof = None
        if "nonce" in call.request.query:
            nonce = decode_binary("nonce", call.request.query["nonce"][:64], 32)
            statement = IdentityStatement(id=me.id, tls_sha256=certificate, nonce=encode_binary(nonce))
            proof = sign_jws(use.me.key, IDENTITY_TYPE, msgspec.json.encode(statement))
        return IdentityCard(
            id=me.id,
            public_key=encode_binary(me.public_key),
            protocols=list(PROTOCOLS),
            tls_sha256=certificate,
            proof=proof,
        )

    async def begin(call: Call) -> Any:
        body: Begin = call.body
        if (body.way == "invite") != (body.code is not None):
            raise invalid("code", "goes with way `invite`, and only with it")
        begun = use.accepting.begin(
            body.id,
            decode_binary("public_key", body.public_key, 32),
            tuple(body.protocols),
            body.way,
            None if body.code is None else decode_binary("code", body.code, 16),
            source=call.source,
            certificate_hash=call.certificate_hash,
        )
        return Begun(
            sid=encode_binary(begun.sid),
            id=begun.id,
            public_key=encode_binary(begun.public_key),
            protocols=list(begun.protocols),
            version=begun.version,
        )

    async def exchange(call: Call) -> Any:
        body: Exchange = call.body
        sid, share = decode_binary("sid", body.sid, 16), decode_binary("share", body.share, 32)
        host_share = await use.accepting.exchange(
            sid, share, source=call.source, certificate_hash=call.certificate_hash
        )
        return Exchanged(share=encode_binary(host_share))

    async def finish(call: Call) -> Any:
        body: Finish = call.body
        answer = await use.accepting.finish(
            decode_binary("sid", body.sid, 16),
            decode_binary("tag", body.tag, 64),
            decode_binary("sealed", body.sealed),
            source=call.source,
            hostname=call.address,
            is_remote=call.is_remote,
            certificate_hash=call.certificate_hash,
        )
        return Finished(tag=encode_binary(answer.tag), sealed=encode_binary(answer.sealed))

    async def ack(call: Call) -> Any:
        body: Ack = call.body
        await use.confirmations.ack(decode_binary("sid", body.sid, 16), body.id, body.jws)
        return {}

    async def nonce(call: Call) -> Any:
        return Nonce(nonce=encode_binary(use.sessions.nonce(call.source)))

    async def session(call: Call) -> Any:
        body: OpenSession = call.body
        opened = await use.sessions.open(
            body.caller, body.jws, lambda text: decode_binary("jws", text), call.certificate_hash
        )
        return OpenedSession(
            token=str(opened.token),  # plain text on the wire
            expires_in=opened.expires_in_s,
            epoch_held=opened.epoch_held,
            revision_held=opened.revision_held,
            known_sha256=opened.known_sha256,
        )

    async def heartbeat(call: Call) -> Any:
        if call.session is None:
            raise MeshError("token_required", "a heartbeat needs a session")
        if not call.is_remote:  # a proxy's address would be nobody's
            use.heartbeats.came_from(call.session.entry.node.id, call.address)
        return await use.answering.answer(call.session, call.body)

    def pairing(step: str, answer: Callable[[Call], Awaitable[Any]], body: type[Any], result: type[Any]) -> Route:
        async def counted(call: Call) -> Any:
            try:
                return await answer(call)
            except MeshError as error:
                use.counters.outcomes[DIALECT, FORMAT, error.code] += 1
                raise

        return Route(
            method="POST",
            path=f"/mesh/v1/pair/{step}",
            action=Action.PAIR,
            answer=counted,
            body=DECODERS[body],
            is_local_only=True,
            result=result,
        )

    routes = (
        Route(
            method="GET",
            path="/mesh/v1/identity",
            action=Action.READ_PUBLIC_IDENTITY,
            answer=identity,
            result=IdentityCard,
            query={"nonce": "base64url of 32 bytes; asks for a proof"},
        ),
        pairing("begin", begin, Begin, Begun),
        pairing("exchange", exchange, Exchange, Exchanged),
        pairing("finish", finish, Finish, Finished),
        pairing("ack", ack, Ack, Empty),
        Route(
            method="POST",
            path="/mesh/v1/nonce",
            action=Action.OPEN_SESSION,
            answer=nonce,
            body=DECODERS[Empty],
            result=Nonce,
        ),
        Route(
            method="POST",
            path="/mesh/v1/session",
            action=Action.OPEN_SESSION,
            answer=session,
            body=DECODERS[OpenSession],
            result=OpenedSession,
        ),
        Route(
            method="POST",
            path="/mesh/v1/heartbeat",
            action=Action.SEND_HEARTBEAT,
            answer=heartbeat,
            body=DECODERS[Heartbeat],
            result=Heartbeat,
        ),
    )
    return Wire(routes=routes, methods=mesh_methods(use))
