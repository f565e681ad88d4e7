"""An independent client of the mesh wire, written from the protocol's text and not from our own client.

Every step can be sent with any deviation; nothing here is imported from the package under test.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import ssl
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from cpace import CPace, CPaceRole
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

TIMEOUT_S = 10.0


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def new_id() -> str:
    """A node id with a UUID of version 7."""
    raw = bytearray((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return f"node-{uuid.UUID(bytes=bytes(raw))}"


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The `code` of a problem document, `ok` for a success."""
        if self.status < 400:
            return "ok"
        assert self.headers["content-type"].startswith("application/problem+json"), (self.status, self.body)
        problem = self.json
        assert problem["status"] == self.status
        assert problem["detail"]
        return str(problem["code"])


def tls_context() -> ssl.SSLContext:
    """A context that believes any certificate: its hash is what counts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def sign(key: Ed25519PrivateKey, typ: str, payload: Any, header: bytes | None = None) -> str:
    """A compact JWS of `payload` for the purpose `typ`."""
    head = header if header is not None else b'{"alg":"EdDSA","typ":"meshnode-%s+jws"}' % typ.encode()
    signed = f"{b64(head)}.{b64(payload if isinstance(payload, bytes) else json.dumps(payload).encode())}"
    return f"{signed}.{b64(key.sign(signed.encode()))}"


@dataclass
class Joiner:
    """A node that speaks the wire by hand. The attributes are what the steps have learned so far."""

    port: int
    host: str = "127.0.0.1"
    id: str = field(default_factory=new_id)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    name: str = "raw joiner"
    epoch: int = field(default_factory=lambda: int(time.time()))
    revision: int = 1
    sequence: int = 0
    certificate_hash: bytes = b""
    told_certificate: bytes = b""  # believe this instead of what the connection shows
    way: str = "pin"
    sid: str = ""
    host_id: str = ""
    host_key: bytes = b""
    pake: CPace | None = None
    host_share: bytes = b""
    token: str = ""
    host_announcement: str = ""
    finish_body: dict[str, str] = field(default_factory=dict)

    @property
    def public(self) -> bytes:
        """The public identity key."""
        return self.key.public_key().public_bytes_raw()

    # ── HTTP by hand ───────────────────────────────────────────────────────────────────────────────────────────────

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=tls_context())
        try:
            connection.connect()
            der = connection.sock.getpeercert(binary_form=True)
            self.certificate_hash = self.told_certificate or hashlib.sha256(der).digest()
            connection.request(method, path, body, {"Connection": "close", **(headers or {})})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, token: str | None = None) -> Answer:
        """POST JSON."""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", f"/mesh/v1/{path}", data, headers)

    # ── the ceremony ───────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, code: bytes | None = None, **changes: Any) -> Answer:
        """Step 1, by invite if a code is given."""
        self.way = "pin" if code is None else "invite"
        body = {"id": self.id, "public_key": b64(self.public), "protocols": [1], "way": self.way}
        if code is not None:
            body["code"] = b64(code)
        answer = self.post("pair/begin", {k: v for k, v in (body | changes).items() if v is not None})
        if answer.status == 200:
            begun = answer.json
            assert begun["version"] == 1
            self.sid, self.host_id, self.host_key = begun["sid"], begun["id"], unb64(begun["public_key"])
        return answer

    def associated_data(self, role: str) -> bytes:
        """The AD of a side, as this side sees it."""
        node_id, key = (self.id, self.public) if role == "joiner" else (self.host_id, self.host_key)
        parts = (role.encode(), node_id.encode(), key, b"1", b"1", b"1", self.way.encode(), self.certificate_hash)
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    def exchange(self, pin: str, **changes: Any) -> Answer:
        """Step 2."""
        self.pake = CPace.start(
            role=CPaceRole.INITIATOR,
            prs=pin.encode(),
            sid=unb64(self.sid),
            ci=b"meshnode/1 CPACE-X25519-SHA512",
            ad=self.associated_data("joiner"),
        )
        answer = self.post("pair/exchange", {"sid": self.sid, "share": b64(self.pake.public_share)} | changes)
        if answer.status == 200:
            self.host_share = unb64(answer.json["share"])
            self.pake.derive(self.host_share, self.associated_data("host"))
        return answer

    def announcement(self, **changes: Any) -> str:
        """Our signed announcement."""
        content = {
            "id": self.id,
            "public_key": b64(self.public),
            "name": self.name,
            "kind": "other",
            "platform": "test",
            "version": "0",
            "protocols": [1],
            "port": 9,
            "addresses": [],
            "tls_sha256": b64(bytes(32)),
            "capabilities": [],
            "interval_s": 300,
            "epoch": self.epoch,
            "revision": self.revision,
        }
        return sign(self.key, "announcement", content | changes)

    def shares_sha256(self) -> str:
        """The hash of both shares."""
        assert self.pake is not None
        return b64(hashlib.sha256(self.pake.public_share + self.host_share).digest())

    def proof(self, **changes: Any) -> str:
        """Our signed part in this run."""
        content = {"sid": self.sid, "role": "joiner", "id": self.id, "peer_id": self.host_id}
        return sign(self.key, "pairing", content | {"shares_sha256": self.shares_sha256()} | changes)

    def _cipher(self, role: str) -> ChaCha20Poly1305:
        assert self.pake is not None
        info = f"meshnode/1 seal {role}".encode()
        return ChaCha20Poly1305(HKDF(SHA256(), 32, unb64(self.sid), info).derive(self.pake.isk))

    def seal(self, introduction: Any, tag: bytes) -> bytes:
        """Seal what we say about ourselves."""
        text = introduction if isinstance(introduction, bytes) else json.dumps(introduction).encode()
        return self._cipher("joiner").encrypt(bytes(12), text, unb64(self.sid) + tag)

    def finish(self, *, announcement: str | None = None, proof: str | None = None, **changes: Any) -> Answer:
        """Step 3; what the host answers is verified as the text says."""
        assert self.pake is not None
        tag = self.pake.tag()
        introduction = {"announcement": announcement or self.announcement(), "proof": proof or self.proof()}
        self.finish_body = {"sid": self.sid, "tag": b64(tag), "sealed": b64(self.seal(introduction, tag))} | changes
        answer = self.post("pair/finish", self.finish_body)
        if answer.status == 200:
            self.verify_host(answer)
        return answer

    def verify_host(self, answer: Answer) -> dict[str, Any]:
        """The host's announcement, proven; AssertionError or InvalidTag, InvalidSignature otherwise."""
        assert self.pake is not None
        tag = unb64(answer.json["tag"])
        assert self.pake.verify(tag)
        sealed = unb64(answer.json["sealed"])
        introduction = json.loads(self._cipher("host").decrypt(bytes(12), sealed, unb64(self.sid) + tag))
        self.host_announcement = introduction["announcement"]
        announced = self.verify(introduction["announcement"], "announcement")
        assert (announced["id"], unb64(announced["public_key"])) == (self.host_id, self.host_key)
        assert unb64(announced["tls_sha256"]) == self.certificate_hash
        proof = {"sid": self.sid, "role": "host", "id": self.host_id, "peer_id": self.id}
        assert self.verify(introduction["proof"], "pairing") == proof | {"shares_sha256": self.shares_sha256()}
        return announced

    def verify(self, jws: str, typ: str) -> dict[str, Any]:
        """The payload of what the host signed."""
        head, body, signature = jws.split(".")
        assert unb64(head) == b'{"alg":"EdDSA","typ":"meshnode-%s+jws"}' % typ.encode()
        key = Ed25519PublicKey.from_public_bytes(self.host_key)
        key.verify(unb64(signature), f"{head}.{body}".encode())
        payload: dict[str, Any] = json.loads(unb64(body))
        return payload

    def ack_body(self, **changes: Any) -> dict[str, Any]:
        """The body of step 4."""
        statement = {"sid": self.sid, "role": "ack", "id": self.id, "peer_id": self.host_id}
        return {"sid": self.sid, "id": self.id, "jws": sign(self.key, "pairing", statement | changes)}

    def ack(self, **changes: Any) -> Answer:
        """Step 4."""
        return self.post("pair/ack", self.ack_body(**changes))

    def pair(self, pin: str, code: bytes | None = None) -> None:
        """The whole ceremony."""
        for answer in (self.begin(code), self.exchange(pin), self.finish(), self.ack()):
            assert answer.status == 200, answer

    # ── sessions and heartbeats ────────────────────────────────────────────────────────────────────────────────────

    def nonce(self) -> str:
        """A fresh nonce of the host's."""
        answer = self.post("nonce", {})
        assert answer.status == 200, answer
        return str(answer.json["nonce"])

    def statement(self, **changes: Any) -> dict[str, Any]:
        """What is signed to open a session."""
        content: dict[str, Any] = {
            "caller": self.id,
            "receiver": self.host_id,
            "tls_sha256": b64(self.certificate_hash),
            "epoch": self.epoch,
        }
        if "nonce" not in changes:
            content["nonce"] = self.nonce()
        return content | changes

    def open_session(self, **changes: Any) -> Answer:
        """A session token."""
        body = {"caller": self.id, "jws": sign(self.key, "session", self.statement(**changes))}
        answer = self.post("session", body)
        if answer.status == 200:
            self.token = answer.json["token"]
        return answer

    def beat(self, **changes: Any) -> Answer:
        """A heartbeat."""
        self.sequence += 1
        own, known = (b64(hashlib.sha256(x.encode()).digest()) for x in (self.announcement(), self.host_announcement))
        body = {"epoch": self.epoch, "sequence": self.sequence, "announcement_sha256": own, "known_sha256": known}
        return self.post("heartbeat", body | changes, self.token)
