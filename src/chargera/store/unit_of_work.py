"""The unit of work: everything that one edge reads and writes in one transaction.

Use cases collect rows and entries in it; `commit` writes them together. Leaving the block
without `commit` rolls back.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from chargera.app.billing import BillingCase, BillingResult, SilentSession
from chargera.app.ports import (
    Changes,
    Clock,
    Entropy,
    Loaded,
    NewEntry,
    QuotedTariff,
    Wanted,
)
from chargera.store import channel, entries
from chargera.store.access import PostgresIdempotency, PostgresLogins
from chargera.store.billing import BillingStore
from chargera.store.connection import Connection, database_errors, make_pool
from chargera.store.id_tokens import PostgresIdTokens
from chargera.store.log_reads import PostgresLogReads
from chargera.store.receipts import ReceiptStore
from chargera.store.registry import PostgresCommands, PostgresStations
from chargera.store.sessions import PostgresSessions
from chargera.store.tariffs import PostgresTariffs


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

    async def store_bills(self, result: BillingResult) -> None:
        """Flush the log entries and write the bills with their indexes."""
        first = await self.flush()
        await BillingStore(self.connection).store(result, first or 0)

    async def flush(self) -> int | None:
        """Write what was collected and return the first entry's index; None without entries.

        Holds the log's lock until the commit, so nothing slow may follow.
        """
        for changes in self._changes:
            await channel.write(self.connection, changes)
        written, self._changes = self._changes, []
        self._written.extend(written)
        if self._entries:
            self.first_log_index = await entries.append(
                self.connection, self._entries, self._entropy
            )
        self._entries = []
        return self.first_log_index

    async def commit(self) -> None:
        """Write everything in one transaction; on return it is durable."""
        await self.flush()
        await self.connection.commit()
        for changes in self._written:
            for transaction in changes.sessions.values():
                transaction.stored = True
                transaction.bill_due = False
        self._written = []

    def now(self) -> datetime:
        """Return the network's time."""
        return self.clock.now()


class Database:
    """Opens units of work on a pool of connections."""

    def __init__(self, url: str, clock: Clock, entropy: Entropy) -> None:
        """Prepare a pool for the database at `url`; `open` connects."""
        self.url = url
        self._clock = clock
        self._entropy = entropy
        self.pool = make_pool(url)

    async def open(self) -> None:
        """Connect; raises Unavailable if the database does not answer."""
        with database_errors():
            await self.pool.open(wait=True)

    async def close(self) -> None:
        """Close all connections."""
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

    def channel_work(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Open a unit of work for the OCPP channel."""
        return self.work()


async def _roll_back(connection: Connection) -> None:
    """Undo what was not committed; a broken connection has nothing left to undo."""
    if not connection.closed and not connection.broken:
        await connection.rollback()
