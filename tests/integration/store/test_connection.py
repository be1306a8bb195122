"""Sessions have limits, speak UTC and JSON, and their errors have names."""

from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import PoolTimeout

from chargera.domain.errors import InvalidInput, Unavailable
from chargera.store.connection import (
    UNLIMITED,
    Connection,
    SessionLimits,
    connect,
    database_errors,
    make_pool,
)

SHORT = SessionLimits(statement_s=0.2, lock_s=0.1, idle_in_transaction_s=0.2)


async def setting(connection: Connection, name: str) -> str:
    row = await (await connection.execute("SELECT current_setting(%s)", (name,))).fetchone()
    assert row
    return str(row[0])


async def test_session__is_named_limited_and_in_utc(empty_database_url: str) -> None:
    async with await connect(empty_database_url, application_name="chargera test") as connection:
        assert await setting(connection, "application_name") == "chargera test"
        assert await setting(connection, "statement_timeout") == "30s"
        assert await setting(connection, "lock_timeout") == "10s"
        assert await setting(connection, "idle_in_transaction_session_timeout") == "1min"
        row = await (
            await connection.execute("SELECT '2026-01-02T03:04:05+02'::timestamptz")
        ).fetchone()
    assert row
    assert row[0] == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert row[0].tzinfo is UTC


async def test_session__keeps_the_options_of_the_address_but_not_its_time_zone(
    empty_database_url: str,
) -> None:
    url = f"{empty_database_url}&options=-c%20timezone%3DAsia/Tokyo%20-c%20geqo%3Doff"
    async with await connect(url, limits=UNLIMITED) as connection:
        assert await setting(connection, "TimeZone") == "UTC"
        assert await setting(connection, "geqo") == "off"
        assert await setting(connection, "statement_timeout") == "0"


async def test_json__is_read_and_written_by_orjson(empty_database_url: str) -> None:
    document = {"at": datetime(2026, 1, 2, tzinfo=UTC), "text": "ü", "big": 2**53}
    async with await connect(empty_database_url) as connection:
        for kind in ("json", "jsonb"):
            cursor = await connection.execute(f"SELECT %s::{kind}", (Jsonb(document),))
            row = await cursor.fetchone()
            assert row == ({**document, "at": "2026-01-02T00:00:00+00:00"},)


@pytest.mark.parametrize("url", ["postgresql://u:secret@[", "nonsense secret", "http://u:secret@h"])
async def test_address_that_is_none__is_invalid_and_not_repeated(url: str) -> None:
    for call in (lambda: connect(url), lambda: make_pool(url)):
        with pytest.raises(InvalidInput) as caught:
            await call()  # type: ignore[misc]
        assert caught.value.field == "database_url"
        assert "secret" not in str(caught.value)
        assert caught.value.__cause__ is None


async def test_nobody_there__is_unavailable(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await connect("postgresql:///x?host=/nonexistent")


async def test_statement_lock_and_idle_limits__are_unavailable(empty_database_url: str) -> None:
    async with (
        await connect(empty_database_url, limits=SHORT) as one,
        await connect(empty_database_url) as two,
    ):
        with pytest.raises(Unavailable, match="statement timeout"), database_errors():
            await one.execute("SELECT pg_sleep(5)")
        await one.rollback()
        await two.execute("CREATE TABLE t (a int)")
        await two.commit()
        await two.execute("LOCK TABLE t")
        with pytest.raises(Unavailable, match="lock timeout"), database_errors():
            await one.execute("SELECT * FROM t")
        await one.rollback()
        await one.execute("SELECT 1")
        await two.execute("SELECT pg_sleep(0.5)")
        with pytest.raises(Unavailable), database_errors():
            await one.execute("SELECT 1")


async def test_other_errors__pass_through(empty_database_url: str) -> None:
    async with await connect(empty_database_url) as connection:
        with pytest.raises(psycopg.errors.UndefinedTable), database_errors():
            await connection.execute("SELECT * FROM absent")


async def test_read_only_server__is_unavailable(empty_database_url: str) -> None:
    async with await connect(empty_database_url) as connection:
        await connection.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(Unavailable, match="read-only"), database_errors():
            await connection.execute("CREATE TABLE t (a int)")


async def test_closed_connection__is_unavailable(empty_database_url: str) -> None:
    connection = await connect(empty_database_url)
    await connection.close()
    with pytest.raises(Unavailable), database_errors():
        await connection.execute("SELECT 1")


async def test_pool__replaces_what_broke_and_limits_the_wait(empty_database_url: str) -> None:
    pool = make_pool(empty_database_url, size_min=1, size_max=1, wait_s=0.2)
    async with pool:
        async with pool.connection() as first:
            pid = first.info.backend_pid
            assert await setting(first, "statement_timeout") == "30s"
            with pytest.raises(PoolTimeout):
                async with pool.connection():
                    pass
            with pytest.raises(Unavailable), database_errors():
                async with pool.connection():
                    pass
        with psycopg.connect(empty_database_url) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        async with pool.connection() as second:
            assert second.info.backend_pid != pid
