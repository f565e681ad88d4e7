"""Try the link: who hears our multicast, whom do we hear, does the router answer. For a diagnosis, on demand."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from meshnode.domain.diagnosis import MulticastEvidence
from meshnode.transport.txt_record import SERVICE_TYPE

GROUP: Final = "224.0.0.251"  # RFC 6762
PORT: Final = 5353
LISTEN_S: Final = 2.6
ASK_AGAIN_S: Final = 1.3  # a responder keeps silent for a second about what it has just said to all
SETTLE_S: Final = 0.3  # once somebody was heard and has answered: who else?
ALL_SERVICES: Final = "_services._dns-sd._udp.local."  # everything that speaks mDNS answers this
ROUTER_S: Final = 1.5
HEARD_MAX: Final = 32
_ARP_COMPLETE: Final = 0x2
_IP_MULTICAST_ALL: Final = 49  # Linux, ip(7); the socket module has no name for it


class _Ears(asyncio.DatagramProtocol):
    def __init__(self, heard: dict[str, None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._heard) < HEARD_MAX:
            self._heard[addr[0]] = None

    def error_received(self, exc: Exception) -> None:
        """Of a send; told where it was sent."""


class _AnswerEars(_Ears):
    """Hears only what is an answer to our own question."""

    def __init__(self, heard: dict[str, None], question_id: int) -> None:
        super().__init__(heard)
        self._question_id = question_id

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        from zeroconf import DNSIncoming  # type: ignore[attr-defined]  # missing in its __all__

        message = DNSIncoming(data)
        if message.valid and message.is_response() and message.id == self._question_id:
            super().datagram_received(data, addr)


async def probe_multicast(own: Sequence[str], question_id: int) -> MulticastEvidence:
    """Ask everybody on the link, from each of `own` (IPv4), and listen for a moment.

    Asked twice over: from a port of its own, so that whoever hears answers to us alone (they hear us); and from
    5353, so that the answer goes to all (we hear them).
    """
    if not own:
        return MulticastEvidence(error="no network interface is up")
    own = [address for address in own if ":" not in address]
    if not own:
        return MulticastEvidence(untried="this machine has IPv6 addresses only, and IPv4 is what is tried")
    by_group: dict[str, None] = {}
    answers: dict[str, None] = {}
    refused: dict[str, str] = {}
    sent: dict[str, None] = {}
    loop = asyncio.get_running_loop()
    transports: list[asyncio.DatagramTransport] = []
    private: list[tuple[str, socket.socket]] = []
    question = _question(question_id)
    try:
        try:
            ears = _group_socket(own)
        except OSError as error:
            return MulticastEvidence(error=f"UDP 5353 can't be listened on ({error.strerror or error})")
        transports.append((await loop.create_datagram_endpoint(lambda: _Ears(by_group), sock=ears))[0])
        for address in own:
            try:
                sock = _sender(address, 0)
            except OSError as error:
                refused[address] = error.strerror or str(error)
                continue
            private.append((address, sock))
            transports.append(
                (await loop.create_datagram_endpoint(lambda: _AnswerEars(answers, question_id), sock=sock))[0]
            )
        began = loop.time()
        asked = 0
        while (now := loop.time() - began) < LISTEN_S:
            if asked == 0 or (asked == 1 and now > ASK_AGAIN_S):
                asked += 1
                for address, sock in private:
                    try:
                        sock.sendto(question, (GROUP, PORT))
                        with _sender(address, PORT) as shared:  # not kept: what comes to us alone there is not ours
                            shared.sendto(question, (GROUP, PORT))
                        sent[address] = None
                    except OSError as error:
                        refused[address] = error.strerror or str(error)
            if _others(by_group, own) and _others(answers, own):
                await asyncio.sleep(SETTLE_S)
                break
            await asyncio.sleep(0.05)
    finally:
        for transport in transports:
            transport.close()
    return MulticastEvidence(
        sent_from=tuple(sent),
        refused=tuple(refused.items()),
        heard_self=any(address in own for address in (*by_group, *answers)),
        heard=tuple(_others(by_group, own)),
        answered=tuple(_others(answers, own)),
    )


def _others(heard: dict[str, None], own: Sequence[str]) -> list[str]:
    return [address for address in heard if address not in own and not address.startswith("127.")]  # other machines


def _question(question_id: int) -> bytes:
    from zeroconf import DNSOutgoing, DNSQuestion  # type: ignore[attr-defined]
    from zeroconf.const import _CLASS_IN, _FLAGS_QR_QUERY, _TYPE_PTR

    out = DNSOutgoing(_FLAGS_QR_QUERY, multicast=False, id_=question_id)
    for name in (SERVICE_TYPE, ALL_SERVICES):
        out.add_question(DNSQuestion(name, _TYPE_PTR, _CLASS_IN))
    return bytes(out.packets()[0])


def _socket(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(AttributeError, OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _group_socket(own: Sequence[str]) -> socket.socket:
    """Bound to the group itself, so that it hears what was sent to all and nothing that was sent to us alone."""
    sock = _socket(GROUP, PORT)
    if sys.platform == "linux":  # it would hear what others here joined the group for, on containers' interfaces too
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    joined = 0
    last: OSError | None = None
    for address in own:
        try:
            request = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton(address))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            joined += 1
        except OSError as error:
            last = error
    if not joined and last is not None:
        sock.close()
        raise last
    return sock


def _sender(address: str, port: int) -> socket.socket:
    sock = _socket(address, port)
    try:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    except OSError:
        sock.close()
        raise
    return sock


# ── the router ─────────────────────────────────────────────────────────────────────────────────────────────────────


def read_router(routes: str) -> str | None:
    """The default gateway in the text of /proc/net/route."""
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and int(fields[3], 16) & 0x2:
            return str(ipaddress.IPv4Address(int(fields[2], 16).to_bytes(4, sys.byteorder)))
    return None


def has_neighbour(table: str, address: str) -> bool:
    """Whether /proc/net/arp knows who has `address`."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[0] == address:
            return bool(int(fields[2], 16) & _ARP_COMPLETE)
    return False


async def probe_router() -> tuple[str | None, bool | None]:
    """The default gateway, and whether it is there at all; None where that can't be told (no Linux, no gateway)."""
    try:
        router = read_router(Path("/proc/net/route").read_text())  # noqa: ASYNC240 - not a disk
    except (OSError, ValueError):
        return None, None
    if router is None:
        return None, None
    try:
        async with asyncio.timeout(ROUTER_S):
            _, writer = await asyncio.open_connection(router, 53)
            writer.close()
        return router, True
    except ConnectionRefusedError:
        return router, True
    except (OSError, TimeoutError):
        pass  # it may keep silent about ports and still be there
    try:
        return router, has_neighbour(Path("/proc/net/arp").read_text(), router)  # noqa: ASYNC240
    except (OSError, ValueError):
        return router, None
