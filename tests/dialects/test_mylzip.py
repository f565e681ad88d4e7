"""mylzip beyond its guide: who may make codes, trust data, limits, races, revoking, what is logged and stored."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshnode.daemon.log_format import JsonFormatter, TerminalFormatter
from meshnode.domain.errors import MeshError
from meshnode.domain.event import Event
from tests.dialects.mylzip_app import CODE, PAIR, TRUST, App, by_owner, make_code, paired, send_at_once
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import running_nodes

NOBODYS = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LocalNode]:
    """A node whose clock can be stepped."""
    local = LocalNode(tmp_path / "node")
    try:
        yield local.start()
    finally:
        local.close()


@pytest.fixture
def events(node: LocalNode) -> list[Event]:
    """What the node's bus says from now on."""
    seen: list[Event] = []
    node.graph.use.bus.react(seen.append)
    return seen


def left_for(app: App) -> list[Any]:
    """(who, what) was left for a device."""
    answer = app.send("GET", TRUST)
    assert answer.status == 200, answer.body
    return [(t["deviceId"], t["encryptedTrustData"]) for t in answer.json["trustRelationships"]]


def code_of(node: Any, body: Any) -> str:
    """The error code of making a code, `ok` if it was made."""
    try:
        node.call("POST", CODE, body)
    except MeshError as error:
        return error.code
    return "ok"


# ── who may make a code ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stranger_makes_no_code(node: LocalNode) -> None:
    """401, in the dialect's way; nothing is stored."""
    answer = App(node).make()
    assert (answer.status, answer.code) == (401, "token_required")
    assert answer.json["success"] is False
    assert answer.json["error"] == "Token required"
    assert answer.json["message"]
    assert node.rows("pairing_codes") == []


def test_a_device_needs_level_2_and_names_itself(node: LocalNode) -> None:
    """Level 1: 403. Level 2: itself yes, any other id no."""
    app = paired(node, "phone")
    assert app.make().code == "not_permitted"
    node.call("PUT", "/api/v1/nodes/phone/trust", {"level": 2})
    for other in ("laptop", node.id):
        answer = app.make(deviceId=other)
        assert (answer.code, answer.json["error"]) == ("not_permitted", "Not permitted")
    assert app.make().code == "ok"


def test_the_owner_may_name_any_well_formed_id(node: LocalNode) -> None:
    """An unknown one stands for this node, whose kind and version are told; a malformed one is refused by name."""
    code = make_code(node, "nobody-yet")
    done = App(node, "phone").pair(code).json
    facts = node.graph.use.me.facts
    assert done["pairedDevice"] == {
        "deviceId": "nobody-yet",
        "deviceType": facts.kind,
        "deviceVersion": facts.version,
    }
    for malformed in ("", "-x", "a b", "a" * 129):
        answer = by_owner(node, "POST", CODE, {"deviceId": malformed})
        assert (answer.code, answer.json["error"]) == ("invalid_params", "Invalid deviceId parameter")


@pytest.mark.parametrize(
    ("code_format", "asked", "used"),
    [
        ("uuid", 30, 30), ("uuid", 3600, 3600), ("short", 299, 299), ("short", 301, 300), ("short", 3600, 300),
        ("legacy", 180, 180), ("legacy", 3600, 180), ("legacy", None, 180),
    ],
)  # fmt: skip
def test_expires_in_is_cut_to_the_formats_maximum(node: LocalNode, code_format: str, asked: Any, used: int) -> None:
    """The value used is returned, and holds to the second."""
    answer = by_owner(node, "POST", CODE, {"deviceId": node.id, "format": code_format, "expiresIn": asked}).json
    assert answer["expiresIn"] == used
    node.clock.step(used - 2)
    app = App(node)
    node.clock.step(2)
    assert app.pair(answer["pairingCode"]).code == "code_expired"


@pytest.mark.parametrize("seconds", [29, 3601, 0, -5, "300", 300.5, True])
def test_an_expiry_out_of_bounds_is_refused(node: LocalNode, seconds: Any) -> None:
    """400 naming it; no code is made, none counted."""
    for _ in range(12):
        answer = by_owner(node, "POST", CODE, {"deviceId": node.id, "expiresIn": seconds})
        assert (answer.code, answer.json["error"]) == ("invalid_params", "Invalid expiresIn parameter")
    assert node.rows("pairing_codes") == []


