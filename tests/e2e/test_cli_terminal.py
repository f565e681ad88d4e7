"""What a person sees and types: the offer's screen, its QR code, asking for the PIN, Ctrl-C."""

import re
import shutil
from collections.abc import Callable

import pytest
import zxingcpp
from PIL import Image

from tests.e2e.machine import Machine, eventually
from tests.e2e.terminal import COLUMNS, LINES, Terminal, screen

Make = Callable[[str], Machine]
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux (package tmux)")
HALVES = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}


def qr_text(lines: list[str]) -> str:
    """What a camera reads from the half blocks on a dark screen."""
    rows = [line for line in lines if line.startswith("█")]
    width = min(len(re.match("[█▀▄ ]+", row)[0].rstrip()) for row in rows if row)  # type: ignore[index]
    width = max(width, len(rows[0].split("  ")[0]))
    size, border = 6, 40
    image = Image.new("L", (width * size + 2 * border, 2 * len(rows) * size + 2 * border), 0)
    for y, row in enumerate(rows):
        for x, character in enumerate(row[:width]):
            for half, brightness in enumerate(HALVES[character]):
                left, top = border + x * size, border + (2 * y + half) * size
                image.paste(brightness, (left, top, left + size, top + size))
    return zxingcpp.read_barcodes(image)[0].text


@needs_tmux
def test_the_offer_fits_a_small_screen_and_its_qr_code_is_the_url(machine: Make) -> None:
    """80×24: a long URL, its whole QR code, PIN and countdown are on it together; Ctrl-C closes the offer."""
    node = machine("a")
    node.environment["MESHNODE_LISTEN__PUBLIC_URL"] = "https://192.168.100.100:6969"
    node.start()
    with screen(node, "pair") as shown:
        shown.wait_for("Waiting …")
        lines = shown.wait_for("▀" * 30)  # the QR code's last line: it is whole
        assert len(lines) == LINES
        text = "\n".join(lines)
        url = re.search(r"https://\S+/p#\S+(?:\n\S{1,20}$)?", text, re.MULTILINE)
        assert url
        assert qr_text(lines) == url[0].replace("\n", "")
        assert re.search(r"PIN  [0-9]{3} [0-9]{3}\b", text)
        assert "meshnode join" in text
        left = re.search(r"Open for (\d+):(\d\d)", text)
        assert left
        assert 550 < int(left[1]) * 60 + int(left[2]) <= 600
        eventually(lambda: left[0] not in "\n".join(shown.lines()), "the countdown stands still")
        shown.keys("C-c")
        shown.wait_for("The offer is closed.")
        assert shown.code() == 130
    assert node.run("pair", "cancel").stderr == "No offer was open.\n"


@needs_tmux
def test_a_tiny_screen_shows_the_pin_without_the_qr_code(machine: Make) -> None:
    """40×10: no torn QR code."""
    node = machine("a").start()
    with screen(node, "pair", size=(40, 10)) as shown:
        lines = shown.wait_for("Open for")
        assert not any("█" in line for line in lines)
        assert any(re.search(r"PIN  [0-9]{3} [0-9]{3}\b", line) for line in lines)


def test_the_pin_is_asked_again_and_both_sides_say_who_joined(machine: Make) -> None:
    """A mistyped PIN costs nothing, a wrong one says how many attempts are left, the right one joins."""
    host, joiner = machine("a").start(), machine("b").start()
    host.run("identity", "rename", "Kitchen server")
    joiner.run("identity", "rename", "Desk")
    with Terminal(host, "pair") as pair, Terminal(joiner, "join", f"127.0.0.1:{host.port}") as join:
        pin = re.search(r"PIN  ([0-9]{3} [0-9]{3})", pair.expect("Waiting …"))
        assert pin
        wrong = f"{(int(pin[1].replace(' ', '')) + 1) % 1_000_000:06d}"
        join.expect("PIN: ")
        join.type("12345\n")
        join.expect("six digits")
        join.expect("PIN: ")
        join.type(f"{wrong}\n")
        join.expect("Wrong PIN, 2 attempts left.")
        pair.expect("Wrong PIN from ")
        join.expect("PIN: ")
        join.type(f"{pin[1]}\n")
        join.expect(f"Joined Kitchen server at 127.0.0.1:{host.port}.")
        assert join.end() == 0
        pair.expect("Paired with Desk at 127.0.0.1")
        assert pair.end() == 0
        assert "Traceback" not in pair.seen + join.seen


def test_three_wrong_pins_lead_to_the_invite(machine: Make) -> None:
    """By PIN alone the way is closed then, and the message says to use the URL, which still works."""
    host, joiner = machine("a").start(), machine("b").start()
    offer = host.offer()
    wrong = f"{(int(offer['pin']) + 1) % 1_000_000:06d}"
    with Terminal(joiner, "join", f"127.0.0.1:{host.port}") as join:
        for left in (2, 1, None):
            join.expect("PIN: ")
            join.type(f"{wrong}\n")
            if left:
                join.expect(f"Wrong PIN, {left} attempt{'s' if left > 1 else ''} left.")
        assert join.end() == 77
        assert "invite" in join.seen
        assert "Traceback" not in join.seen
    assert joiner.run("join", offer["url"], "--pin", offer["pin"]).returncode == 0


def test_ctrl_c_at_a_question_is_silent(machine: Make) -> None:
    """Exit 130, and the offer stays as it was."""
    host, joiner = machine("a").start(), machine("b").start()
    offer = host.offer()
    with Terminal(joiner, "join", f"127.0.0.1:{host.port}") as join:
        join.expect("PIN: ")
        join.interrupt()
        assert join.end() == 130
        assert "Error" not in join.seen
        assert "Traceback" not in join.seen
    assert joiner.run("join", offer["url"], "--pin", offer["pin"]).returncode == 0


def test_revoking_asks_first(machine: Make) -> None:
    """`n` and Enter change nothing; `y` revokes."""
    host, other = machine("a").start(), machine("b").start()
    host.pair_with(other)
    for answer in ("n\n", "\n"):
        with Terminal(host, "node", "revoke", other.id) as revoke:
            revoke.expect("[y/N]")
            revoke.type(answer)
            assert revoke.end() != 0
            assert "Traceback" not in revoke.seen
        assert host.nodes()[other.id]["trust"] == "paired"
    with Terminal(host, "node", "revoke", other.id) as revoke:
        revoke.expect(other.id)
        revoke.type("y\n")
        assert revoke.end() == 0
    assert host.nodes()[other.id]["trust"] == "revoked"


def test_run_on_a_terminal_says_who_where_and_what_next(machine: Make) -> None:
    """Name, id, fingerprint, listeners and the next commands; Ctrl-C ends it with 0 or 130 and no traceback."""
    node = machine("a")
    with Terminal(node, "run", *node.flags) as run:
        greeting = run.expect("Ctrl-C stops this node.")
        assert node.id in greeting
        assert re.search(r"fingerprint  ([A-Z2-7]{4}[ -]?){8}", greeting)
        assert re.search(r"listens on   https://127\.0\.0\.1:\d+", greeting)
        for command in ("meshnode pair", "meshnode join", "meshnode nodes"):
            assert command in greeting
        assert all(len(line) <= COLUMNS or "data " in line for line in greeting.splitlines())
        run.interrupt()
        assert run.end() == 0
        assert "Traceback" not in run.seen
