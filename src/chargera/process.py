"""What a server needs of its process: options, background loops, sockets, private files, HTTP."""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import uvicorn

from chargera.domain.errors import Refused
from chargera.proofs.records import time_value

RESTART_PAUSE_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line says; ports 0 mean any free one, `ocpp_tls_port` None no TLS port."""

    data_dir: Path
    http_port: int
    ocpp_port: int
    ocpp_tls_port: int | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    manual_clock: bool = False
    clock_rate: float = 1.0
    host: str = "127.0.0.1"
    http_host: str | None = None
    """Where pages and REST are served, if elsewhere than stations are."""
    simulated: bool = False
    """Stations and drivers are software, and pages say so."""
    acknowledge_before_commit: bool = False
    """Breaks durability, for the harness that must notice; never set by a command."""


class Loops:
    """Steps that are repeated for ever; one that fails is counted, shown, and tried again."""

    def __init__(self) -> None:
        """Start without loops."""
        self.failures: dict[str, int] = {}
        self.faults: dict[str, str] = {}
        """What the last step of a loop failed with, until a step of it succeeds."""

    @contextlib.asynccontextmanager
    async def running(
        self, name: str, step: Callable[[], Awaitable[None]], pause_s: float
    ) -> AsyncIterator[None]:
        """Repeat `step` with a pause of real time, for as long as the block lasts."""
        task = asyncio.create_task(self._repeat(name, step, pause_s), name=name)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _repeat(self, name: str, step: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            try:
                await step()
            except Exception as error:
                _log.exception("loop %s failed", name)
                self.failures[name] = self.failures.get(name, 0) + 1
                self.faults[name] = f"{type(error).__name__}: {error}"
                await asyncio.sleep(RESTART_PAUSE_S)
            else:
                self.faults.pop(name, None)
                await asyncio.sleep(pause_s)


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handlers: signals are the command's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; Refused if it cannot be had."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Refused(
            f"cannot listen on {host}:{port}: {error}",
            field="http_port",
            remedy="choose another port, or 0 for any free one",
        ) from error
    return listener


def write_private(path: Path, text: str) -> None:
    """Replace a file that only we may read; a reader sees the old one or the new one whole."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    beside.replace(path)


def saved_clock(path: Path) -> datetime | None:
    """Return the time that was saved in a file; None where there is none that can be read."""
    try:
        document = json.loads(path.read_text())
        return time_value(document["now"], field="now")
    except (OSError, ValueError, KeyError, TypeError):
        return None
