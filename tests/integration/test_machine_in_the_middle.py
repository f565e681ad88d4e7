"""A machine in the middle with a certificate of its own, relaying everything: the right PIN does not help it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnode.domain.errors import MeshError
from tests.fakes.joiner import Joiner
from tests.fakes.nodes import Nodes, wait_for
from tests.fakes.relay import Relay

PAIRED = ("mesh_nodes", "pending_acks")


def test_by_invite_it_gets_not_one_byte_and_the_honest_join_works(nodes: Nodes, tmp_path: Path) -> None:
    """The invite carries the certificate hash: the joiner hangs up after the handshake."""
    host, joiner = nodes.start(), nodes.start()
    offer = host.offer()
    before = host.dump(), joiner.dump()
    with Relay(tmp_path, host.port) as relay:
        with pytest.raises(MeshError) as refusal:
            joiner.join(offer.url.replace(f":{host.port}/", f":{relay.port}/"), offer.pin)
        assert refusal.value.code == "certificate_mismatch"
        wait_for("the connection to end", lambda: relay.ended == relay.accepted >= 1)
        assert bytes(relay.received) == b""
    assert (host.dump(), joiner.dump()) == before
    joiner.join(offer.url, offer.pin)
    wait_for("both paired", lambda: host.trust(joiner.id) == joiner.trust(host.id) == "paired")


def test_by_pin_alone_the_right_pin_fails_and_nothing_is_stored(nodes: Nodes, tmp_path: Path) -> None:
    """Both sides bind the certificate they see: the tags differ, and one attempt is spent, no more."""
    host, joiner = nodes.start(), nodes.start()
    offer = host.offer()
    before = host.dump(*PAIRED), joiner.dump()
    with Relay(tmp_path, host.port) as relay:
        with pytest.raises(MeshError) as refusal:
            joiner.join(f"127.0.0.1:{relay.port}", offer.pin)
        assert refusal.value.code == "bad_pin"
        assert b"/mesh/v1/pair/finish" in relay.received
        assert offer.pin.encode() not in relay.received
    assert (host.dump(*PAIRED), joiner.dump()) == before
    watched = host.call("GET", f"/api/v1/pairing/offers/{offer.id}")
    assert (watched["state"], watched["pin_attempts"], watched["invite_attempts"]) == ("open", 2, 3)
    joiner.join(host.address, offer.pin)
    wait_for("both paired", lambda: host.trust(joiner.id) == joiner.trust(host.id) == "paired")


def test_the_certificate_alone_makes_the_difference(nodes: Nodes, tmp_path: Path) -> None:
    """The same client through the same relay passes if it is told the host's certificate: the relay hides nothing else.

    So the failure above is the binding and no accident of relaying.
    """
    host = nodes.start()
    offer = host.offer()
    direct = Joiner(host.port)
    assert direct.request("GET", "/mesh/v1/identity").status == 200
    with Relay(tmp_path, host.port) as relay:
        victim = Joiner(relay.port)
        assert victim.begin().status == 200
        assert victim.certificate_hash == relay.certificate_hash
        victim.told_certificate = victim.certificate_hash = direct.certificate_hash
        assert victim.exchange(offer.pin).status == 200
        assert victim.finish().status == 200
        assert victim.ack().status == 200
    assert host.trust(victim.id) == "paired"
