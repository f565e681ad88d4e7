"""What the announcer does when somebody else has its name; the rest is held by tests/e2e/test_mesh_discovery.py."""

from __future__ import annotations

from typing import Any

import pytest
from zeroconf import NonUniqueNameException, ServiceInfo

from meshnode.transport.mdns_announce import NAMES_TRIED, MdnsAnnouncer
from meshnode.transport.txt_record import TxtRecord

TXT = TxtRecord("node-01a2023a-e3f1-70ed-99b1-7b8d2b094211", 1, "x", pairing_open=False)


class TakenNames:
    """In the place of zeroconf: every name is taken, as when a stranger answers to all."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def async_register_service(self, info: ServiceInfo, **options: Any) -> None:
        """See AsyncZeroconf."""
        assert options == {}  # the library's own way to another name counts without a pause
        self.asked.append(info.name)
        raise NonUniqueNameException


async def test_a_stranger_who_answers_to_every_name_is_not_argued_with() -> None:
    """A few names that nobody can have foreseen, then we give up and say why."""
    taken = TakenNames()
    with pytest.raises(OSError, match="another device answers to every name"):
        await MdnsAnnouncer(taken).announce("desk", 6969, ["10.0.0.1"], TXT)  # type: ignore[arg-type]
    assert len(set(taken.asked)) == len(taken.asked) == NAMES_TRIED
    assert taken.asked[0].startswith("desk (4211).")
    assert all(name.startswith("desk (4211 ") for name in taken.asked[1:])
