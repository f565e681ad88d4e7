"""Advertise this node on the link. Never in the way of start-up: probing takes 1.2 s by RFC 6762."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from zeroconf import IPVersion, NonUniqueNameException, ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from meshnode.transport.txt_record import SERVICE_TYPE, TxtRecord, encode_txt, format_instance

NAMES_TRIED: Final = 4


class MdnsAnnouncer:
    """Our one service record."""

    def __init__(self, zeroconf: AsyncZeroconf) -> None:
        self._zeroconf = zeroconf
        self._info: ServiceInfo | None = None

    async def announce(self, name: str, port: int, addresses: Sequence[str], txt: TxtRecord) -> bool:
        """Publish, or publish the changes; whether others may have known an earlier record."""
        # a conflict may have made another name of it, to be kept
        instance = self._info.name if self._info else _instance(name, txt)
        info = ServiceInfo(
            SERVICE_TYPE,
            instance,
            port=port,
            properties=encode_txt(txt),
            server=f"{txt.id}.local.",
            parsed_addresses=[address.split("%", 1)[0] for address in addresses],
        )
        if self._info is None:
            await self._register(info, name, txt)
        else:
            await self._zeroconf.async_update_service(info)
        is_change, self._info = self._info is not None, info
        return is_change

    async def _register(self, info: ServiceInfo, name: str, txt: TxtRecord) -> None:
        """Raises OSError when somebody answers to every name."""
        for left in reversed(range(NAMES_TRIED)):
            try:
                await self._zeroconf.async_register_service(info)
            except NonUniqueNameException as error:
                if left == 0:
                    raise OSError("another device answers to every name of ours") from error
                # drawn, not counted: a stranger could have taken the next ten thousand, and the library would try them
                # all without a pause
                info.name = _instance(name, txt, f" {secrets.token_hex(2)}")
            else:
                return

    async def repeat(self) -> None:
        """Say the same once more, to the end."""
        if self._info is not None:
            await (await self._zeroconf.async_update_service(self._info))

    async def use_interfaces(self, addresses: Sequence[str]) -> None:
        """Speak and listen on the interfaces with these addresses; nothing happens if that is so already.

        The record is announced on those that are new, so the record must be up to date before.
        """
        families = {":" in address for address in addresses}
        if families:
            version = (
                IPVersion.All if len(families) == 2 else IPVersion.V6Only if True in families else IPVersion.V4Only
            )
            await self._zeroconf.async_update_interfaces(list(addresses), version)

    async def withdraw(self) -> None:
        """Say goodbye; nothing may be sent after it."""
        if self._info is not None:
            info, self._info = self._info, None
            await (await self._zeroconf.async_unregister_service(info))
            # An answer made before may have left between: those who heard it would see us for hours. Without the
            # addresses, because who hears the bytes of the goodbye again within a second takes them for an echo.
            sender = self._zeroconf.zeroconf
            sender.async_send(sender.generate_service_broadcast(info, 0, broadcast_addresses=False))


def _instance(name: str, txt: TxtRecord, suffix: str = "") -> str:
    return f"{format_instance(name, txt.id, suffix)}.{SERVICE_TYPE}"
