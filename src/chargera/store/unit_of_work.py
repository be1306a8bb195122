"""The unit of work: everything that one edge reads and writes in one transaction.

Use cases collect rows and entries in it; `commit` writes them together. Leaving the block
without `commit` rolls back.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from psycopg.pq import TransactionStatus

from chargera.app.admin_ports import NewIdToken
from chargera.app.billing import BillingCase, BillingResult, SilentSession
from chargera.app.numbering import Payable
from chargera.app.ports import (
    Changes,
    Clock,
    Entropy,
    Loaded,
    NewEntry,
    QuotedTariff,
    Wanted,
)
from chargera.domain.messages import IdTokenRef
from chargera.store import channel, channel_writes, entries, lanes, pipeline
from chargera.store.access import PostgresIdempotency, PostgresLogins
from chargera.store.billing import BillingStore
from chargera.store.connection import Connection, connect, database_errors, is_quiet, make_pool
from chargera.store.custody import PostgresCustody
from chargera.store.feed import PostgresFeed
from chargera.store.host_returns import PostgresHostReturns
from chargera.store.id_tokens import PostgresIdTokens
from chargera.store.log_reads import PostgresLogReads
from chargera.store.passports import PostgresPassports
from chargera.store.payments import PostgresPayments
from chargera.store.pipeline import Call
from chargera.store.receipts import ReceiptStore
from chargera.store.registry import PostgresCommands, PostgresStations
from chargera.store.sessions import PostgresSessions
from chargera.store.settlement import PostgresSettlement
from chargera.store.tariffs import PostgresTariffs

CHANNEL_NAME = "chargera-channel"
"""By what the database knows the OCPP channel's session."""


class UnitOfWork:
    """One transaction on one connection; see `app.ports` for the parts that use cases see."""

    def __init__(self, connection: Connection, clock: Clock, entropy: Entropy) -> None:
        """Work on a connection whose transaction has begun or will with the first query."""
        self.connection = connection
        self.clock = clock
        self._entropy = entropy
        self._entries: list[NewEntry] = []
        self._changes: list[Changes] = []
        self._written: list[Changes] = []
        self._calls: list[Call] = []
        """What is written with the commit."""
        self.first_log_index: int | None = None
        """Index of the first appended entry; the others follow. Known after `commit`/`flush`."""
        # What administrative use cases see: `app.admin_ports`.
        self.stations = PostgresStations(connection)
        self.commands = PostgresCommands(connection)
        self.id_tokens = PostgresIdTokens(connection)
        self.tariffs = PostgresTariffs(connection)
        self.logins = PostgresLogins(connection)
        self.idempotency = PostgresIdempotency(connection)
        self.sessions = PostgresSessions(connection)
        self.log = PostgresLogReads(connection)
        self.passports = PostgresPassports(connection)
        self.custody = PostgresCustody(connection)
        self.settlement = PostgresSettlement(connection)
        self.feed = PostgresFeed(connection)
        self.payments = PostgresPayments(connection)
        self.host_returns = PostgresHostReturns(connection)

    async def load(self, wanted: Wanted) -> Loaded:
        """Return what a batch of messages needs to be decided."""
        return await channel.load(self.connection, wanted)

    def write(self, changes: Changes) -> None:
        """Take rows; they reach the database at `commit`."""
        self._changes.append(changes)

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log; it gets its index at `commit`."""
        self._entries.append(entry)

    @property
    def receipts(self) -> ReceiptStore:
        """What receipts are made of."""
        return ReceiptStore(self.connection)

    async def take_due_cases(self, limit: int) -> list[BillingCase]:
        """Return sessions whose bill is due, locked for this unit of work."""
        return await BillingStore(self.connection).take_due(limit)

    async def load_case(self, session_id: str) -> BillingCase | None:
        """Return one session with all that its bill depends on, locked; None if there is none."""
        return await BillingStore(self.connection).load(session_id)

    async def load_tariff(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version of a tariff."""
        return await BillingStore(self.connection).load_tariff(tariff_id)

    async def mark_silent(self, before: datetime, limit: int) -> list[SilentSession]:
        """Put running sessions without a word since that time into review and return them."""
        return await BillingStore(self.connection).mark_silent(before, limit)

    async def accept(self, id_token: str, now: datetime) -> None:
        """Let an identifier of this server's own start a session."""
        await self.id_tokens.put([NewIdToken(IdTokenRef(id_token, "Central"))], now)

    async def payables(self, session_ids: Sequence[str]) -> Mapping[str, Payable]:
        """Return those of these sessions whose station has a passport in force."""
        return await lanes.payables(self.connection, session_ids)

    async def lock_lanes(self, operator_id: str, assets: Sequence[str]) -> dict[str, int]:
        """Return the next number of each lane, locked until the commit."""
        return await lanes.lock_lanes(self.connection, operator_id, assets)

    async def store_bills(self, result: BillingResult) -> None:
        """Write the log entries, and at `commit` the bills with their indexes."""
        await self.flush()
        self._calls += BillingStore.calls(result, self.first_log_index or 0)

    async def flush(self) -> int | None:
        """Write what was collected and return the first entry's index; None without entries.

        Holds the log's lock until the commit, so nothing slow may follow.
        """
        await self._write()
        return self.first_log_index

    async def commit(self) -> None:
        """Write everything in one transaction; on return it is durable."""
        await self._write(pipeline.COMMIT)
        for changes in self._written:
            for transaction in changes.sessions.values():
                transaction.stored = True
                transaction.bill_due = False
        self._written = []

    async def _write(self, *last: Call) -> None:
        """Write what was collected in one round trip, and `last` after it.

        Rows are written before the log's lock is taken, which is held until the commit.
        """
        calls, self._calls = self._calls, []
        for changes in self._changes:
            calls += channel_writes.calls(changes)
        self._written += self._changes
        self._changes = []
        reserved_at = len(calls)
        new, self._entries = self._entries, []
        if new:
            calls += entries.calls(new, self._entropy)
        written = await pipeline.run(self.connection, [*calls, *last])
        if new:
            self.first_log_index = entries.first_index(written[reserved_at])

    def now(self) -> datetime:
        """Return the network's time."""
        return self.clock.now()