# ── pairing ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_device_that_made_the_code_introduces_the_new_one(node: LocalNode) -> None:
    """Level 1 whatever the maker's; the row, the token and our own identity, both ways."""
    maker = paired(node, "browser-1", 2, deviceType="chrome-extension", deviceVersion="2.0.0")
    made = maker.make().json
    app = App(node, "phone-2")
    done = app.pair(made["pairingCode"], deviceType="Android", deviceVersion="14\u202e").json
    assert done["pairedDevice"] == {
        "deviceId": "browser-1",
        "deviceType": "chrome-extension",
        "deviceVersion": "2.0.0",
    }
    assert done["trustRelationship"]["trustLevel"] == 1
    row = node.row("phone-2")
    assert row is not None
    assert (row["introduced_by"], row["trust_level"], row["kind"], row["name"], row["dialect"]) == (
        "browser-1", 1, "phone", "phone-2", "mylzip",
    )  # fmt: skip
    assert json.loads(row["metadata"]) == {"device_type": "Android", "device_version": "14"}
    maker_row = node.row("browser-1")
    assert maker_row is not None
    assert (maker_row["kind"], maker_row["introduced_by"]) == ("browser", None)
    for answer in (made, done):
        assert (answer["node"]["id"], answer["node"]["port"]) == (node.id, node.port)
    assert app.send("GET", TRUST).status == 200


@pytest.mark.parametrize("spell", [str.upper, "  {}\n".format, lambda c: f"{{{c}}}", lambda c: c.replace("-", "")])
def test_the_spelling_of_a_code_does_not_matter(node: LocalNode, spell: Any) -> None:
    """Case, blanks, braces, dashes."""
    answer = App(node).pair(spell(make_code(node)))
    assert (answer.code, answer.json["pairingCodeFormat"]) == ("ok", "uuid")


def test_one_short_and_one_legacy_code_are_open_and_many_uuids(node: LocalNode) -> None:
    """A new one ends the old of its format, whoever made that; the others stand."""
    uuids = [make_code(node) for _ in range(3)]
    maker = paired(node, "maker", 2)
    for code_format in ("short", "legacy"):
        old = maker.make(format=code_format).json["pairingCode"]
        new = make_code(node, "x", format=code_format)
        assert App(node, f"old-{code_format}").pair(old).code == "offer_replaced"
        assert App(node, f"new-{code_format}").pair(new).code == "ok"
    assert [App(node, f"u{n}").pair(code).code for n, code in enumerate(uuids)] == ["ok"] * 3


def test_a_code_works_once(node: LocalNode) -> None:
    """Then 409, after a restart 404: nothing is left of it."""
    code = make_code(node)
    assert App(node, "a").pair(code).code == "ok"
    assert App(node, "b").pair(code).code == "code_used"
    assert all(row["code_digest"] is None and row["sealed"] is None for row in node.rows("pairing_codes"))
    node.restart()
    assert App(node, "b").pair(code).code == "code_unknown"


@pytest.mark.parametrize("code_format", ["uuid", "short", "legacy"])
def test_of_eight_devices_in_the_same_moment_one_wins(node: LocalNode, code_format: str) -> None:
    """One row, one token, one relationship; the others are told that it is used, and nobody is locked out."""
    code = make_code(node, format=code_format)
    bodies = [
        json.dumps({"deviceId": f"d{n}", "pairingCode": code, "encryptedTrustData": f"t{n}"}).encode() for n in range(8)
    ]
    answers = send_at_once(node, PAIR, bodies)
    assert sorted(answer.code for answer in answers) == ["code_used"] * 7 + ["ok"]
    rows = [row for row in node.rows() if not row["is_current"]]
    tokens, left = node.rows("device_tokens"), node.rows("trust_relationships")
    assert len(rows) == len(tokens) == len(left) == 1
    winner = rows[0]["id"]
    assert (tokens[0]["node_id"], left[0]["device_id"], left[0]["trust_data"]) == (winner, winner, f"t{winner[1:]}")
    assert node.rows("failed_attempts") == []


def test_the_maker_cannot_redeem_its_own_code_nor_a_device_be_this_node(node: LocalNode) -> None:
    """409, nothing changes, and the code is still good for somebody else."""
    maker = paired(node, "maker", 2)
    code = maker.make().json["pairingCode"]
    before = node.dump("mesh_nodes", "device_tokens", "trust_relationships")
    assert maker.pair(code).code == "identity_mismatch"
    assert App(node, node.id).pair(code).code == "identity_mismatch"
    after = node.dump("mesh_nodes", "device_tokens", "trust_relationships")
    for rows in (before["mesh_nodes"], after["mesh_nodes"], before["device_tokens"], after["device_tokens"]):
        for row in rows:  # heartbeats of a kind: being heard is no change
            row.pop("last_seen", None)
            row.pop("last_used_at", None)
    assert after == before
    assert App(node, "other").pair(code).code == "ok"


