"""`meshnode status` shows what the owner has not seen, and `--seen` ends that."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tests.e2e.machine import Machine
from tests.e2e.terminal import Terminal

Make = Callable[[str], Machine]


def notices(machine: Machine) -> list[dict[str, Any]]:
    """What a script sees."""
    found: list[dict[str, Any]] = machine.ask("status")["notices"]
    return found


def test_a_pairing_is_shown_until_the_owner_says_that_it_was_seen(machine: Make) -> None:
    """With its next step and the way to be rid of it; looking is not seeing; a restart changes nothing."""
    host, joiner = machine("a").start(), machine("b").start()
    host.pair_with(joiner)
    (notice,) = notices(host)
    assert notice.keys() == {"id", "at", "code", "detail", "next_step", "times", "node"}
    for _ in range(2):
        printed = host.run("status").stdout
        assert f"  {notice['detail']}\n" in printed
        assert f"→ {notice['next_step']}\n" in printed
        assert "`meshnode status --seen`" in printed
    assert notices(host) == [notice]
    warned = [line for line in host.log.read_text().splitlines() if notice["detail"] in line]
    assert len(warned) == 1
    assert '"level":"warning"' in warned[0].replace(" ", "").lower()
    host.stop()
    host.start()
    assert notices(host) == [notice]
    last = host.run("status", "--seen").stdout
    assert notice["detail"] in last
    assert "status --seen" not in last
    assert notices(host) == []
    assert notice["detail"] not in host.run("status").stdout


def test_seen_by_a_script(machine: Make) -> None:
    """`--seen --json` prints what it ends."""
    host, joiner = machine("a").start(), machine("b").start()
    host.pair_with(joiner)
    assert [notice["code"] for notice in host.ask("status", "--seen")["notices"]] == ["paired"]
    assert host.ask("status", "--seen")["notices"] == []


def test_who_watches_a_pairing_has_seen_it(machine: Make) -> None:
    """On a terminal, on both sides; what happened besides stays."""
    host, joiner, other = machine("a").start(), machine("b").start(), machine("c").start()
    host.pair_with(other)
    with Terminal(host, "pair") as pair, Terminal(joiner, "join", f"127.0.0.1:{host.port}") as join:
        pin = re.search(r"PIN  ([0-9]{3} [0-9]{3})", pair.expect("Waiting …"))
        assert pin
        join.expect("PIN: ")
        join.type(f"{pin[1]}\n")
        assert (join.end(), pair.end()) == (0, 0)
    assert notices(joiner) == []
    assert [notice["node"]["id"] for notice in notices(host)] == [other.id]
