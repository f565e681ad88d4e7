"""Root on the data of the system's stopped node, which belong to the user that systemd made up for the unit."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from meshnode.config import SYSTEM_DATA_DIR
from meshnode.domain.errors import MeshError

_MODE: Final = 0o700  # the unit's StateDirectoryMode
_JOURNAL: Final = "-journal"  # our databases have a WAL; from one of these SQLite takes the path of a file to delete


def may_take_over(directory: Path) -> bool:
    """Whether we are root and this is the system node's; a person's own directory is that person's business."""
    return os.geteuid() == 0 and directory.resolve() == SYSTEM_DATA_DIR.resolve()


@contextmanager
def taken_over(directory: Path, files: Collection[str]) -> Iterator[None]:
    """Root's own and 0700 for as long as this lasts; then all of it is its owner's again, and 0700, whatever it was.

    Nobody but root can change an entry meanwhile, so a link that the node put there can't lead root elsewhere. To act
    as the owner instead would not do: its user can't reach /var/lib/private. Cut short by a kill, the directory stays
    root's, and systemd hands it back at the unit's next start. `files` are the names that must not be a directory's.
    Raises `bad_config`: before anything in it is touched, or at the end if it can't be given back.
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
            os.fchmod(descriptor, _MODE)  # its owner may have opened it to all, by an ACL too, and now can't any more
            _check_entries(descriptor, directory, owner.st_uid, files)
            yield
        finally:
            _give_back(descriptor, directory, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def _check_entries(descriptor: int, directory: Path, owner: int, files: Collection[str]) -> None:
    with os.scandir(descriptor) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            is_in_no_way = stat.S_ISDIR(found.st_mode) and entry.name not in files  # such as lost+found
            if entry.name.endswith(_JOURNAL):
                raise MeshError("bad_config", f"{directory / entry.name} is nothing a node leaves there; move it away")
            if not is_in_no_way and not _is_plain(found, owner, 0):
                what = f"{directory / entry.name} is no plain file of the node's own"
                raise MeshError("bad_config", f"{what}; look at it, and move it away")


def _is_plain(found: os.stat_result, *owners: int) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid in owners


def _give_back(descriptor: int, directory: Path, uid: int, gid: int) -> None:
    """What root has made, then the directory: until that nobody swaps an entry, and one that were is not followed."""
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if _is_plain(entry.stat(follow_symlinks=False), 0):
                    _hand_over(descriptor, entry.name, uid, gid)
        os.fchown(descriptor, uid, gid)
    except OSError as error:  # still root's, or systemd would not look at what is in it
        what = f"cannot give {directory} back to its owner: {error.strerror}"
        raise MeshError("bad_config", f"{what}; the unit's next start will") from error


def _hand_over(directory: int, name: str, uid: int, gid: int) -> None:
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        if _is_plain(os.fstat(file), 0):
            os.fchmod(file, 0o600)
            os.fchown(file, uid, gid)
    finally:
        os.close(file)