@pytest.mark.parametrize("shows_token", [True, False])
def test_pairing_again_keeps_the_level_only_with_a_live_token(node: LocalNode, shows_token: bool) -> None:
    """And always ends the old token; trustLevel tells which."""
    app = paired(node, "phone", 2)
    old = app.token
    code = make_code(node)
    if not shows_token:
        app.token = None
    done = app.pair(code, deviceType="ios").json
    level = 2 if shows_token else 1
    assert (done["trustRelationship"]["trustLevel"], node.shown("phone")["trust_level"]) == (level, level)
    assert app.send("GET", TRUST).status == 200
    app.token = old
    assert app.send("GET", TRUST).status == 401


# ── revoking ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["revoke", "forget"])
def test_no_device_gets_in_by_the_code_of_a_maker_that_is_gone(node: LocalNode, end: str) -> None:
    """Every format; the code ends with its maker."""
    maker = paired(node, "maker", 2)
    codes = [maker.make(format=code_format).json["pairingCode"] for code_format in ("uuid", "short", "legacy")]
    if end == "revoke":
        node.call("POST", "/api/v1/nodes/maker/revoke")
    else:
        node.call("DELETE", "/api/v1/nodes/maker")
    for number, code in enumerate(codes):
        app = App(node, f"late-{number}")
        assert app.pair(code).code == "offer_closed"
        assert node.row(app.id) is None
    node.restart()
    assert App(node, "late").pair(codes[0]).code == "code_unknown"
    assert maker.make().status == 401


def test_a_maker_that_is_no_longer_paired_pairs_nobody_even_if_its_code_stands(node: LocalNode) -> None:
    """A code that was made while its maker was revoked: judged again when it is redeemed."""
    maker = paired(node, "maker", 2)
    code = maker.make().json["pairingCode"]
    store = node.graph.use.store

    async def revoke_the_row_alone() -> None:
        async with store.write() as tx:
            row = await tx.nodes.get("maker")
            assert row is not None
            await tx.nodes.upsert(replace(row, trust="revoked"))

    node.run(revoke_the_row_alone())
    assert App(node, "late").pair(code).code == "offer_closed"
    assert node.row("late") is None


def test_the_owner_makes_codes_in_the_name_of_a_level_1_device(node: LocalNode) -> None:
    """Its word is not what counts then; who comes in still stands below it, and goes with it."""
    paired(node, "plain_device", level=1)
    assert App(node, "newcomer").pair(make_code(node, "plain_device")).status == 200
    row = node.row("newcomer")
    assert row is not None
    assert (row["introduced_by"], row["trust_level"]) == ("plain_device", 1)
    node.call("POST", "/api/v1/nodes/id:plain_device/revoke")
    assert node.trust("newcomer") == "revoked"


def test_what_a_revoked_maker_introduced_is_revoked_too(node: LocalNode) -> None:
    """And its trust data is shown to nobody any more."""
    maker = paired(node, "maker", 2)
    app = App(node, "phone")
    assert app.pair(maker.make().json["pairingCode"]).code == "ok"
    node.call("POST", "/api/v1/nodes/maker/revoke")
    assert node.trust("phone") == "revoked"
    assert app.send("GET", TRUST).status == 401


# ── trust data ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_trust_data_reaches_the_maker_and_nobody_else(node: LocalNode, events: list[Event]) -> None:
    """By event, addressed to it alone, and by asking; to the byte."""
    maker, other = paired(node, "maker", 2), paired(node, "other", 2)
    events.clear()
    opaque = " \u202e<b>opaque</b>\x00\n" + "x" * 16_000
    done = App(node, "phone").pair(maker.make().json["pairingCode"], opaque).json["trustRelationship"]
    (event,) = [event for event in events if event.topic == "mesh.pairing.trust"]
    assert event.to == "maker"
    left = maker.send("GET", TRUST).json
    assert left["success"] is True
    assert left["node"]["id"] == node.id
    assert left["trustRelationships"] == [event.data]
    assert event.data == {**done, "deviceId": "phone", "encryptedTrustData": opaque}
    assert left_for(other) == []


def test_what_is_left_for_this_node_is_the_owners(node: LocalNode, events: list[Event]) -> None:
    """Whether the code named this node or an id nobody has; a device that takes that id up later gets none of it."""
    for number, named in enumerate((node.id, "later")):
        assert App(node, f"d{number}").pair(make_code(node, named), f"for {named}").code == "ok"
    to = [event.to for event in events if event.topic == "mesh.pairing.trust"]
    assert to == [node.id, node.id]
    kept = by_owner(node, "GET", TRUST).json["trustRelationships"]
    assert [t["encryptedTrustData"] for t in kept] == ["for later", f"for {node.id}"]
    assert left_for(paired(node, "later", 2)) == []


