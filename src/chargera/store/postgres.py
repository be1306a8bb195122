"""A PostgreSQL of our own under the data folder that lives exactly as long as we do.

`EmbeddedPostgres` starts the wheel's server, watches it, starts it again when it dies, and stops
it. However the supervising process ends, the server ends too: the kernel sends it SIGQUIT when
the thread that started it is gone (`launch`), and whatever an earlier run left behind is
recognised and ended at the next start (`cluster`). Linux only.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from chargera.domain.errors import ChargEraError, Refused, Unavailable
from chargera.store import launch
from chargera.store.account import server_account
from chargera.store.cluster import ENVIRONMENT, HERE, SUPERUSER, Cluster
from chargera.store.programs import Programs, installed, readable_by_others

DATABASE = "chargera"
ROLE = "chargera"
"""Owner of the database, and no superuser: SQL that goes astray stays within it."""

PORT = 5432
"""Only a part of the socket's name: nothing listens on a port."""

SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_PATH_MAX = 107
"""Bytes that a Unix socket's address holds (unix(7), without the closing zero)."""

LOG_SIZE_MAX = 8 * 1024 * 1024
POLL_S = 0.1
READY_POLL_S = 0.01
TRIM_EVERY_S = 10.0
ORPHAN_TIMEOUT_S = 15.0
IMMEDIATE_TIMEOUT_S = 3.0

_log = logging.getLogger(__name__)


