"""Replayed, reordered and concurrent messages of the ceremony, and shares of low order: refused, nothing gained."""

from __future__ import annotations

import threading

import pytest
from cpace import CPace, CPaceRole

from tests.fakes.joiner import Answer, Joiner, b64, unb64
from tests.fakes.local_node import LocalNode

P = 2**255 - 19
LOW_ORDER = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
    ((1 << 255) | 1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.fixture
def begun(host: LocalNode) -> tuple[Joiner, str]:
    """A joiner after step 1, and the PIN."""
    offer = host.offer()
    joiner = Joiner(host.port)
    assert joiner.begin().status == 200
    return joiner, offer.pin


def refused(answer: Answer, status: int, code: str) -> bool:
    return (answer.status, answer.code) == (status, code)


def test_finish_before_exchange_is_refused_and_costs_nothing(host: LocalNode, begun: tuple[Joiner, str]) -> None:
    """Out of order: `session_over`; the ceremony can still go on as it should."""
    joiner, pin = begun
    before = host.dump()
    early = {"sid": joiner.sid, "tag": b64(bytes(64)), "sealed": b64(bytes(100))}
    assert refused(joiner.post("pair/finish", early), 409, "session_over")
    assert refused(joiner.ack(), 401, "not_paired")
    assert host.dump() == before
    assert joiner.exchange(pin).status == 200
    assert joiner.finish().status == 200
    assert joiner.ack().status == 200


def test_a_second_exchange_of_a_session_is_refused(host: LocalNode, begun: tuple[Joiner, str]) -> None:
    """One sid yields one host share: no second guess, no second attempt spent, and the first goes on."""
    joiner, pin = begun
    assert joiner.exchange(pin).status == 200
    before = host.dump()
    again = joiner.post("pair/exchange", {"sid": joiner.sid, "share": b64(joiner.pake.public_share)})
    assert refused(again, 409, "session_over")
    other = Joiner(host.port, id=joiner.id, key=joiner.key, sid=joiner.sid, host_id=host.id, host_key=joiner.host_key)
    other.certificate_hash = joiner.certificate_hash
    assert refused(other.exchange("000000"), 409, "session_over")
    assert host.dump() == before
    assert joiner.finish().status == 200


def test_of_concurrent_exchanges_of_one_session_one_is_answered(host: LocalNode, begun: tuple[Joiner, str]) -> None:
    """Eight at once: one share comes out, one attempt is spent."""
    joiner, pin = begun
    answers: list[Answer] = []
    body = {"sid": joiner.sid, "share": b64(_share(joiner, pin))}

    def exchange() -> None:
        answers.append(Joiner(host.port).post("pair/exchange", body))

    threads = [threading.Thread(target=exchange) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(answer.status for answer in answers) == [200] + [409] * 6
    assert {answer.code for answer in answers} == {"ok", "session_over"}
    assert host.rows("pairing_codes")[0]["pin_attempts"] == 2


def test_of_concurrent_exchanges_by_pin_alone_one_holds_the_slot(host: LocalNode) -> None:
    """Four sessions at once: one goes on, the others are told to wait, one attempt is spent."""
    offer = host.offer()
    joiners = [Joiner(host.port) for _ in range(4)]
    for joiner in joiners:
        assert joiner.begin().status == 200
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda j=j: answers.append(j.exchange(offer.pin))) for j in joiners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(answer.code for answer in answers) == ["ok"] + ["pairing_busy"] * 3
    assert host.rows("pairing_codes")[0]["pin_attempts"] == 2
    winner = next(joiner for joiner in joiners if joiner.host_share)
    assert winner.finish().status == 200


def test_of_concurrent_identical_finishes_all_get_the_same_bytes(host: LocalNode, begun: tuple[Joiner, str]) -> None:
    """The joiner repeats when in doubt; there is one answer."""
    joiner, pin = begun
    assert joiner.exchange(pin).status == 200
    tag = joiner.pake.tag()
    introduction = {"announcement": joiner.announcement(), "proof": joiner.proof()}
    body = {"sid": joiner.sid, "tag": b64(tag), "sealed": b64(joiner.seal(introduction, tag))}
    answers: list[Answer] = []

    def finish() -> None:
        answers.append(Joiner(host.port).post("pair/finish", body))

    threads = [threading.Thread(target=finish) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert [answer.status for answer in answers] == [200] * 6
    assert len({answer.body for answer in answers}) == 1
    assert len(host.rows()) == 2


def test_a_finish_of_another_session_is_refused(host: LocalNode) -> None:
    """Tag and sealed text are bound to their sid: taken over into another session they are a wrong PIN there."""
    offer = host.offer()
    first, second = Joiner(host.port), Joiner(host.port)
    assert first.begin(offer.code).status == 200
    assert first.exchange(offer.pin).status == 200
    assert second.begin().status == 200
    assert second.exchange(offer.pin).status == 200
    tag = first.pake.tag()
    introduction = {"announcement": first.announcement(), "proof": first.proof()}
    stolen = {"tag": b64(tag), "sealed": b64(first.seal(introduction, tag))}
    assert refused(second.post("pair/finish", {"sid": second.sid} | stolen), 403, "bad_pin")
    assert refused(first.post("pair/finish", {"sid": b64(bytes(16))} | stolen), 409, "session_over")
    assert len(host.rows()) == 1
    assert first.post("pair/finish", {"sid": first.sid} | stolen).status == 200


def test_the_reflected_tag_or_share_is_a_wrong_pin(host: LocalNode) -> None:
    """The host's own share sent back as ours in the next session, zeros and the share as a tag: never right."""
    offer = host.offer()
    joiner = Joiner(host.port)
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.pin).status == 200
    reflected = joiner.host_share
    guess = {"sid": joiner.sid, "tag": b64(reflected * 2), "sealed": b64(bytes(64))}
    assert refused(joiner.post("pair/finish", guess), 403, "bad_pin")
    assert joiner.begin().status == 200
    assert joiner.exchange(offer.wrong_pin, share=b64(reflected)).status == 200
    assert refused(joiner.finish(), 403, "bad_pin")
    assert len(host.rows()) == 1


@pytest.mark.parametrize("share", LOW_ORDER, ids=lambda share: share.hex()[:6] + share.hex()[-2:])
def test_a_share_of_low_order_is_refused(host: LocalNode, begun: tuple[Joiner, str], share: bytes) -> None:
    """It would make the key independent of the PIN: 400, the attempt stays spent, the session is over."""
    joiner, pin = begun
    answer = joiner.exchange(pin, share=b64(share))
    assert refused(answer, 400, "invalid_params")
    assert host.rows("pairing_codes")[0]["pin_attempts"] == 2
    assert refused(joiner.exchange(pin), 409, "session_over")
    assert len(host.rows()) == 1


def test_a_replayed_ceremony_is_over(host: LocalNode) -> None:
    """Every message of a complete pairing, sent again by somebody who recorded it: nothing changes."""
    joiner = Joiner(host.port)
    joiner.pair(host.offer().pin)
    ack = joiner.ack_body()
    before = host.dump()
    share = {"sid": joiner.sid, "share": b64(joiner.pake.public_share)}
    assert refused(joiner.post("pair/exchange", share), 409, "session_over")
    assert refused(joiner.post("pair/finish", joiner.finish_body), 409, "session_over")
    assert joiner.post("pair/ack", ack).json == {}
    assert host.dump() == before
    host.call("DELETE", f"/api/v1/nodes/{joiner.id}")
    before = host.dump("mesh_nodes")
    joiner.post("pair/ack", ack)
    assert host.dump("mesh_nodes") == before


def test_a_begun_session_is_over_after_thirty_seconds(host: LocalNode, begun: tuple[Joiner, str]) -> None:
    """And an exchanged one after ten."""
    joiner, pin = begun
    host.clock.step(31)
    assert refused(joiner.exchange(pin), 409, "session_over")
    assert joiner.begin().status == 200
    assert joiner.exchange(pin).status == 200
    host.clock.step(11)
    assert refused(joiner.finish(), 409, "session_over")
    assert host.rows("pairing_codes")[0]["pin_attempts"] == 2


def test_a_sources_fifth_begin_replaces_its_own_oldest(host: LocalNode) -> None:
    """Unused sessions are few: four of a source by PIN alone, eight by invite."""
    offer = host.offer()
    joiners = [Joiner(host.port) for _ in range(5)]
    for joiner in joiners:
        assert joiner.begin().status == 200
    assert refused(joiners[0].exchange(offer.pin), 409, "session_over")
    assert joiners[1].exchange(offer.pin).status == 200


def test_the_protocol_version_is_bound_and_must_be_shared(host: LocalNode, begun: tuple[Joiner, str]) -> None:
    """None in common: 409. A list changed on the way makes the tags differ."""
    joiner, pin = begun
    assert refused(joiner.begin(protocols=[2, 3]), 409, "version_unsupported")
    assert joiner.begin(protocols=[1, 2]).status == 200
    assert joiner.exchange(pin).status == 200  # the AD of this side says [1]
    assert refused(joiner.finish(), 403, "bad_pin")


def _share(joiner: Joiner, pin: str) -> bytes:
    run = CPace.start(
        role=CPaceRole.INITIATOR,
        prs=pin.encode(),
        sid=unb64(joiner.sid),
        ci=b"meshnode/1 CPACE-X25519-SHA512",
        ad=joiner.associated_data("joiner"),
    )
    return run.public_share