def test_a_new_device_under_a_forgotten_makers_id_gets_nothing_of_its(node: LocalNode) -> None:
    """What was left before its row existed was left for somebody else."""
    maker = paired(node, "maker", 2)
    assert App(node, "a").pair(maker.make().json["pairingCode"], "old").code == "ok"
    assert left_for(maker) == [("a", "old")]
    node.call("DELETE", "/api/v1/nodes/maker")
    again = paired(node, "maker", 2)
    assert left_for(again) == []
    assert App(node, "b").pair(again.make().json["pairingCode"], "new").code == "ok"
    assert left_for(again) == [("b", "new")]


def test_a_stranger_reads_no_trust_data(node: LocalNode) -> None:
    """401."""
    answer = App(node).send("GET", TRUST)
    assert (answer.status, answer.json["success"]) == (401, False)


def test_trust_data_and_bodies_have_their_limits(node: LocalNode) -> None:
    """16 KiB of 24: over either is refused in the dialect's way, at no cost."""
    app, code = App(node), make_code(node)
    answer = app.pair(code, "x" * (16 * 1024 + 1))
    assert (answer.code, answer.json["error"]) == ("invalid_params", "Invalid encryptedTrustData parameter")
    answer = app.pair(code, "x" * 24 * 1024)
    assert (answer.code, answer.json["success"]) == ("body_too_large", False)
    surrogate = b'{"deviceId":"d","pairingCode":"%s","encryptedTrustData":"\\ud800"}' % code.encode()
    assert app.send("POST", PAIR, surrogate).code == "invalid_params"
    assert app.pair(code, "x" * 16 * 1024).code == "ok"


# ── limits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_malformed_request_costs_nothing(node: LocalNode) -> None:
    """Each names its field; afterwards the device still has its attempts, the address its failures."""
    app, code = App(node), make_code(node, format="legacy")
    good = {"deviceId": app.id, "pairingCode": code, "encryptedTrustData": "x"}
    bad = [(name, {**good, name: 7}) for name in good] + [
        (name, {k: v for k, v in good.items() if k != name}) for name in good
    ]
    bad += [("pairingCode", {**good, "pairingCode": "nonsense"}), ("deviceId", {**good, "deviceId": "../x"})]
    for name, body in bad * 5:
        answer = app.send("POST", PAIR, body)
        assert (answer.status, answer.json["field"]) == (400, name)
        assert answer.json["error"] == f"Invalid {name} parameter"
    assert app.send("POST", PAIR, good).code == "ok"


def test_thirty_failures_shut_one_address_out_whatever_it_calls_itself(node: LocalNode) -> None:
    """429 before the database is touched, a right code included; counted for /metrics; it ends."""
    code = make_code(node, expiresIn=3600)
    for number in range(30):
        assert App(node, f"d{number}").pair(NOBODYS).code == "code_unknown"
    before = node.dump("audit_log", "failed_attempts", "pairing_codes")
    answer = App(node, "d30").pair(code)
    assert (answer.code, answer.json["error"]) == ("rate_limited", "Rate limit exceeded")
    assert node.dump("audit_log", "failed_attempts", "pairing_codes") == before
    assert node.graph.use.counters.limit_hits["mylzip", "failures"] == 1
    node.clock.step(answer.json["retryAfter"])
    assert App(node, "d30").pair(code).code == "ok"


def test_ten_wrong_short_guesses_lock_all_code_less_ways_and_cost_no_attempts(node: LocalNode) -> None:
    """`locked_out` in the dialect's way, from memory; a uuid code still works, and afterwards the guessed one does."""
    make_code(node, format="short")
    for number in range(10):
        assert App(node, f"d{number}").pair(f"{number:012x}").code == "code_unknown"
    short, uuid = make_code(node, format="short"), make_code(node)
    app = App(node)
    before = node.dump("audit_log", "failed_attempts")
    refused = [app.pair(short) for _ in range(5)]
    for answer in refused:
        assert (answer.status, answer.code) == (429, "locked_out")
        assert (answer.json["error"], answer.json["success"]) == ("Rate limit exceeded", False)
        assert answer.json["retryAfter"] == int(answer.headers["retry-after"])
    assert node.dump("audit_log", "failed_attempts") == before
    assert App(node, "by-uuid").pair(uuid).code == "ok"
    node.clock.step(refused[-1].json["retryAfter"])
    assert app.pair(make_code(node, format="short")).code == "ok"


