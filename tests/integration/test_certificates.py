"""A peer's certificate may change without pairing again; another node at its address is never taken for it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meshnode.config import load_config
from meshnode.crypto.certificate import certificate_hash
from meshnode.daemon.offline_checks import check_certificate
from meshnode.store import tls_files
from tests.fakes.local_node import LocalNode
from tests.fakes.nodes import Node, Nodes, wait_for
from tests.fakes.own_certificate import NAME, OwnFiles, make_pems, write_own


def pair(nodes: Nodes) -> tuple[Node, Node]:
    host, joiner = nodes.start(), nodes.start()
    offer = host.offer()
    joiner.join(offer.url, offer.pin)
    wait_for("both online", lambda: host.is_online(joiner.id) and joiner.is_online(host.id))
    return host, joiner


def test_a_new_certificate_is_pinned_when_the_key_proves_it(nodes: Nodes) -> None:
    """Restarted with another TLS key: both come back online by themselves, and the row holds the new hash."""
    host, joiner = pair(nodes)
    host_id, joiner_id = host.id, joiner.id
    old = joiner.row(host_id)
    host.stop()
    (pem,) = host.data.glob("*.pem")
    pem.unlink()
    host.start()
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    fresh = host.row(host_id)["tls_sha256"]
    assert fresh != old["tls_sha256"]
    wait_for("the new hash", lambda: joiner.row(host_id)["tls_sha256"] == fresh)
    assert joiner.trust(host_id) == "paired"


def test_another_node_at_the_address_is_not_taken_for_the_peer(nodes: Nodes) -> None:
    """The peer stays in the table, offline, trusted and pinned as before, and comes back when it does."""
    host, joiner = pair(nodes)
    host_id = host.id
    before = joiner.row(host_id)
    host.stop()
    impostor = nodes.make()
    impostor.port = host.port
    impostor.start()
    wait_for("the reason", lambda: joiner.shown(host_id)["status_reason"] == "wrong_node_at_address")
    row = joiner.row(host_id)
    same = ("trust", "trust_level", "public_key", "tls_sha256", "name", "announcement")
    assert {key: row[key] for key in same} == {key: before[key] for key in same}
    assert joiner.shown(host_id)["status"] != "online"
    assert len(impostor.rows()) == 1


# ── a certificate of one's own, and renewal ────────────────────────────────────────────────────────────────────────

BY_PROOF = "has a new certificate, proven by its key"
MakeNode = Callable[..., LocalNode]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    """Makes nodes in this process that heartbeat only when they must: `own` brings a certificate."""
    made: list[LocalNode] = []

    def make(own: OwnFiles | None = None, *, interval_s: float = 60.0, is_beating: bool = True) -> LocalNode:
        flags: dict[str, Any] = {"heartbeat.interval_s": interval_s}
        if own is not None:
            flags |= {"tls.certificate": str(own.certificate), "tls.key": str(own.key)}
        made.append(LocalNode(tmp_path / f"local{len(made)}", is_beating=is_beating, **flags))
        return made[-1].start()

    try:
        yield make
    finally:
        for node in made:
            node.close()


def look(node: LocalNode) -> None:
    """What it does once a minute."""
    node.run(node.graph.certificate.look())


def served(node: LocalNode) -> bytes:
    """The hash of the certificate that a new connection gets."""
    pem = ssl.get_server_certificate(("127.0.0.1", node.port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()


def pair_local(host: LocalNode, joiner: LocalNode) -> None:
    offer = host.offer()
    joiner.join(offer.url, offer.pin)
    wait_for("both online", lambda: host.is_online(joiner.id) and joiner.is_online(host.id))


def follows(peer: LocalNode, node_id: str, sha256: bytes) -> None:
    """The peer pins that hash, and is on speaking terms with the node."""
    wait_for("the new hash", lambda: peer.row(node_id)["tls_sha256"] == sha256)
    assert peer.trust(node_id) == "paired"
    wait_for("online", lambda: peer.is_online(node_id))


def told(node: LocalNode) -> str:
    """What `status` says about the certificate."""
    degraded = node.call("GET", "/api/v1/node")["degraded"]
    return next((trouble["detail"] for trouble in degraded if trouble["code"] == "certificate"), "")


def finding(node: LocalNode) -> dict[str, Any]:
    """What `doctor` says about the certificate."""
    found = node.call("GET", "/api/v1/doctor")["findings"]
    (about,) = [f for f in found if "certificate" in (f["stage"], f["cause"])]
    return about


def test_a_replaced_certificate_is_served_and_told_at_once(
    make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections get it, the peer learns it from the announcement long before the next heartbeat; of any kind."""
    caplog.set_level(logging.INFO)
    own = write_own(tmp_path / "own")
    host, joiner = make_node(own), make_node()
    assert served(host) == own.sha256
    pair_local(host, joiner)
    assert joiner.row(host.id)["tls_sha256"] == own.sha256
    look(host)
    assert served(host) == own.sha256
    for is_rsa in (True, False):
        revision = host.row(host.id)["revision"]
        own = write_own(tmp_path / "own", make_pems(is_rsa=is_rsa))
        look(host)
        assert served(host) == own.sha256
        follows(joiner, host.id, own.sha256)
        assert host.row(host.id)["revision"] == revision + 1
    assert BY_PROOF not in caplog.text
    assert told(host) == ""


