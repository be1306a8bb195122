"""The real server as a process of its own, started, asked, stopped and killed as in real life."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
import psycopg

from chargera.store.cluster import SUPERUSER
from chargera.store.postgres import EmbeddedPostgres
from tests.integration.store.embedded import is_gone

MEMORY = Path("/dev/shm")
MEMORY_FREE_MIN = 1024**3
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0

COMMAND = str(Path(sys.executable).with_name("chargera"))

# No command can break the promise that a station is answered after the commit: the server that
# breaks it, so that the harness can show that it notices, is started by a program of its own.
DISHONEST = """
import asyncio, json, os, sys
from pathlib import Path
from chargera import settings, telemetry
from chargera.bootstrap import ServeOptions, running

async def main():
    folder = Path(sys.argv[1])
    options = ServeOptions(folder, 0, 0, acknowledge_before_commit=True)
    async with running(options, settings.load(folder, os.environ)) as server:
        print(json.dumps(server.ready_line), flush=True)
        await asyncio.Event().wait()

telemetry.configure_logging()
asyncio.run(main())
"""


@contextmanager
def data_folder() -> Iterator[Path]:
    """A folder with a short name, in memory where there is room: there an fsync costs nothing."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN
    with tempfile.TemporaryDirectory(prefix="c-", dir=MEMORY if has_room else None) as folder:
        yield Path(folder)


class ServerProcess:
    """`chargera serve` on ports of its own; may be started again after it was stopped or killed.

    `settings` are environment variables without their prefix: `{"LOG_CHECKPOINT_INTERVAL_S": 1}`.
    It settles nothing on chain unless they say so: contracts and attesters take seconds to start.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        settings: Mapping[str, object] | None = None,
        acknowledge_before_commit: bool = False,
    ) -> None:
        self.data_dir = data_dir
        self.ready: dict[str, Any] = {}
        self.error_path = data_dir / "stderr"
        self._dishonest = acknowledge_before_commit
        self._arguments = arguments
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CHARGERA_")},
            "CHARGERA_SETTLEMENT_ENABLED": "false",
            **{f"CHARGERA_{k}": str(v) for k, v in (settings or {}).items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    # Life -------------------------------------------------------------------------------------

    def start(self, timeout_s: float = START_TIMEOUT_S) -> Self:
        """Start it and return once it says that all is up."""
        self.launch()
        self.wait_ready(timeout_s)
        return self

    def launch(self) -> None:
        """Start it and return at once."""
        assert self._process is None, "it runs already"
        with self.error_path.open("ab") as errors:
            self._process = subprocess.Popen(
                self._command(), stdout=subprocess.PIPE, stderr=errors, env=self._environment
            )

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Read the one line that it prints when all is up."""
        process = self.process
        assert process.stdout is not None
        said = select.select([process.stdout], [], [], timeout_s)[0]
        line = process.stdout.readline() if said else b""
        assert line, f"the server says nothing: {self.errors()}"
        self.ready = json.loads(line)
        assert self.ready["ready"] is True

    def _command(self) -> list[str]:
        folder = str(self.data_dir)
        if self._dishonest:
            assert not self._arguments, "the broken server has no options"
            return [sys.executable, "-c", DISHONEST, folder]
        ports = ("--http-port", "0", "--ocpp-port", "0")
        return [COMMAND, "serve", "--data-dir", folder, *ports, *self._arguments]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to stop, and return how long that took; nothing may be left of it."""
        assert self._process is not None
        family = family_of(self._process.pid)
        began_s = time.monotonic()
        self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_TIMEOUT_S)
        finally:
            self._forget()
        took_s = time.monotonic() - began_s
        assert code == 0, f"exit code {code}: {self.errors()}"
        left = {pid for pid in family if is_alive(*pid)}
        assert not left, f"left behind: {left}"
        assert is_gone(self.data_dir), "PostgreSQL runs on"
        return took_s

    def kill(self, *, database_first: bool = False, gap_s: float = 0.0) -> None:
        """SIGKILL the server and every process of its database, in either order."""
        process = self.process
        family = family_of(process.pid) - {_identity(process.pid)}
        if database_first:
            _kill_all(family)
            time.sleep(gap_s)
        process.kill()
        process.wait()
        if not database_first:
            time.sleep(gap_s)
        _kill_all(family)
        # While it watched its database die it may have started it again.
        deadline_s = time.monotonic() + 10
        while (self.data_dir / "postgres" / "alive.lock").exists() and not is_gone(self.data_dir):
            assert time.monotonic() < deadline_s, "PostgreSQL runs on"
            time.sleep(0.01)
        self._forget()

    def discard(self) -> None:
        """Kill it if it still runs."""
        if self._process is not None:
            self.kill()

    def _forget(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.discard()

    # State ------------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it does not run"
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def errors(self) -> str:
        """Return the end of what it wrote to stderr."""
        return self.error_path.read_text(errors="replace")[-3000:]

    def resident_bytes(self) -> int:
        """Return how much memory the server's own process holds."""
        pages = (Path("/proc") / str(self.process.pid) / "statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels."""
        for line in self.fetch("/metrics").decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    # Ways in ----------------------------------------------------------------------------------

    def client(self) -> httpx2.Client:
        """Return a client of the REST API with the local operator's key."""
        kept = json.loads((self.data_dir / "serve.json").read_text())
        return httpx2.Client(
            base_url=f"{kept['http']}/api/v1/",
            headers={"Authorization": f"Bearer {kept['api_key']}"},
            timeout=60,
            trust_env=False,
        )

    def fetch(self, path: str) -> bytes:
        """Return what anybody gets at a path, such as `/log/checkpoint`."""
        answer = httpx2.get(self.ready["http"] + path, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer.content

    def command(self, *arguments: str, code: int = 0) -> Any:
        """Run a command on this data folder and return the JSON that it prints."""
        done = subprocess.run(
            [COMMAND, *arguments, "--data-dir", str(self.data_dir), "--json"],
            capture_output=True,
            env=self._environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
        return json.loads(done.stdout)

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """A look into its database."""
        url = EmbeddedPostgres(self.data_dir).url(role=SUPERUSER)
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of one query."""
        with self.database() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    @contextmanager
    def frozen_database(self) -> Iterator[None]:
        """Within the block no process of the database does anything at all."""
        family = family_of(self.process.pid) - {_identity(self.process.pid)}
        _signal_all(family, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_all(family, signal.SIGCONT)


# Processes -----------------------------------------------------------------------------------

Identity = tuple[int, int]
"""Number and start time of a process: numbers are used again."""


def family_of(pid: int) -> set[Identity]:
    """Return a process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = set(), [pid]
    while waiting:
        member = waiting.pop()
        if fields := _stat(member):
            found.add((member, int(fields[19])))
        waiting += children.get(member, [])
    return found


def is_alive(pid: int, started_at: int) -> bool:
    """Say whether this very process lives; one that only waits to be reaped does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z" and int(fields[19]) == started_at


def _identity(pid: int) -> Identity | None:
    fields = _stat(pid)
    return None if fields is None else (pid, int(fields[19]))


def _stat(pid: int) -> list[str] | None:
    """Return what /proc/PID/stat says after the name: state, parent, ...; None: there is none."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _kill_all(family: set[Identity]) -> None:
    _signal_all(family, signal.SIGKILL)


def _signal_all(family: set[Identity], number: signal.Signals) -> None:
    for pid, started_at in family:
        if is_alive(pid, started_at):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