class Database:
    """Opens units of work on a pool of connections; the channel has one of its own."""

    def __init__(self, url: str, clock: Clock, entropy: Entropy) -> None:
        """Prepare for the database at `url`; `open` connects."""
        self.url = url
        self._clock = clock
        self._entropy = entropy
        self.pool = make_pool(url)
        self._channel: Connection | None = None
        self._channel_turn = asyncio.Lock()

    async def open(self) -> None:
        """Connect; raises Unavailable if the database does not answer."""
        with database_errors():
            await self.pool.open(wait=True)

    async def close(self) -> None:
        """Close all connections."""
        async with self._channel_turn:
            if self._channel is not None:
                await self._channel.close()
                self._channel = None
        await self.pool.close()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work; Unavailable if the database fails."""
        with database_errors():
            async with self.pool.connection() as connection:
                try:
                    yield UnitOfWork(connection, self._clock, self._entropy)
                finally:
                    await _roll_back(connection)

    @asynccontextmanager
    async def channel_work(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work for the OCPP channel, one at a time; Unavailable as above.

        It never waits for those of others: it has a connection of its own, which is made when it
        is needed and again when it has broken.
        """
        async with self._channel_turn:
            with database_errors():
                connection = self._channel
                if connection is None or not is_quiet(connection):
                    if connection is not None:
                        await connection.close()
                    connection = await connect(self.url, application_name=CHANNEL_NAME)
                    self._channel = connection
                try:
                    yield UnitOfWork(connection, self._clock, self._entropy)
                finally:
                    if connection.info.transaction_status != TransactionStatus.IDLE:
                        await _roll_back(connection)


async def _roll_back(connection: Connection) -> None:
    """Undo what was not committed; a broken connection has nothing left to undo."""
    if not connection.closed and not connection.broken:
        await connection.rollback()
