"""Owner notices: in the log once, in `status` until they were seen, over restarts and on a failing disk."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import pytest

from meshnode.domain.errors import MeshError
from tests.fakes.joiner import Joiner
from tests.fakes.local_node import LocalNode
from tests.integration.test_budget import guess, lock
from tests.integration.test_restored import collect

LOGGER = "meshnode.node.notices"


def notices(host: LocalNode) -> list[dict[str, Any]]:
    """What `status` shows."""
    found: list[dict[str, Any]] = host.call("GET", "/api/v1/node")["notices"]
    return found


def codes(host: LocalNode) -> list[str]:
    """Their codes, oldest first."""
    return [notice["code"] for notice in notices(host)]


def seen(host: LocalNode, **body: int) -> int:
    """Say that they were seen: how many that ended."""
    count: int = host.call("POST", "/api/v1/notices/seen", body)["seen"]
    return count


def pair(host: LocalNode) -> Joiner:
    """A peer that has just paired."""
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    return joiner


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log warned of."""
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def test_a_pairing_is_told_of_until_it_was_seen(host: LocalNode, caplog: pytest.LogCaptureFixture) -> None:
    """Once in the log, at warning; in `status` over a restart, which warns of nothing again."""
    told = collect(host, "mesh.notice.raised")
    joiner = pair(host)
    (notice,) = notices(host)
    assert (notice["code"], notice["times"], notice["node"]["id"]) == ("paired", 1, joiner.id)
    assert joiner.id in notice["next_step"]
    assert told == [notice]
    (line,) = warned(caplog)
    assert notice["detail"] in line
    assert joiner.id in line
    assert {record.levelno for record in caplog.records if record.name == LOGGER} == {logging.WARNING}
    host.restart()
    assert notices(host) == [notice]
    assert len(warned(caplog)) == 1
    gone = collect(host, "mesh.notice.seen")
    assert seen(host, up_to=notice["id"]) == 1
    assert seen(host, up_to=notice["id"]) == 0  # repeated: nothing
    assert gone == [{"up_to": notice["id"]}]
    assert notices(host) == []
    host.restart()
    assert notices(host) == []


def test_what_came_after_is_not_seen_with_it(host: LocalNode) -> None:
    """A number from the future ends what there is, and nothing that is to come."""
    pair(host)
    (first,) = notices(host)
    pair(host)
    assert seen(host, up_to=first["id"]) == 1
    assert len(notices(host)) == 1
    assert seen(host, up_to=10**9) == 1
    assert seen(host, id=10**9) == 0
    pair(host)
    assert codes(host) == ["paired"]


def test_one_can_be_seen_alone(host: LocalNode) -> None:
    """The middle of three."""
    joiners = [pair(host) for _ in range(3)]
    middle = notices(host)[1]
    assert seen(host, id=middle["id"]) == 1
    assert [notice["node"]["id"] for notice in notices(host)] == [joiners[0].id, joiners[2].id]


@pytest.mark.parametrize("body", [{}, {"up_to": 1, "id": 1}, {"up_to": 0}, {"up_to": "1"}, {"id": -1}, {"all": True}])
def test_what_was_seen_must_be_said(host: LocalNode, body: dict[str, Any]) -> None:
    """Exactly one of the two, a number."""
    pair(host)
    with pytest.raises(MeshError) as refused:
        seen(host, **body)
    assert refused.value.code == "invalid_params"
    assert codes(host) == ["paired"]


def test_a_peer_that_comes_back_after_a_revocation_is_said_to(host: LocalNode) -> None:
    """`was revoked`, in another notice than its first pairing; once more is `paired again`."""
    joiner = pair(host)
    host.call("POST", f"/api/v1/nodes/{joiner.id}/revoke", {})
    for _ in range(2):
        joiner.revision += 1
        joiner.pair(host.offer().pin)
    details = [notice["detail"] for notice in notices(host)]
    assert [detail.rpartition(" (")[2] for detail in details[1:]] == ["was revoked)", "paired again)"]


