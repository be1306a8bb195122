"""Group commit: many stations' messages in one unit of work, answered once it is durable.

Messages gather while the previous commit is in flight; the next unit of work takes them all, at
most `batch_max`. It waits a moment, at most `gather_s`, for as many as were answered last or were
waiting then: a busy station speaks again at once, and a commit for a hundred messages costs little
more than one for a single message. A station hears "done" only of what survives a crash.

* A batch that fails is replayed singly; a call that fails alone is answered InternalError and
  recorded in a unit of work of its own.
* A database that does not answer is waited for. After `database_patience_s` the stations that
  wait are sent away (close code 1013) and send their messages again when they are back.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from chargera.app.ports import (
    Changes,
    ChannelDatabase,
    ChannelWork,
    Feed,
    InboundCall,
    LiveEvent,
    MessageRow,
    NewEntry,
)
from chargera.domain.errors import Unavailable
from chargera.domain.messages import Answer
from chargera.ocpp import framing
from chargera.ocpp.connection import Connection, Exchange
from chargera.ocpp.counters import CappedLog, ChannelCounters
from chargera.ocpp.framing import CallRefused, Fault
from chargera.ocpp.limits import ChannelLimits

KEPT_MAX = 10_000
"""Rows and entries that wait for a database that does not answer."""

RETRY_S = 0.2
OUTCOME_CHARS_MAX = 1_000


class Decisions(Protocol):
    """The use case behind the channel (`chargera.app.charging.Charging`)."""

    async def handle(self, work: ChannelWork, calls: Sequence[InboundCall]) -> list[Answer]:
        """Decide the calls in order, leave their effects in `work`, return their answers."""

    def forget(self, station_ids: Sequence[str]) -> None:
        """Drop what is cached of these stations: a commit failed."""

    def take_live_events(self) -> list[LiveEvent]:
        """Return what pages should be told of the last batch."""


class GroupCommit:
    """The one writer of the channel. `run` is its only task."""

    def __init__(
        self,
        charging: Decisions,
        database: ChannelDatabase,
        feed: Feed,
        limits: ChannelLimits,
        counters: ChannelCounters,
        log: CappedLog,
        monotonic_s: Callable[[], float] = time.monotonic,
        *,
        acknowledge_before_commit: bool = False,
    ) -> None:
        """Write to `database` what `charging` decides.

        `acknowledge_before_commit` breaks the one promise of this class. It exists so that the
        durability harness can show that it would notice; nothing else sets it.
        """
        self._charging = charging
        self._database = database
        self._feed = feed
        self._limits = limits
        self._counters = counters
        self._log = log
        self._monotonic_s = monotonic_s
        self._acknowledge_before_commit = acknowledge_before_commit
        self._pending: deque[Exchange] = deque()
        self._rows: list[MessageRow] = []
        self._entries: list[NewEntry] = []
        self._wake = asyncio.Event()
        self._gathered = asyncio.Event()
        self._expected = 0
        """How many messages a commit waits for."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._down_since_s: float | None = None

    # What others call ---------------------------------------------------------------------

    def submit(self, exchange: Exchange) -> None:
        """Take an exchange; its connection's `finish` is called once it is recorded."""
        pending = self._pending
        pending.append(exchange)
        if len(pending) == 1:
            self._wake.set()
        if len(pending) >= self._expected:
            self._gathered.set()

    def record(self, row: MessageRow) -> None:
        """Take a row for the message log; it is written with the next commit."""
        if len(self._rows) < KEPT_MAX:
            self._rows.append(row)
        else:
            self._log.error("message log row lost", station_id=row.station_id)
        self._wake.set()

    def note(self, entry: NewEntry) -> None:
        """Take an entry for the event log; it is written with the next commit."""
        if len(self._entries) < KEPT_MAX:
            self._entries.append(entry)
        else:
            self._log.error("log entry lost", kind=entry.kind)
        self._wake.set()

    @property
    def is_down(self) -> bool:
        """Whether the database has not answered for longer than stations are made to wait."""
        down_since_s = self._down_since_s
        if down_since_s is None:
            return False
        return self._monotonic_s() - down_since_s >= self._limits.database_patience_s

    async def drain(self) -> None:
        """Return when nothing is left to be written."""
        while self._pending or self._rows or self._entries or not self._idle.is_set():
            self._idle.clear()
            self._wake.set()
            await self._idle.wait()

    async def run(self) -> None:
        """Commit batch after batch until cancelled."""
        while True:
            if not (self._pending or self._rows or self._entries):
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            self._idle.clear()
            pending = self._pending
            if 0 < len(pending) < self._expected:
                await self._gather()
            batch = [pending.popleft() for _ in range(min(len(pending), self._limits.batch_max))]
            await self._process(batch)

    async def _gather(self) -> None:
        """Wait for the messages of those who were just answered, but not for long."""
        self._gathered.clear()
        timer = asyncio.get_running_loop().call_later(self._limits.gather_s, self._gathered.set)
        await self._gathered.wait()
        timer.cancel()

    # One batch ----------------------------------------------------------------------------

    async def _process(self, batch: list[Exchange]) -> None:
        """Commit a batch, singly if it fails as a whole, later if the database is away."""
        try:
            await self._commit(batch)
        except Unavailable as error:
            await self._outage(batch, error)
        except Exception as error:  # whatever it is, only its own call may suffer
            self._counters.batches_failed += 1
            self._log.error("batch failed", error=repr(error)[:300], calls=len(batch))
            if len(batch) > 1:
                for exchange in batch:
                    await self._process([exchange])
            else:
                await self._give_up(batch, error)

    async def _commit(self, batch: list[Exchange]) -> None:
        """Decide, record and commit; then answer."""
        began_s = self._monotonic_s()
        rows, self._rows = self._rows, []
        entries, self._entries = self._entries, []
        handled: list[Exchange] = []
        for exchange in batch:
            if exchange.call is not None and exchange.connection.fenced:
                exchange.call.outcome = "fenced"
            elif exchange.call is not None:
                handled.append(exchange)
        try:
            async with self._database.channel_work() as work:
                if handled:
                    await self._decide(work, handled)
                if rows or batch:
                    work.write(Changes(messages=[*rows, *map(_row_of, batch)]))
                for entry in entries:
                    work.append(entry)
                if self._acknowledge_before_commit:
                    self._finish(batch)
                await work.commit()
        except BaseException:
            self._rows = [*rows, *self._rows]
            self._entries = [*entries, *self._entries]
            self._charging.forget(sorted({x.connection.station_id for x in handled}))
            self._charging.take_live_events()
            raise
        self._down_since_s = None
        self._counters.batches += 1
        self._counters.commit_seconds.observe(self._monotonic_s() - began_s)
        for event in self._charging.take_live_events():
            self._feed.publish(event)
        if not self._acknowledge_before_commit:
            self._finish(batch)

    async def _decide(self, work: ChannelWork, exchanges: list[Exchange]) -> None:
        """Ask the use case and encode its answers."""
        calls: list[InboundCall] = []
        for exchange in exchanges:
            assert exchange.call is not None
            exchange.call.outcome = exchange.outcome  # a replayed call starts afresh
            calls.append(exchange.call)
        answers = await self._charging.handle(work, calls)
        for exchange, call, answer in zip(exchanges, calls, answers, strict=True):
            dialect = exchange.connection.dialect
            try:
                payload = dialect.write(call.action, answer)
            except CallRefused as refused:
                code = dialect.code(refused.fault)
                call.outcome = f"refused: {code}"
                exchange.answer = framing.encode_error(call.message_id, code, refused.detail)
            else:
                exchange.answer = framing.encode_result(call.message_id, payload)
            call.answer_frame = exchange.answer

    def _finish(self, batch: list[Exchange]) -> None:
        self._expected = min(len(batch) + len(self._pending), self._limits.batch_max)
        messages, now_s = self._counters.messages, self._monotonic_s()
        for exchange in batch:
            if exchange.call is not None:
                messages[exchange.call.action] += 1
            exchange.connection.finish(exchange, now_s)

    # When it does not work ----------------------------------------------------------------

    async def _give_up(self, batch: list[Exchange], error: Exception) -> None:
        """Answer a call that fails alone, and record that it did."""
        for exchange in batch:
            code = exchange.connection.dialect.code(Fault.INTERNAL)
            exchange.outcome = f"failed: {code}: {type(error).__name__}"
            if exchange.call is not None:
                self._counters.calls_failed += 1
                exchange.call = None
                exchange.answer = framing.encode_error(
                    exchange.message_id or "", code, "this call could not be processed"
                )
        try:
            await self._commit(batch)
        except Unavailable as unavailable:
            await self._outage(batch, unavailable)
        except Exception as again:  # a row that cannot be written blocks nobody
            self._log.error("call not recorded", error=repr(again)[:300])
            self._rows.clear()
            self._entries.clear()
            self._finish(batch)

    async def _outage(self, batch: list[Exchange], error: Unavailable) -> None:
        """Wait for the database, first with the stations, then without them."""
        self._down_since_s = self._monotonic_s()
        self._log.error("database does not answer", error=error.message[:300])
        while True:
            if self.is_down:
                self._send_away([*batch, *self._pending])
                self._pending.clear()
                batch = []
            await asyncio.sleep(RETRY_S)
            try:
                await self._commit(batch)
            except Unavailable:
                continue
            except Exception:  # `_process` tells them apart
                self._down_since_s = None
                await self._process(batch)
            self._log.info("database answers again")
            return

    def _send_away(self, exchanges: list[Exchange]) -> None:
        self._counters.calls_sent_away += len(exchanges)
        connections: set[Connection] = {exchange.connection for exchange in exchanges}
        for connection in connections:
            self._counters.calls_sent_away += connection.send_away("no database, try again later")


def _row_of(exchange: Exchange) -> MessageRow:
    """Return the row that records an exchange."""
    connection, call = exchange.connection, exchange.call
    outcome = exchange.outcome
    if call is not None:
        outcome = call.outcome
        if call.deviation is not None:
            outcome = f"{outcome}; deviation: {call.deviation}"
    return MessageRow(
        connection.station_id,
        exchange.received_at,
        True,
        connection.dialect.version,
        exchange.action,
        exchange.message_id,
        exchange.frame,
        exchange.answer,
        outcome[:OUTCOME_CHARS_MAX],
    )
