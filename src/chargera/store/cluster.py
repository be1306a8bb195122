"""The folder of the embedded PostgreSQL: who may use it, how it is made, how it is configured.

    <data_dir>/postgres/      mode 0700, owner: the server's account
        data/                 the database cluster; complete whenever it exists
        data.new/             a cluster that is being made; removed at the next start
        run/                  the Unix socket; only who can enter this folder can connect
        serve.lock            locked by the process that supervises, while it lives
        alive.lock            locked by the server and all its children: free = all are gone
        server.log            messages of the server, bounded by the supervisor

Both locks are advisory (`flock`) and vanish with their holders, however these end. They, and not
`postmaster.pid`, say what is running: a number in a file may belong to another process by now.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chargera.domain.errors import Conflict, Refused, Unavailable
from chargera.store import launch
from chargera.store.account import Account, named_account
from chargera.store.folder import OwnedFolder
from chargera.store.programs import MAJOR_VERSION, Programs

SUPERUSER = "postgres"
HERE = "/proc/self/cwd"
"""How the server names its folder: it stands in it, and may be unable to search the way there."""

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""All that the server and `initdb` see of our environment."""

INITDB_TIMEOUT_S = 120.0

SETTINGS: Mapping[str, str] = {
    # One way in: the socket in a folder that is closed to others.
    "listen_addresses": "",
    "unix_socket_directories": "../run",
    "unix_socket_permissions": "0700",
    "cluster_name": "chargera",
    # Nothing outside the data folder that a kill would leave behind, and no need of a large
    # /dev/shm, which containers do not have.
    "dynamic_shared_memory_type": "mmap",
    "min_dynamic_shared_memory": "8MB",
    # What is acknowledged is on the disk. `durability` refuses to run without these three.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # Sized for two cores and a few hundred MB; each can be raised from outside.
    "max_connections": "64",
    "shared_buffers": "128MB",
    "effective_cache_size": "512MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "random_page_cost": "1.1",
    "io_method": "sync",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "1",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "ISO, YMD",
    # The log says what went wrong, and never repeats a statement: it may hold a person's data.
    "logging_collector": "off",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}

