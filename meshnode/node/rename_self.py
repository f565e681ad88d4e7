"""Go by another name: the identity file first, then the announcement."""

from __future__ import annotations

from collections.abc import Callable

from meshnode.domain.errors import invalid
from meshnode.domain.identity import Identity
from meshnode.domain.untrusted_text import NAME_MAX, clean_text
from meshnode.node.describe_node import SelfDescription


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
        """Store and announce the name. Raises `invalid_params`."""
        identity = self._save(check_name(name))
        await self._me.rename(identity)
        return identity
