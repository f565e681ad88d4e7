"""`meshnode pair --dialect NAME` and `--phone`: what the owner sees of other apps' offers, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.dialects.abpa3_app import App
from tests.e2e.machine import Machine, eventually
from tests.e2e.terminal import Screen, Terminal, screen
from tests.e2e.test_cli_terminal import needs_tmux, qr_text

Make = Callable[[str], Machine]


def minutes_left(text: str) -> float:
    """From now to an RFC 3339 time."""
    return (datetime.fromisoformat(text) - datetime.now(UTC)) / timedelta(minutes=1)


def test_the_json_of_abpa3(machine: Make) -> None:
    """`{offer_id, qr, expires_at}`, and `--expires-in` counts."""
    node = machine("a").start()
    offer = node.ask("pair", "--dialect", "abpa3", "--no-wait", "--expires-in", "60")
    assert set(offer) == {"offer_id", "qr", "expires_at"}
    assert set(offer["qr"]) == {"host", "port", "pairToken", "expires"}
    assert offer["qr"]["port"] == node.port
    assert 0.5 < minutes_left(offer["expires_at"]) <= 1
    assert abs(offer["qr"]["expires"] - datetime.fromisoformat(offer["expires_at"]).timestamp()) < 1


def test_the_json_of_a_phone(machine: Make) -> None:
    """`{offer_id, code, pin, linking_code, url, expires_at}`; `--phone` is `--dialect salita`."""
    node = machine("a").start()
    asked = (("--phone",), ("--dialect", "salita"), ("--phone", "--dialect", "salita"))
    offers = [node.ask("pair", *argv, "--no-wait") for argv in asked]
    for offer in offers:
        assert set(offer) == {"offer_id", "code", "pin", "linking_code", "url", "expires_at"}
        assert re.fullmatch(r"[0-9]{6}", offer["pin"])
        assert re.fullmatch(r"[A-Z]{4}-[0-9]{4}", offer["linking_code"])
    seen = node.api(f"pairing/offers/{offers[-1]['offer_id']}")
    assert (seen["dialect"], seen["state"], seen["activity"]) == ("salita", "open", {})


def scanned(shown: Screen) -> str:
    """What a camera reads from the screen, once it is not being redrawn."""

    def read() -> str:
        try:
            return qr_text(shown.lines())
        except (IndexError, ValueError, TypeError):
            return ""

    return eventually(read, "no QR code can be read")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--dialect", "aisopod"), "meshnode requests"),
        (("--dialect", "nonsense"), "abpa3"),
        (("--phone", "--dialect", "abpa3"), "--dialect salita"),
    ],
)
def test_what_opens_no_offer_is_a_usage_error(machine: Make, argv: tuple[str, ...], says: str) -> None:
    """Exit 2, naming what there is instead."""
    done = machine("a").start().run("pair", *argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_in_a_pipe_it_waits_for_the_app(machine: Make) -> None:
    """What the QR code would say, on a line; who has paired, on stderr; a closed offer ends it."""
    node = machine("a").start()
    waiting = node.popen("pair", "--dialect", "abpa3", stdout=-1, stderr=-1, text=True)
    assert waiting.stdout is not None
    line = waiting.stdout.readline()
    assert line.startswith("QR  {")
    assert App(json.loads(line.removeprefix("QR  ")), tls=True).pair().status == 200
    assert waiting.stdout.readline().startswith("Gateway  127.0.0.1:")
    assert waiting.stdout.readline().startswith("expires 20")
    _, told = waiting.communicate(timeout=15)
    assert (waiting.returncode, told) == (0, "Paired with Pixel 7 at 127.0.0.1.\n")
    waiting = node.popen("pair", "--dialect", "mylzip", stdout=-1, stderr=-1, text=True)
    assert waiting.stdout is not None
    assert re.fullmatch(r"Code  [0-9a-f-]{36}\n", waiting.stdout.readline())
    assert node.run("pair", "cancel").stderr == "The offer is closed.\n"
    _, told = waiting.communicate(timeout=15)
    assert waiting.returncode == 1
    assert "offer is cancelled" in told


@needs_tmux
def test_the_qr_code_of_abpa3_pairs_its_app(machine: Make) -> None:
    """80×24 shows it whole, with the countdown; scanned, it is exactly the JSON, and pairs; the owner sees who."""
    node = machine("a").start()
    with screen(node, "pair", "--dialect", "abpa3") as shown:
        text = "\n".join(shown.wait_for("Waiting …"))  # the last line
        assert re.search(r"Open for [45]:\d\d", text)
        qr = json.loads(scanned(shown))
        assert list(qr) == ["host", "port", "pairToken", "expires"]
        assert qr["pairToken"] not in text
        app = App(qr, tls=True)
        assert app.pair().status == 200
        shown.wait_for("Paired with Pixel 7 at 127.0.0.1.")
        assert shown.code() == 0
    assert node.nodes()["pixel7"]["kind"] == "phone"


@needs_tmux
def test_a_small_screen_shows_the_only_way_whole(machine: Make) -> None:
    """60×40: too narrow for anything beside it, so the QR code stands above."""
    node = machine("a").start()
    with screen(node, "pair", "--dialect", "abpa3", size=(60, 40)) as shown:
        shown.wait_for("Waiting …")
        assert "pairToken" in json.loads(scanned(shown))
        shown.keys("C-c")
        assert shown.code() == 130
    assert node.run("pair", "cancel").stderr == "No offer was open.\n"


@needs_tmux
def test_a_phone_is_shown_url_pin_and_linking_code(machine: Make) -> None:
    """The QR code is the URL above it; what to do is said."""
    node = machine("a").start()
    with screen(node, "pair", "--phone", size=(100, 40)) as shown:
        text = "\n".join(shown.wait_for("Waiting …"))
        url = re.search(r"https://\S+", text)
        assert url
        assert scanned(shown) == url[0]
        assert re.search(r"PIN  [0-9]{3} [0-9]{3}\b", text)
        assert re.search(r"Linking code  [A-Z]{4}-[0-9]{4}", text)
        assert "type the PIN" in text


def test_a_code_to_type_stands_alone(machine: Make) -> None:
    """mylzip has no QR code: the code itself, its time, and Ctrl-C closes it."""
    node = machine("a").start()
    with Terminal(node, "pair", "--dialect", "mylzip") as pair:
        text = pair.expect("Waiting …")
        assert " Code " in text
        assert re.search(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", text)
        assert re.search(r"Open for \d+:\d\d", text)
        pair.interrupt()
        assert pair.end() == 130
        assert "Traceback" not in pair.seen
    eventually(lambda: node.run("pair", "cancel").stderr == "No offer was open.\n", "the offer is open still")
