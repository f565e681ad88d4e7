"""Firefox on a host, driven by WebDriver BiDi over a socket: as much of it as one walk through the pages needs."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.sync.client import connect

from tests.e2e.lab import Lab
from tests.e2e.machine import eventually, in_namespace

PROGRAM = "firefox-esr"
LISTENING = re.compile(r"WebDriver BiDi listening on ws://127\.0\.0\.1:(\d+)")
ANSWER_S = 20.0
# No start page, updates, experiments, reports: a fresh profile would speak to its maker.
PREFERENCES = {
    "browser.aboutwelcome.enabled": False,
    "browser.startup.page": 0,
    "app.normandy.enabled": False,
    "app.update.auto": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
FIND = """[...document.querySelectorAll(KIND)].find(element => element.checkVisibility() &&
  (element.ariaLabel || element.labels?.[0]?.innerText || element.alt || element.innerText).trim().startsWith(NAME))"""


def missing() -> str | None:
    """What keeps Firefox from running here, or None."""
    return None if shutil.which(PROGRAM) else "needs firefox-esr (package firefox-esr)"


class Firefox:
    """One browser with one tab, which accepts self-signed certificates; ended when left."""

    def __init__(self, lab: Lab, host: str, folder: Path, size: tuple[int, int]) -> None:
        profile = folder / f"firefox-{host}"
        profile.mkdir(parents=True)
        preferences = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(preferences))
        said = profile / "said"
        with said.open("wb") as out:
            self._process = lab.popen(
                *(host, PROGRAM, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0"),
                env={"PATH": os.environ["PATH"], "HOME": str(profile), "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        found = eventually(lambda: LISTENING.search(said.read_text(errors="replace")), "Firefox does not listen", 30)
        port = int(found[1])
        plug = in_namespace(lab.namespace(host), lambda: socket.create_connection(("127.0.0.1", port), 10))
        self._open = ExitStack()
        address = f"ws://127.0.0.1:{port}/session"
        self._wire = self._open.enter_context(connect(address, sock=plug, max_size=None, compression=None))
        self._numbers = itertools.count(1)
        self.faults: list[str] = []
        self.reached: set[str] = set()
        self._ask("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]
        events = ["log.entryAdded", "network.beforeRequestSent"]
        self._ask("session.subscribe", events=events, contexts=[self._tab])
        viewport = {"width": size[0], "height": size[1]}
        self._ask("browsingContext.setViewport", context=self._tab, viewport=viewport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()
        self._process.kill()
        self._process.wait(10)

    def _ask(self, method: str, **params: Any) -> Any:
        """One command; the events that come before its answer are taken in."""
        number = next(self._numbers)
        self._wire.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + ANSWER_S
        while True:
            message = json.loads(self._wire.recv(timeout=deadline - time.monotonic()))
            if message.get("type") == "event":
                self._take(message["method"], message["params"])
            elif message.get("id") == number:
                assert message["type"] == "success", message
                return message["result"]

    def _take(self, event: str, params: dict[str, Any]) -> None:
        if event == "network.beforeRequestSent":
            url = urlsplit(params["request"]["url"])
            self.reached |= {url.netloc} if url.netloc else set()  # data: URLs have none
        elif params["level"] in ("error", "warn"):
            self.faults.append(f"{params['level']}: {params['text']}")

    def goto(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def run(self, script: str) -> Any:
        """The text or number a script comes to."""
        done = self._ask("script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=True)
        assert done["type"] == "success", done
        return done["result"].get("value")

    def text(self) -> str:
        """All that is to be read on the page."""
        return str(self.run("document.body.innerText"))

    def wait_for(self, pattern: str, timeout_s: float = 15.0) -> re.Match[str]:
        """The match of a pattern in the page's text, once there is one."""
        return eventually(lambda: re.search(pattern, self.text()), f"{pattern!r} is not on the page", timeout_s)  # type: ignore[return-value]

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """The first visible element of that kind (a CSS selector) whose label begins so, once it is there."""
        script = FIND.replace("KIND", json.dumps(kind)).replace("NAME", json.dumps(name))

        def look() -> Any:
            done = self._ask("script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=False)
            assert done["type"] == "success", done
            return done["result"].get("sharedId")

        return {"sharedId": eventually(look, f"no {kind} {name!r}")}

    def click(self, kind: str, name: str) -> None:
        """Press what `find` finds, with the pointer."""
        origin = {"type": "element", "element": self.find(kind, name)}
        moves = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "pointer", "actions": moves})

    def type(self, text: str) -> None:
        """Press keys, into whatever has the focus; `\\ue007` is Enter."""
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": keys})

    def _act(self, source: dict[str, Any]) -> None:
        self._ask("input.performActions", context=self._tab, actions=[source])

    def screenshot(self) -> bytes:
        """A PNG of what the window shows."""
        shot = self._ask("browsingContext.captureScreenshot", context=self._tab, origin="viewport")
        return base64.b64decode(shot["data"])
