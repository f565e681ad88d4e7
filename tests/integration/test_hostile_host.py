"""The joiner's side against a host that lies: nothing is stored, the PIN yields one tag, a refusal is undone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from tests.fakes.host import RawHost
from tests.fakes.joiner import Joiner, b64
from tests.fakes.local_node import LocalNode

PIN = "402913"
NOBODY = "node-0192aaaa-bbbb-7ccc-8ddd-eeeeffff0000"
NOT_PAIRED = (401, {"code": "not_paired", "status": 401, "detail": "unknown", "title": "x", "type": "about:blank"})


@pytest.fixture
def liar(tmp_path: Path) -> Iterator[RawHost]:
    """A raw host that shows PIN."""
    with RawHost(tmp_path, PIN) as made:
        yield made


def join(node: LocalNode, liar: RawHost, pin: str = PIN) -> str:
    """The code of the refusal, `ok` for none."""
    try:
        node.join(f"127.0.0.1:{liar.port}", pin)
    except MeshError as error:
        return error.code
    return "ok"


def test_an_honest_host_written_from_the_text_alone_is_paired(host: LocalNode, liar: RawHost) -> None:
    """Our joiner speaks what the protocol says, and proves what it must."""
    assert join(host, liar) == "ok"
    assert liar.calls == ["begin", "exchange", "finish", "ack"]
    row = host.row(liar.id)
    assert row is not None
    assert (row["trust"], row["public_key"], row["tls_sha256"]) == ("paired", liar.public, liar.certificate_hash)
    assert host.rows("pending_acks") == []
    assert set(liar.seen) == {"announcement", "proof"}
    assert liar.bodies[0]["public_key"] == b64(host.row(host.id)["public_key"])


LIES: dict[str, tuple[str, Any]] = {
    "no sid": ("begin", lambda a: a | {"sid": ""}),
    "a short sid": ("begin", lambda a: a | {"sid": b64(bytes(8))}),
    "an id that is none": ("begin", lambda a: a | {"id": "\u202e node"}),
    "a short key": ("begin", lambda a: a | {"public_key": b64(bytes(31))}),
    "another version": ("begin", lambda a: a | {"version": 2}),
    "no version in common": ("begin", lambda a: a | {"protocols": [2], "version": 2}),
    "another list of versions": ("begin", lambda a: a | {"protocols": [1, 2]}),
    "another id": ("begin", lambda a: a | {"id": NOBODY}),
    "another key": ("begin", lambda a: a | {"public_key": b64(hashlib.sha256(b"x").digest())}),
    "a list": ("begin", lambda a: (200, [a])),
    "an error of the server": ("begin", lambda a: (500, {})),
    "a redirect": ("begin", lambda a: (307, {})),
    "a share of low order": ("exchange", lambda a: a | {"share": b64(bytes(32))}),
    "a short share": ("exchange", lambda a: a | {"share": b64(bytes(31))}),
    "another share": ("exchange", lambda a: a | {"share": b64(b"\x09" + bytes(31))}),
    "no tag": ("finish", lambda a: a | {"tag": ""}),
    "a wrong tag": ("finish", lambda a: a | {"tag": b64(bytes(64))}),
    "nothing sealed": ("finish", lambda a: a | {"sealed": ""}),
    "damaged": ("finish", lambda a: a | {"sealed": a["sealed"][:-8] + "AAAAAAAA"}),
    "too much": ("finish", lambda a: a | {"x": "y" * 100_000}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_host_that_lies_is_not_stored(host: LocalNode, liar: RawHost, lie: str) -> None:
    """At every step: a refusal with a code, and the tables as before; its lie gets no acknowledge."""
    step, deviation = LIES[lie]
    liar.deviate[step] = deviation
    before = host.dump()
    refusal = join(host, liar)
    assert refusal in ("bad_answer", "invalid_params", "version_unsupported", "internal_error"), refusal
    assert refusal != "internal_error" or lie == "an error of the server"
    assert "ack" not in liar.calls
    assert host.dump() == before


@pytest.mark.parametrize(
    ("announce", "prove"),
    [
        ({"tls_sha256": b64(bytes(32))}, {}),
        ({"id": NOBODY}, {}),
        ({"public_key": b64(bytes(32))}, {}),
        ({}, {"role": "joiner"}),
        ({}, {"peer_id": NOBODY}),
        ({}, {"shares_sha256": b64(bytes(32))}),
        ({}, {"sid": b64(bytes(16))}),
    ],
)
def test_a_host_must_prove_key_certificate_and_part(
    host: LocalNode, liar: RawHost, announce: dict[str, Any], prove: dict[str, Any]
) -> None:
    """Knowing the PIN is not enough: the announcement is of this certificate, the proof of this run."""
    liar.deviate["finish"] = lambda _: liar.sealed(announce, prove)
    before = host.dump()
    assert join(host, liar) == "invalid_params"
    assert host.dump() == before


def test_a_host_that_reflects_share_and_tag_learns_nothing(host: LocalNode, liar: RawHost) -> None:
    """Without the PIN, sending the joiner's own messages back ends in a wrong tag."""
    liar.pin = "000000"
    liar.deviate["exchange"] = lambda _: {"share": liar.bodies[-1]["share"]}
    liar.deviate["finish"] = lambda _: {key: liar.bodies[-1][key] for key in ("tag", "sealed")}
    before = host.dump()
    assert join(host, liar) in ("bad_answer", "invalid_params")
    assert host.dump() == before