def test_the_peer_that_calls_goes_on_over_the_new_certificate(make_node: MakeNode, tmp_path: Path) -> None:
    """Its calls, not the host's: sessions and heartbeats that it opens after the swap are answered."""
    own = write_own(tmp_path / "own")
    host, joiner = make_node(own, is_beating=False), make_node(interval_s=0.4)
    pair_local(host, joiner)
    own = write_own(tmp_path / "own")
    look(host)
    follows(joiner, host.id, own.sha256)
    entry = joiner.graph.roster.get(host.id)
    assert entry is not None
    heard = entry.heard_mono
    wait_for("heartbeats over it", lambda: entry.heard_mono > heard + 0.5)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_peer_that_was_away_asks_for_the_proof(
    make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_restarted: bool
) -> None:
    """Back again, it meets an unknown certificate, and pins it since the key signs it; after a restart too."""
    caplog.set_level(logging.INFO)
    own = write_own(tmp_path / "own")
    host, joiner = make_node(own, is_beating=False), make_node()
    pair_local(host, joiner)
    host_id = host.id
    joiner.close()
    own = write_own(tmp_path / "own")
    if is_restarted:
        host.restart()
    else:
        look(host)
    assert served(host) == own.sha256
    joiner.start()
    follows(joiner, host_id, own.sha256)
    assert BY_PROOF in caplog.text


def test_ours_is_renewed_before_ten_years_are_over(make_node: MakeNode) -> None:
    """Not sooner than thirty days before; another key, the peer follows, and a restart keeps it."""
    host, joiner = make_node(), make_node()
    pair_local(host, joiner)
    first, file = served(host), (host.data / "tls.pem").read_bytes()
    until = host.graph.certificate._tls.facts.not_after
    host.clock.step((until - host.clock.now() - timedelta(days=31)).total_seconds())
    look(host)
    assert served(host) == first
    host.clock.step(timedelta(days=2).total_seconds())
    look(host)
    second = served(host)
    assert second != first
    assert (host.data / "tls.pem").read_bytes() != file
    assert host.graph.certificate._tls.facts.not_after > until + timedelta(days=3600)
    follows(joiner, host.id, second)
    look(host)
    assert served(host) == second
    host.restart()
    assert served(host) == second
    assert told(host) == ""


