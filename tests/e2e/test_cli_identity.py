"""The identity on disk: kept, renamed, set aside on request, never guessed at; and no secret in the log."""

import json
import re
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.e2e.machine import Machine, eventually

Make = Callable[[str], Machine]


SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[: len(data) // 2],
    "empty": lambda _: b"",
    "zeros": lambda data: b"\x00" * len(data),
    "key too long": lambda data: data.replace(b'"private_key": "', b'"private_key": "A'),
    "bad id": lambda data: re.sub(rb"node-[0-9a-f-]+", b"no body", data),
}


def test_a_damaged_identity_is_refused_and_left_as_it_is(machine: Make) -> None:
    """Exit 78, naming the file and the ways out; no byte of it changes and no other is made."""
    node = machine("a").start()
    node.stop()
    file = node.data / "node_identity.json"
    whole = file.read_bytes()
    for how, spoil in SPOILERS.items():
        damaged = spoil(whole)
        assert damaged != whole
        file.write_bytes(damaged)
        for argv in (("run", *node.flags), ("identity", "show"), ("identity", "rename", "x")):
            refused = node.run(*argv)
            assert refused.returncode == 78, (how, argv, refused.stderr)
            assert str(file) in refused.stderr
            assert "identity reset --yes" in refused.stderr
            assert "Traceback" not in refused.stderr
            assert file.read_bytes() == damaged, how
    file.write_bytes(whole)
    node.start()


def test_a_missing_identity_beside_its_database_is_refused(machine: Make) -> None:
    """The pairings in the database belong to the key that is gone: exit 78, nothing is made."""
    node = machine("a").start()
    node.stop()
    file = node.data / "node_identity.json"
    kept = file.rename(node.folder / "kept.json")
    refused = node.run("run", *node.flags)
    assert refused.returncode == 78
    assert "is missing" in refused.stderr
    assert str(file) in refused.stderr
    assert not file.exists()
    kept.rename(file)
    node.start()


def test_a_wider_mode_is_put_right_with_a_warning(machine: Make) -> None:
    """0644 and 0755 become 0600 and 0700."""
    node = machine("a").start()
    node.stop()
    (node.data / "node_identity.json").chmod(0o644)
    node.data.chmod(0o755)
    node.start()
    assert (node.data / "node_identity.json").stat().st_mode & 0o777 == 0o600
    assert node.data.stat().st_mode & 0o777 == 0o700
    assert node.log.read_text().count('"level":"warning"') == 2


def test_the_identity_is_shown_without_a_node(machine: Make) -> None:
    """Before the first start it says when it is made; afterwards it is the same with and without the daemon."""
    node = machine("a")
    early = node.run("identity", "show")
    assert early.returncode == 69
    assert "first start" in early.stderr
    assert not node.data.exists()
    node.start()
    running = node.ask("identity", "show")
    assert running.keys() == {"id", "name", "created_at", "public_key", "fingerprint"}
    assert re.fullmatch(r"node-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", running["id"])
    assert re.fullmatch(r"[A-Z2-7]{4}(.[A-Z2-7]{4}){7}", running["fingerprint"])
    node.stop()
    assert node.ask("identity", "show") == running
    node.start()
    assert node.ask("identity", "show") == running


def test_a_name_changed_without_the_daemon_reaches_the_peer(machine: Make) -> None:
    """It is written to the file, and announced at the next start."""
    a, b = machine("a").start(), machine("b").start()
    a.pair_with(b)
    b.stop()
    assert b.run("identity", "rename", "Attic").stderr == "This node is called Attic.\n"
    assert b.ask("identity", "show")["name"] == "Attic"
    b.start()
    eventually(lambda: a.nodes()[b.id]["name"] == "Attic", "the peer does not learn the name")
    assert b.nodes()[b.id]["name"] == "Attic"


