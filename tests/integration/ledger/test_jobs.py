"""The outbox: jobs exist with their commit, run at once, and again until they are done."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from chargera.app.clock import SystemEntropy
from chargera.domain.errors import Refused, Unavailable
from chargera.store import jobs as outbox
from chargera.store.jobs import Jobs
from chargera.store.unit_of_work import Database
from tests.unit.ledger.contracts import HandClock


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, HandClock(), SystemEntropy())
    await database.open()
    yield database
    await database.close()


@asynccontextmanager
async def worker(jobs: Jobs) -> AsyncIterator[None]:
    running = asyncio.create_task(jobs.run())
    try:
        yield
    finally:
        jobs.stop()
        await asyncio.wait_for(running, outbox.FINISH_S + 3)


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def defer(database: Database, jobs: Jobs, *, commit: bool = True, **arguments: int) -> None:
    async with database.work() as work:
        await jobs.defer(work.connection, "job", **arguments)
        if commit:
            await work.commit()


async def test_a_job_exists_only_with_its_commit(database: Database) -> None:
    done: list[int] = []
    jobs = Jobs(database.url)

    async def job(number: int) -> None:
        done.append(number)

    jobs.register("job", job)
    async with worker(jobs):
        await until(lambda: jobs.running)
        await defer(database, jobs, commit=False, number=1)
        await defer(database, jobs, number=2)
        started = time.monotonic()
        await until(lambda: bool(done))
        assert time.monotonic() - started < 4  # told by the database, not found by polling
    assert done == [2]
    assert not jobs.running
    async with database.work() as work:
        cursor = await work.connection.execute("select count(*) from procrastinate_jobs")
        assert await cursor.fetchone() == (0,)


async def test_what_may_pass_is_tried_again_and_what_may_not_is_kept(database: Database) -> None:
    calls: list[int] = []
    jobs = Jobs(database.url)

    async def job(number: int) -> None:
        calls.append(number)
        if number == 2:
            raise Refused("never")
        if calls.count(1) < 2:
            raise Unavailable("not now")

    jobs.register("job", job)
    await defer(database, jobs, number=1)
    await defer(database, jobs, number=2)
    async with worker(jobs):
        await until(lambda: calls.count(1) == 2, 12)
        await asyncio.sleep(0.2)
    assert calls.count(2) == 1
    async with database.work() as work:
        cursor = await work.connection.execute("select status::text from procrastinate_jobs")
        assert await cursor.fetchall() == [("failed",)]


async def test_stopping_cuts_a_job_off_and_it_runs_again(database: Database) -> None:
    started: list[int] = []
    jobs = Jobs(database.url, finish_s=0.2)

    async def job(number: int) -> None:
        started.append(number)
        if len(started) == 1:
            await asyncio.sleep(60)

    jobs.register("job", job)
    await defer(database, jobs, number=1)
    async with worker(jobs):
        await until(lambda: bool(started))
    again = Jobs(database.url)
    again.register("job", job)
    async with worker(again):
        await until(lambda: len(started) == 2)


async def test_jobs_of_a_dead_worker_are_taken_up(database: Database) -> None:
    done: list[int] = []
    jobs = Jobs(database.url, stalled_s=0.5, sweep_s=0.2)

    async def job(number: int) -> None:
        done.append(number)

    jobs.register("job", job)
    await defer(database, jobs, number=1)
    async with database.work() as work:  # a worker took it and was killed
        await work.connection.execute(
            "with dead as (insert into procrastinate_workers (last_heartbeat)"
            " values (now() - interval '1 minute') returning id)"
            " update procrastinate_jobs set status = 'doing', worker_id = (select id from dead)"
        )
        await work.commit()
    async with worker(jobs):
        await until(lambda: done == [1])


async def test_a_worker_outlives_its_connections(database: Database) -> None:
    done: list[int] = []
    jobs = Jobs(database.url)

    async def job(number: int) -> None:
        done.append(number)

    jobs.register("job", job)
    async with worker(jobs):
        await until(lambda: jobs.running)
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and application_name = 'chargera-worker'"
            )
        await defer(database, jobs, number=1)
        await until(lambda: done == [1], 20)


async def test_without_a_database_it_waits_and_stops_at_once(tmp_path: Path) -> None:
    jobs = Jobs(f"postgresql://nobody@/nowhere?host={tmp_path}")
    running = asyncio.create_task(jobs.run())
    await asyncio.sleep(0.3)
    assert not jobs.running
    assert not running.done()
    started = time.monotonic()
    jobs.stop()
    await asyncio.wait_for(running, 5)
    assert time.monotonic() - started < 15
