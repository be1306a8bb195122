"""Statements in one round trip, against the real server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from chargera.store import binary
from chargera.store.columns import BOOLEAN, BYTEA, INT4, INT8, TEXT, TIME, WORD, Column, Table
from chargera.store.connection import Connection, connect
from chargera.store.pipeline import COMMIT, Call, Statement, run

ECHO = Statement("echo", "select $1, $1 is null", (binary.TEXT.oid,))
DIVIDE = Statement("divide", "select 1 / $1", (binary.INT4.oid,))
INSERT = Statement("insert", "insert into thing values ($1)", (binary.INT4.oid,))
COUNT = Statement("count", "select count(*) from thing")
NO_SQL = Statement("no_sql", "selekt")


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Connection]:
    async with await connect(empty_database_url) as connection:
        await connection.execute("create table thing (n int)")
        await connection.commit()
        yield connection


async def test_run__returns_the_rows_of_each_call(connection: Connection) -> None:
    rows = await run(connection, [Call(ECHO, [b"a"]), Call(ECHO, [None]), Call(COUNT)])
    assert rows == [[(b"a", b"\0")], [(None, b"\1")], [(b"\0" * 8,)]]


async def test_run__works_in_one_transaction__until_it_is_committed(connection: Connection) -> None:
    await run(connection, [Call(INSERT, [binary.plain_int4(1)])])
    await connection.rollback()
    await run(connection, [Call(INSERT, [binary.plain_int4(2)]), COMMIT])
    await connection.rollback()
    assert await run(connection, [Call(COUNT)]) == [[(b"\0" * 7 + b"\1",)]]


async def test_run__a_call_that_fails__takes_all_with_it(connection: Connection) -> None:
    calls = [Call(INSERT, [binary.plain_int4(1)]), Call(DIVIDE, [binary.plain_int4(0)]), COMMIT]
    with pytest.raises(psycopg.errors.DivisionByZero):
        await run(connection, calls)
    await connection.rollback()
    assert await run(connection, [Call(COUNT)]) == [[(b"\0" * 8,)]]


async def test_run__a_statement_that_cannot_be_prepared__spoils_no_other(
    connection: Connection,
) -> None:
    with pytest.raises(psycopg.errors.SyntaxError):
        await run(connection, [Call(ECHO, [b"a"]), Call(NO_SQL), Call(COUNT)])
    await connection.rollback()
    for _ in range(2):
        rows = await run(connection, [Call(COUNT), Call(ECHO, [b"b"])])
        assert rows[1] == [(b"b", b"\0")]


async def test_run__beside_cursors__sees_what_they_did(connection: Connection) -> None:
    await connection.execute("insert into thing values (1)")
    assert await run(connection, [Call(COUNT)]) == [[(b"\0" * 7 + b"\1",)]]
    cursor = await connection.execute("select n from thing")
    assert await cursor.fetchall() == [(1,)]


async def test_run__prepares_again_on_another_connection(
    connection: Connection, empty_database_url: str
) -> None:
    await run(connection, [Call(ECHO, [b"a"])])
    async with await connect(empty_database_url) as other:
        assert await run(other, [Call(ECHO, [b"a"])]) == [[(b"a", b"\0")]]


async def test_run__after_many_rollbacks__has_its_statements(connection: Connection) -> None:
    for _ in range(10):
        await connection.execute("select 1")
        assert await run(connection, [Call(ECHO, [b"a"])]) == [[(b"a", b"\0")]]
        await connection.rollback()


async def test_run__more_than_the_kernel_takes_at_once__goes_through(
    connection: Connection,
) -> None:
    large = b"x" * 2_000_000
    rows = await run(connection, [Call(ECHO, [large])] * 5)
    assert [len(row[0] or b"") for (row,) in rows] == [len(large)] * 5


async def test_run__a_server_that_goes__is_an_error_of_the_connection(
    connection: Connection, empty_database_url: str
) -> None:
    pid = connection.info.backend_pid
    async with await connect(empty_database_url, autocommit=True) as other:
        await other.execute("select pg_terminate_backend(%s)", [pid])
    with pytest.raises(psycopg.OperationalError):
        await run(connection, [Call(COUNT)])
    assert connection.closed


async def test_table__every_type__arrives_as_it_was(connection: Connection) -> None:
    at = datetime(2026, 11, 24, 12, 0, 0, 123456, UTC)
    values: tuple[Any, ...] = (True, b"\0\xff", 2**40, -5, "é\n", at, "word")
    types = (BOOLEAN, BYTEA, INT8, INT4, TEXT, TIME, WORD)
    columns = [
        Column(f"c{place}", kind, lambda row, place=place: row[place])
        for place, kind in enumerate(types)
    ]
    await connection.execute(
        "create table kept (c0 bool, c1 bytea, c2 bigint, c3 int, c4 text, c5 timestamptz, c6 text)"
    )
    rows = [values, (False, None, None, None, None, None, None)]
    await run(
        connection, [Table("keep", "insert into kept select * from {rows}", columns).of(rows)]
    )
    cursor = await connection.execute("select * from kept order by c0 desc")
    assert await cursor.fetchall() == rows


async def test_run__cancelled_while_it_waits__leaves_the_connection_as_good_as_before(
    connection: Connection,
) -> None:
    sleep = Statement("sleep", "select pg_sleep(30)")
    waiting = asyncio.create_task(run(connection, [Call(ECHO, [b"a"]), Call(sleep)]))
    while connection.pgconn.transaction_status != TransactionStatus.ACTIVE:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await connection.rollback()
    assert await run(connection, [Call(ECHO, [b"b"])]) == [[(b"b", b"\0")]]
