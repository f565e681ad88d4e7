"""abpa3's pairing beyond what its document prints: bodies, refusals, ids, pairing again."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from meshnode.dialects.abpa3.codec import PAIR, decode_claim, slug_of
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import is_node_id
from tests.dialects.abpa3_app import OFFERS, App, paired, refusal, scan
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode

# ── ids and bodies ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Pixel 7", "pixel7"),
        ("Zoë's Téléphone", "zoestelephone"),
        ("  --  ", "device"),
        ("电话", "device"),
        ("٣٤", "device"),
        ("ﬁre x²", "firex2"),
        ("../../etc", "etc"),
        ("<b>Phone</b>", "bphoneb"),
        ("x" * 500, "x" * 32),
    ],
)
def test_a_slug_is_ascii_letters_and_digits(name: str, slug: str) -> None:
    """And always an id that a node can have."""
    assert slug_of(name) == slug
    assert is_node_id(slug)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "pairToken"),
        ({"pairToken": "x"}, "deviceInfo"),
        ({"pairToken": 7, "deviceInfo": {"name": "a"}}, "pairToken"),
        ({"pairToken": "x" * 257, "deviceInfo": {"name": "a"}}, "pairToken"),
        ({"pairToken": "x", "deviceInfo": {}}, "deviceInfo.name"),
        ({"pairToken": "x", "deviceInfo": "a"}, "deviceInfo"),
        ({"pairToken": "x", "deviceInfo": {"name": None}}, "deviceInfo.name"),
        ({"pairToken": "x", "deviceInfo": {"name": "\u202e \u0007"}}, "deviceInfo.name"),
        ({"pairToken": "x", "deviceInfo": {"name": "a", "type": []}}, "deviceInfo.type"),
        ([], "body"),
    ],
)
def test_a_malformed_body_names_its_field_and_costs_nothing(node: LocalNode, body: Any, field: str) -> None:
    """400 with `field`; the offer stays open."""
    app = scan(node)
    answer = app.ask("POST", "/api/pair", json.dumps(body).encode(), {"Content-Type": "application/json"})
    assert (answer.status, answer.code, answer.json["field"]) == (400, "invalid_params", field)
    assert answer.json["error"]
    assert app.pair().status == 200


def test_a_pairing_token_shows_in_no_repr() -> None:
    """A decoded body may end in a log."""
    body = PAIR.decode(b'{"pairToken": "a8f9c1d2e4", "deviceInfo": {"name": "Pixel 7", "type": "mobile"}}')
    assert "a8f9c1d2e4" not in repr(body)


@pytest.mark.parametrize("name", ["A\u202eB\x1b[31m\x00C", "<script>alert(1)</script>", "é" * 1000])
def test_a_hostile_name_is_stored_clean(node: LocalNode, name: str) -> None:
    """Capped, without controls or bidi marks; the type too."""
    app = scan(node)
    assert app.pair(name, "mob\u202eile\x07").status == 200
    row = node.row(app.device_id)
    assert row is not None
    assert 0 < len(row["name"]) <= 64
    assert row["name"].isprintable()
    assert json.loads(row["metadata"]) == {"type": "mobile"}


def test_an_unshowable_name_is_no_claim() -> None:
    """A row needs a name that a person can read."""
    body = PAIR.decode(b'{"pairToken": "x", "deviceInfo": {"name": "\\u200b", "type": "mobile"}}')
    with pytest.raises(MeshError, match=r"deviceInfo\.name"):
        decode_claim(body.device_info, "127.0.0.1")


# ── codes that don't pair ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("used", 409, "code_used"),
        ("expired", 410, "code_expired"),
        ("replaced", 410, "offer_replaced"),
        ("cancelled", 410, "offer_closed"),
        ("unknown", 404, "code_unknown"),
        ("another dialect's", 404, "code_unknown"),
    ],
)
def test_a_token_that_is_over_says_why(node: LocalNode, ending: str, status: int, code: str) -> None:
    """A stable code and a sentence in `error`; no row, no key."""
    offer = node.call("POST", OFFERS, {"dialect": "abpa3", "expires_in": 60})
    app = App(offer["qr"], tls=True)
    if ending == "used":
        assert app.pair("first").status == 200
    elif ending == "expired":
        node.clock.step(61)
    elif ending == "replaced":
        scan(node)
    elif ending == "cancelled":
        assert node.call("DELETE", f"{OFFERS}/{offer['offer_id']}") == {"cancelled": True}
    elif ending == "unknown":
        app.token = "0" * 32
    else:
        app.token = node.call("POST", OFFERS, {})["code"].replace("-", "")
    answer = app.pair("second")
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["error"] == answer.json["detail"]
    assert node.row("second") is None


def test_one_of_two_that_race_for_a_token_wins(node: LocalNode) -> None:
    """Eight at once: one key, seven times `code_used`, one row."""
    app = scan(node)
    rivals = [App({"host": app.host, "port": app.port, "pairToken": app.token}, tls=True) for _ in range(8)]
    codes: list[str] = []
    at_once = threading.Barrier(len(rivals))

    def run(rival: App) -> None:
        at_once.wait()
        codes.append(rival.pair("Pixel 7").code)

    threads = [threading.Thread(target=run, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["code_used"] * 7 + ["ok"]
    assert [row["id"] for row in node.rows() if row["dialect"] == "abpa3"] == ["pixel7"]


def test_secrets_rest_as_digests(node: LocalNode) -> None:
    """Neither the pairing token nor the key is in any file of the node."""
    app = paired(node)
    opened = scan(node)
    stored = b"".join(file.read_bytes() for file in node.data.iterdir() if file.is_file())
    for secret in (app.key, app.key.removeprefix("dev_"), app.token, opened.token):
        assert secret.encode() not in stored
        assert secret not in json.dumps(node.call("GET", "/api/v1/audit"))


# ── ids of rows that stand ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_makes_nobody_another_device(node: LocalNode) -> None:
    """The same name again is another row; also beside a revoked one and a peer of that id."""
    one, two = paired(node), paired(node)
    node.call("POST", f"/api/v1/nodes/id:{one.device_id}/revoke")
    three = paired(node)
    assert [app.device_id for app in (one, two, three)] == ["pixel7", "pixel7-2", "pixel7-3"]
    assert [node.trust(app.device_id) for app in (one, two, three)] == ["revoked", "paired", "paired"]
    peer = Joiner(node.port, id="laptop")
    peer.pair(node.offer().pin)
    assert paired(node, "Laptop").device_id == "laptop-2"
    assert node.row("laptop")["dialect"] == "mesh"  # type: ignore[index]


def test_pairing_again_with_the_key_keeps_the_row(node: LocalNode) -> None:
    """Same id, level and alias, a new name and key; the old key and its socket end."""
    old = paired(node)
    node.call("PUT", "/api/v1/nodes/pixel7/trust", {"level": 2})
    with old.connect() as socket:
        again = paired(node, "Pixel 7 Pro", old.key)
        assert socket.closed()[1] == "paired again"
    assert again.device_id == "pixel7"
    row = node.row("pixel7")
    assert row is not None
    assert (row["name"], row["trust_level"]) == ("Pixel 7 Pro", 2)
    assert refusal(old).status == 401
    again.connect().drop()
    assert node.call("GET", "/api/v1/audit?limit=1")["entries"][0]["detail"] == "paired again"


def test_a_wrong_key_beside_a_right_token_pairs_nobody(node: LocalNode) -> None:
    """Whoever shows a key is judged by it; the offer stays open."""
    app = scan(node)
    answer = app.pair(headers={"Authorization": "Device dev_92fd8a71e5c4"})
    assert (answer.status, answer.code) == (401, "token_expired")
    assert answer.json["error"]
    assert app.pair().status == 200


def test_another_apps_key_gives_no_claim_to_its_row(node: LocalNode) -> None:
    """A peer's session beside the token: a new device, the peer's row untouched."""
    peer = Joiner(node.port, id="laptop")
    peer.pair(node.offer().pin)
    assert peer.open_session().status == 200
    before = node.row("laptop")
    assert paired(node, "Laptop", peer.token).device_id == "laptop-2"
    after = node.row("laptop")
    assert before is not None
    assert after is not None
    assert (after["public_key"], after["name"], after["trust"]) == (before["public_key"], before["name"], "paired")
