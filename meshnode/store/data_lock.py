"""One daemon per data directory: flock on a file that stays."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from meshnode.domain.errors import MeshError

LOCK_FILE: Final = "lock"
_PATIENCE_S: Final = 1.0  # a command that is just looking holds the lock for a moment


class DataLock:
    """The lock on a data directory, held until `release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Raises `identity_locked` if somebody else holds it for longer than a look."""
        self._descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    os.close(self._descriptor)
                    raise MeshError("identity_locked", f"another meshnode is running on {directory}") from error
                time.sleep(0.02)

    def release(self) -> None:
        """Let go; harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_held(directory: Path) -> bool:
    """Whether a daemon holds the lock now. Raises PermissionError if we may not look."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # it may be a pipe
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
