"""Pairing and liveness between hosts of the lab: no address typed, both databases, every way a node can go."""

import signal
import subprocess

import pytest

from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually

pytestmark = pytest.mark.netns

Hosts = dict[str, Machine]
BLOCK_MDNS = """
table bridge lab {
    chain forward {
        type filter hook forward priority 0;
        udp dport 5353 drop
        ip6 nexthdr udp udp dport 5353 drop
    }
}
"""


def sqlite(machine: Machine, query: str) -> list[list[str]]:
    """The answer of the sqlite3 program to a query on the node's file."""
    done = subprocess.run(
        ["sqlite3", "-readonly", str(machine.data / "meshnode.db"), query], capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 0, done.stderr
    return [line.split("|") for line in done.stdout.splitlines()]


def status_words(machine: Machine, name: str) -> str:
    """What `meshnode nodes` says about a node: the STATUS column."""
    lines = machine.run("nodes").stdout.splitlines()
    start, end = lines[0].index("STATUS"), lines[0].index("LAST SEEN")
    return next(line for line in lines[1:] if line.startswith(name))[start:end].strip()


def wait_for_words(machine: Machine, name: str, words: str) -> None:
    eventually(lambda: status_words(machine, name) == words, f"{name} is not shown as {words}")


def test_join_without_address_takes_the_one_open_offer(hosts: Hosts) -> None:
    """mDNS finds it; both SQLite files, read by the plain program, then hold both nodes, paired and online."""
    a, b, c = (machine.start() for machine in hosts.values())
    offer = a.offer()
    joined = b.run("join", "--pin", offer["pin"])
    assert joined.returncode == 0, joined.stderr
    assert "Found host-a at 10.77.0.1:6969." in joined.stderr
    assert "Joined host-a at 10.77.0.1:6969." in joined.stderr
    columns = "id, name, hostname, port, status, trust, is_current"
    for here, there, address in ((a, b, "10.77.0.2"), (b, a, "10.77.0.1")):
        mine, other = ([here.id, here.folder.name], [there.id, there.folder.name])

        def stored(here: Machine = here) -> dict[str, list[str]]:
            return {row[0]: row[1:] for row in sqlite(here, f"SELECT {columns} FROM mesh_nodes")}

        def is_stored(stored=stored, other=other) -> bool:
            return stored().get(other[0], [""] * 4)[3:5] == ["online", "paired"]

        eventually(is_stored, f"{mine[1]} does not hold {other[1]} as paired and online")
        rows = stored()
        assert rows.keys() == {here.id, there.id}
        assert rows[there.id] == [f"host-{other[1]}", address, "6969", "online", "paired", "0"]
        assert rows[here.id][0] == f"host-{mine[1]}"
        assert rows[here.id][4:] == ["self", "1"]
    assert [row[0] for row in c.rows("id")] == [c.id]


def test_a_pin_alone_is_enough(hosts: Hosts) -> None:
    """Typed as it is read from the screen, with or without the blank and `--pin`; a wrong one is no address either."""
    host, *joiners = (machine.start() for machine in hosts.values())
    for joiner, how in zip(joiners, ("blank", "plain"), strict=True):
        pin = host.offer()["pin"]
        wrong = f"{(int(pin) + 1) % 10**6:06}"
        refused = joiner.run("join", wrong)
        assert (refused.returncode, "[bad_pin]" in refused.stderr) == (77, True), refused.stderr
        twice = joiner.run("join", pin, "--pin", wrong)
        assert (twice.returncode, "leave one out" in twice.stderr) == (2, True), twice.stderr
        nowhere = joiner.run("join", "", "--pin", pin)  # `join "$HOST"` of an empty HOST is not "whoever is in sight"
        assert (nowhere.returncode, "must look like HOST" in nowhere.stderr) == (2, True), nowhere.stderr
        joined = joiner.run("join", *((pin[:3], pin[3:]) if how == "blank" else (pin,)))
        assert joined.returncode == 0, joined.stderr
        assert "Joined host-a at 10.77.0.1:6969." in joined.stderr


def test_two_open_offers_are_a_question_that_needs_a_terminal(lab: Lab, hosts: Hosts) -> None:
    """Without one: exit 2, naming both nodes and what to type; and nobody is joined."""
    a, b, c = (machine.start() for machine in hosts.values())
    offers = [a.offer(), b.offer()]

    def open_offers() -> int:
        return sum(node["pairing_open"] for node in c.api("discovered")["nodes"])

    eventually(lambda: open_offers() == 2, "two offers are not in sight")
    refused = c.run("join", "--pin", offers[0]["pin"])
    assert refused.returncode == 2
    for host in ("a", "b"):
        assert f"host-{host} ({lab.address(host)}:6969)" in refused.stderr
    assert "meshnode join HOST:PORT" in refused.stderr
    assert [row[0] for row in c.rows("id")] == [c.id]
    assert c.run("join", lab.address("b"), "--pin", offers[1]["pin"]).returncode == 0


def test_nobody_waiting_is_said_after_a_patient_look(hosts: Hosts) -> None:
    """Exit 1, naming both ways out."""
    a, _ = hosts["a"].start(), hosts["b"].start()
    alone = a.run("join", "--pin", "123456")
    assert alone.returncode == 1
    assert "[nobody_found]" in alone.stderr
    assert "meshnode pair" in alone.stderr
    assert "meshnode join HOST" in alone.stderr


@pytest.mark.long  # the short run kills in integration/test_liveness.py
def test_a_killed_node_grows_stale_then_offline_and_comes_back(hosts: Hosts) -> None:
    """Silence is judged in two steps; after a restart it is online again without a new pairing."""
    for host in ("a", "b"):
        hosts[host].environment["MESHNODE_HEARTBEAT__INTERVAL_S"] = "2"  # stale for long enough to be looked at
    a, b = hosts["a"].start(), hosts["b"].start()
    a.pair_with(b)
    assert b.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_for_words(a, "host-b", "stale")
    wait_for_words(a, "host-b", "offline")
    assert a.sees(b, "offline", "silent")
    paired_at = a.rows("id, paired_at, public_key")
    b.start()
    wait_for_words(a, "host-b", "online")
    eventually(lambda: b.sees(a, "online"), "the killed node does not know its peer any more")
    assert a.rows("id, paired_at, public_key") == paired_at


def test_a_stopped_node_left_and_comes_back(hosts: Hosts) -> None:
    """SIGTERM is told to the peers at once: offline (left); the way back is the same."""
    a, b = hosts["a"].start(), hosts["b"].start()
    a.pair_with(b)
    assert b.stop() == 0
    assert status_words(a, "host-b") == "offline (left)"
    assert a.sees(b, "offline", "left")
    b.start()
    wait_for_words(a, "host-b", "online")


@pytest.mark.long  # the short run blocks it in test_mesh_faults.py
def test_paired_nodes_need_no_mdns(lab: Lab, hosts: Hosts) -> None:
    """With multicast DNS blocked at the switch they stay online, find each other after a restart, and pair by URL."""
    a, b, c = (machine.start() for machine in hosts.values())
    a.pair_with(b)
    lab.nft(BLOCK_MDNS)
    assert b.stop(signal.SIGKILL) == -signal.SIGKILL
    wait_for_words(a, "host-b", "offline")
    b.start()
    wait_for_words(a, "host-b", "online")
    assert b.ask("discover") == {"nodes": []}
    b.pair_with(c)
    assert a.sees(b, "online")
    assert b.sees(a, "online")


def test_revoking_is_learnt_by_the_other_side(hosts: Hosts) -> None:
    """It says who removed it; a new ceremony is needed and enough."""
    a, b = hosts["a"].start(), hosts["b"].start()
    a.pair_with(b)
    revoked = a.run("node", "revoke", "host-b", "--yes")
    assert revoked.returncode == 0, revoked.stderr
    assert status_words(a, "host-b") == "revoked"
    wait_for_words(b, "host-a", "removed by host-a")
    offer = a.offer()
    b.ask("join", offer["url"], "--pin", offer["pin"])
    wait_for_words(a, "host-b", "online")
    wait_for_words(b, "host-a", "online")
