"""In-memory parts around the OCPP channel: a database, decisions, access, a clock and a feed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from chargera.app.access import StationLogin
from chargera.app.ports import Changes, ChannelWork, InboundCall, LiveEvent, MessageRow, NewEntry
from chargera.domain.messages import (
    Acknowledged,
    Answer,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    BootAnswer,
    BootNotification,
    DataTransfer,
    DataTransferAnswer,
    Heartbeat,
    HeartbeatAnswer,
    MeterValues,
    NotServed,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    UnservedCall,
)
from chargera.domain.station import OcppVersion
from chargera.ocpp.connection import Exchange

EPOCH = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PASSWORD = "correct-horse-battery-staple"


class FixedClock:
    """A network clock that stands until it is moved."""

    def __init__(self, at: datetime = EPOCH) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class RecordingFeed:
    """Keeps what was published."""

    def __init__(self) -> None:
        self.events: list[LiveEvent] = []

    def publish(self, event: LiveEvent) -> None:
        self.events.append(event)

    def listen(self) -> AsyncIterator[LiveEvent]:
        raise NotImplementedError


class MemoryWork:
    """One unit of work over `MemoryDatabase`."""

    def __init__(self, database: "MemoryDatabase") -> None:
        self._database = database
        self._changes: list[Changes] = []
        self._entries: list[NewEntry] = []

    async def load_stations(self, station_ids: Sequence[str]) -> dict[str, Any]:
        return {}

    async def load_transactions(self, keys: Sequence[tuple[str, str]]) -> dict[Any, Any]:
        return {}

    async def load_id_tokens(self, keys: Sequence[str]) -> dict[str, Any]:
        return {}

    async def next_transaction_numbers(self, count: int) -> list[int]:
        return list(range(1, count + 1))

    def write(self, changes: Changes) -> None:
        self._changes.append(changes)

    def append(self, entry: NewEntry) -> None:
        self._entries.append(entry)

    async def commit(self) -> None:
        rows = [row for changes in self._changes for row in changes.messages]
        await self._database.commit(rows, self._entries)


class MemoryDatabase:
    """Keeps rows; `before_commit` may fail or delay a commit."""

    def __init__(self) -> None:
        self.rows: list[MessageRow] = []
        self.entries: list[NewEntry] = []
        self.commits: list[list[MessageRow]] = []
        self.before_commit: Callable[[list[MessageRow]], Exception | None] = lambda rows: None
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()

    @asynccontextmanager
    async def channel_work(self) -> AsyncIterator[ChannelWork]:
        yield MemoryWork(self)

    async def commit(self, rows: list[MessageRow], entries: list[NewEntry]) -> None:
        self.began.set()
        await self.gate.wait()
        await asyncio.sleep(0)
        error = self.before_commit(rows)
        if error is not None:
            raise error
        self.commits.append(rows)
        self.rows += rows
        self.entries += entries

    @property
    def outcomes(self) -> list[str]:
        return [row.outcome for row in self.rows]


class SimpleDecisions:
    """Answers every message as if all were well, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[InboundCall] = []
        self.forgotten: list[str] = []
        self.events: list[LiveEvent] = []
        self.fail_on: Callable[[InboundCall], Exception | None] = lambda call: None
        self._number = 0

    async def handle(self, work: ChannelWork, calls: Sequence[InboundCall]) -> list[Answer]:
        answers = []
        for call in calls:
            error = self.fail_on(call)
            if error is not None:
                raise error
            answers.append(self._answer(call))
            self.events.append(LiveEvent("session", call.message_id))
        self.calls += calls
        return answers

    def _answer(self, call: InboundCall) -> Answer:
        match call.message:
            case BootNotification():
                return BootAnswer(EPOCH, 300)
            case Heartbeat():
                return HeartbeatAnswer(EPOCH)
            case Authorize():
                return AuthorizeAnswer(AuthorizationStatus.ACCEPTED, EPOCH)
            case TransactionEvent() as event:
                number = event.transaction_id
                if number is None:
                    self._number += 1
                    number = str(self._number)
                status = AuthorizationStatus.ACCEPTED if event.id_token else None
                return TransactionAnswer(number, status, None)
            case DataTransfer():
                return DataTransferAnswer()
            case UnservedCall(action):
                return NotServed(action)
            case StatusNotification() | MeterValues():
                return Acknowledged()

    def forget(self, station_ids: Sequence[str]) -> None:
        self.forgotten += station_ids

    def take_live_events(self) -> list[LiveEvent]:
        events, self.events = self.events, []
        return events


class MemoryAccess:
    """Stations with passwords; `hashes` counts the work that is spent on each attempt."""

    def __init__(self, *logins: StationLogin) -> None:
        self.logins = {login.station_id: login for login in logins}
        self.hashes = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def authenticate(
        self, station_id: str, user: str | None, password: str | None, address: str
    ) -> StationLogin | None:
        if self.error is not None:
            raise self.error
        self.hashes += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        if user != station_id or password != PASSWORD:
            return None
        return self.logins.get(station_id)


def login(station_id: str, *, profile: int = 1, plain: bool = True) -> StationLogin:
    return StationLogin(station_id, "", profile, plain, frozenset(OcppVersion))


class SilentLogger:
    """Keeps log lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


class FakeSocket:
    """The transport below the WebSocket library."""

    def __init__(self) -> None:
        self.reading = True
        self.unsent_bytes = 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_reading(self) -> bool:
        return self.reading

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes


class FakeTransport:
    """A WebSocket as the library shows it, without a network."""

    def __init__(self) -> None:
        self.underlying_transport = FakeSocket()
        self.sent: list[Any] = []
        self.pings = 0
        self.pongs: list[bytes] = []
        self.closes: list[tuple[int, str]] = []
        self.disconnects: list[bool] = []
        self.close_handshake: Any = None
        self.is_close_frame_sent = False

    def send(self, msg_type: Any, message: bytes) -> None:
        self.sent.append(orjson.loads(message))

    def send_ping(self, message: bytes | None = None) -> None:
        self.pings += 1

    def send_pong(self, message: bytes) -> None:
        self.pongs.append(message)

    def send_close(self, code: Any, message: str | None = None) -> None:
        self.closes.append((int(code), message or ""))
        self.is_close_frame_sent = True

    def disconnect(self, graceful: bool = True) -> None:
        self.disconnects.append(graceful)


class HeldGateway:
    """Keeps exchanges until the test finishes them."""

    def __init__(self, ticks: "Ticks") -> None:
        self.exchanges: list[Exchange] = []
        self.rows: list[MessageRow] = []
        self._ticks = ticks

    def submit(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)

    def record(self, row: MessageRow) -> None:
        self.rows.append(row)

    def finish(self, answer: bytes | None = None) -> Exchange:
        exchange = self.exchanges.pop(0)
        exchange.answer = answer or exchange.answer
        exchange.connection.finish(exchange, self._ticks())
        return exchange


class Ticks:
    """A monotonic clock that moves by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s