_CONFIGURATION = "chargera.conf"
_ACCESS = (
    "# Only who may enter the socket's folder gets here: ChargEra and root.\nlocal all all trust\n"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The folder of one embedded PostgreSQL."""

    path: Path
    account: Account | None
    """Whom it belongs to, if not us."""

    @property
    def data(self) -> OwnedFolder:
        """The database cluster."""
        return OwnedFolder(self.path / "data", self.account)

    @property
    def run(self) -> OwnedFolder:
        """The folder of the Unix socket."""
        return OwnedFolder(self.path / "run", self.account)

    @property
    def log(self) -> Path:
        """The messages of the server."""
        return self.path / "server.log"

    @property
    def _folder(self) -> OwnedFolder:
        return OwnedFolder(self.path, self.account)

    def claim(self) -> int:
        """Make the folder unless it exists, and return the descriptor that holds it for us.

        Raises: Conflict, when another process supervises this folder; Refused, when the folder
        belongs to an account that we may not use.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.make()
            lock = self._folder.open("serve.lock", os.O_RDWR)
        except PermissionError as error:
            raise Refused(
                f"{self.path} belongs to another user",
                remedy="start ChargEra as the user who started it first, or as root",
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock, 20, 0).decode().strip() or "unknown"
            os.close(lock)
            raise Conflict(
                f"another ChargEra (process {holder}) is running on {self.path.parent}",
                remedy="stop it first, or use another data folder",
            ) from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def prepare(self, programs: Programs, settings: Mapping[str, str], alive: int) -> None:
        """Make the database cluster unless it exists, and write its configuration.

        `alive` is what `clear` returned; what runs here holds it as a server would.

        Raises: Refused, when it was made by another version; Unavailable, when `initdb` fails.
        """
        self.run.make()
        if not self.data.path.exists():
            self._initialise(programs, alive)
        elif self.account and self.data.path.stat().st_uid != self.account.uid:
            self.data.hand_over()  # copied here by root
        version = "".join(self.data.lines("PG_VERSION"))
        if version != str(MAJOR_VERSION):
            raise Refused(
                f"{self.data.path} was made by PostgreSQL {version}, installed is {MAJOR_VERSION}",
                remedy="restore a backup into a new data folder",
            )
        lines = [f"{name} = '{_quoted(value)}'" for name, value in {**SETTINGS, **settings}.items()]
        header = "# Written by ChargEra at each start."
        self.data.replace(_CONFIGURATION, "\n".join([header, *lines, ""]))

    def open_log(self) -> int:
        """Return a descriptor that appends to the log."""
        return self._folder.open("server.log", os.O_RDWR | os.O_APPEND)

    def try_alive(self) -> int | None:
        """Return `alive.lock`, locked, for a server to inherit; None while an old one lives."""
        lock = self._folder.open("alive.lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def is_ready(self, pid: int) -> bool:
        """Say whether the server `pid` accepts connections, by its own `postmaster.pid`."""
        lines = self.data.lines("postmaster.pid")
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def clear(self, timeout_s: float) -> int:
        """End what an earlier run left behind, and return `alive.lock` for the next server.

        An orphan is asked to shut down at once, which its write-ahead log is made for, and
        killed when half of `timeout_s` is over.

        Raises: Conflict, when something lives on after `timeout_s`.
        """
        started = time.monotonic()
        asked: set[int] = set()
        while True:
            alive = self.try_alive()
            found = self._processes()
            if alive is not None and not found:
                # Nobody is left that these could speak of; their number may be another's now,
                # and then PostgreSQL would refuse to start.
                self.data.remove("postmaster.pid")
                self.run.remove(".s.PGSQL.5432.lock")
                return alive
            if alive is not None:
                os.close(alive)
            waited_s = time.monotonic() - started
            if waited_s > timeout_s:
                seen = ", ".join(map(str, sorted(found))) or "unknown"
                raise Conflict(
                    f"an earlier PostgreSQL still runs in {self.data.path} (processes: {seen})",
                    remedy="end these processes, then start again",
                )
            for pid in found:
                with suppress(ProcessLookupError):
                    if waited_s > timeout_s / 2:
                        os.kill(pid, signal.SIGKILL)
                    elif pid not in asked:
                        os.kill(pid, signal.SIGQUIT)
                        asked.add(pid)
            time.sleep(0.02)

    def trim_log(self, size_max: int) -> None:
        """Move the log's content to `server.log.1` when it is over `size_max` bytes.

        The server keeps appending to the same file, so content is moved, not the name. A line
        that is written meanwhile may be lost; the log explains, it proves nothing.
        """
        with os.fdopen(self.open_log(), "rb") as log:
            if os.fstat(log.fileno()).st_size <= size_max:
                return
            older = self._folder.open("server.log.1", os.O_WRONLY | os.O_TRUNC)
            with os.fdopen(older, "wb") as target:
                shutil.copyfileobj(log, target)
            os.ftruncate(log.fileno(), 0)

    def log_size(self) -> int:
        """Return the size of the log in bytes."""
        with os.fdopen(self.open_log(), "rb") as log:
            return os.fstat(log.fileno()).st_size

    def log_tail(self, since: int, lines_max: int = 5) -> str:
        """Return the last `lines_max` lines of what the log holds from byte `since` on."""
        with os.fdopen(self.open_log(), "rb") as log:
            log.seek(max(since, os.fstat(log.fileno()).st_size - 400 * lines_max))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-lines_max:])

    def _initialise(self, programs: Programs, alive: int) -> None:
        path = self.path / "data.new"
        if path.exists():  # an earlier attempt was killed
            shutil.rmtree(path)
        made = OwnedFolder(path, named_account(self.account) if self.account else None)
        made.make()
        self._run_initdb(programs, made, alive)
        made.append("postgresql.conf", f"\ninclude '{_CONFIGURATION}'\n")
        made.replace("pg_hba.conf", _ACCESS)
        OwnedFolder(path, self.account).hand_over()
        self._folder.rename("data.new", "data")

    def _run_initdb(self, programs: Programs, made: OwnedFolder, alive: int) -> None:
        options = (
            *("--pgdata", HERE, "--username", SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--data-checksums"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        )
        with made.descriptor() as folder:
            command = launch.command(
                programs.initdb,
                options,
                identity=made.account,
                folder_fd=folder,
                parent_death=signal.SIGKILL,
            )
            try:
                subprocess.run(  # noqa: S603 - our own program, no shell
                    command,
                    pass_fds=(folder, alive),
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=INITDB_TIMEOUT_S,
                    check=True,
                )
            except subprocess.CalledProcessError as error:
                raise Unavailable(f"initdb failed: {error.stderr.strip()[-1000:]}") from error
            except subprocess.TimeoutExpired as error:
                raise Unavailable(f"initdb took more than {INITDB_TIMEOUT_S:g} s") from error

    def _processes(self) -> set[int]:
        """Return the numbers of all `postgres` processes of this cluster that we can see.

        They stand in `data` (or `data.new`). Where the kernel hides that from us (another user's
        processes, for a root without CAP_SYS_PTRACE), the one that `postmaster.pid` names is
        believed if it is a `postgres` of the right user.
        """
        paths = (self.data.path, self.path / "data.new")
        homes = [path.stat() for path in paths if path.exists()]
        lines = self.data.lines("postmaster.pid")
        found = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                before, _, after = (entry / "stat").read_text().rpartition(")")
                if before.partition("(")[2] != "postgres" or after.split()[0] == "Z":
                    continue
                try:
                    place = (entry / "cwd").stat()
                    ours = any(os.path.samestat(place, home) for home in homes)
                except PermissionError:
                    owners = {home.st_uid for home in homes}
                    ours = lines[:1] == [entry.name] and entry.stat().st_uid in owners
                if ours:
                    found.add(int(entry.name))
        return found


def _quoted(value: str) -> str:
    """Return `value` for a place between single quotes in postgresql.conf."""
    if "\n" in value:
        raise Refused("a PostgreSQL setting cannot hold a line break", remedy="remove it")
    return value.replace("\\", "\\\\").replace("'", "''")
