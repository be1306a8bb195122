"""The channel's unit of work: never behind others, and whole again after whatever breaks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import psycopg
import pytest

from chargera.app.clock import SystemEntropy
from chargera.app.ports import Changes, MessageRow, NewEntry
from chargera.domain.errors import Unavailable
from chargera.domain.station import OcppVersion
from chargera.proofs.entry import EntryKind, commit, envelope_bytes, parse_envelope
from chargera.store.unit_of_work import CHANNEL_NAME, Database
from tests.message_log import exchanges

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


class FixedClock:
    """A time that stands still."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, FixedClock(), SystemEntropy())
    await opened.open()
    yield opened
    await opened.close()


def message(message_id: str) -> Changes:
    row = MessageRow(
        "CP-1", NOW, True, OcppVersion.V1_6, "Heartbeat", message_id, b"[]", b"[]", "ok"
    )
    return Changes(messages=[row])


async def say(database: Database, message_id: str) -> None:
    async with database.channel_work() as work:
        work.write(message(message_id))
        await work.commit()


def stored(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row.message_id or "" for row in exchanges(connection)]


def cut_channel(url: str) -> None:
    """Have the server end the channel's session."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
            " where application_name = %s and datname = current_database()",
            [CHANNEL_NAME],
        ).fetchone()
    assert ended == (1,)


async def test_channel_work__while_all_others_wait_for_a_connection__is_done_at_once(
    database: Database, database_url: str
) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(database.pool.max_size):
            await stack.enter_async_context(database.work())
        waiting = asyncio.create_task(stack.enter_async_context(database.work()))
        await asyncio.wait_for(say(database, "1"), 5)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    assert stored(database_url) == ["1"]


async def test_channel_work__two_at_once__take_turns(database: Database, database_url: str) -> None:
    async with database.channel_work() as first:
        second = asyncio.create_task(say(database, "2"))
        first.write(message("1"))
        await asyncio.sleep(0.05)
        await first.commit()
    await asyncio.wait_for(second, 5)
    assert stored(database_url) == ["1", "2"]


async def test_channel_work__left_without_commit__leaves_nothing(
    database: Database, database_url: str
) -> None:
    async with database.channel_work() as work:
        work.write(message("1"))
        await work.flush()
    await say(database, "2")
    assert stored(database_url) == ["2"]


async def test_channel_work__whose_connection_ended_while_nobody_spoke__has_another(
    database: Database, database_url: str
) -> None:
    await say(database, "1")
    cut_channel(database_url)
    await say(database, "2")
    assert stored(database_url) == ["1", "2"]


async def test_channel_work__that_loses_its_connection__is_unavailable_and_the_next_is_not(
    database: Database, database_url: str
) -> None:
    async def breaks() -> None:
        async with database.channel_work() as work:
            work.write(message("1"))
            await work.flush()
            cut_channel(database_url)
            await work.commit()

    with pytest.raises(Unavailable):
        await breaks()
    await say(database, "2")
    assert stored(database_url) == ["2"]


async def test_channel_work__cancelled_while_it_waits_for_the_log__leaves_nothing_behind(
    database: Database, database_url: str
) -> None:
    async def append() -> None:
        async with database.channel_work() as work:
            work.write(message("1"))
            work.append(NewEntry(EntryKind.DEVIATION, None, None, {}, NOW))
            await work.commit()

    with psycopg.connect(database_url) as other:
        other.execute("select * from log_head for update")
        cancelled = asyncio.create_task(append())
        while not _waits_for_a_lock(database_url):
            await asyncio.sleep(0.01)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    await say(database, "2")
    assert stored(database_url) == ["2"]


def _waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = %s"
            " and datname = current_database() and wait_event_type = 'Lock'",
            [CHANNEL_NAME],
        ).fetchone()
    return row == (1,)


async def test_commit__entries_of_several_stations__are_numbered_from_where_the_log_is(
    database: Database,
) -> None:
    def entry(station_id: str | None) -> NewEntry:
        return NewEntry(EntryKind.DEVIATION, station_id, None, {"of": station_id}, NOW)

    firsts = []
    for stations in (["CP-1", None, "CP-2", "CP-1"], ["CP-2", "CP-1", "CP-é", None]):
        async with database.channel_work() as work:
            for station_id in stations:
                work.append(entry(station_id))
            await work.commit()
            firsts.append(work.first_log_index)
    async with database.work() as work:
        cursor = await work.connection.execute(
            "select log_index, station_id, station_seq, entry, record, salt from log_entry"
            " order by log_index"
        )
        rows = await cursor.fetchall()
    assert firsts == [0, 4]
    assert [row[:3] for row in rows] == [
        (0, "CP-1", 1),
        (1, None, None),
        (2, "CP-2", 1),
        (3, "CP-1", 2),
        (4, "CP-2", 2),
        (5, "CP-1", 3),
        (6, "CP-é", 1),
        (7, None, None),
    ]
    for _, station_id, number, data, record, salt in rows:
        envelope = parse_envelope(data)
        assert (envelope.station, envelope.seq) == (station_id, number)
        assert envelope.commitment == commit(salt, record)
        assert envelope_bytes(envelope) == data


async def test_flush__twice_in_one_commit__entries_follow_each_other(database: Database) -> None:
    async with database.work() as work:
        firsts = []
        for count in (2, 3):
            for _ in range(count):
                work.append(NewEntry(EntryKind.DEVIATION, "CP-1", None, {}, NOW))
            firsts.append(await work.flush())
        await work.commit()
    async with database.work() as work:
        cursor = await work.connection.execute(
            "select array_agg(log_index order by log_index),"
            " array_agg(station_seq order by log_index), (select size from log_head)"
            " from log_entry"
        )
        assert await cursor.fetchall() == [([0, 1, 2, 3, 4], [1, 2, 3, 4, 5], 5)]
    assert firsts == [0, 2]
