"""A node moves to another machine in a backup: the same node to its peers, and never beside the old one."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.e2e.lab import Lab
from tests.e2e.machine import Machine, eventually
from tests.e2e.terminal import Terminal

Hosts = dict[str, Machine]
PASSPHRASE = "correct horse battery"


def backed_up(machine: Machine, file: Path) -> Path:
    done = machine.run("backup", str(file), "--passphrase-file", "-", input=f"{PASSPHRASE}\n")
    assert done.returncode == 0, done.stderr
    return file


def restore(machine: Machine, file: Path, *flags: str) -> "CompletedProcess[str]":
    return machine.run("restore", str(file), "--passphrase-file", "-", *flags, input=PASSPHRASE)


def paired(hosts: Hosts) -> tuple[Machine, Machine, Machine]:
    """The node, its peer, and the machine that the node moves to."""
    node, peer, other = hosts["a"].start(), hosts["b"].start(), hosts["c"]
    node.pair_with(peer)
    eventually(lambda: node.sees(peer, "online") and peer.sees(node, "online"), "the two do not see each other")
    return node, peer, other


def move(lab: Lab, host: str, address: str) -> None:
    """Give a host another address, in place of all its own."""
    for argv in (("add", f"{address}/24"), ("del", f"{lab.address(host)}/24")):
        assert lab.run(host, "ip", "addr", *argv, "dev", "eth0").returncode == 0
    assert lab.run(host, "ip", "-6", "addr", "flush", "dev", "eth0", "scope", "global").returncode == 0


@pytest.mark.netns
def test_a_lost_machine_comes_back_as_another(lab: Lab, hosts: Hosts, tmp_path: Path) -> None:
    """At another address: both tables are as before, with no pairing anew, and name and id are the same."""
    node, peer, other = paired(hosts)
    file = backed_up(node, tmp_path / "backup")
    name = node.api("node")["node"]["name"]
    node.stop(9)
    eventually(lambda: peer.sees(node, "offline"), "the loss is not seen", 30)
    done = restore(other, file)
    assert done.returncode == 0, done.stderr
    assert other.id == node.id
    other.start()
    eventually(lambda: peer.sees(other, "online") and other.sees(peer, "online"), "the two are apart", 30)
    eventually(lambda: peer.nodes()[node.id]["hostname"] == lab.address("c"), "it is called where it was", 30)
    assert lab.address("a") not in peer.nodes()[node.id]["addresses"]
    assert other.api("node")["node"]["name"] == name
    assert len(peer.nodes()) == len(other.nodes()) == 2


@pytest.mark.netns
def test_an_old_node_that_answers_is_named(lab: Lab, hosts: Hosts, tmp_path: Path) -> None:
    """At its last address, exit 75, and nothing is written; `--force` restores all the same."""
    node, _, other = paired(hosts)
    file = backed_up(node, tmp_path / "backup")
    refused = restore(other, file)
    assert (refused.returncode, f"{lab.address('a')}:6969" in refused.stderr) == (75, True), refused.stderr
    assert "node_answers" in refused.stderr
    assert not (other.data / "node_identity.json").exists()
    done = restore(other, file, "--force")
    assert (done.returncode, other.id) == (0, node.id), done.stderr


@pytest.mark.netns
def test_an_old_node_that_has_moved_is_found_by_mdns(lab: Lab, hosts: Hosts, tmp_path: Path) -> None:
    """Nobody answers at the addresses in the backup; once it is stopped, it is restored."""
    node, peer, other = paired(hosts)
    file = backed_up(node, tmp_path / "backup")
    move(lab, "a", "10.77.0.40")
    eventually(lambda: "10.77.0.40" in peer.nodes()[node.id]["addresses"], "the new address is not known", 20)
    refused = restore(other, file)
    assert (refused.returncode, "10.77.0.40:6969" in refused.stderr) == (75, True), refused.stderr
    assert not (other.data / "node_identity.json").exists()
    node.stop()
    done = restore(other, file)
    assert (done.returncode, other.id) == (0, node.id), done.stderr


def test_the_passphrase_is_asked_for_on_a_terminal(machine: Callable[[str], Machine], tmp_path: Path) -> None:
    """Twice for a new backup, once to open it; never shown, and what is too short or differs is not taken."""
    node, other = machine("node").start(), machine("other")
    node.api("node")
    node.stop()
    file = tmp_path / "backup"
    with Terminal(node, "backup", str(file)) as terminal:
        terminal.expect("Passphrase (at least 8 characters): ")
        terminal.type(f"{PASSPHRASE}\n")
        terminal.expect("Repeat for confirmation: ")
        terminal.type("another one\n")
        for asked in ("Passphrase (at least 8 characters): ", "Repeat for confirmation: "):
            terminal.expect(asked)
            terminal.type(f"{PASSPHRASE}\n")
        assert terminal.end() == 0
        assert PASSPHRASE not in terminal.seen
    with Terminal(other, "restore", str(file)) as terminal:
        terminal.expect("Passphrase: ")
        terminal.type("a wrong one\n")
        assert terminal.end() == 77
        assert "bad_passphrase" in terminal.seen
    with Terminal(other, "restore", str(file)) as terminal:
        terminal.expect("Passphrase: ")
        terminal.type(f"{PASSPHRASE}\n")
        assert terminal.end() == 0
        assert PASSPHRASE not in terminal.seen
    assert other.id == node.id


def test_without_a_terminal_nobody_is_asked(machine: Callable[[str], Machine], tmp_path: Path) -> None:
    """Exit 2, saying what to give; so does an empty file."""
    node = machine("node")
    for command in ("backup", "restore"):
        done = node.run(command, str(tmp_path / "file"))
        assert (done.returncode, "--passphrase-file" in done.stderr) == (2, True), done.stderr
        done = node.run(command, str(tmp_path / "file"), "--passphrase-file", "-", input="\n")
        assert (done.returncode, "is empty" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "file").exists()