def test_a_host_claiming_our_own_or_a_known_identity_gets_no_tag(host: LocalNode, liar: RawHost) -> None:
    """`identity_mismatch` before the PIN is used: no exchange is sent."""
    known = Joiner(host.port)
    known.pair(host.offer().pin)
    before = host.dump()
    own_key = b64(host.row(host.id)["public_key"])
    claims = ({"id": host.id}, {"public_key": own_key}, {"id": known.id}, {"public_key": b64(known.public)})
    for claim in claims:
        liar.deviate["begin"] = lambda a, claim=claim: a | claim
        assert join(host, liar) == "identity_mismatch"
    assert set(liar.calls) == {"begin"}
    assert host.dump() == before


def test_one_pin_yields_one_tag(host: LocalNode, liar: RawHost) -> None:
    """A host that answers step 3 with trouble sees the same bytes again, and never another session."""
    troubles = iter([(503, {"code": "database_error", "detail": "x"}), (503, {"code": "starting", "detail": "x"})])
    liar.deviate["finish"] = lambda a: next(troubles, a)
    assert join(host, liar) == "ok"
    assert liar.calls == ["begin", "exchange", "finish", "finish", "finish", "ack"]
    finishes = [body for call, body in zip(liar.calls, liar.bodies, strict=True) if call == "finish"]
    assert finishes[0] == finishes[1] == finishes[2]


def test_not_paired_on_ack_takes_a_new_row_back(host: LocalNode, liar: RawHost) -> None:
    """The host has dropped the pairing: nobody is trusted on one side alone."""
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    assert join(host, liar) == "session_over"
    assert host.trust(liar.id) is None
    assert host.rows("pending_acks") == []
    assert all(node["id"] != liar.id for node in host.call("GET", "/api/v1/nodes")["nodes"])


@pytest.mark.parametrize("trust", ["paired", "revoked"])
def test_not_paired_on_ack_restores_the_row_that_stood_before(host: LocalNode, liar: RawHost, trust: str) -> None:
    """Level, alias, trust and all."""
    assert join(host, liar) == "ok"
    host.call("PUT", f"/api/v1/nodes/{liar.id}/trust", {"level": 2})
    host.call("PATCH", f"/api/v1/nodes/{liar.id}", {"alias": "mine"})
    if trust == "revoked":
        host.call("POST", f"/api/v1/nodes/{liar.id}/revoke")
    before = host.row(liar.id)
    shown = host.shown(liar.id)
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    assert join(host, liar) == "session_over"
    assert host.row(liar.id) == before
    assert host.shown(liar.id) == shown
    assert host.rows("pending_acks") == []


def test_a_lost_ack_is_kept_and_twice_refused_goes_back_all_the_way(host: LocalNode, liar: RawHost) -> None:
    """An acknowledge without an answer stays pending over a restart, with the row from before the first join."""
    liar.deviate["ack"] = lambda _: (503, {"code": "database_error", "detail": "x"})
    assert join(host, liar) == "ok"
    assert host.trust(liar.id) == "paired"
    assert len(host.rows("pending_acks")) == 1
    host.restart()
    assert join(host, liar) == "ok"
    liar.deviate["ack"] = lambda _: NOT_PAIRED
    assert join(host, liar) == "session_over"
    assert host.trust(liar.id) is None
    assert host.rows("pending_acks") == []
