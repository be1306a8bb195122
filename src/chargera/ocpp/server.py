"""The OCPP server: ports, the life of its tasks, and the parts wired together."""

import asyncio
import secrets
import socket
import time
from collections.abc import Callable

import aiofastnet
import structlog
from picows import WSCloseCode

from chargera.app.ports import ChannelDatabase, Clock, Feed
from chargera.domain.errors import Refused
from chargera.ocpp import v16, v201
from chargera.ocpp.certificates import RenewableTls
from chargera.ocpp.commands import StationCommands
from chargera.ocpp.connection import Channel
from chargera.ocpp.counters import CappedLog, ChannelCounters, Logger
from chargera.ocpp.entrance import Access, Doorkeeper, Entrance
from chargera.ocpp.gateway import Decisions, GroupCommit
from chargera.ocpp.limits import ChannelLimits
from chargera.ocpp.stations import ConnectedStations

DIALECTS = {dialect.version: dialect for dialect in (v201.DIALECT, v16.DIALECT)}
"""In the server's order of preference: the newest first."""

SWEEPS_PER_INTERVAL = 10
BACKLOG = 1_024
KERNEL_BUFFER_BYTES = 65_536
"""What the kernel holds for a socket that is not read, in either direction.

It bounds what one read can bring, and how long a peer that does not read goes unnoticed.
"""

GRACE_S = 0.5
"""How long peers may take to answer a close frame when the server stops."""


class OcppServer:
    """Stations in, commits out. `start` and `stop` once each; `commands` speaks to stations."""

    def __init__(
        self,
        access: Access,
        charging: Decisions,
        database: ChannelDatabase,
        clock: Clock,
        feed: Feed,
        limits: ChannelLimits,
        tls: RenewableTls | None = None,
        *,
        logger: Logger | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        new_message_id: Callable[[], str] = lambda: secrets.token_hex(16),
        acknowledge_before_commit: bool = False,
    ) -> None:
        """Serve what `tls` has at the moment of each connection on the TLS port.

        `acknowledge_before_commit` is for the durability harness alone (see `GroupCommit`).
        """
        self.limits = limits
        self.counters = ChannelCounters()
        self._log = CappedLog(logger or structlog.get_logger("ocpp"), monotonic_s)
        self.gateway = GroupCommit(
            charging,
            database,
            feed,
            limits,
            self.counters,
            self._log,
            monotonic_s,
            acknowledge_before_commit=acknowledge_before_commit,
        )
        self._monotonic_s = monotonic_s
        self._tls = tls
        self._stations = ConnectedStations(self._log)
        channel = Channel(self.gateway, clock, monotonic_s, limits, self.counters, self._log)
        self._doorkeeper = Doorkeeper(access, self.gateway, feed, self._stations, channel, DIALECTS)
        self.commands = StationCommands(
            self._stations,
            self.gateway,
            clock,
            limits,
            self.counters,
            monotonic_s,
            new_message_id,
        )
        self._listeners: list[asyncio.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0
        self.tls_port: int | None = None

    async def start(self, host: str, port: int, tls_port: int | None = None) -> None:
        """Listen on `port` and, with `tls_port` not None, on that for TLS; 0: any free port.

        Raises Refused if a port cannot be had.
        """
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self.gateway.run(), name="ocpp gateway"),
            loop.create_task(self._sweep(), name="ocpp liveness"),
        ]
        try:
            self.port = await self._listen(host, port, None)
            if tls_port is not None:
                assert self._tls is not None, "a TLS port needs a certificate"
                self.tls_port = await self._listen(host, tls_port, self._tls)
        except OSError as error:
            await self.stop()
            raise Refused(
                f"cannot listen on {host}: {error}",
                field="ocpp_port",
                remedy="choose another port, or 0 for any free one",
            ) from error

    async def _listen(self, host: str, port: int, tls: RenewableTls | None) -> int:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted sockets inherit it.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        doorkeeper = self._doorkeeper
        server = await aiofastnet.create_server(
            loop,
            lambda: Entrance(doorkeeper, None if tls is None else tls.context),
            sock=listener,
            backlog=BACKLOG,
        )
        self._listeners.append(server)
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Stop accepting, commit and answer what has been received, close every socket."""
        for listener in self._listeners:
            listener.close()
        self._doorkeeper.close()
        for connection in self._stations:
            connection.stop_reading()
        try:
            async with asyncio.timeout(self.limits.stop_timeout_s):
                await self.gateway.drain()
        except TimeoutError:
            self._log.error("stopped with messages that are not recorded")
        for connection in self._stations:
            connection.close(WSCloseCode.GOING_AWAY, "the server stops")
        await self._wait_for_goodbyes()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _wait_for_goodbyes(self) -> None:
        deadline_s = self._monotonic_s() + GRACE_S
        while len(self._stations) or self._doorkeeper.waiting:
            if self._monotonic_s() >= deadline_s:
                break
            await asyncio.sleep(0.01)
        for connection in self._stations:
            connection.abort("the server stops")
        await asyncio.sleep(0)

    @property
    def connected(self) -> int:
        """How many stations are connected."""
        return len(self._stations)

    def is_healthy(self) -> bool:
        """Whether the channel's tasks run and its database answers."""
        return not self.gateway.is_down and not any(task.done() for task in self._tasks)

    async def _sweep(self) -> None:
        """Ping silent sockets and end dead ones."""
        while True:
            await asyncio.sleep(self.limits.ping_interval_s / SWEEPS_PER_INTERVAL)
            now_s = self._monotonic_s()
            for connection in self._stations:
                connection.check_liveness(now_s)
