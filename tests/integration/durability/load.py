"""Stations that speak without pause, remember what was acknowledged, and resend what was not.

A station keeps its transaction messages in a queue, as real ones do. What has no answer stays in
the queue over reconnects and goes out again under a new message id; what was answered is repeated
now and then, as stations do that lost their memory of the answer. Every message has content of
its own, so that it can be found again in the database.
"""

import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection

ID_TOKEN = "LOAD01"
ANSWER_TIMEOUT_S = 30.0
RECONNECT_S = 0.05
REPEATS_MAX = 6


class LostError(AssertionError):
    """Something that was acknowledged is not there, or not any more what it was."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A transaction message with the answer that it got; `row` finds it in the database."""

    message_id: str
    action: str
    payload: dict[str, Any]
    answer: dict[str, Any]
    row: tuple[str, str, str, int]
    """Station id, kind of event, time, register."""


@dataclass(slots=True)
class Metered:
    """One transaction as its station knows it."""

    started_at: str
    meter_start_wh: int
    meter_stop_wh: int
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Message:
    """A transaction message before it is sent; `payload` may need the answer to an earlier one."""

    kind: str
    at: str
    register_wh: int
    action: str
    payload: Callable[[], dict[str, Any]]


@dataclass
class LoadStation:
    """One station; `address` is the URL of the server, None while there is none."""

    station_id: str
    version: str
    password: str
    address: Callable[[], str | None]
    random: Random
    acknowledged: list[Acknowledged] = field(default_factory=list)
    transactions: list[Metered] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    """How long each acknowledgement took."""
    is_closing: bool = False
    """No new transaction is begun; the present one goes to its end."""

    def __post_init__(self) -> None:
        self._clock = datetime.now(UTC)
        self._register_wh = self.random.randrange(1_000_000)
        self._messages: Iterator[_Message] = iter(())
        self._next: _Message | None = None

    async def live(self) -> None:
        """Stay connected and speak until closing and nothing is left to be said."""
        while True:
            with contextlib.suppress(OSError, TimeoutError, websockets.WebSocketException):
                if await self._visit():
                    return
            await asyncio.sleep(RECONNECT_S)

    async def repeat_everything(self) -> None:
        """Say every acknowledged message once more; the answers must be the same."""
        async with self._connected() as socket:
            for said in self.acknowledged:
                await self._repeat(socket, said)

    async def say_with_a_hole(self) -> str:
        """Say a transaction whose second event got lost (2.x); return its id."""
        transaction_id = f"{self.station_id}-hole"
        self._register_wh += 1
        metered = Metered(self._moment(), self._register_wh, self._register_wh, transaction_id)
        self.transactions.append(metered)
        async with self._connected() as socket:
            await self._boot(socket)
            for kind, seq_no in (("Started", 0), ("Ended", 2)):
                message = self._say_2_0_1(metered, kind, seq_no, self._moment())
                await self._call(socket, message.action, message.payload())
        return transaction_id

    # On the line ------------------------------------------------------------------------------

    async def _visit(self) -> bool:
        """Return True when there is nothing left to say."""
        if self.address() is None:
            return False
        async with self._connected() as socket:
            await self._boot(socket)
            for said in self.acknowledged[-self.random.randint(1, REPEATS_MAX) :]:
                await self._repeat(socket, said)
            while await self._say_next(socket):
                await asyncio.sleep(0)
        return True

    @contextlib.asynccontextmanager
    async def _connected(self) -> Any:
        pair = base64.b64encode(f"{self.station_id}:{self.password}".encode()).decode()
        async with websockets.connect(
            f"{self.address()}/{self.station_id}",
            subprotocols=[websockets.Subprotocol(f"ocpp{self.version}")],
            additional_headers={"Authorization": f"Basic {pair}"},
            compression=None,
            ping_interval=None,
            proxy=None,
            close_timeout=1,
        ) as socket:
            yield socket

    async def _boot(self, socket: ClientConnection) -> None:
        payload: dict[str, Any] = {"chargePointVendor": "Load", "chargePointModel": "L1"}
        if self.version != "1.6":
            station = {"vendorName": "Load", "model": "L2"}
            payload = {"reason": "PowerUp", "chargingStation": station}
        answer = await self._call(socket, "BootNotification", payload)
        assert answer["status"] == "Accepted", answer

    async def _say_next(self, socket: ClientConnection) -> bool:
        """Say the message that is next; False: there is none. It stays next until answered."""
        if self._next is None:
            self._next = next(self._messages, None)
        if self._next is None and not self.is_closing:
            self._messages = self._transaction()
            self._next = next(self._messages)
        message = self._next
        if message is None:
            return False
        payload, message_id, began_s = message.payload(), str(uuid.uuid4()), time.monotonic()
        answer = await self._call(socket, message.action, payload, message_id)
        if message.action == "StartTransaction":
            self.transactions[-1].transaction_id = str(answer["transactionId"])
        row = (self.station_id, message.kind, message.at, message.register_wh)
        self.waits_s.append(time.monotonic() - began_s)
        self.acknowledged.append(Acknowledged(message_id, message.action, payload, answer, row))
        self._next = None
        return True

    async def _repeat(self, socket: ClientConnection, said: Acknowledged) -> None:
        answer = await self._call(socket, said.action, said.payload)
        if answer != said.answer:
            raise LostError(f"{said.action} {said.payload}: {answer} instead of {said.answer}")

    async def _call(
        self, socket: ClientConnection, action: str, payload: Any, message_id: str | None = None
    ) -> dict[str, Any]:
        message_id = message_id or str(uuid.uuid4())
        await socket.send(json.dumps([2, message_id, action, payload]))
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = json.loads(await socket.recv())
        assert answer[:2] == [3, message_id], f"{action} {payload}: {answer}"
        return dict(answer[2])

    # What is metered --------------------------------------------------------------------------

    def _transaction(self) -> Iterator[_Message]:
        """Yield the messages of one more transaction."""
        at, begin_wh = self._moment(), self._register_wh
        metered = Metered(at, begin_wh, begin_wh)
        self.transactions.append(metered)
        say = self._say_1_6 if self.version == "1.6" else self._say_2_0_1
        if self.version != "1.6":
            metered.transaction_id = f"{self.station_id}-{len(self.transactions)}"
        yield say(metered, "Started", 0, at)
        updates = self.random.randrange(1, 8)
        for seq_no in range(1, updates + 1):
            self._register_wh += self.random.randrange(1, 3000)
            yield say(metered, "Updated", seq_no, self._moment())
        self._register_wh += self.random.randrange(1, 3000)
        metered.meter_stop_wh = self._register_wh
        yield say(metered, "Ended", updates + 1, self._moment())
        self._register_wh += self.random.randrange(5)

    def _moment(self) -> str:
        """Return a time of its own for each message: now, or a little after the last one."""
        self._clock = max(datetime.now(UTC), self._clock + timedelta(milliseconds=1))
        return self._clock.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _say_1_6(self, metered: Metered, kind: str, seq_no: int, at: str) -> _Message:
        register_wh = self._register_wh

        def start() -> dict[str, Any]:
            return {
                "connectorId": 1,
                "idTag": ID_TOKEN,
                "meterStart": register_wh,
                "timestamp": at,
            }

        def value() -> dict[str, Any]:
            sampled = {"timestamp": at, "sampledValue": [{"value": str(register_wh)}]}
            return {"connectorId": 1, **number(), "meterValue": [sampled]}

        def stop() -> dict[str, Any]:
            return {**number(), "meterStop": register_wh, "timestamp": at, "reason": "Local"}

        def number() -> dict[str, Any]:
            return {"transactionId": int(metered.transaction_id or "")}

        action, payload = {
            "Started": ("StartTransaction", start),
            "Updated": ("MeterValues", value),
            "Ended": ("StopTransaction", stop),
        }[kind]
        return _Message(kind, at, register_wh, action, payload)

    def _say_2_0_1(self, metered: Metered, kind: str, seq_no: int, at: str) -> _Message:
        context = {"Started": "Transaction.Begin", "Ended": "Transaction.End"}
        sample = {
            "value": self._register_wh,
            "measurand": "Energy.Active.Import.Register",
            "context": context.get(kind, "Sample.Periodic"),
            "unitOfMeasure": {"unit": "Wh"},
        }
        payload = {
            "eventType": kind,
            "timestamp": at,
            "triggerReason": "Authorized" if kind == "Started" else "MeterValuePeriodic",
            "seqNo": seq_no,
            "transactionInfo": {"transactionId": metered.transaction_id},
            "evse": {"id": 1, "connectorId": 1},
            "meterValue": [{"timestamp": at, "sampledValue": [sample]}],
        }
        if kind == "Started":
            payload["idToken"] = {"idToken": ID_TOKEN, "type": "ISO14443"}
        return _Message(kind, at, self._register_wh, "TransactionEvent", lambda: payload)