def test_a_join_of_ours_is_told_of_too(host: LocalNode, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On both sides."""
    other = LocalNode(tmp_path_factory.mktemp("other")).start()
    try:
        offer = host.offer()
        other.join(offer.url, offer.pin)
        ours, theirs = notices(host), notices(other)
        assert [(notice["code"], notice["node"]["id"]) for notice in ours + theirs] == [
            ("paired", other.id), ("paired", host.id),
        ]  # fmt: skip
        assert theirs[0]["detail"].startswith("joined ")
    finally:
        other.close()


def test_a_lockout_is_told_of_until_it_is_unlocked(host: LocalNode, caplog: pytest.LogCaptureFixture) -> None:
    """One warning with the time, no PIN in it; `pair unlock` ends it."""
    lock(host)
    (notice,) = notices(host)
    assert notice["code"] == "locked_out"
    assert "until 20" in notice["detail"]
    assert "pair unlock" in notice["next_step"]
    assert "node" not in notice
    assert len(warned(caplog)) == 1
    host.call("POST", "/api/v1/pairing/unlock")
    assert notices(host) == []


def test_a_right_pin_at_the_tenth_attempt_leaves_no_lock(host: LocalNode) -> None:
    """It is spent before it is judged, and given back."""
    for _ in range(3):
        offer = host.offer()
        for _ in range(3):
            guess(host, offer.wrong_pin)
    pair(host)
    assert codes(host) == ["paired"]


def test_a_burned_offer_is_told_of(host: LocalNode) -> None:
    """The third wrong PIN by invite; not the first two."""
    offer = host.offer()
    for _ in range(2):
        guess(host, offer.wrong_pin, offer.code)
    assert notices(host) == []
    guess(host, offer.wrong_pin, offer.code)
    assert codes(host) == ["offer_burned"]


def test_a_restored_database_is_told_of(host: LocalNode, caplog: pytest.LogCaptureFixture) -> None:
    """Once; the next start finds it in order."""
    host.close()
    epoch = int((host.data / "epoch").read_text())
    (host.data / "epoch").write_text(f"{epoch + 100}\n")
    host.start()
    assert codes(host) == ["database_restored"]
    assert len(warned(caplog)) == 1
    host.restart()
    assert codes(host) == ["database_restored"]
    assert len(warned(caplog)) == 1


def test_a_copy_that_goes_on_is_told_of_again_after_an_hour(host: LocalNode) -> None:
    """Not while the notice stands, nor at each alternation once it was seen."""
    joiner = pair(host)
    epoch = joiner.epoch

    def alternate() -> None:
        for raised in (1, 0, 1, 0):
            joiner.open_session(epoch=epoch + raised)

    alternate()
    host.restart()
    alternate()
    assert codes(host) == ["paired", "identity_cloned"]
    assert notices(host)[-1]["times"] == 1
    seen(host, up_to=notices(host)[-1]["id"])
    alternate()
    assert notices(host) == []
    host.clock.step(3601)
    alternate()
    assert codes(host) == ["identity_cloned"]
    assert len([row for row in host.rows("audit_log") if row["event"] == "node.cloned"]) == 2


def test_notices_survive_a_database_that_cannot_be_read(host: LocalNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` answers with what was last known."""
    pair(host)
    before = notices(host)

    async def broken(*_: Any, **__: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("meshnode.store.audit_log.AuditLog.latest", broken)
    assert notices(host) == before != []


def test_only_the_owner_says_that_it_was_seen(host: LocalNode) -> None:
    """A level-2 peer reads them in `status`; the public listener knows no such route."""
    joiner = pair(host)
    host.call("PUT", f"/api/v1/nodes/{joiner.id}/trust", {"level": 2})
    assert joiner.open_session().status == 200
    headers = {"Authorization": f"Bearer {joiner.token}", "Content-Type": "application/json"}
    listed = joiner.request("GET", "/api/v1/node", headers=headers)
    assert [notice["code"] for notice in listed.json["notices"]] == ["paired"]
    refused = joiner.request("POST", "/api/v1/notices/seen", b'{"up_to": 1000}', headers)
    assert refused.status in (404, 405)
    assert codes(host) == ["paired"]
