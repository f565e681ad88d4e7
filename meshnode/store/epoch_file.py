"""The file `epoch`: a copy of the last epoch outside the database, which tells when a database was restored."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from meshnode.store.atomic_file import read_plain, write_private

EPOCH_FILE: Final = "epoch"
_SIZE_MAX: Final = 64


def read_epoch(directory: Path) -> int:
    """The epoch last written, 0 if there is none or it is unreadable (it is a copy; the database has it too)."""
    try:
        text = read_plain(directory / EPOCH_FILE, _SIZE_MAX).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(text) if text.isdigit() and len(text) <= 16 else 0


def write_epoch(directory: Path, epoch: int) -> None:
    """Replace the file. Raises OSError."""
    write_private(directory / EPOCH_FILE, f"{epoch}\n".encode())
