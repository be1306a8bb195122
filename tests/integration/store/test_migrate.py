"""The schema goes forward step by step, once, and only from what was recorded."""

import asyncio
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from chargera.app.ports import MessageRow
from chargera.domain.errors import Refused, Unavailable
from chargera.store import migrate
from chargera.store.connection import connect
from chargera.store.migrate import Migration
from chargera.store.programs import installed
from tests.message_log import exchanges

ONE = Migration(1, "one", "create table one (a int); insert into one values (1);")
TWO = Migration(2, "two", "alter table one add b int default 2;")
BROKEN = Migration(2, "broken", "create table half (a int); select 1/0;")

AT = datetime(2026, 5, 4, 8, 0, 0, 1500, UTC)
PAST = [
    MessageRow("CP-1", AT, True, "1.6", "Heartbeat", "1", b'[2,"1"]', b'[3,"1"]', "ok"),
    MessageRow("CP-2", AT, False, "2.0.1", None, None, b"\xff\0", None, 'refused: "it"'),
]


async def apply(url: str, *migrations: Migration) -> list[Migration]:
    async with await connect(url) as connection:
        return await migrate.apply(connection, migrations)


async def plan(url: str, *migrations: Migration) -> list[Migration]:
    async with await connect(url) as connection:
        return await migrate.plan(connection, migrations)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in found}


def schema(url: str) -> list[str]:
    """Return the schema as sorted lines: the order of columns is no matter."""
    command = [installed().pg_dump, "--schema-only", "--restrict-key=k", url]
    return sorted(
        subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\n")
    )


async def test_plan__lists_what_apply_would_do_and_does_nothing(empty_database_url: str) -> None:
    assert await plan(empty_database_url, ONE, TWO) == [ONE, TWO]
    assert tables(empty_database_url) == set()
    assert await apply(empty_database_url, ONE) == [ONE]
    assert await plan(empty_database_url, ONE, TWO) == [TWO]
    assert await apply(empty_database_url, ONE, TWO) == [TWO]
    assert await plan(empty_database_url, ONE, TWO) == []
    assert await apply(empty_database_url, ONE, TWO) == []


async def test_apply__records_each_step_with_digest_and_time(empty_database_url: str) -> None:
    seen: list[Migration] = []
    async with await connect(empty_database_url) as connection:
        await migrate.apply(connection, [ONE, TWO], seen.append)
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    assert seen == [ONE, TWO]
    with psycopg.connect(empty_database_url) as check:
        recorded = check.execute(
            "SELECT version, name, sha256, applied_at <= now() FROM schema_migration ORDER BY 1"
        ).fetchall()
        assert check.execute("SELECT a, b FROM one").fetchall() == [(1, 2)]
    assert recorded == [(1, "one", ONE.sha256, True), (2, "two", TWO.sha256, True)]


async def test_step_that_fails__is_rolled_back_alone(empty_database_url: str) -> None:
    with pytest.raises(Refused, match="0002_broken failed and was rolled back: division by zero"):
        await apply(empty_database_url, ONE, BROKEN)
    assert tables(empty_database_url) == {"one", "schema_migration"}
    assert await apply(empty_database_url, ONE, TWO) == [TWO]


async def test_processes_that_start_together__apply_each_step_once(empty_database_url: str) -> None:
    slow = replace(ONE, sql=f"{ONE.sql} select pg_sleep(0.3);")
    results = await asyncio.gather(*(apply(empty_database_url, slow, TWO) for _ in range(4)))
    assert sorted(step.version for applied in results for step in applied) == [1, 2]
    with psycopg.connect(empty_database_url) as check:
        assert check.execute("SELECT a FROM one").fetchall() == [(1,)]


async def test_newer_database__is_refused(empty_database_url: str) -> None:
    await apply(empty_database_url, ONE, TWO)
    for call in (apply, plan):
        with pytest.raises(Refused, match=r"has schema 2 \(two\), this program knows 1"):
            await call(empty_database_url, ONE)