def test_reset_is_refused_while_running_and_keeps_everything(machine: Make) -> None:
    """75 with a daemon; without one identity and database are kept as .bak, and the next start is another node."""
    node = machine("a").start()
    former = node.id
    refused = node.run("identity", "reset", "--yes")
    assert refused.returncode == 75
    assert "stop it first" in refused.stderr
    assert node.id == former
    node.stop()
    before = (node.data / "node_identity.json").read_bytes()
    reset = node.run("identity", "reset", "--yes")
    assert reset.returncode == 0, reset.stderr
    assert (node.data / "node_identity.json.bak").read_bytes() == before
    assert (node.data / "meshnode.db.bak").stat().st_size > 0
    assert not (node.data / "meshnode.db").exists()
    node.start()
    assert node.id != former
    assert node.nodes().keys() == {node.id}


def test_reset_asks_nobody_who_is_not_there(machine: Make) -> None:
    """Without --yes and a terminal: exit 2, nothing done."""
    node = machine("a").start()
    node.stop()
    refused = node.run("identity", "reset")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert (node.data / "node_identity.json").exists()
    assert not (node.data / "node_identity.json.bak").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_ends_with_zero(machine: Make, number: signal.Signals) -> None:
    """And leaves no control.json: the next command says that no node is running."""
    node = machine("a").start()
    assert node.stop(number) == 0
    assert not (node.data / "control.json").exists()
    assert node.run("nodes").returncode == 69


def test_a_killed_node_is_not_taken_for_a_running_one(machine: Make) -> None:
    """Its control.json is still there, but nobody holds the lock; the next start is not in its way."""
    node = machine("a").start()
    node.stop(signal.SIGKILL)
    assert (node.data / "control.json").exists()
    refused = node.run("nodes")
    assert refused.returncode == 69
    assert "[no_daemon]" in refused.stderr
    assert node.start().run("nodes").returncode == 0


def test_no_secret_reaches_the_log(machine: Make) -> None:
    """PINs, codes, tokens and keys of both sides, right and wrong, at -v."""
    host, joiner = machine("a").start("-v"), machine("b").start("-v")
    offer = host.offer()
    wrong = f"{(int(offer['pin']) + 1) % 1_000_000:06d}"
    assert joiner.run("join", f"127.0.0.1:{host.port}", "--pin", wrong).returncode == 77
    assert joiner.run("join", offer["url"], "--pin", wrong).returncode == 77
    joiner.ask("join", offer["url"], "--pin", offer["pin"])
    eventually(lambda: host.sees(joiner, "online") and joiner.sees(host, "online"), "not paired")
    secrets = [offer["pin"], wrong, offer["code"], offer["url"].partition("#")[2].partition(".")[0]]
    for node in (host, joiner):
        secrets.append(json.loads((node.data / "control.json").read_text())["token"])
        secrets.append(json.loads((node.data / "node_identity.json").read_text())["private_key"])
    host.run("node", "revoke", joiner.id, "--yes")
    host.stop()
    joiner.stop()
    logged = host.log.read_text() + joiner.log.read_text()
    assert '"level":"info"' in logged
    assert [secret for secret in secrets if secret in re.sub(r'"at":"[^"]*"|127\.0\.0\.1:\d+', "", logged)] == []
    assert "Bearer" not in logged
    assert "PRIVATE" not in logged


def test_a_log_line_is_one_json_object(machine: Make) -> None:
    """Without a terminal, for the journal."""
    node = machine("a").start("-v")
    node.stop()
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    assert lines
    assert all(line.keys() >= {"at", "level", "logger", "message"} for line in lines)


def test_the_data_directory_must_be_usable(machine: Make) -> None:
    """A file in its place: 78, said in one sentence."""
    node = machine("a")
    node.data.write_text("in the way")
    refused = node.run("run", *node.flags, stdin=subprocess.DEVNULL)
    assert refused.returncode == 78
    assert str(node.data) in refused.stderr
    assert "Traceback" not in refused.stderr
    for argv in (("nodes",), ("identity", "show"), ("identity", "reset", "--yes")):
        done = node.run(*argv)
        assert "Traceback" not in done.stderr, argv
    assert node.data.read_text() == "in the way"
