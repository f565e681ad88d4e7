"""What holds for every way to pair, whatever its wire: codes, attempts, budget, tokens, revocation, status."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from threading import Barrier
from typing import Any

from meshnode.dialects.table import DIALECTS
from tests.dialects.asking import Outcome, ask_once, get, open_socket
from tests.dialects.conformance import Driver
from tests.dialects.drivers import ROWS
from tests.fakes.local_node import LocalNode

RACERS = 8


def path(node_id: str, suffix: str = "") -> str:
    """Exactly that node, whatever others are called."""
    return f"/api/v1/nodes/id:{node_id}{suffix}"


def shown(host: LocalNode, node_id: str) -> dict[str, Any]:
    """One node as the owner sees it."""
    answer: dict[str, Any] = host.call("GET", path(node_id))["node"]
    return answer


def readyz(host: LocalNode, token: str) -> int:
    """200 while the token counts."""
    return get(host, "/readyz", token).status


def audited(host: LocalNode, event: str) -> list[dict[str, Any]]:
    """The audit's entries of one event, newest first."""
    return [e for e in host.call("GET", "/api/v1/audit?limit=200")["entries"] if e["event"] == event]


def status(host: LocalNode, node_id: str) -> str:
    """What the owner is shown, judged now."""

    async def judge() -> None:
        host.graph.sweeper.judge_due()

    host.run(judge())
    return str(shown(host, node_id)["status"])


def test_every_dialect_has_a_row() -> None:
    """Whoever adds a dialect adds a driver."""
    assert {row.dialect for row in ROWS} == {dialect.name for dialect in DIALECTS} - {"control"}


# ── the happy path ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_pairing_makes_a_row_and_says_who_we_are(driver: Driver, host: LocalNode) -> None:
    """Kind, name, capabilities, address, metadata, dialect; the token counts; `node` is our identity; audited."""
    device, done = driver.paired()
    row = shown(host, device.id)
    assert row["name"] == (device.name if driver.says_name else device.id)
    assert (row["kind"], row["dialect"], row["hostname"]) == (driver.kind, driver.dialect, "127.0.0.1")
    assert tuple(c["name"] for c in row["capabilities"]) == driver.capabilities
    assert row["metadata"] == driver.metadata
    assert (row["trust"], row["trust_level"], row["status"]) == ("paired", 1, "online")
    assert (row["public_key"] is not None) == driver.is_keyed
    assert done.body["node"]["id"] == host.id
    assert readyz(host, done.token) == 200
    (entry,) = [e for e in audited(host, "node.paired") if e["node_id"] == device.id]
    assert (entry["dialect"], entry["address"]) == (driver.dialect, "127.0.0.1")
    assert len(host.rows()) == 2


def test_silence_makes_it_stale_then_offline(driver: Driver, host: LocalNode) -> None:
    """Nobody probes a thin client: 150 s and 360 s after its last request; a request or an open socket is life."""
    device, done = driver.paired()
    assert status(host, device.id) == "online"
    host.clock.step(driver.stale_after_s - 5)
    assert status(host, device.id) == "online"
    host.clock.step(10)
    assert status(host, device.id) == "stale"
    assert driver.show_life(device, done.token).is_ok
    assert status(host, device.id) == "online"
    host.clock.step(driver.offline_after_s - 5)
    assert status(host, device.id) == "stale"
    host.clock.step(10)
    assert status(host, device.id) == "offline"
    with open_socket(host, done.token):
        assert status(host, device.id) == "online"
        host.clock.step(driver.offline_after_s + 5)
        assert status(host, device.id) == "online"


# ── codes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_wrong_secret_pairs_nobody_and_the_right_one_still_works(driver: Driver, host: LocalNode) -> None:
    """Its code, nothing stored of who sent it, and the code stays good."""
    device = driver.fresh()
    ticket = driver.open(device)
    refused = driver.pair(driver.wrong(ticket), device)
    assert refused.code == driver.wrong_code
    assert (refused.body.get("attempts_left") == 2) == (driver.burns_after == 3)
    assert len(host.rows()) == 1
    assert driver.pair(ticket, device).is_ok


