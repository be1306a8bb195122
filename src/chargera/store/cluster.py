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
    def data(self) -> Path:
        """The database cluster."""
        return self.path / "data"

    @property
    def run(self) -> Path:
        """The folder of the Unix socket."""
        return self.path / "run"

    @property
    def log(self) -> Path:
        """The messages of the server."""
        return self.path / "server.log"

    def claim(self) -> int:
        """Make the folder unless it exists, and return the descriptor that holds it for us.

        Raises: Conflict, when another process supervises this folder; Refused, when the folder
        belongs to an account that we may not use.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._close_to_others(self.path)
            lock = self._open("serve.lock", os.O_RDWR)
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

    def prepare(self, programs: Programs, settings: Mapping[str, str]) -> None:
        """Make the database cluster unless it exists, and write its configuration.

        Raises: Refused, when it was made by another version; Unavailable, when `initdb` fails.
        """
        self._close_to_others(self.run)
        if not self.data.exists():
            self._initialise(programs)
        elif self.account and self.data.stat().st_uid != self.account.uid:
            self._hand_over(self.data)  # copied here by root
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(MAJOR_VERSION):
            raise Refused(
                f"{self.data} was made by PostgreSQL {version}, installed is {MAJOR_VERSION}",
                remedy="restore a backup into a new data folder",
            )
        lines = [f"{name} = '{_quoted(value)}'" for name, value in {**SETTINGS, **settings}.items()]
        header = "# Written by ChargEra at each start."
        self._write(self.data / _CONFIGURATION, "\n".join([header, *lines, ""]))

    def open_log(self) -> int:
        """Return a descriptor that appends to the log."""
        return self._open("server.log", os.O_WRONLY | os.O_APPEND)

    def try_alive(self) -> int | None:
        """Return `alive.lock`, locked, for a server to inherit; None while an old one lives."""
        lock = self._open("alive.lock", os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def is_ready(self, pid: int) -> bool:
        """Say whether the server `pid` accepts connections, by its own `postmaster.pid`."""
        lines = self._postmaster_lines()
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
                (self.data / "postmaster.pid").unlink(missing_ok=True)
                (self.run / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
                return alive
            if alive is not None:
                os.close(alive)
            waited_s = time.monotonic() - started
            if waited_s > timeout_s:
                raise Conflict(
                    f"an earlier PostgreSQL still runs in {self.data}: {sorted(found) or 'unseen'}",
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
        if self.log.stat().st_size <= size_max:
            return
        older = self._open("server.log.1", os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(older, "wb") as target, self.log.open("rb") as source:
            shutil.copyfileobj(source, target)
        os.truncate(self.log, 0)

    def log_size(self) -> int:
        """Return the size of the log in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self, since: int, size_max: int = 2000) -> str:
        """Return what the log holds from byte `since` on, at most its last `size_max` bytes."""
        with self.log.open("rb") as file:
            file.seek(max(since, self.log_size() - size_max))
            return file.read().decode(errors="replace").strip()

    def _initialise(self, programs: Programs) -> None:
        new = self.path / "data.new"
        if new.exists():  # an earlier attempt was killed
            shutil.rmtree(new)
        new.mkdir(mode=0o700)
        maker = named_account(self.account) if self.account else None
        if maker:
            os.chown(new, maker.uid, maker.gid)
        self._run_initdb(programs, new, maker)
        with (new / "postgresql.conf").open("a") as file:
            file.write(f"\ninclude '{_CONFIGURATION}'\n")
        (new / "pg_hba.conf").write_text(_ACCESS)
        self._hand_over(new)
        new.rename(self.data)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)

    def _run_initdb(self, programs: Programs, new: Path, maker: Account | None) -> None:
        folder = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        options = (
            *("--pgdata", HERE, "--username", SUPERUSER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--data-checksums"),
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        )
        try:
            subprocess.run(  # noqa: S603 - our own program, no shell
                launch.command(
                    programs.initdb,
                    options,
                    uid=maker.uid if maker else launch.UNCHANGED,
                    gid=maker.gid if maker else launch.UNCHANGED,
                    folder_fd=folder,
                    parent_death=signal.SIGKILL,
                ),
                pass_fds=(folder,),
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
            raise Unavailable(f"initdb took more than {INITDB_TIMEOUT_S} s") from error
        finally:
            os.close(folder)

    def _processes(self) -> set[int]:
        """Return the numbers of all `postgres` processes of this cluster that we can see.

        They stand in `data`. Where the kernel hides that from us (another user's processes, for a
        root without CAP_SYS_PTRACE), the one that `postmaster.pid` names is believed if it is a
        `postgres` of the right user.
        """
        if not self.data.exists():
            return set()
        home = self.data.stat()
        lines = self._postmaster_lines()
        named = int(lines[0]) if lines and lines[0].isdigit() else 0
        found = set()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                before, _, after = (entry / "stat").read_text().rpartition(")")
                if before.partition("(")[2] != "postgres" or after.split()[0] == "Z":
                    continue
                try:
                    ours = os.path.samestat((entry / "cwd").stat(), home)
                except PermissionError:
                    owner = entry.stat().st_uid
                    ours = int(entry.name) == named and owner == home.st_uid
                if ours:
                    found.add(int(entry.name))
        return found

    def _postmaster_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _open(self, name: str, flags: int) -> int:
        """Open a file of ours in the folder; the server's account gets it, never a link of its."""
        path = self.path / name
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if self.account:
            os.fchown(descriptor, self.account.uid, self.account.gid)
        return descriptor

    def _write(self, path: Path, text: str) -> None:
        part = path.with_name(f"{path.name}.part")
        part.unlink(missing_ok=True)
        with part.open("x") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            if self.account:
                os.fchown(file.fileno(), self.account.uid, self.account.gid)
        part.rename(path)

    def _close_to_others(self, path: Path) -> None:
        """Make the folder `path` unless it exists; only its owner, the server, may enter it."""
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)
        if self.account:
            os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    def _hand_over(self, folder: Path) -> None:
        """Give `folder` and all in it to the server's account; links are not followed."""
        if self.account is None:
            return
        uid, gid = self.account.uid, self.account.gid
        for _, folders, files, place in os.fwalk(folder):
            for name in (*folders, *files):
                os.chown(name, uid, gid, dir_fd=place, follow_symlinks=False)
        os.chown(folder, uid, gid, follow_symlinks=False)


def _quoted(value: str) -> str:
    """Return `value` for a place between single quotes in postgresql.conf."""
    if "\n" in value:
        raise Refused("a PostgreSQL setting cannot hold a line break", remedy="remove it")
    return value.replace("\\", "\\\\").replace("'", "''")
