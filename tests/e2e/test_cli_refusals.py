"""What every mistake is answered with: the exit code of its kind, what happened, what to do next, no traceback."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.machine import Machine

Make = Callable[[str], Machine]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One running node without peers, for questions that change nothing."""
    running = Machine(tmp_path_factory.mktemp("node")).start()
    yield running
    running.close()


def refused(
    machine: Machine, *argv: str, code: int, says: tuple[str, ...], **options: object
) -> "subprocess.CompletedProcess[str]":
    """Run a command that must fail in this way."""
    done = machine.run(*argv, **options)
    assert done.returncode == code, (argv, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for text in says:
        assert text in done.stderr, (argv, done.stderr)
    return done


@pytest.mark.parametrize(
    "argv",
    [
        ("nodes",), ("status",), ("discover",), ("pair",), ("pair", "cancel"),
        ("join", "192.0.2.1", "--pin", "123456"), ("node", "revoke", "x", "--yes"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_without_a_node_every_command_says_how_to_start_one(machine: Make, argv: tuple[str, ...]) -> None:
    """Exit 69."""
    node = machine("a")
    refused(node, *argv, code=69, says=("No node is running", str(node.data), "meshnode run", "[no_daemon]"))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("frobnicate",), ("No such command 'frobnicate'",)),
        (("noeds",), ("No such command 'noeds'", "Did you mean `nodes`?")),
        (("nodes", "--jsno"), ("No such option",)),
        (("pair", "--expires-in", "5"), ("--expires-in", "30")),
        (("node", "trust", "x", "9"), ("9", "1<=x<=2")),
        (("node", "show"), ("REF",)),
        (("run", "--control-port", "99999"), ("--control-port", "65535")),
        (("join", "192.0.2.1", "--pin", "12345"), ("pin", "six digits")),
        (("join", "192.0.2.1", "--pin", "12345x"), ("pin", "six digits")),
        (("join", "192.0.2.1", "--pin", "١٢٣٤٥٦"), ("pin", "six digits")),
        (("join", "192.0.2.1", "--pin", ""), ("pin", "six digits")),
        (("join", "12345"), ("pin", "six digits")),
        (("join", "123", "4567"), ("pin", "six digits")),
        (("join", "123 456", "--pin", "123456"), ("leave one out",)),
        (("join", "192.0.2.1:99999", "--pin", "123456"), ("address",)),
        (("join", "192.0.2.1:x", "--pin", "123456"), ("address",)),
        (("join", "no such host", "--pin", "123456"), ("address",)),
        (("join", "http://192.0.2.1:6969/p#x.y", "--pin", "123456"), ("invite", "https://")),
        (("join", "https://192.0.2.1:6969/p", "--pin", "123456"), ("invite", "#")),
        (("join", "https://192.0.2.1:6969/p#AAAA.BBBB", "--pin", "123456"), ("invite", "damaged", "whole URL")),
        (("join", "https://192.0.2.1:6969/p#a.b.c", "--pin", "123456"), ("phone",)),
        (("join", "192.0.2.1"), ("--pin",)),
        (("join",), ("--pin",)),
        (("node", "rename", "%self", "x" * 300), ("alias",)),
        (("identity", "rename", ""), ("name", "empty")),
        (("identity", "rename", "x" * 100), ("name", "at most")),
        (("identity", "rename", "a\x1b[2Jb"), ("name", "control")),
        (("identity", "reset"), ("--yes",)),
        (("node", "revoke", "%self"), ("--yes",)),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else None,
)
def test_wrong_usage_names_what_is_wrong(node: Machine, argv: tuple[str, ...], says: tuple[str, ...]) -> None:
    """Exit 2."""
    refused(node, *(node.id if arg == "%self" else arg for arg in argv), code=2, says=says)


def test_unknown_nodes_are_not_found(node: Machine) -> None:
    """Exit 1, naming the command that lists the known ones."""
    for command in (
        ("show", "nobody"),
        ("revoke", "nobody", "--yes"),
        ("rename", "nobody", "x"),
        ("trust", "nobody", "2"),
    ):
        refused(node, "node", *command, code=1, says=("nobody", "meshnode nodes", "[node_unknown]"))


def test_our_own_node_is_not_revoked_or_forgotten(node: Machine) -> None:
    """Nor can its trust be changed; nothing happens."""
    before = node.ask("nodes")
    for command in (("revoke", node.id, "--yes"), ("forget", node.id, "--yes"), ("trust", node.id, "2")):
        done = node.run("node", *command)
        assert done.returncode not in (0, 78)
        assert "Traceback" not in done.stderr
        assert "Error: " in done.stderr
    after = node.ask("nodes")
    assert [n["trust"] for n in after["nodes"]] == [n["trust"] for n in before["nodes"]] == ["self"]


def test_joining_nobody_or_somebody_else_is_explained(node: Machine, machine: Make) -> None:
    """No listener: 1. Something that isn't a meshnode: 1. Ourselves: refused."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
    refused(node, "join", f"127.0.0.1:{port}", "--pin", "123456", code=1, says=("[unreachable]", "firewall"))
    own = node.run("join", f"127.0.0.1:{node.port}", "--pin", "123456")
    assert own.returncode in (1, 2, 77)
    assert "Error: " in own.stderr
    assert [n["trust"] for n in node.ask("nodes")["nodes"]] == ["self"]


def test_a_join_without_an_offer_says_to_open_one(node: Machine, machine: Make) -> None:
    """Exit 1; so is a closed one. An invite with another code or certificate: 77."""
    other = machine("b").start()
    says = ("[no_open_offer]", "meshnode pair")
    refused(other, "join", f"127.0.0.1:{node.port}", "--pin", "123456", code=1, says=says)
    offer = node.offer()
    foreign = re.sub(r"#[^.]+", "#" + "A" * 22, offer["url"])
    refused(other, "join", foreign, "--pin", offer["pin"], code=77, says=("[code_unknown]", "meshnode pair"))
    relayed = re.sub(r"\.[^.]+$", "." + "A" * 22, offer["url"])
    refused(other, "join", relayed, "--pin", offer["pin"], code=77, says=("[certificate_mismatch]", "new offer"))
    node.run("pair", "cancel")
    refused(other, "join", offer["url"], "--pin", offer["pin"], code=1, says=("[offer_closed]", "meshnode pair"))
    replaced = node.offer()
    node.offer()
    refused(other, "join", replaced["url"], "--pin", replaced["pin"], code=1, says=("[offer_replaced]", "newer offer"))
    node.run("pair", "cancel")


def test_a_wrong_pin_is_not_permitted_and_counted(machine: Make) -> None:
    """--pin is never asked for again: 77 with the attempts left; three by invite burn the offer for good."""
    host, joiner = machine("a").start(), machine("b").start()
    offer = host.offer()
    wrong = f"{(int(offer['pin']) + 1) % 1_000_000:06d}"
    for _ in range(3):
        refused(joiner, "join", offer["url"], "--pin", wrong, code=77, says=("[bad_pin]", "compare the PIN"))
    burned = refused(joiner, "join", offer["url"], "--pin", offer["pin"], code=77, says=("meshnode pair",))
    assert re.search(r"\[(offer_burned|code_unknown)\]", burned.stderr)
    assert [row[0] for row in joiner.rows("id")] == [joiner.id]


def test_ten_wrong_pins_lock_the_way_without_code(machine: Make) -> None:
    """Exit 75 with the time to wait and the ways out; `pair unlock` opens it again."""
    host, joiner = machine("a").start(), machine("b").start()
    address, failures = f"127.0.0.1:{host.port}", 0
    while failures < 10:
        offer = host.offer()
        wrong = f"{(int(offer['pin']) + 1) % 1_000_000:06d}"
        for _ in range(min(3, 10 - failures)):
            refused(joiner, "join", address, "--pin", wrong, code=77, says=("[bad_pin]",))
            failures += 1
    offer = host.offer()
    locked = refused(joiner, "join", address, "--pin", offer["pin"], code=75, says=("[locked_out]", "pair unlock"))
    assert re.search(r"\(in 1[45] min", locked.stderr)
    assert host.run("pair", "unlock").returncode == 0
    assert joiner.run("join", address, "--pin", offer["pin"]).returncode == 0


def test_a_second_node_on_the_same_data_is_refused(node: Machine) -> None:
    """Exit 75, naming the directory and the way out; the first one goes on."""
    refused(node, "run", *node.flags, code=75, says=(str(node.data), "--data-dir", "[identity_locked]"))
    assert node.run("status").returncode == 0


def test_a_taken_port_is_refused_and_a_taken_control_port_is_not(machine: Make) -> None:
    """The public one: 75 naming the remedy. The control one: any free one instead."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        unlucky = machine("a")
        refused(
            unlucky, "run", "--listen", f"127.0.0.1:{port}", "--no-mdns", "--control-port", "0", code=75,
            says=(str(port), "--listen", "[port_in_use]"),
        )  # fmt: skip
        lucky = machine("b").start("--control-port", str(port))
        assert lucky.run("status").returncode == 0
        assert f":{port}" not in (lucky.data / "control.json").read_text()


def test_a_wrong_listen_address_is_refused(machine: Make) -> None:
    """Not ours, not an address, no port: 78 or 2 with the setting's name, at once."""
    for listen in ("192.0.2.77:6969", "nonsense:port", "127.0.0.1:99999"):
        done = machine("a").run("run", "--listen", listen, "--no-mdns", "--control-port", "0")
        assert done.returncode in (1, 2, 75, 78), done.stderr
        assert "Traceback" not in done.stderr
        assert listen.rsplit(":", 1)[0] in done.stderr or "listen" in done.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[listen]\nprot = 1\n", "prot"),
        ("[lisen]\n", "lisen: no such section"),
        ("listen = 6969\n", "listen: no such section"),
        ("[heartbeat]\ninterval_s = 1000\n", "heartbeat.interval_s"),
        ("[node]\nkind = 'toaster'\n", "node.kind"),
        ("[pairing]\nallowed_networks = ['300.0.0.0/8']\n", "pairing.allowed_networks"),
        ("[listen\n", "config.toml"),
    ],
    ids=["key", "section", "no section", "value", "type", "network", "syntax"],
)
def test_a_wrong_configuration_file_is_refused_by_name(machine: Make, text: str, says: str) -> None:
    """Exit 78, for `run` and `config check` alike."""
    node = machine("a")
    file = node.folder / "config.toml"
    file.write_text(text)
    node.environment["MESHNODE_CONFIG"] = str(file)
    node.environment.pop("MESHNODE_HEARTBEAT__INTERVAL_S")
    for argv in (("config", "check"), ("run", *node.flags)):
        refused(node, *argv, code=78, says=(says, "[bad_config]"))
    assert not (node.data / "node_identity.json").exists()


def test_an_unknown_variable_is_only_a_warning(machine: Make) -> None:
    """A misspelt MESHNODE_… is named, and the node starts."""
    node = machine("a")
    node.environment["MESHNODE_HEARTBEAT__INTERVALL_S"] = "1"
    assert node.start().run("status").returncode == 0
    assert "MESHNODE_HEARTBEAT__INTERVALL_S is not a setting; ignored" in node.log.read_text()


# loads everything while it may, then becomes nobody: Python itself may lie where nobody can read
AS_NOBODY = """
import importlib, os, pkgutil, sys
import meshnode.cli, meshnode.cli.main
for module in pkgutil.iter_modules(meshnode.cli.__path__):
    importlib.import_module(f"meshnode.cli.{module.name}")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
meshnode.cli.main.main()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_a_node_of_somebody_else_is_not_readable(machine: Make) -> None:
    """Exit 77, naming sudo."""
    node = machine("a").start()
    argv = [sys.executable, "-c", AS_NOBODY, "--data-dir", str(node.data), "nodes"]
    done = subprocess.run(argv, env=node.environment, cwd="/", capture_output=True, text=True, timeout=30)
    assert done.returncode == 77, done.stderr
    assert "sudo meshnode" in done.stderr
