"""What every command answers when all is well: text for people, JSON in the promised shapes."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, eventually

Make = Callable[[str], Machine]
NODE_KEYS = {"id", "name", "hostname", "port", "status", "trust", "kind", "capabilities", "last_seen", "is_current"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Machine]]:
    """Two paired nodes, Alpha and Beta, for tests that only look."""
    folder = tmp_path_factory.mktemp("pair")
    alpha, beta = Machine(folder / "alpha").start(), Machine(folder / "beta").start()
    try:
        alpha.run("identity", "rename", "Alpha")
        beta.run("identity", "rename", "Beta")
        alpha.pair_with(beta)
        yield alpha, beta
    finally:
        alpha.close()
        beta.close()


def test_pair_json_is_one_document_and_the_offer_stays_open(machine: Make) -> None:
    """{offer_id, code, pin, url, expires_at}: the code a uuid as text, the URL carries the same bytes."""
    node = machine("a").start()
    offer = node.offer()
    assert offer.keys() == {"offer_id", "code", "pin", "url", "expires_at"}
    assert str(uuid.UUID(offer["code"])) == offer["code"]
    assert re.fullmatch(r"[0-9]{6}", offer["pin"])
    assert re.fullmatch(rf"https://127\.0\.0\.1:{node.port}/p#[\w-]{{22}}\.[\w-]{{22}}", offer["url"])
    left = datetime.fromisoformat(offer["expires_at"]) - datetime.now(UTC)
    assert 590 < left.total_seconds() <= 600
    assert node.run("pair", "cancel").stderr == "The offer is closed.\n"


def test_pair_without_a_terminal_prints_url_and_pin(machine: Make) -> None:
    """Plain lines on stdout, then it waits and says who joined."""
    host, joiner = machine("a").start(), machine("b").start()
    with host.popen(
        "pair", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as pair:
        assert pair.stdout
        url, pin, expires = (pair.stdout.readline().split(maxsplit=1) for _ in range(3))
        assert (url[0], pin[0], expires[0]) == ("URL", "PIN", "expires")
        joined = joiner.run("join", url[1].strip(), "--pin", "-", input=f"{pin[1]}\n")
        assert joined.returncode == 0, joined.stderr
        _, told = pair.communicate(timeout=10)
    assert pair.returncode == 0
    assert re.match(r"Paired with .+ at 127\.0\.0\.1", told)


def test_join_json_names_the_node(machine: Make) -> None:
    """{node: {id, name, hostname, port}}, and nothing else on stdout."""
    host, joiner = machine("a").start(), machine("b").start()
    offer = host.offer()
    joined = joiner.ask("join", f"127.0.0.1:{host.port}", "--pin", offer["pin"])
    own = host.ask("identity", "show")
    assert joined == {"node": {"id": own["id"], "name": own["name"], "hostname": "127.0.0.1", "port": host.port}}


def test_nodes_json_has_the_promised_keys(pair: tuple[Machine, Machine]) -> None:
    """This node first, then the others; both with every promised member."""
    alpha, beta = pair
    own, other = alpha.ask("nodes")["nodes"]
    assert alpha.ask("nodes").keys() == {"nodes"}
    assert own.keys() >= NODE_KEYS
    assert other.keys() >= NODE_KEYS
    assert (own["id"], own["name"], own["trust"], own["is_current"]) == (alpha.id, "Alpha", "self", True)
    assert (other["id"], other["name"], other["trust"], other["is_current"]) == (beta.id, "Beta", "paired", False)
    assert other["status"] == "online"
    assert (other["hostname"], other["port"]) == ("127.0.0.1", beta.port)
    assert {c["name"] for c in other["capabilities"]} >= {"system.info", "system.ping"}
    assert datetime.fromisoformat(other["last_seen"]).utcoffset() is not None


def test_nodes_prints_a_table(pair: tuple[Machine, Machine]) -> None:
    """One line a node, this one marked."""
    lines = pair[0].run("nodes").stdout.splitlines()
    assert lines[0].split()[:3] == ["NAME", "KIND", "STATUS"]
    assert lines[1].startswith("Alpha (this node)")
    assert re.match(r"Beta +\w+ +online +(just now|\d+ s ago) +127\.0\.0\.1:\d+", lines[2])


def test_status_json_has_the_promised_keys(pair: tuple[Machine, Machine]) -> None:
    """{node, listeners, peers, degraded, notices}."""
    alpha, _ = pair
    status = alpha.ask("status")
    assert status.keys() >= {"node", "listeners", "peers", "degraded", "notices"}
    assert status["node"]["id"] == alpha.id
    assert status["listeners"] == [f"https://127.0.0.1:{alpha.port}"]
    assert status["peers"]["online"] == 1
    assert status["degraded"] == []
    printed = alpha.run("status").stdout
    assert alpha.id in printed
    assert "1 online" in printed


def test_discover_without_neighbours_says_what_else_can_be_done(pair: tuple[Machine, Machine]) -> None:
    """Nothing on stdout, a sentence on stderr."""
    told = pair[0].run("discover")
    assert (told.returncode, told.stdout) == (0, "")
    assert "No other node in sight" in told.stderr


def test_a_node_is_found_by_name_id_and_the_end_of_its_id(pair: tuple[Machine, Machine]) -> None:
    """`node show` with each, and what it prints."""
    alpha, beta = pair
    for reference in ("Beta", beta.id, beta.id[-8:]):
        assert alpha.ask("node", "show", reference)["node"]["id"] == beta.id
    printed = alpha.run("node", "show", "Beta").stdout
    assert re.search(r"^trust +paired, level 1$", printed, re.MULTILINE)
    assert beta.ask("identity", "show")["fingerprint"] in printed


def test_an_alias_and_a_trust_level_stay_here(pair: tuple[Machine, Machine]) -> None:
    """`node rename` and `node trust` change this side only, and can be undone."""
    alpha, beta = pair
    assert alpha.run("node", "rename", "Beta", "Attic").stderr == "Beta is called Attic here.\n"
    assert alpha.run("node", "trust", "Attic", "2").stderr == f"Attic ({beta.id}) is at trust level 2.\n"
    assert alpha.nodes()[beta.id]["trust_level"] == 2
    assert beta.nodes()[beta.id]["name"] == "Beta"
    assert beta.nodes()[alpha.id]["trust_level"] == 1
    assert alpha.run("node", "trust", "Attic", "1").returncode == 0
    assert alpha.run("node", "rename", "Attic").stderr == "It is Beta again.\n"


def test_revoke_and_forget(machine: Make) -> None:
    """Revoked stays listed as such; forgotten is gone."""
    a, b = machine("a").start(), machine("b").start()
    a.pair_with(b)
    assert "is revoked." in a.run("node", "revoke", b.id, "--yes").stderr
    assert a.nodes()[b.id]["trust"] == "revoked"
    assert "is forgotten." in a.run("node", "forget", b.id, "--yes").stderr
    assert a.nodes().keys() == {a.id}


def test_a_new_name_reaches_the_peer(pair: tuple[Machine, Machine]) -> None:
    """Renamed with the daemon running."""
    alpha, beta = pair
    assert beta.run("identity", "rename", "Beta II").stderr == "This node is called Beta II.\n"
    eventually(lambda: alpha.nodes()[beta.id]["name"] == "Beta II", "the peer does not learn the name")
    beta.run("identity", "rename", "Beta")
    eventually(lambda: alpha.nodes()[beta.id]["name"] == "Beta", "the peer does not learn the name")


def test_unlock_is_always_possible(pair: tuple[Machine, Machine]) -> None:
    """Even when nothing is locked."""
    assert pair[0].run("pair", "unlock").stderr == "Pairing by PIN alone is unlocked.\n"


def test_config_and_paths_need_no_node(machine: Make) -> None:
    """Settings with their origin; where things lie."""
    node = machine("a")
    shown = node.ask("config", "show")
    assert shown["config"]["heartbeat"]["interval_s"] == 0.5
    assert shown["origins"] == {"heartbeat.interval_s": "environment"}
    assert re.search(r"^heartbeat\.interval_s +0\.5 +environment$", node.run("config", "show").stdout, re.MULTILINE)
    assert node.run("config", "check").returncode == 0
    paths = node.ask("paths")
    assert Path(paths["data"]) == node.data
    assert Path(paths["identity"]) == node.data / "node_identity.json"
    assert Path(paths["database"]) == node.data / "meshnode.db"
    assert paths["config"].endswith("config.toml")
    assert not node.data.exists()


def test_a_closed_pipe_is_no_error(pair: tuple[Machine, Machine]) -> None:
    """`meshnode nodes | head -0` prints nothing on stderr and exits 0."""
    for argv in (("nodes",), ("nodes", "--json"), ("--help",), ("status",)):
        with pair[0].popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
            assert command.stdout
            command.stdout.close()
            assert command.stderr
            assert command.stderr.read() == b""
            assert command.wait(10) == 0


def test_every_command_explains_itself(pair: tuple[Machine, Machine]) -> None:
    """--help of the program and of each command, 0 and not empty."""
    helped = pair[0].run("--help").stdout
    commands = re.findall(r"^  (\w+)  ", helped.split("Commands:")[1], re.MULTILINE)
    assert {"run", "pair", "join", "discover", "nodes", "node", "identity", "status", "demo"} <= set(commands)
    for command in commands:
        done = pair[0].run(command, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(done.stdout.splitlines()) > 3


def test_version_is_quick(machine: Make) -> None:
    """It imports neither the server nor the cryptography."""
    node = machine("a")
    done = node.run("--version", env={**node.environment, "PYTHONPROFILEIMPORTTIME": "1"})
    assert done.stdout == "meshnode, version 0.1.0\n"
    imported = set(re.findall(r"\| +([\w.]+)$", done.stderr, re.MULTILINE))
    assert "click" in imported
    assert not imported & {"aiohttp", "asyncio", "cryptography", "zeroconf", "rich", "aiosqlite", "segno"}


def test_files_are_for_the_owner_only(pair: tuple[Machine, Machine]) -> None:
    """Directory 0700, every file in it 0600."""
    alpha, _ = pair
    assert alpha.data.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in alpha.data.iterdir()}
    assert modes.keys() >= {"node_identity.json", "meshnode.db", "control.json", "epoch"}
    assert set(modes.values()) == {0o600}, modes
    assert json.loads((alpha.data / "control.json").read_text()).keys() == {"url", "token"}
