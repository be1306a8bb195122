"""The outbox: an effect outside the database is a job, written in the unit of work that causes it.

A job runs at least once, as soon as its unit of work is committed and a worker runs, and again
after every failure that may pass; so what it does must be safe to repeat. Delays here are the
machine's time: what is due by network time is decided by its owner, who defers a job for now.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
import psycopg
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Job

from chargera.domain.errors import Undetermined
from chargera.store.connection import Connection

QUEUE = "outbox"
CONCURRENCY = 4
RETRY_S_MAX = 60
STALLED_S = 30.0
SWEEP_S = 10.0
FINISH_S = 3.0
CONNECT_S = 2.0
"""How long a worker waits for a connection, and so how long it may take to notice `stop`."""

RESTART_S = 1.0
POLL_S = 1.0

_log = logging.getLogger(__name__)


class Jobs:
    """Jobs by name: `register` their functions, `defer` them, `run` the worker."""

    def __init__(
        self,
        url: str,
        *,
        finish_s: float = FINISH_S,
        stalled_s: float = STALLED_S,
        sweep_s: float = SWEEP_S,
    ) -> None:
        """Keep jobs in the database at `url`; nothing is connected before `run`.

        `finish_s`: how long jobs may take to finish when the worker is stopped. A worker that
        gave no sign for `stalled_s` is taken for dead and its jobs run again; they are looked for
        every `sweep_s`.
        """
        connector = procrastinate.PsycopgConnector(
            conninfo=url,
            min_size=1,
            max_size=CONCURRENCY + 1,
            timeout=CONNECT_S,
            kwargs={"application_name": "chargera-worker", "options": "-c timezone=UTC"},
        )
        self._app = procrastinate.App(connector=connector)
        self._finish_s = finish_s
        self._stalled_s = stalled_s
        self._sweep_s = sweep_s
        self._stopping = asyncio.Event()
        self.running = False
        """Whether the worker takes jobs now."""

    def register(self, name: str, function: Callable[..., Awaitable[None]]) -> None:
        """Name the coroutine function that does a job; its arguments are JSON values.

        A job that raises Undetermined is tried again, ever more slowly, until it succeeds; with
        any other exception it has failed for good and stays in the table for a person to see.
        """
        self._app.task(name=name, queue=QUEUE, retry=_Backoff())(function)

    async def defer(self, connection: Connection, name: str, **arguments: Any) -> None:
        """Write a job in the transaction of `connection`: it exists if that is committed."""
        job = self._app.configure_task(name, queue=QUEUE, connection=connection)
        await job.defer_async(**arguments)

    async def run(self) -> None:
        """Do jobs until `stop`; a worker that fails (the database is gone) starts again."""
        async with asyncio.TaskGroup() as group:
            sweeper = group.create_task(self._sweep())
            while not self._stopping.is_set():
                try:
                    await self._work_until_stopped()
                except (ProcrastinateException, psycopg.Error) as error:
                    _log.warning("the outbox worker starts again: %s", error.__cause__ or error)
                await self._pause(RESTART_S)
            sweeper.cancel()

    def stop(self) -> None:
        """Let `run` return within a few seconds; what is not finished by then is done again."""
        self._stopping.set()

    async def _work_until_stopped(self) -> None:
        worker = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({worker, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            worker.cancel()  # it stops at a safe point
            await asyncio.wait({worker})
        if not worker.cancelled():
            worker.result()

    async def _work(self) -> None:
        try:
            await self._app.open_async()
            self.running = True
            await self._app.run_worker_async(
                queues=[QUEUE],
                concurrency=CONCURRENCY,
                fetch_job_polling_interval=POLL_S,
                install_signal_handlers=False,
                delete_jobs="successful",
                shutdown_graceful_timeout=self._finish_s,
            )
        finally:
            self.running = False
            await self._app.close_async()

    async def _sweep(self) -> None:
        """Give the jobs of dead workers back to the queue."""
        while not self._stopping.is_set():
            if self.running:
                try:
                    await self._revive()
                except ProcrastinateException as error:
                    _log.warning("dead workers are not looked for: %s", error.__cause__ or error)
            await self._pause(self._sweep_s if self.running else RESTART_S)

    async def _revive(self) -> None:
        manager = self._app.job_manager
        for job in await manager.get_stalled_jobs(
            queue=QUEUE, seconds_since_heartbeat=self._stalled_s
        ):
            _log.warning("job %s of a dead worker runs again", job.call_string)
            await manager.retry_job(job)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


class _Backoff(procrastinate.BaseRetryStrategy):
    """Waits 1, 2, 4 ... 60 s between tries of a job whose failure may pass."""

    def get_retry_decision(
        self, *, exception: BaseException, job: Job
    ) -> procrastinate.RetryDecision | None:
        """Return when to try again, None for never."""
        # A cancelled job was cut off by the end of its worker, not by a fault of its own.
        if not isinstance(exception, Undetermined | asyncio.CancelledError):
            return None
        return procrastinate.RetryDecision(retry_in={"seconds": min(2**job.attempts, RETRY_S_MAX)})
