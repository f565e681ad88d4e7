"""Talk to the running daemon over its control listener; the standard library is enough and starts fast."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from meshnode.config import SYSTEM_DATA_DIR, data_directory
from meshnode.daemon.offline import running_control
from meshnode.domain.errors import CODES, MeshError
from meshnode.domain.untrusted_text import without_controls


class ControlClient:
    """The owner's API of one daemon."""

    def __init__(self, url: str, token: str) -> None:
        self._netloc = urlsplit(url).netloc
        self._token = token

    def call(self, method: str, path: str, body: Any = None, *, timeout_s: float = 15.0) -> Any:
        """The decoded answer. Raises the daemon's refusal, or `no_daemon` if it does not answer."""
        headers = {"Authorization": f"Bearer {self._token}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self._netloc, timeout=timeout_s)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            answer = without_controls(json.loads(response.read() or b"null"))  # it may be root who reads it
        except TimeoutError as error:
            raise MeshError("unreachable", "the node on this machine does not answer in time") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise MeshError("no_daemon", f"the node on this machine does not answer ({error})") from error
        finally:
            connection.close()
        if response.status < 400:
            return answer
        raise _refusal(answer if isinstance(answer, dict) else {}, response.status)

    @property
    def socket(self) -> tuple[str, dict[str, str]]:
        """Where to open a WebSocket, and with which headers."""
        return f"ws://{self._netloc}/ws", {"Authorization": f"Bearer {self._token}"}

    def node_path(self, reference: str, suffix: str = "") -> str:
        """The path of a node's resource."""
        return f"/api/v1/nodes/{quote(reference, safe='')}{suffix}"


def _refusal(problem: dict[str, Any], status: int) -> MeshError:
    code = problem.get("code")
    if code not in CODES:
        return MeshError("internal_error", f"the node answered {status}")
    known = {"type", "title", "status", "code", "detail", "next_step", "retry_after"}
    members = {key: value for key, value in problem.items() if key not in known}
    return MeshError(code, str(problem.get("detail", code)), retry_after_s=problem.get("retry_after"), **members)


def find_daemon(data_dir: str | None) -> ControlClient:
    """The daemon of --data-dir or MESHNODE_DATA_DIR, else the user's own, else the system's.

    Raises `no_daemon` or `daemon_unreadable`.
    """
    own = data_directory(data_dir)
    candidates = [own]
    if not data_dir and not os.environ.get("MESHNODE_DATA_DIR") and own != SYSTEM_DATA_DIR:
        candidates.append(SYSTEM_DATA_DIR)
    for directory in candidates:
        try:
            control = running_control(directory)
        except MeshError as error:
            unit = find_system_unit() if directory == SYSTEM_DATA_DIR else "unknown"
            if unit not in ("stopped", "absent"):
                raise
            raise MeshError("no_daemon", _where(own, is_stopped=unit == "stopped")) from error
        if control is not None:
            return ControlClient(*control)
    raise MeshError("no_daemon", _where(own))


def find_system_unit() -> Literal["running", "stopped", "absent", "unknown"]:
    """What systemd says of the system's node, for those who can't look at its data."""
    from meshnode.cli.systemctl import UNIT, Systemctl

    try:
        said = Systemctl().ask("show", UNIT, "--property=LoadState", "--property=ActiveState")
    except OSError:
        return "unknown"
    state = dict(line.split("=", 1) for line in said.stdout.splitlines() if "=" in line)
    if said.returncode or "ActiveState" not in state:
        return "unknown"
    if state["ActiveState"] not in ("inactive", "failed"):
        return "running"
    return "absent" if state.get("LoadState") == "not-found" else "stopped"


def daemon_of(directory: Path) -> ControlClient | None:
    """The daemon that runs on this very directory, if one does."""
    control = running_control(directory)
    return ControlClient(*control) if control is not None else None


def _where(own: Path, *, is_stopped: bool = False) -> str:
    stopped = "; the system's is stopped: `sudo systemctl start meshnode`" if is_stopped else ""
    return f"no node is running (looked in {own}{stopped})"
