"""An independent host of the mesh wire, written from the protocol's text, that can deviate at every step.

Override a step, or set `deviate[step]` to a function that changes the honest answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cpace import CPace, CPaceRole
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from meshnode.crypto.certificate import certificate_hash, make_certificate
from tests.fakes.joiner import b64, new_id, sign, unb64

Reply = tuple[int, dict[str, Any]]

PIN = "402913"
BROKEN = (503, {"code": "database_error", "detail": "x"})
NOT_PAIRED = (401, {"code": "not_paired", "detail": "x"})


class RawHost:
    """One open offer with `pin`; `calls` is what was asked, `seen` the joiner's words as decrypted."""

    def __init__(self, folder: Path, pin: str) -> None:
        self.pin = pin
        self.id = new_id()
        self.key = Ed25519PrivateKey.generate()
        self.deviate: dict[str, Callable[[dict[str, Any]], dict[str, Any] | Reply]] = {}
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.seen: dict[str, Any] = {}
        self.begun: dict[str, Any] = {}
        pem, private = make_certificate(self.id, datetime.now(UTC))
        (folder / "raw_host.pem").write_bytes(pem + private)
        self.certificate_hash = certificate_hash(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "raw_host.pem")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> RawHost:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                status, answer = host.answer(self.path.rsplit("/", 1)[1], json.loads(self.rfile.read(length)))
                data = json.dumps(answer).encode()
                self.send_response(status)
                kind = "application/json" if status == 200 else "application/problem+json"
                for name, value in (("Content-Type", kind), ("Content-Length", len(data)), ("Connection", "close")):
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler

    def answer(self, step: str, body: dict[str, Any]) -> Reply:
        """Honest, unless told otherwise."""
        self.calls.append(step)
        self.bodies.append(body)
        honest = {"begin": self.begin, "exchange": self.exchange, "finish": self.finish, "ack": lambda _: {}}.get(step)
        if honest is None and step not in self.deviate:
            return 401, {"code": "not_paired", "status": 401, "detail": "no", "title": "no", "type": "about:blank"}
        answer: Any = honest(body) if honest is not None else {}
        if step in self.deviate:
            answer = self.deviate[step](answer)
        return answer if isinstance(answer, tuple) else (200, answer)

    @property
    def public(self) -> bytes:
        """The public identity key."""
        return self.key.public_key().public_bytes_raw()

    def begin(self, body: dict[str, Any]) -> dict[str, Any]:
        """Step 1."""
        self.begun = body | {"sid": b64(os.urandom(16))}
        return {
            "sid": self.begun["sid"],
            "id": self.id,
            "public_key": b64(self.public),
            "protocols": [1],
            "version": 1,
        }

    def associated_data(self, role: str) -> bytes:
        """The AD of a side, as this side sees it."""
        mine = (self.id, self.public)
        node_id, key = mine if role == "host" else (self.begun["id"], unb64(self.begun["public_key"]))
        way = self.begun["way"].encode()
        parts = (role.encode(), node_id.encode(), key, b"1", b"1", b"1", way, self.certificate_hash)
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    def exchange(self, body: dict[str, Any]) -> dict[str, Any]:
        """Step 2."""
        self.pake = CPace.start(
            role=CPaceRole.RESPONDER,
            prs=self.pin.encode(),
            sid=unb64(self.begun["sid"]),
            ci=b"meshnode/1 CPACE-X25519-SHA512",
            ad=self.associated_data("host"),
        )
        share = unb64(body["share"])
        self.pake.derive(share, self.associated_data("joiner"))
        self.shares_sha256 = b64(hashlib.sha256(share + self.pake.public_share).digest())
        return {"share": b64(self.pake.public_share)}

    def cipher(self, role: str) -> ChaCha20Poly1305:
        """The cipher of what a side seals."""
        key = HKDF(SHA256(), 32, unb64(self.begun["sid"]), f"meshnode/1 seal {role}".encode()).derive(self.pake.isk)
        return ChaCha20Poly1305(key)

    def finish(self, body: dict[str, Any]) -> dict[str, Any]:
        """Step 3; `seen` holds what the joiner sealed, if its tag was right."""
        sid, tag = unb64(self.begun["sid"]), unb64(body["tag"])
        if self.pake.verify(tag):
            self.seen = json.loads(self.cipher("joiner").decrypt(bytes(12), unb64(body["sealed"]), sid + tag))
        return self.sealed()

    def sealed(self, announce: dict[str, Any] | None = None, prove: dict[str, Any] | None = None) -> dict[str, Any]:
        """Our tag and introduction, with changes."""
        announcement = {
            "id": self.id,
            "public_key": b64(self.public),
            "name": "raw host",
            "kind": "other",
            "platform": "test",
            "version": "0",
            "protocols": [1],
            "port": self.port,
            "addresses": [],
            "tls_sha256": b64(self.certificate_hash),
            "capabilities": [],
            "interval_s": 300,
            "epoch": int(time.time()),
            "revision": 1,
        }
        proof = {
            "sid": self.begun["sid"],
            "role": "host",
            "id": self.id,
            "peer_id": self.begun["id"],
            "shares_sha256": self.shares_sha256,
        }
        text = json.dumps(
            {
                "announcement": sign(self.key, "announcement", announcement | (announce or {})),
                "proof": sign(self.key, "pairing", proof | (prove or {})),
            }
        ).encode()
        tag, sid = self.pake.tag(), unb64(self.begun["sid"])
        return {"tag": b64(tag), "sealed": b64(self.cipher("host").encrypt(bytes(12), text, sid + tag))}
