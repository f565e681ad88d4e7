"""A WebSocket by hand: any byte can be sent, whole frames or parts; nothing waits longer than the deadline."""

from __future__ import annotations

import base64
import os
import socket
import time

from tests.fakes.joiner import tls_context
from tests.fuzz.target import Caller

ANSWER_S = 10.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class HangError(AssertionError):
    """Nothing came in time."""


def connect(caller: Caller) -> socket.socket:
    """TCP to the caller's listener, with TLS where that has it."""
    plain = socket.create_connection(caller.address, timeout=ANSWER_S)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls_context().wrap_socket(plain) if caller.listener == "public" else plain


def encode_frame(
    payload: bytes, opcode: int = TEXT, *, is_last: bool = True, reserved: int = 0, is_masked: bool = True
) -> bytes:
    """A frame as RFC 6455, 5.2, has it, unless asked otherwise."""
    head = bytes([is_last << 7 | reserved << 4 | opcode])
    size, mask_bit = len(payload), is_masked << 7
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 1 << 16:
        head += bytes([mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + size.to_bytes(8, "big")
    if not is_masked:
        return head + payload
    mask = os.urandom(4)
    whole = int.from_bytes(mask * (size // 4) + mask[: size % 4], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ whole).to_bytes(size, "big")


class RawSocket:
    """An open `/ws`; leave it with `with`."""

    def __init__(self, caller: Caller) -> None:
        self._socket = connect(caller)
        self._buffer = b""
        self.closed_by: int | None = None  # the code in the close frame; 1006 = none came
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {"Host": "{}:{}".format(*caller.address), "Upgrade": "websocket", "Connection": "Upgrade"}
        headers |= {"Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13", **caller.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.send(f"GET /ws HTTP/1.1\r\n{lines}\r\n".encode())
        deadline = time.monotonic() + ANSWER_S
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill(deadline):
                raise ConnectionError("closed before the upgrade")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])

    def __enter__(self) -> RawSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Bytes as they are; whether the node still takes them is seen when reading."""
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.sendall(data)
        except TimeoutError as error:
            raise HangError("the node takes no bytes") from error
        except OSError:
            pass

    def _fill(self, deadline: float) -> bool:
        """Read more; False at the end of the connection. Raises HangError."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise HangError(f"nothing in {ANSWER_S} s")
        self._socket.settimeout(left)
        try:
            more = self._socket.recv(65536)
        except TimeoutError as error:
            raise HangError(f"nothing in {ANSWER_S} s") from error
        except OSError:
            return False
        self._buffer += more
        return bool(more)

    def receive(self, wait_s: float = ANSWER_S) -> tuple[int, bytes] | None:
        """Opcode and payload of the next frame, None once the node has closed. Raises HangError."""
        deadline = time.monotonic() + wait_s
        while True:
            frame = self._next_frame()
            if frame is not None:
                if frame[0] == CLOSE:
                    self.closed_by = int.from_bytes(frame[1][:2], "big")
                    self.send(encode_frame(frame[1][:2], CLOSE))
                    return None
                return frame
            if not self._fill(deadline):
                self.closed_by = self.closed_by or 1006
                return None

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The node neither masks nor splits, and reserves nothing."""
        if len(self._buffer) < 2:
            return None
        first, size, at = self._buffer[0], self._buffer[1], 2
        assert first & 0xF0 == 0x80, f"a strange frame: {self._buffer[:20]!r}"
        assert size < 128, "servers don't mask"
        if size >= 126:
            at = 4 if size == 126 else 10
            if len(self._buffer) < at:
                return None
            size = int.from_bytes(self._buffer[2:at], "big")
        if len(self._buffer) < at + size:
            return None
        payload, self._buffer = self._buffer[at : at + size], self._buffer[at + size :]
        return first & 0x0F, payload
