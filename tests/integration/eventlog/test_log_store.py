"""Log store and lease over a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest

from chargera.app.clock import SystemEntropy
from chargera.app.ports import NewEntry
from chargera.domain.errors import Refused, Unavailable
from chargera.proofs.entry import EntryKind, parse_envelope
from chargera.store.log import PostgresLease, PostgresLogStore
from chargera.store.unit_of_work import Database
from tests.unit.eventlog.store_contract import LogStoreContract

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FixedClock:
    def now(self) -> datetime:
        return NOW


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, FixedClock(), SystemEntropy())
    await database.open()
    yield database
    await database.close()


async def append(database: Database, count: int) -> None:
    async with database.work() as work:
        for number in range(count):
            work.append(NewEntry(EntryKind.ANOMALY, None, None, {"n": number}, NOW))
        await work.commit()


class TestPostgresLogStore(LogStoreContract):
    @pytest.fixture
    def store(self, database: Database) -> PostgresLogStore:
        return PostgresLogStore(database)

    @pytest.fixture
    def append(self, database: Database, store: PostgresLogStore):
        async def appended(count: int) -> list[bytes]:
            first = await store.size()
            await append(database, count)
            entries = list(await store.entries_from(first, count))
            assert all(parse_envelope(entry).kind is EntryKind.ANOMALY for entry in entries)
            return entries

        return appended

    async def test_a_missing_entry_is_refused(
        self, store: PostgresLogStore, database: Database
    ) -> None:
        await append(database, 5)
        async with database.work() as work:
            await work.connection.execute("delete from log_entry where log_index = 3")
            await work.commit()
        assert len(await store.entries_from(0, 3)) == 3
        for first in (0, 2, 3):
            with pytest.raises(Refused, match="entry 3 is missing"):
                await store.entries_from(first, 5)

    async def test_entries_that_are_not_committed_do_not_exist(
        self, store: PostgresLogStore, database: Database
    ) -> None:
        """Writers queue on the head's lock, so no reader ever sees a gap."""

        async def writer() -> None:
            for _ in range(20):
                await append(database, 3)

        async def reader() -> None:
            while (size := await store.size()) < 4 * 60:
                assert len(await store.entries_from(0, 1000)) >= size
                await asyncio.sleep(0)

        await asyncio.gather(reader(), *(writer() for _ in range(4)))

    async def test_a_database_that_is_gone_is_unavailable(
        self, database_url: str, store: PostgresLogStore, database: Database
    ) -> None:
        await database.close()
        broken = Database(
            database_url.replace("host=", "host=/nowhere"), FixedClock(), SystemEntropy()
        )
        lease = PostgresLease(broken.url)
        with pytest.raises(Unavailable):
            await lease.acquire()


async def test_one_holds_the_lease(database_url: str) -> None:
    """F7: the second is told no; it gets the lease when the first is gone."""
    first, second = PostgresLease(database_url), PostgresLease(database_url)
    assert not await first.is_held()
    assert await first.acquire()
    assert await first.acquire()
    assert not await second.acquire()
    assert await first.is_held()
    assert not await second.is_held()
    await first.release()
    assert await second.acquire()
    await second.release()
    await second.release()


async def test_a_lease_that_is_released_is_free_at_once(database_url: str) -> None:
    """Whoever starts the moment another has stopped is not told that two write the log."""
    one, other = PostgresLease(database_url), PostgresLease(database_url)
    for _ in range(20):
        assert await one.acquire()
        await one.release()
        one, other = other, one


async def test_a_lease_ends_with_its_connection(database_url: str) -> None:
    first, second = PostgresLease(database_url), PostgresLease(database_url)
    assert await first.acquire()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'chargera-log'"
        )
    assert not await first.is_held()
    assert await second.acquire()
    assert not await first.acquire()
    await second.release()