class ServerEventKind(StrEnum):
    """What happened to the server without anybody asking for it."""

    DIED = "died"
    RESTARTED = "restarted"
    GAVE_UP = "gave_up"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Something that health, metrics and the log want to know."""

    kind: ServerEventKind
    detail: str


class EmbeddedPostgres:
    """The PostgreSQL server in `<data_dir>/postgres`.

    All methods block; from a coroutine call them with `asyncio.to_thread`, and await the end of
    the server with `asyncio.wrap_future(server.finished)`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str] | None = None,
        start_timeout_s: float = 120.0,
        restarts_max: int = 10,
        restarts_window_s: float = 60.0,
        on_event: Callable[[ServerEvent], None] | None = None,
    ) -> None:
        """Describe the server; nothing happens yet.

        `settings` override `cluster.SETTINGS`, by PostgreSQL's names. A start includes recovery
        after a crash and may take up to `start_timeout_s`. A server that dies is started again at
        most `restarts_max` times in `restarts_window_s`. `on_event` is called from the
        supervising thread and must return quickly.
        """
        self.finished: Future[None] = Future()
        """Done after `stop`; holds `Unavailable` when the server died too often."""
        self._data_dir = data_dir.absolute()
        self._settings = dict(settings or {})
        self._start_timeout_s = start_timeout_s
        self._restarts_max = restarts_max
        self._restarts_window_s = restarts_window_s
        self._on_event = on_event or (lambda event: None)
        self._resources = ExitStack()
        self._stopping = threading.Event()
        self._started: Future[None] = Future()
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: threading.Thread | None = None
        self._socket_folder_fd = -1

    @property
    def pid(self) -> int | None:
        """The number of the server's first process, or None while there is none."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> str:
        """Start the server, make the database unless it exists, and return its URL.

        The URL stays the same over restarts and holds while this process lives.

        Raises: Conflict, when another process uses the data folder; Refused, when this machine or
        user cannot run the server; Unavailable, when it does not come up.
        """
        if self._supervisor:
            raise Refused("this server was started before", remedy="make another one")
        if not sys.platform.startswith("linux"):
            raise Refused(
                f"the embedded PostgreSQL runs on Linux only, not on {sys.platform}",
                remedy="set CHARGERA_DATABASE_URL to a PostgreSQL of your own",
            )
        try:
            self._start()
        except OSError as error:  # a full disk, a link where a folder should be, ...
            self._abandon()
            raise Unavailable(
                f"PostgreSQL cannot start in {self._data_dir}: {error}",
                remedy="make room or repair the folder, then start again",
            ) from error
        except BaseException:
            self._abandon()
            raise
        return self.url()

    def url(self, database: str = DATABASE, role: str = ROLE) -> str:
        """Return the URL of `database` for `role`: `postgresql://role@/database?host=...&port=5432`.

        It names all that libpq would else take from the environment (PGHOST, PGPORT, PGUSER).
        """
        host = quote(self._socket_folder(), safe="/")
        return f"postgresql://{role}@/{database}?host={host}&port={PORT}"

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the server; return when it and all its children are gone.

        Connections are cut and a checkpoint is written. What that does not achieve in `timeout_s`
        an immediate shutdown does, which the next start recovers from. Stopping twice is allowed.
        """
        self._stopping.set()
        if self._supervisor is None:
            self._settle()
            return
        waits = ((signal.SIGINT, timeout_s), (signal.SIGQUIT, IMMEDIATE_TIMEOUT_S))
        for request, wait_s in (*waits, (signal.SIGKILL, ORPHAN_TIMEOUT_S)):
            if process := self._process:
                process.send_signal(request)
            self._supervisor.join(wait_s)
            if not self._supervisor.is_alive():
                break
        self._resources.close()
        self._settle()

    def wait_exit(self, timeout_s: float | None = None) -> None:
        """Wait until the server has ended for good.

        Raises: Unavailable, when it died too often; TimeoutError, when it still runs.
        """
        self.finished.result(timeout_s)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _start(self) -> None:
        folder = self._data_dir / "postgres"
        cluster = Cluster(folder, server_account(folder))
        lock = cluster.claim()
        self._resources.callback(os.close, lock)
        programs = installed()
        if cluster.account:
            programs = self._resources.enter_context(readable_by_others(programs))
        alive = cluster.clear(ORPHAN_TIMEOUT_S)
        try:
            cluster.prepare(programs, self._settings, alive)
        finally:
            os.close(alive)
        self._socket_folder_fd = self._resources.enter_context(cluster.run.descriptor())
        self._supervisor = threading.Thread(
            target=self._supervise, args=(cluster, programs), name="postgres", daemon=True
        )
        self._supervisor.start()
        try:
            self._started.result()
            self._make_database()
        except BaseException:
            self.stop()
            raise

    def _abandon(self) -> None:
        self._stopping.set()
        self._resources.close()

    def _settle(self) -> None:
        if not self.finished.done():
            self.finished.set_result(None)

    def _socket_folder(self) -> str:
        """Return the folder of the socket, by a name that fits into a socket's address.

        A longer path (or one with a comma, which would separate two hosts) is named by our open
        descriptor; any process of the same user can use that name while we live.
        """
        path = str(self._data_dir / "postgres" / "run")
        if len(os.fsencode(path)) + 1 + len(SOCKET_NAME) <= SOCKET_PATH_MAX and "," not in path:
            return path
        return f"/proc/{os.getpid()}/fd/{self._socket_folder_fd}"

    def _make_database(self) -> None:
        """Create role and database; each start, since the first may have been cut short."""
        try:
            with psycopg.connect(self.url("postgres", SUPERUSER), autocommit=True) as connection:
                role, database = sql.Identifier(ROLE), sql.Identifier(DATABASE)
                found = connection.execute(
                    "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s),"
                    " EXISTS (SELECT FROM pg_database WHERE datname = %s)",
                    (ROLE, DATABASE),
                ).fetchone()
                has_role, has_database = found or (False, False)
                if not has_role:
                    connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
                if not has_database:
                    statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role)
                    connection.execute(statement)
        except psycopg.OperationalError as error:
            raise Unavailable(f"the embedded PostgreSQL refuses us: {error}") from error

    # All that follows runs in the supervising thread. It must live as long as the server: the
    # kernel takes the end of the thread that started a child for the end of its parent.

    def _supervise(self, cluster: Cluster, programs: Programs) -> None:
        died_at: deque[float] = deque()
        try:
            while not self._stopping.is_set():
                detail = self._run_once(cluster, programs)
                if not self._stopping.is_set():
                    self._report(ServerEventKind.DIED, detail)
                    self._count_death(died_at, detail)
            os.close(cluster.clear(ORPHAN_TIMEOUT_S))
        except Exception as error:  # whatever it is, those who wait for us must learn of it
            failure = (
                error if isinstance(error, ChargEraError) else Unavailable(f"PostgreSQL: {error!r}")
            )
            if not self._started.done():
                self._started.set_exception(failure)
            else:
                self._report(ServerEventKind.GAVE_UP, str(failure))
            self.finished.set_exception(failure)

    def _count_death(self, died_at: deque[float], detail: str) -> None:
        died_at.append(time.monotonic())
        while died_at[0] < died_at[-1] - self._restarts_window_s:
            died_at.popleft()
        if len(died_at) > self._restarts_max:
            raise Unavailable(
                f"PostgreSQL ended {len(died_at)} times in {self._restarts_window_s:g} s: {detail}"
            )

    def _run_once(self, cluster: Cluster, programs: Programs) -> str:
        """Run one server from its start to its end; return how it ended.

        Raises: Unavailable, when the first start fails; Conflict, when an old one does not end.
        """
        log_from = cluster.log_size()
        process = self._process = self._spawn(cluster, programs)
        if self._stopping.is_set():  # `stop` may have come before there was a process
            process.send_signal(signal.SIGINT)
        if self._await_ready(cluster, process):
            if self._started.done():
                self._report(ServerEventKind.RESTARTED, f"process {process.pid}")
            else:
                self._started.set_result(None)
        trimmed_at = time.monotonic()
        while self._is_running(process, POLL_S):
            if time.monotonic() - trimmed_at > TRIM_EVERY_S:
                cluster.trim_log(LOG_SIZE_MAX)
                trimmed_at = time.monotonic()
        detail = f"exit status {process.returncode}; {cluster.log_tail(log_from)}"
        if not self._started.done():
            raise Unavailable(f"PostgreSQL does not start: {detail}", remedy=f"read {cluster.log}")
        return detail

    def _spawn(self, cluster: Cluster, programs: Programs) -> "subprocess.Popen[bytes]":
        with ExitStack() as ours:  # the server inherits these three; we keep none of them
            alive = cluster.clear(ORPHAN_TIMEOUT_S)
            ours.callback(os.close, alive)
            folder = ours.enter_context(cluster.data.descriptor())
            log = cluster.open_log()
            ours.callback(os.close, log)
            return subprocess.Popen(  # noqa: S603 - our own program, no shell
                launch.command(
                    programs.postgres,
                    ("-D", HERE),
                    identity=cluster.account,
                    folder_fd=folder,
                    parent_death=signal.SIGQUIT,
                ),
                pass_fds=(alive, folder),
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for us, we tell the server
            )

    def _await_ready(self, cluster: Cluster, process: "subprocess.Popen[bytes]") -> bool:
        """Wait until `process` accepts connections; kill it when that takes too long."""
        deadline = time.monotonic() + self._start_timeout_s
        while self._is_running(process, READY_POLL_S):
            if cluster.is_ready(process.pid):
                return True
            if time.monotonic() > deadline:
                process.kill()
        return False

    def _is_running(self, process: "subprocess.Popen[bytes]", pause_s: float) -> bool:
        """Pause, but not once the process has ended or is about to; say whether it runs."""
        if self._stopping.is_set():
            with suppress(subprocess.TimeoutExpired):
                process.wait(pause_s)
        else:
            self._stopping.wait(pause_s)
        return process.poll() is None

    def _report(self, kind: ServerEventKind, detail: str) -> None:
        _log.warning("PostgreSQL %s: %s", kind.value, detail)
        self._on_event(ServerEvent(kind, detail))
