"""What the tests of the embedded server share: places, accounts, processes."""

import fcntl
import json
import os
import pwd
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

import chargera
from chargera.store.programs import is_open

SUPERVISOR = Path(__file__).with_name("supervisor.py")
IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody") if IS_ROOT else None


def interpreter_for(user: str) -> tuple[str, dict[str, str]]:
    """Return an interpreter that `user` can run, with the environment that gives it our code."""
    packages = Path(psycopg.__file__).parents[1]
    source = Path(chargera.__file__).parents[1]
    environment = {"PATH": os.defpath, "PYTHONPATH": f"{source}:{packages}"}
    if user == "self":
        return sys.executable, environment
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, shutil.which(name, path=os.defpath)):
        if found and all(
            is_open(path, executable=path.is_dir() or path.suffix == "")
            for path in (Path(found).resolve(), source, packages, SUPERVISOR)
        ):
            return str(Path(found).resolve()), environment
    pytest.skip("neither the checkout nor an interpreter is readable by an ordinary user")


def identity_of(folder: Path) -> dict[str, Any]:
    """Return the options of `Popen` for a process of the owner of `folder`."""
    owner = folder.stat()
    if owner.st_uid == os.geteuid():
        return {}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


class Supervisor:
    """A running `supervisor.py`."""

    def __init__(self, data_dir: Path, user: str = "self", **options: object) -> None:
        program, environment = interpreter_for(user)
        identity: dict[str, Any] = {}
        if user != "self":
            assert NOBODY
            identity = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid, "extra_groups": []}
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            [program, str(SUPERVISOR), str(data_dir), json.dumps(options)],
            stdout=subprocess.PIPE,
            env=environment,
            cwd="/",
            **identity,
        )
        self.ready = self.next_line()

    @property
    def url(self) -> str:
        return str(self.ready["url"])

    @property
    def server_pid(self) -> int:
        return int(self.ready["pid"])

    def next_line(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """Return the next thing it says."""
        stream = self.process.stdout
        assert stream
        assert select.select([stream], [], [], timeout_s)[0], "the supervisor says nothing"
        line = stream.readline()
        assert line, f"the supervisor ended with {self.process.wait()}"
        said: dict[str, Any] = json.loads(line)
        return said

    def terminate(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.terminate()
        return self.process.wait(15)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        if "url" in self.ready:
            until(lambda: is_gone(self.data_dir))


def processes_in(data_dir: Path) -> set[int]:
    """Return all processes that stand in the cluster of `data_dir`, whatever their names."""
    home = str(data_dir / "postgres" / "data")
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str((entry / "cwd").readlink()) == home:
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def is_gone(data_dir: Path) -> bool:
    """Say whether nothing of the server lives, by what the kernel shows and by its lock.

    A root without CAP_SYS_PTRACE sees no other user's folder; the lock is seen by everybody.
    """
    if processes_in(data_dir):
        return False
    with (data_dir / "postgres" / "alive.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> float:
    """Wait for `condition`; return the seconds that it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "in vain"
        time.sleep(0.01)
    return time.monotonic() - started


@contextmanager
def rows(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect and have a table `kept`."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        yield connection


def keep(url: str, value: int) -> None:
    with rows(url) as connection:
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))


def kept(url: str) -> list[int]:
    with rows(url) as connection:
        found = connection.execute("SELECT value FROM kept ORDER BY value").fetchall()
    return [value for (value,) in found]