def test_what_nobody_opened_is_unknown(driver: Driver, host: LocalNode) -> None:
    """404, and nothing is stored or spent."""
    for _ in range(12):
        refused = driver.pair(driver.unknown(), driver.fresh())
        assert (refused.code, refused.status) == (driver.unknown_code, 404)
    assert len(host.rows()) == 1
    assert driver.paired()[1].is_ok


def test_a_code_works_once(driver: Driver, host: LocalNode) -> None:
    """The second device is refused, and the first stays as it is."""
    first = driver.fresh()
    ticket = driver.open(first)
    done = driver.pair(ticket, first)
    before = host.dump("mesh_nodes", "device_tokens")
    for second in (driver.fresh(), first):
        assert driver.pair(ticket, second).code == driver.used_code
    assert host.dump("mesh_nodes", "device_tokens") == before
    assert readyz(host, done.token) == 200


def test_an_expired_code_pairs_nobody(driver: Driver, host: LocalNode) -> None:
    """A second before its end it would have worked."""
    device = driver.fresh()
    ticket = driver.open(device)
    host.clock.step(driver.lifetime_s + 1)
    assert driver.pair(ticket, device).code == driver.expired_code
    assert len(host.rows()) == 1
    device = driver.fresh()
    ticket = driver.open(device)
    host.clock.step(driver.lifetime_s - 5)
    assert driver.pair(ticket, device).is_ok


def test_three_wrong_secrets_burn_what_can_be_burned(driver: Driver, host: LocalNode) -> None:
    """410 for the right one too; where nothing can be burned (see `no_burning`), the right one works on."""
    device = driver.fresh()
    ticket = driver.open(device)
    tried = [driver.pair(driver.wrong(ticket), driver.fresh()) for _ in range(3)]
    assert {outcome.code for outcome in tried} == {driver.wrong_code}
    last = driver.pair(ticket, device)
    if driver.burns_after is None:
        assert driver.no_burning
        assert last.is_ok
    else:
        assert [outcome.body["attempts_left"] for outcome in tried] == [2, 1, 0]
        assert (last.code, last.status) == ("offer_burned", 410)
        assert len(host.rows()) == 1


def test_ten_code_less_failures_lock(driver: Driver, host: LocalNode) -> None:
    """429 with the seconds left, for 15 minutes; a way whose code nobody can guess knows no lock."""
    failed = list(islice(driver.failures(), 10))
    assert {outcome.code for outcome in failed} == {driver.wrong_code}
    device = driver.fresh()
    outcome = driver.attempt(device)
    if not driver.is_codeless:
        assert outcome.is_ok
        return
    assert (outcome.code, outcome.status) == ("locked_out", 429)
    assert outcome.retry_after_s is not None
    assert 880 < outcome.retry_after_s <= 900
    assert len(host.rows()) == 1
    host.clock.step(901)
    assert driver.paired()[1].is_ok


def test_who_asks_too_often_is_told_when_to_return(row: type[Driver], make_host: Callable[..., LocalNode]) -> None:
    """429 and Retry-After before anything is looked up; whoever has a token is not held up by that."""
    host = make_host(**{"http.anonymous_per_minute": 10})
    driver = row(host)
    _, done = driver.paired()
    outcomes: list[Outcome] = []
    while not outcomes or (outcomes[-1].code != "rate_limited" and len(outcomes) < 70):
        outcomes.append(driver.pair(driver.unknown(), driver.fresh()))
    assert (outcomes[-1].code, outcomes[-1].status) == ("rate_limited", 429)
    assert (outcomes[-1].retry_after_s or 0) >= 1
    assert readyz(host, done.token) == 200


def test_of_eight_racers_exactly_one_wins(driver: Driver, host: LocalNode) -> None:
    """One code, sent by eight at the same moment: one row, one token, and clear refusals."""
    device = driver.fresh()
    ticket = driver.open(device)
    devices = [device, *(driver.fresh() for _ in range(RACERS - 1))]
    barrier = Barrier(RACERS)

    def race(racer: int) -> Any:
        barrier.wait(10)
        return driver.pair(ticket, devices[racer])

    with ThreadPoolExecutor(RACERS) as pool:
        outcomes = list(pool.map(race, range(RACERS)))
    won = [outcome for outcome in outcomes if outcome.is_ok]
    assert len(won) == 1, outcomes
    assert {outcome.status for outcome in outcomes} <= {200, 404, 409, 410}
    assert [row["id"] for row in host.rows() if row["trust"] == "paired"] == [won[0].node_id]
    assert len([t for t in host.rows("device_tokens") if t["revoked_at"] is None]) == (0 if driver.is_keyed else 1)
    assert readyz(host, won[0].token) == 200


# ── tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pairing_again_with_the_old_token_keeps_row_and_level(driver: Driver, host: LocalNode) -> None:
    """Older tokens die with their sockets; audited as "paired again"; one row."""
    device, old = driver.paired()
    host.call("PUT", path(device.id, "/trust"), {"level": 2})
    again, new = driver.paired(device, old.token)
    assert again.id == device.id
    assert shown(host, device.id)["trust_level"] == 2
    assert (readyz(host, old.token), readyz(host, new.token)) == (401, 200)
    assert len(host.rows()) == 2
    assert audited(host, "node.paired")[0]["detail"] == "paired again"
    host.restart()
    assert (readyz(host, old.token), readyz(host, new.token)) == (401, 401 if driver.is_keyed else 200)


def test_pairing_again_without_a_token_loses_the_level(driver: Driver, host: LocalNode) -> None:
    """An id is no proof: level 1, older tokens dead. A key is one; and who can't choose its id becomes another."""
    device, old = driver.paired()
    host.call("PUT", path(device.id, "/trust"), {"level": 2})
    again, new = driver.paired(device)
    if not driver.picks_its_id:
        assert driver.no_choice
        assert again.id != device.id
        assert (shown(host, device.id)["trust_level"], shown(host, again.id)["trust_level"]) == (2, 1)
        assert (readyz(host, old.token), readyz(host, new.token)) == (200, 200)
        return
    assert again.id == device.id
    assert shown(host, device.id)["trust_level"] == (2 if driver.is_keyed else 1)
    assert (readyz(host, old.token), readyz(host, new.token)) == (401, 200)
    assert audited(host, "node.paired")[0]["detail"] == "paired again"


def test_another_devices_token_proves_nothing(driver: Driver, host: LocalNode) -> None:
    """It keeps nobody else's level, and the device that lent it keeps its own row."""
    if not driver.picks_its_id:
        assert driver.no_choice  # who presents a token stays who it is
        return
    _, held = driver.paired()
    victim, _ = driver.paired()
    host.call("PUT", path(victim.id, "/trust"), {"level": 2})
    driver.paired(victim, held.token)
    assert shown(host, victim.id)["trust_level"] == (2 if driver.is_keyed else 1)
    assert readyz(host, held.token) == 200


def test_revoking_closes_the_socket_and_ends_the_token(driver: Driver, host: LocalNode) -> None:
    """Within two seconds and with a reason; afterwards 401 on HTTP and before the upgrade."""
    device, done = driver.paired()
    with open_socket(host, done.token) as socket:
        assert socket.ask("event.subscribe", {"topics": ["app.x"]}).is_ok
        began = time.monotonic()
        host.call("POST", path(device.id, "/revoke"))
        ended = socket.closing(2.0)
        assert time.monotonic() - began < 2.0
    assert ended == (4001, "revoked")
    assert readyz(host, done.token) == 401
    assert ask_once(host, "node.describe", {}, done.token).status == 401
    assert shown(host, device.id)["status"] == "offline"
    host.restart()
    assert readyz(host, done.token) == 401


def test_tokens_and_used_codes_survive_a_restart(driver: Driver, host: LocalNode) -> None:
    """The same token goes on with no new pairing (a peer opens another session); a used code stays used."""
    device = driver.fresh()
    ticket = driver.open(device)
    done = driver.pair(ticket, device)
    host.restart()
    assert readyz(host, done.token) == (401 if driver.is_keyed else 200)
    if device.joiner is not None:
        assert device.joiner.open_session().status == 200
    refused = driver.pair(ticket, driver.fresh())
    assert refused.code in (driver.used_code, driver.unknown_code)
    assert len(host.rows()) == 2
