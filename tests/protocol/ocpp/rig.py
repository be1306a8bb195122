"""A whole OCPP server on loopback with in-memory parts, and sockets that know no library."""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import websockets
from websockets.asyncio.client import ClientConnection

from chargera.ocpp.certificates import RenewableTls, local_authority
from chargera.ocpp.limits import ChannelLimits
from chargera.ocpp.server import OcppServer
from tests.unit.ocpp.doubles import (
    PASSWORD,
    FixedClock,
    MemoryAccess,
    MemoryDatabase,
    RecordingFeed,
    SilentLogger,
    SimpleDecisions,
    login,
)

LIMITS = replace(ChannelLimits(), messages_per_s=100_000, messages_burst=100_000)


class Rig:
    """The server with everything around it within reach."""

    def __init__(self, limits: ChannelLimits, tls_folder: Path | None) -> None:
        self.access = MemoryAccess(
            *(login(f"CP-{n}") for n in range(1, 60)),
            login("TLS-1", profile=2, plain=False),
            login("LOCKED", profile=1, plain=False),
            login("CERT", profile=3, plain=True),
        )
        self.decisions = SimpleDecisions()
        self.database = MemoryDatabase()
        self.feed = RecordingFeed()
        self.logger = SilentLogger()
        self.ca_path: Path | None = None
        self.writers: list[asyncio.StreamWriter] = []
        self.tls: RenewableTls | None = None
        if tls_folder is not None:
            files = local_authority(tls_folder, datetime.now(UTC))
            self.ca_path = files.ca_path
            self.tls = RenewableTls(files.certificate_path, files.key_path)
        self.server = OcppServer(
            self.access,
            self.decisions,
            self.database,
            FixedClock(),
            self.feed,
            limits,
            self.tls,
            logger=self.logger,
        )

    async def connect(
        self,
        station_id: str = "CP-1",
        *subprotocols: str,
        user: str | None = None,
        password: str | None = PASSWORD,
        secure: bool = False,
        **options: Any,
    ) -> ClientConnection:
        """A `websockets` client of a station."""
        headers = {}
        if password is not None:
            pair = f"{station_id if user is None else user}:{password}".encode()
            headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
        port = self.server.tls_port if secure else self.server.port
        if secure:
            options["ssl"] = ssl.create_default_context(cafile=self.ca_path)
        return await websockets.connect(
            f"{'wss' if secure else 'ws'}://127.0.0.1:{port}/ocpp/{station_id}",
            subprotocols=[websockets.Subprotocol(s) for s in subprotocols or ("ocpp1.6",)],
            additional_headers=headers,
            **options,
        )

    async def open(
        self, *, secure: bool = False, receive_bytes: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare TCP connection to one of the ports."""
        port = self.server.tls_port if secure else self.server.port
        bare = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio turns Nagle off for it
        bare.setblocking(False)
        if receive_bytes is not None:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", port))
        except OSError:
            bare.close()
            raise
        reader, writer = await asyncio.open_connection(sock=bare)
        self.writers.append(writer)
        return reader, writer

    async def raw(
        self,
        station_id: str = "CP-1",
        subprotocol: str = "ocpp1.6",
        receive_bytes: int | None = None,
    ) -> "RawSocket":
        """An upgraded socket whose every byte is the test's own."""
        reader, writer = await self.open(receive_bytes=receive_bytes)
        upgraded = RawSocket(reader, writer)
        writer.write(upgrade_request(station_id, subprotocol))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return upgraded

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


def upgrade_request(station_id: str, subprotocol: str = "ocpp1.6", *lines: str) -> bytes:
    """The request of an honest station, with more header lines if wanted."""
    pair = base64.b64encode(f"{station_id}:{PASSWORD}".encode()).decode()
    head = [
        f"GET /ocpp/{station_id} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Sec-WebSocket-Protocol: {subprotocol}",
        f"Authorization: Basic {pair}",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode()


def client_frame(payload: bytes, opcode: int = 1, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A masked WebSocket frame."""
    mask = os.urandom(4)
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    size = len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 65_536:
        head = bytes([first, 0x80 | 126]) + size.to_bytes(2)
    else:
        head = bytes([first, 0x80 | 127]) + size.to_bytes(8)
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size) if size else b""
    return head + mask + masked


class RawSocket:
    """A WebSocket client that says exactly what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, payload: bytes, opcode: int = 1, **bits: bool) -> None:
        self.writer.write(client_frame(payload, opcode, **bits))

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2))
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def message(self) -> Any:
        """The next OCPP message; pings are passed over."""
        while True:
            opcode, payload = await self.receive()
            if opcode == 1:
                return orjson.loads(payload)
            if opcode == 8:
                raise ConnectionResetError(int.from_bytes(payload[:2]), payload[2:].decode())

    async def close_code(self) -> int:
        """The code of the close frame that ends the connection."""
        while True:
            opcode, payload = await self.receive()
            if opcode == 8:
                return int.from_bytes(payload[:2])

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def running(
    limits: ChannelLimits = LIMITS, tls_folder: Path | None = None
) -> AsyncIterator[Rig]:
    """A started server, stopped in the end."""
    rig = Rig(limits, tls_folder)
    await rig.server.start("127.0.0.1", 0, 0 if tls_folder is not None else None)
    try:
        yield rig
    finally:
        await rig.server.stop()
        for writer in rig.writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
