"""Go by another name: row and identity file take it together, then the announcement says so."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.identity import Identity
from meshnode.domain.untrusted_text import NAME_MAX, clean_text
from meshnode.node.describe_node import SelfDescription

log = logging.getLogger(__name__)


def check_name(name: str) -> str:
    """A name fit to be announced. Raises `invalid_params`."""
    cleaned = clean_text(name, NAME_MAX + 1)
    if not cleaned:
        raise invalid("name", "must not be empty")
    if len(cleaned) > NAME_MAX or cleaned != name.strip():
        raise invalid("name", f"at most {NAME_MAX} characters, without control characters or doubled blanks")
    return cleaned


class RenameSelf:
    """Renames this node."""

    def __init__(self, me: SelfDescription, save: Callable[[str], Identity]) -> None:
        self._me = me
        self._save = save

    async def rename(self, name: str) -> Identity:
        """Store and announce the name. Raises `invalid_params`, `disk_full`, `database_error`; it is as before then."""
        before = self._me.identity
        identity = msgspec.structs.replace(before, name=check_name(name))
        is_saved = False

        def save() -> None:
            nonlocal is_saved
            is_saved = True
            self._save(identity.name)

        try:
            await self._me.rename(identity, save)
        except BaseException:
            if is_saved:  # and the row was not
                self._take_back(before.name)
            raise
        return identity

    def _take_back(self, name: str) -> None:
        try:
            self._save(name)
        except MeshError as error:
            log.error("the identity file may have another name than %s: %s", name, error.detail)