def test_a_certificate_that_cannot_be_renewed_is_served_on(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses: status says so, and the next look tries again."""
    host = make_node()
    first = served(host)
    host.clock.step(3640 * 86400.0)
    with monkeypatch.context() as broken:
        broken.setattr(tls_files, "write_private", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        look(host)
    assert served(host) == first
    assert "can't be renewed" in told(host)
    assert "No space left" in told(host)
    assert finding(host)["verdict"] == "warning"
    look(host)
    assert served(host) != first
    assert told(host) == ""


def test_an_open_offer_keeps_its_invite_true(make_node: MakeNode, tmp_path: Path) -> None:
    """The former certificate is served until the offer is over, so who scanned it can join; then comes the new one."""
    own = write_own(tmp_path / "own")
    host, joiner, late = make_node(own), make_node(), make_node()
    offer = host.offer()
    fresh = write_own(tmp_path / "own")
    look(host)
    assert served(host) == own.sha256
    assert joiner.join(offer.url, offer.pin)["node"]["id"] == host.id
    assert told(host) == ""
    look(host)
    assert served(host) == fresh.sha256
    follows(joiner, host.id, fresh.sha256)
    later = host.offer()
    assert later.cert == fresh.sha256[: len(later.cert)]
    assert late.join(later.url, later.pin)["node"]["id"] == host.id


def test_offers_one_after_the_other_hold_it_up_for_an_hour_at_most(
    make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Then the open one is closed, and the log says why."""
    own = write_own(tmp_path / "own")
    host = make_node(own)
    fresh = write_own(tmp_path / "own")
    for _ in range(7):
        offer = host.offer()
        look(host)
        assert served(host) == own.sha256
        host.clock.step(590)
    look(host)
    assert served(host) == fresh.sha256
    assert host.call("GET", f"/api/v1/pairing/offers/{offer.id}")["state"] == "cancelled"
    assert "open offer was closed: its invite names the former TLS certificate" in caplog.text


def test_an_offer_that_outlived_its_certificate_is_closed_at_the_start(
    make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The files changed while the node was off; one whose certificate is the same stays open over a restart."""
    own = write_own(tmp_path / "own")
    host = make_node(own)
    offer = host.offer()
    host.restart()
    assert host.graph.use.offers.current is not None
    host.close()
    write_own(tmp_path / "own")
    host.start()
    assert host.graph.use.offers.current is None
    assert [row["state"] for row in host.rows("pairing_codes") if row["id"] == offer.id] == ["cancelled"]
    assert "open offer was closed: its invite names the former TLS certificate" in caplog.text


def test_half_written_files_leave_the_former_until_they_agree(
    make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`degraded` names the setting; the log says it once; both files there, all is well without a restart."""
    own = write_own(tmp_path / "own")
    host = make_node(own)
    certificate, key = make_pems()
    own.certificate.write_bytes(certificate)
    look(host)
    look(host)
    assert served(host) == own.sha256
    assert "the former is served on: tls.key:" in told(host)
    assert "is not the key of" in told(host)
    assert finding(host)["verdict"] == "warning"
    assert caplog.text.count("is not the key of") == 1
    own.certificate.write_bytes(certificate[:300])
    look(host)
    assert "tls.certificate:" in told(host)
    own.certificate.unlink()
    look(host)
    assert "tls.certificate: cannot read" in told(host)
    assert served(host) == own.sha256
    own.certificate.write_bytes(certificate)
    own.key.write_bytes(key)
    look(host)
    assert served(host) == certificate_hash(certificate)
    assert told(host) == ""
    assert finding(host)["verdict"] == "ok"


def test_an_own_certificate_near_its_end_is_told_until_it_is_renewed(make_node: MakeNode, tmp_path: Path) -> None:
    """From fourteen days before; after that a failure, and the node runs on."""
    own = write_own(tmp_path / "own", make_pems(lasts=timedelta(days=20)))
    host = make_node(own)
    answer = host.call("GET", "/api/v1/node")["certificate"]
    assert answer["is_own"] is True
    assert answer["names"] == [NAME]
    assert bytes.fromhex(answer["sha256"].replace(":", "")) == own.sha256
    assert told(host) == ""
    host.clock.step(7 * 86400.0)
    look(host)
    assert "runs out on" in told(host)
    assert "renew it with" in told(host)
    assert finding(host)["verdict"] == "warning"
    host.clock.step(14 * 86400.0)
    look(host)
    assert "ran out on" in told(host)
    assert finding(host)["verdict"] == "failure"
    assert served(host) == own.sha256
    own = write_own(tmp_path / "own")
    look(host)
    assert (served(host), told(host)) == (own.sha256, "")


def test_a_key_that_everybody_can_read_is_told_until_it_is_not(make_node: MakeNode, tmp_path: Path) -> None:
    """With the line that ends it."""
    own = write_own(tmp_path / "own")
    own.key.chmod(0o644)
    host = make_node(own)
    assert f"everybody on this machine can read {own.key} (mode 644)" in told(host)
    assert f"chmod 600 {own.key}" in told(host)
    offer = host.offer()
    own.key.chmod(0o600)
    look(host)
    assert told(host) == ""
    assert host.call("GET", f"/api/v1/pairing/offers/{offer.id}")["state"] == "open"


def test_real_nodes_keep_their_pairing_from_one_kind_of_certificate_to_the_other(nodes: Nodes, tmp_path: Path) -> None:
    """Ours, then the owner's by the environment, then ours again: each restart is followed by the peer."""
    host, joiner = pair(nodes)
    host_id, joiner_id = host.id, joiner.id
    ours = host.row(host_id)["tls_sha256"]
    own = write_own(tmp_path / "own")
    environment = {"MESHNODE_TLS__CERTIFICATE": str(own.certificate), "MESHNODE_TLS__KEY": str(own.key)}
    host.stop()
    host.start(**environment)
    wait_for("the owner's", lambda: joiner.row(host_id)["tls_sha256"] == own.sha256)
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    host.stop()
    host.start()
    wait_for("ours again", lambda: joiner.row(host_id)["tls_sha256"] == ours)
    wait_for("both online", lambda: host.is_online(joiner_id) and joiner.is_online(host_id))
    assert joiner.trust(host_id) == "paired"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda own: own.certificate.unlink(), "tls.certificate: cannot read"),
        (lambda own: own.key.write_bytes(make_pems()[1]), "tls.key: .* is not the key of"),
        (lambda own: own.key.write_bytes(make_pems(passphrase=b"secret")[1]), "tls.key: .* is encrypted"),
        (
            lambda own: write_own(own.key.parent, make_pems(since=datetime.now(UTC) - timedelta(days=91))),
            r"tls.certificate: .* ran out on \d{4}-",
        ),
    ],
)
def test_a_node_refuses_to_start_with_what_it_cannot_serve(
    tmp_path: Path, spoil: Callable[[OwnFiles], object], named: str
) -> None:
    """Exit 78 naming setting and file, no passphrase asked for; doctor says the same."""
    own = write_own(tmp_path / "own")
    spoil(own)
    (tmp_path / "config.toml").touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MESHNODE_")} | {
        "MESHNODE_CONFIG": str(tmp_path / "config.toml"),
        "MESHNODE_TLS__CERTIFICATE": str(own.certificate),
        "MESHNODE_TLS__KEY": str(own.key),
    }
    argv = [sys.executable, "-m", "meshnode", "--data-dir", str(tmp_path / "data"), "run", "--no-mdns"]
    argv += ["--listen", "127.0.0.1:0", "--control-port", "0"]
    done = subprocess.run(
        argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 78
    assert re.search(named, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    (found,) = check_certificate(load_config({}, environment).config, datetime.now(UTC))
    assert found.verdict == "failure"
    assert re.search(named, found.detail)
