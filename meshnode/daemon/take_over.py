"""Root on the data of the system's stopped node, which belong to the user that systemd made up for the unit."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meshnode.config import SYSTEM_DATA_DIR
from meshnode.domain.errors import MeshError

_JOURNAL: Final = "-journal"  # our databases have a WAL; from one of these SQLite takes the path of a file to delete


def may_take_over(directory: Path) -> bool:
    """Whether we are root and this is the system node's; a person's own directory is that person's business."""
    return os.geteuid() == 0 and directory.resolve() == SYSTEM_DATA_DIR.resolve()


@contextmanager
def taken_over(directory: Path) -> Iterator[None]:
    """Root's own for as long as this lasts; then all of it belongs to its owner again.

    Nobody but root can change an entry meanwhile, so a link that the node put there can't lead root elsewhere. To act
    as the owner instead would not do: its user can't reach /var/lib/private. Cut short by a kill, the directory stays
    root's, and systemd hands it back at the unit's next start. Raises `bad_config`.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise MeshError("bad_config", f"cannot use {directory} as data directory: {error.strerror}") from error
    try:
        owner = os.fstat(descriptor)
        try:
            os.fchown(descriptor, 0, 0)
        except OSError as error:
            raise MeshError("bad_config", f"cannot take over {directory}: {error.strerror}") from error
        try:
            _check_entries(descriptor, directory, owner.st_uid)
            yield
        finally:
            _give_back(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def _check_entries(descriptor: int, directory: Path, owner: int) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            is_its_own = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid in (owner, 0)
            if entry.name.endswith(_JOURNAL):
                raise MeshError("bad_config", f"{directory / entry.name} is nothing a node leaves there; move it away")
            if not is_its_own and not stat.S_ISDIR(found.st_mode):
                what = f"{directory / entry.name} is no plain file of the node's own"
                raise MeshError("bad_config", f"{what}; look at it, and move it away")


def _give_back(descriptor: int, uid: int, gid: int) -> None:
    """What root has made, then the directory: until that nobody swaps an entry."""
    with os.scandir(descriptor) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == 0:
                os.chmod(entry.name, 0o600, dir_fd=descriptor)
                os.chown(entry.name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
    os.fchown(descriptor, uid, gid)
