"""A TLS machine in the middle: a certificate of its own, and every byte relayed to the real node and back."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from meshnode.crypto.certificate import certificate_hash, make_certificate
from tests.fakes.joiner import tls_context
from tests.fakes.local_node import drain


class Relay:
    """Listens on `port`, relays to `to_port`; `received` is every byte that came out of the victim's TLS."""

    def __init__(self, folder: Path, to_port: int) -> None:
        pem, key = make_certificate("machine-in-the-middle", datetime.now(UTC))
        self._file = folder / "relay.pem"
        self._file.write_bytes(pem + key)
        self.certificate_hash = certificate_hash(pem)
        assert len(self.certificate_hash) == hashlib.sha256().digest_size
        self._to_port = to_port
        self.port = 0
        self.accepted = 0
        self.ended = 0
        self.received = bytearray()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="relay")

    def __enter__(self) -> Relay:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._file)
        self._context = context
        server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        await drain()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            with suppress(OSError, asyncio.CancelledError):
                await writer.start_tls(self._context)
                await self._relay(reader, writer)
        finally:
            writer.close()
            self.ended += 1

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_host, to_host = await asyncio.open_connection("127.0.0.1", self._to_port, ssl=tls_context())
        back = asyncio.create_task(self._copy(from_host, writer, None))
        try:
            await self._copy(reader, to_host, self.received)
        finally:
            to_host.close()
            await back

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray | None) -> None:
        with suppress(OSError):
            while data := await reader.read(16384):
                if record is not None:
                    record += data
                writer.write(data)
                await writer.drain()
