"""A minimal central system built on the PyPI package `ocpp`: records everything, can misbehave."""

import asyncio
import base64
import contextlib
import itertools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Self

from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call_result as result201
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol


@dataclass
class Heard:
    """One request of a station."""

    action: str
    message_id: str
    payload: dict[str, Any]


@dataclass
class Csms:
    """Use as `async with Csms(...) as csms`; stations connect to `csms.url`."""

    password: str = "a-password-of-20-characters"
    rate: float = 1.0
    start: datetime = datetime(2025, 3, 1, 12, tzinfo=UTC)
    heartbeat_s: int = 300
    refused_tokens: frozenset[str] = frozenset()
    boot_answers: list[str] = field(default_factory=list)
    """Statuses of the next boots, `Accepted` after them."""
    errors: int = 0
    """How many transaction messages are answered with an error first."""
    silent: set[str] = field(default_factory=set)
    """Actions after which the connection is cut instead of answered, once each."""
    broken: set[str] = field(default_factory=set)
    """Actions that are always answered with an error."""
    ssl_context: ssl.SSLContext | None = None
    versions: list[str] = field(default_factory=lambda: ["ocpp1.6", "ocpp2.0.1"])
    """Subprotocols that it takes; without a common one it hangs up, as the specification has it."""
    heard: list[Heard] = field(default_factory=list)
    stations: dict[str, Any] = field(default_factory=dict)
    connections: int = 0
    url: str = ""
    port: int = 0

    async def __aenter__(self) -> Self:
        self._began_s = asyncio.get_running_loop().time()
        self._numbers = itertools.count(1000)
        self._server = await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def stop(self) -> None:
        """Be gone: every connection is cut and none is accepted."""
        self._server.close()
        await self._server.wait_closed()

    async def restart(self) -> None:
        """Be back on the same port."""
        self._server = await self._listen()

    def now(self) -> datetime:
        elapsed_s = asyncio.get_running_loop().time() - self._began_s
        return self.start + timedelta(seconds=elapsed_s * self.rate)

    def of(self, *actions: str) -> list[dict[str, Any]]:
        """Return the payloads of the requests with these actions, in order."""
        return [heard.payload for heard in self.heard if heard.action in actions]

    async def until(self, action: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until `count` requests of `action` came."""
        async with asyncio.timeout(40):
            while len(found := self.of(action)) < count:
                await asyncio.sleep(0.01)
        return found

    async def order(self, station_id: str, payload: Any) -> Any:
        """Send a command and return its answer."""
        return await self.stations[station_id].call(payload, suppress=False)

    async def _listen(self) -> Server:
        server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            subprotocols=list(map(Subprotocol, self.versions)),
            select_subprotocol=self._select,
            process_request=self._admit,
            ssl=self.ssl_context,
            compression=None,
        )
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"{'wss' if self.ssl_context else 'ws'}://localhost:{self.port}/ocpp"
        return server

    def _select(
        self, connection: ServerConnection, offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        return next((version for version in offered if version in self.versions), None)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        station_id = request.path.rsplit("/", 1)[1]
        expected = base64.b64encode(f"{station_id}:{self.password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        station_id = connection.request.path.rsplit("/", 1)[1]
        version = {"ocpp1.6": _Station16, "ocpp2.0.1": _Station201}[connection.subprotocol]
        station = version(station_id, connection, response_timeout=5)
        station.csms = self
        self.stations[station_id] = station
        self.connections += 1
        with contextlib.suppress(ConnectionClosed):
            await station.start()

    async def hear(self, station: Any, action: str, message_id: str, payload: dict) -> None:
        self.heard.append(Heard(action, message_id, payload))
        if action in self.silent:
            self.silent.remove(action)
            await station._connection.close()
        if action in self.broken:
            raise RuntimeError("out of order")
        if self.errors and action in ("StartTransaction", "TransactionEvent"):
            self.errors -= 1
            raise RuntimeError("out of order")

    def boot(self) -> dict[str, Any]:
        return {
            "current_time": self.now().isoformat().replace("+00:00", "Z"),
            "interval": self.heartbeat_s,
            "status": self.boot_answers.pop(0) if self.boot_answers else "Accepted",
        }

    def verdict(self, id_token: str) -> dict[str, str]:
        return {"status": "Invalid" if id_token in self.refused_tokens else "Accepted"}

    def number(self) -> int:
        return next(self._numbers)


class _Station16(ChargePoint16):
    csms: Csms

    @on("BootNotification")
    async def on_boot(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "BootNotification", call_unique_id, payload)
        return result16.BootNotification(**self.csms.boot())

    @on("Heartbeat")
    async def on_heartbeat(self, call_unique_id: str) -> Any:
        await self.csms.hear(self, "Heartbeat", call_unique_id, {})
        return result16.Heartbeat(self.csms.boot()["current_time"])

    @on("StatusNotification")
    async def on_status(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "StatusNotification", call_unique_id, payload)
        return result16.StatusNotification()

    @on("Authorize")
    async def on_authorize(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "Authorize", call_unique_id, payload)
        return result16.Authorize(self.csms.verdict(payload["id_tag"]))

    @on("StartTransaction")
    async def on_start(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "StartTransaction", call_unique_id, payload)
        return result16.StartTransaction(self.csms.number(), self.csms.verdict(payload["id_tag"]))

    @on("MeterValues")
    async def on_meter_values(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "MeterValues", call_unique_id, payload)
        return result16.MeterValues()

    @on("StopTransaction")
    async def on_stop(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "StopTransaction", call_unique_id, payload)
        return result16.StopTransaction()


class _Station201(ChargePoint201):
    csms: Csms

    @on("BootNotification")
    async def on_boot(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "BootNotification", call_unique_id, payload)
        return result201.BootNotification(**self.csms.boot())

    @on("Heartbeat")
    async def on_heartbeat(self, call_unique_id: str) -> Any:
        await self.csms.hear(self, "Heartbeat", call_unique_id, {})
        return result201.Heartbeat(self.csms.boot()["current_time"])

    @on("StatusNotification")
    async def on_status(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "StatusNotification", call_unique_id, payload)
        return result201.StatusNotification()

    @on("Authorize")
    async def on_authorize(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "Authorize", call_unique_id, payload)
        return result201.Authorize(self.csms.verdict(payload["id_token"]["id_token"]))

    @on("TransactionEvent")
    async def on_transaction(self, call_unique_id: str, **payload: Any) -> Any:
        await self.csms.hear(self, "TransactionEvent", call_unique_id, payload)
        driver = payload.get("id_token")
        if driver is None:
            return result201.TransactionEvent()
        return result201.TransactionEvent(id_token_info=self.csms.verdict(driver["id_token"]))