def test_unknown_uuids_do_not_spend_the_code_less_budget(node: LocalNode) -> None:
    """Nobody guesses 122 bits, so nobody may lock the owner out with them; nor with short ones when none is open."""
    for number in range(12):
        assert App(node, f"u{number}").pair(NOBODYS).code == "code_unknown"
        assert App(node, f"s{number}").pair("38836d2c4498").code == "code_unknown"
    assert node.rows("failed_attempts") == []


# ── logs, the owner's command, settings ────────────────────────────────────────────────────────────────────────────


def test_making_a_code_is_logged_without_the_code(node: LocalNode, caplog: pytest.LogCaptureFixture) -> None:
    """The event with its three fields, in both formats of the log; no code, token or trust data anywhere."""
    with caplog.at_level(logging.INFO):
        codes = [make_code(node, "device_123", format=code_format) for code_format in ("uuid", "short", "legacy")]
        app = App(node, "phone")
        assert app.pair(codes[0], "opaque-trust-data").code == "ok"
    (record, *_) = made = [r for r in caplog.records if r.getMessage() == "pairing_code_generated"]
    assert len(made) == 3
    entry = json.loads(JsonFormatter().format(record))
    assert entry.items() >= {"device_id": "device_123", "format": "uuid", "expires_in": 600}.items()
    assert "pairing_code_generated device_id=device_123 format=uuid" in TerminalFormatter().format(record)
    logged = "\n".join(JsonFormatter().format(r) for r in caplog.records)
    stored = (node.data / "meshnode.db").read_bytes() + (node.data / "meshnode.db-wal").read_bytes()
    for code in codes[:2]:  # six digits may be part of any number
        assert code not in logged
        assert code.encode() not in stored
    assert app.token is not None
    assert app.token not in logged
    assert app.token.encode() not in stored
    assert "opaque-trust-data" not in logged


def test_the_owners_command_makes_a_uuid_code_for_this_node(node: LocalNode) -> None:
    """What `meshnode pair --dialect mylzip --json` prints; it pairs, and can be cancelled by its id."""

    async def open_offer(lifetime_s: float | None) -> dict[str, Any]:
        return await node.graph.use.openers["mylzip"](lifetime_s)

    offer = node.run(open_offer(45.0))
    assert offer.keys() == {"offer_id", "code", "format", "expires_at"}
    assert offer["format"] == "uuid"
    (row,) = node.rows("pairing_codes")
    assert (row["id"], row["expires_at"], row["device_id"]) == (offer["offer_id"], offer["expires_at"], None)
    assert App(node).pair(offer["code"]).json["pairedDevice"]["deviceId"] == node.id
    cancelled = node.run(open_offer(None))
    assert node.run(node.graph.use.codes.cancel(cancelled["offer_id"]))
    assert App(node, "late").pair(cancelled["code"]).code == "offer_closed"


def test_settings_reach_behaviour(tmp_path: Path) -> None:
    """Given under the guide's names to a real process: format, expiry, limits."""
    environ = {
        "MESHNODE_DEFAULT_PAIRING_FORMAT": "short",
        "MESHNODE_PAIRING_CODE_EXPIRY_SHORT": "45",
        "MESHNODE_PAIRING_CODE_RATE_LIMIT": "2",
        "MESHNODE_PAIRING_CODE_RATE_LIMIT_LEGACY": "1",
        "MESHNODE_PAIRING_ATTEMPT_RATE_LIMIT": "1",
    }
    with running_nodes(tmp_path) as nodes:
        node = nodes.start(**environ)
        made = node.call("POST", CODE, {"deviceId": "d"})
        assert (made["format"], made["expiresIn"], len(made["pairingCode"])) == ("short", 45, 12)
        answers = [App(node).pair(code).code for code in ("38836d2c4498", made["pairingCode"])]
        assert answers == ["code_unknown", "rate_limited"]
        owner = [
            code_of(node, {"deviceId": "d", "format": code_format})
            for code_format in ("legacy", "legacy", "uuid", "uuid")
        ]
        assert owner == ["ok", "rate_limited", "ok", "rate_limited"]


def test_switched_off_it_is_not_there(tmp_path: Path) -> None:
    """404 on each route."""
    local = LocalNode(tmp_path / "node", **{"mylzip.enabled": False})
    try:
        local.start()
        routes: list[tuple[str, str, Any]] = [("POST", CODE, {}), ("POST", PAIR, {}), ("GET", TRUST, None)]
        assert [App(local).send(*route).status for route in routes] == [404] * 3
        assert "mylzip" not in local.graph.use.openers
    finally:
        local.close()