async def test_edited_step__is_refused(empty_database_url: str) -> None:
    await apply(empty_database_url, ONE)
    with pytest.raises(Refused, match="0001_one is not the one that was applied"):
        await apply(empty_database_url, replace(ONE, sql=f"{ONE.sql} "), TWO)


async def test_hole_in_the_record__is_refused(empty_database_url: str) -> None:
    await apply(empty_database_url, ONE, TWO)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("DELETE FROM schema_migration WHERE version = 1")
    with pytest.raises(Refused, match="0001_one was skipped"):
        await plan(empty_database_url, ONE, TWO)


async def test_open_transaction__is_a_mistake_of_the_caller(empty_database_url: str) -> None:
    async with await connect(empty_database_url) as connection:
        await connection.execute("SELECT 1")
        with pytest.raises(AssertionError, match="commit first"):
            await migrate.apply(connection, [ONE])


async def test_database_that_goes_away_midway__is_unavailable_and_unchanged(
    empty_database_url: str,
) -> None:
    suicide = replace(ONE, sql=f"{ONE.sql} select pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(Unavailable):
        await apply(empty_database_url, suicide)
    assert tables(empty_database_url) == set()


async def test_role_that_may_not_create__is_refused_with_a_remedy(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM pg_database_owner, public")
    with pytest.raises(Refused, match="permission denied") as caught:
        await apply(empty_database_url, ONE)
    assert "must own the database" in caught.value.remedy


async def test_the_products_schema__is_whole(database_url: str) -> None:
    async with await connect(database_url) as connection:
        assert await migrate.plan(connection) == []
    assert {"schema_migration", "procrastinate_jobs"} <= tables(database_url)


async def test_the_queues_steps__make_the_schema_that_the_installed_release_describes(
    empty_database_url: str,
) -> None:
    _, queue, *_ = migrate.load()
    made = []
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for text in (queue.sql, SchemaManager.get_schema()):
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            connection.execute(text.encode())
            made.append(schema(empty_database_url))
    ours, theirs = made
    assert ours == theirs


async def test_product__a_database_with_a_past__is_brought_along(empty_database_url: str) -> None:
    migrations = migrate.load()
    await apply(empty_database_url, *migrations[:3])
    with psycopg.connect(empty_database_url) as before:
        before.execute(
            "INSERT INTO charging_session (session_id, station_id, evse, connector, ocpp_version,"
            " state, charging, started, ended, started_at, received_at, changed_at)"
            " VALUES ('s', 'CP-1', 1, 1, '1.6', 'billed', false, true, true, now(), now(), now())"
        )
        for place, (is_credit, energy_wh) in enumerate([(False, 700), (True, -700), (False, 650)]):
            before.execute(
                "INSERT INTO cdr (cdr_id, session_id, is_credit, currency, net_minor, vat_minor,"
                " gross_minor, energy_wh, document, created_at, log_index)"
                " VALUES (%s, 's', %s, 'EUR', 0, 0, 0, %s, '', now(), %s)",
                [str(place), is_credit, energy_wh, place],
            )
        before.execute(
            "INSERT INTO id_token (id_token_key, id_token, id_token_type, created_at)"
            " VALUES ('abc', 'ABC', 'ISO14443', now())"
        )
        for row in PAST:
            before.execute(
                "INSERT INTO ocpp_message (station_id, received_at, inbound, ocpp_version, action,"
                " message_id, frame, answer, outcome)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
                row,
            )
    await apply(empty_database_url, *migrations)
    with psycopg.connect(empty_database_url) as after:
        totals = after.execute("SELECT bills, energy_wh FROM network_total").fetchall()
        after.execute(
            "INSERT INTO id_token (id_token_key, id_token, id_token_type, created_at)"
            " VALUES ('abc', 'abc', 'eMAID', now())"
        )
        assert exchanges(after) == PAST
    assert totals == [(1, 650)]
