"""The embedded server lives exactly as long as its supervisor, as root and as anybody."""

import asyncio
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from chargera.domain.errors import Conflict, Refused, Unavailable
from chargera.store.account import OWN_NUMBERS
from chargera.store.cluster import HERE, Cluster
from chargera.store.postgres import EmbeddedPostgres, ServerEvent, ServerEventKind
from chargera.store.programs import PACKAGE, installed
from tests.integration.store.embedded import (
    IS_ROOT,
    NOBODY,
    SUPERVISOR,
    Supervisor,
    identity_of,
    is_gone,
    keep,
    kept,
    processes_in,
    until,
)

USERS = ["self", "nobody"] if IS_ROOT else ["self"]
as_root = pytest.mark.skipif(not IS_ROOT, reason="shows what root does")


@pytest.fixture
def place() -> Iterator[Path]:
    """A closed folder with a short path."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="c-", dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture(params=USERS)
def user(request: pytest.FixtureRequest, place: Path) -> str:
    """Who supervises: whoever runs the tests, and an ordinary user where that is root."""
    if request.param == "nobody":
        assert NOBODY
        os.chown(place, NOBODY.pw_uid, NOBODY.pw_gid)
    return str(request.param)


def test_a_fresh_database__is_empty_utf8_and_in_utc(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as connection:
        row = connection.execute(
            "SELECT current_user, current_setting('server_encoding'),"
            " current_setting('TimeZone'), current_setting('data_checksums'),"
            " (SELECT datlocprovider FROM pg_database WHERE datname = current_database())::text,"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
        ).fetchone()
    assert row == ("chargera", "UTF8", "UTC", "on", "b", False)


def test_sigterm__stops_the_server_and_keeps_its_data(place: Path, user: str) -> None:
    with Supervisor(place / "d", user) as first:
        keep(first.url, 1)
        with psycopg.connect(first.url):  # somebody is still connected
            assert first.terminate() == 0
    assert is_gone(place / "d")
    with Supervisor(place / "d", user) as second:
        assert kept(second.url) == [1]


def test_killed_supervisor__takes_the_server_along(place: Path, user: str) -> None:
    with Supervisor(place / "d", user) as first:
        keep(first.url, 1)
        first.kill()
        assert until(lambda: is_gone(place / "d")) < 2.0
    with Supervisor(place / "d", user) as second:
        assert kept(second.url) == [1]


def test_killed_server__is_started_again(place: Path, user: str) -> None:
    with Supervisor(place / "d", user) as supervisor:
        keep(supervisor.url, 1)
        with psycopg.connect(supervisor.url) as old:
            old_backend = old.info.backend_pid
            os.kill(supervisor.server_pid, signal.SIGKILL)
            assert supervisor.next_line()["event"] == "died"
            assert supervisor.next_line()["event"] == "restarted"
            assert old_backend not in processes_in(place / "d")
            with pytest.raises(psycopg.OperationalError):
                old.execute("SELECT 1")
        assert kept(supervisor.url) == [1]
        assert supervisor.terminate() == 0
        assert is_gone(place / "d")


def test_both_killed__the_next_start_recovers(place: Path, user: str) -> None:
    with Supervisor(place / "d", user) as first:
        keep(first.url, 1)
        first.process.send_signal(signal.SIGSTOP)  # so that it cannot react to what comes first
        os.kill(first.server_pid, signal.SIGKILL)
        first.kill()
        with Supervisor(place / "d", user) as second:
            assert kept(second.url) == [1]


def test_second_supervisor__is_refused_and_harms_nobody(place: Path, user: str) -> None:
    with Supervisor(place / "d", user) as first:
        with Supervisor(place / "d", user) as second:
            assert second.ready["error"] == "conflict"
            assert f"process {first.process.pid}" in second.ready["message"]
            assert second.process.wait() == 1
        keep(first.url, 1)
        assert first.terminate() == 0


def test_server__leaves_no_shared_memory_files_to_a_kill(place: Path) -> None:
    with Supervisor(place / "d") as supervisor:
        keep(supervisor.url, 1)
        maps = Path(f"/proc/{supervisor.server_pid}/maps").read_text()
        assert "/dev/shm/PostgreSQL." not in maps
        assert str(place) in maps


def test_environment_for_other_databases__does_not_mislead_us(place: Path) -> None:
    misleading = {"PGHOST": "192.0.2.1", "PGPORT": "1", "PGUSER": "x", "PGDATA": "/nonexistent"}
    environment = {**os.environ, **misleading, "PGDATABASE": "x", "LC_ALL": "xx_XX", "TZ": "x"}
    with subprocess.Popen(
        [sys.executable, SUPERVISOR, place], stdout=subprocess.PIPE, env=environment, text=True
    ) as supervisor:
        assert supervisor.stdout
        assert "url" in json.loads(supervisor.stdout.readline())
        supervisor.terminate()
        assert supervisor.wait(10) == 0


def test_ctrl_c__is_not_seen_by_the_server(place: Path) -> None:
    with Supervisor(place / "d") as supervisor:
        assert os.getpgid(supervisor.server_pid) != os.getpgid(supervisor.process.pid)


def test_stale_pid_files_of_a_living_stranger__do_not_hinder(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        pid_file = place / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines(keepends=True)
        keep(server.url(), 1)
    with subprocess.Popen(["sleep", "60"], **identity_of(pid_file.parent)) as stranger:
        stale = "".join([f"{stranger.pid}\n", *lines[1:]])
        pid_file.write_text(stale)
        (place / "postgres" / "run" / ".s.PGSQL.5432.lock").write_text(stale)
        with EmbeddedPostgres(place) as server:
            assert kept(server.url()) == [1]
        assert stranger.poll() is None
        stranger.kill()


def test_orphaned_server__is_ended_first(place: Path) -> None:
    with EmbeddedPostgres(place) as server:
        keep(server.url(), 1)
    data = place / "postgres" / "data"
    with subprocess.Popen(
        [installed().postgres, "-D", HERE],
        cwd=data,
        stderr=subprocess.DEVNULL,
        env={"LC_ALL": "C"},
        start_new_session=True,
        **identity_of(data),
    ) as orphan:
        until((data / "postmaster.pid").exists)
        with EmbeddedPostgres(place) as server:
            assert kept(server.url()) == [1]
            assert orphan.wait(5) is not None
            assert orphan.pid not in processes_in(place)


def test_cluster_whose_making_was_cut_short__is_made_anew(place: Path) -> None:
    half = place / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(place) as server:
        assert kept(server.url()) == []
    assert not half.exists()


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.2])
def test_kill_while_the_cluster_is_made__the_next_start_makes_it(
    place: Path, after_s: float
) -> None:
    with subprocess.Popen([sys.executable, SUPERVISOR, place], stdout=subprocess.DEVNULL) as first:
        until((place / "postgres" / "data.new").exists)
        time.sleep(after_s)
        first.kill()
    with EmbeddedPostgres(place) as server:
        assert kept(server.url()) == []


@pytest.mark.parametrize(
    "name", ["x" * 200, "a,b", 'it\'s a \\ "path" %41 ü', "x" * 66], ids=lambda name: name[:8]
)
def test_any_path__can_be_connected_to(place: Path, name: str) -> None:
    with EmbeddedPostgres(place / name) as server:
        keep(server.url(), 1)
        dump = subprocess.run(  # a process of its own can use the address as well
            [installed().pg_dump, "--data-only", server.url()],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "COPY public.kept" in dump.stdout


def test_server__outlives_the_thread_that_asked_for_it(place: Path) -> None:
    server = EmbeddedPostgres(place)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        pid = server.pid
        keep(server.url(), 1)
        assert server.pid == pid
    finally:
        server.stop()
    assert server.pid is None


async def test_server_that_keeps_dying__is_given_up_and_says_so(place: Path) -> None:
    events: list[ServerEvent] = []
    server = EmbeddedPostgres(place, restarts_max=1, on_event=events.append)
    await asyncio.to_thread(server.start)
    try:
        for died in (1, 2):
            assert server.pid
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(until, lambda died=died: len(events) >= 2 * died)
        with pytest.raises(Unavailable, match="ended 2 times"):
            await asyncio.wrap_future(server.finished)
        with pytest.raises(Unavailable):
            server.wait_exit(0)
    finally:
        server.stop()
    kinds = [event.kind for event in events]
    died, restarted = ServerEventKind.DIED, ServerEventKind.RESTARTED
    assert kinds == [died, restarted, died, ServerEventKind.GAVE_UP]
    assert until(lambda: is_gone(place)) < 5.0


def test_deaths_long_ago__do_not_count(place: Path) -> None:
    events: list[ServerEvent] = []
    with EmbeddedPostgres(
        place, restarts_max=1, restarts_window_s=0.01, on_event=events.append
    ) as server:
        for died in (1, 2, 3):
            assert server.pid
            os.kill(server.pid, signal.SIGKILL)
            until(lambda died=died: len(events) == 2 * died)
        assert events[-1].kind is ServerEventKind.RESTARTED


def test_server_that_cannot_start__says_why_and_leaves_nothing(place: Path) -> None:
    server = EmbeddedPostgres(place, settings={"shared_buffers": "plenty"})
    with pytest.raises(Unavailable, match='invalid value for parameter "shared_buffers"'):
        server.start()
    assert is_gone(place)
    with EmbeddedPostgres(place) as healthy:  # neither the folder nor its lock is taken
        keep(healthy.url(), 1)


def test_start_that_takes_too_long__is_given_up(place: Path) -> None:
    with pytest.raises(Unavailable, match="does not start"):
        EmbeddedPostgres(place, start_timeout_s=0.0).start()
    assert is_gone(place)


def test_stop__is_idempotent_and_a_server_starts_once(place: Path) -> None:
    server = EmbeddedPostgres(place)
    server.stop()
    server.wait_exit(0)
    other = EmbeddedPostgres(place)
    other.start()
    with pytest.raises(Refused, match="started before"):
        other.start()
    with pytest.raises(TimeoutError):
        other.wait_exit(0)
    other.stop()
    other.stop()
    other.wait_exit(0)


def test_cluster_of_another_version__is_refused(place: Path) -> None:
    with EmbeddedPostgres(place):
        pass
    (place / "postgres" / "data" / "PG_VERSION").write_text("15\n")
    with pytest.raises(Refused, match="made by PostgreSQL 15, installed is 18"):
        EmbeddedPostgres(place).start()


def test_setting_with_a_line_break__is_refused(place: Path) -> None:
    with pytest.raises(Refused, match="line break"):
        EmbeddedPostgres(place, settings={"cluster_name": "a\nfsync = off"}).start()


def test_setting_with_quotes__arrives(place: Path) -> None:
    with (
        EmbeddedPostgres(place, settings={"cluster_name": "it's \\ fine"}) as server,
        psycopg.connect(server.url()) as connection,
    ):
        assert connection.execute("SHOW cluster_name").fetchone() == ("it's \\ fine",)


def test_folder_and_socket__are_closed_to_others(place: Path) -> None:
    (place / "postgres" / "run").mkdir(parents=True, mode=0o755)
    with EmbeddedPostgres(place):
        for path in (place / "postgres", place / "postgres" / "run", place / "postgres" / "data"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        socket = place / "postgres" / "run" / ".s.PGSQL.5432"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700


def test_long_log__is_moved_aside(place: Path) -> None:
    cluster = Cluster(place, None)
    os.write(log := cluster.open_log(), b"old " * 1000)
    cluster.trim_log(10_000)
    assert cluster.log_size() == 4000
    cluster.trim_log(3000)
    assert cluster.log_size() == 0
    os.write(log, b"new\n")  # the writer's descriptor stays good
    os.close(log)
    assert cluster.log.read_bytes() == b"new\n"
    assert (place / "server.log.1").stat().st_size == 4000
    assert cluster.log_tail(0) == "new"


def test_link_in_place_of_a_folder__is_refused(place: Path) -> None:
    (place / "other").mkdir(mode=0o755)
    (place / "postgres").symlink_to(place / "other")
    with pytest.raises(Unavailable, match="cannot start"):
        EmbeddedPostgres(place).start()
    assert stat.S_IMODE((place / "other").stat().st_mode) == 0o755
    assert list((place / "other").iterdir()) == []


@as_root
def test_root__changes_nothing_but_its_folder(place: Path) -> None:
    closed = place / "closed" / "d"
    closed.mkdir(parents=True)
    closed.parent.chmod(0o700)
    watched = [closed, *closed.parents, Path("/etc/passwd"), *installed().postgres.parents]

    def state() -> list[tuple[int, int, int]]:
        return [(s.st_mode, s.st_uid, s.st_gid) for s in map(os.stat, watched)]

    before, accounts = state(), Path("/etc/passwd").read_bytes()
    with EmbeddedPostgres(closed) as server:
        assert server.pid
        users, capabilities = set(), set()
        for pid in {server.pid, *processes_in(closed)}:
            with suppress(OSError):  # a background process may end meanwhile
                users.add(Path(f"/proc/{pid}").stat().st_uid)
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                held = ("CapEff", "CapPrm", "CapAmb")
                capabilities |= {line.split()[1] for line in lines if line.startswith(held)}
    assert state() == before
    assert Path("/etc/passwd").read_bytes() == accounts
    (number,) = users
    assert number in OWN_NUMBERS
    assert capabilities == {"0" * 16}
    owners = {path.lstat().st_uid for path in (closed / "postgres").rglob("*")}
    assert owners == {number}


@as_root
def test_root__serves_an_ordinary_users_folder_as_that_user(place: Path) -> None:
    assert NOBODY
    os.chown(place, NOBODY.pw_uid, NOBODY.pw_gid)
    with EmbeddedPostgres(place / "d") as server:  # `d` is made by root, so a number of its own
        keep(server.url(), 1)
    assert (place / "d" / "postgres").stat().st_uid in OWN_NUMBERS
    with EmbeddedPostgres(place) as server:
        keep(server.url(), 1)
    with Supervisor(place, "nobody") as supervisor:
        assert kept(supervisor.url) == [1]


@as_root
def test_ordinary_user__is_refused_roots_folder(place: Path) -> None:
    assert NOBODY
    with EmbeddedPostgres(place):
        pass
    place.chmod(0o777)
    with Supervisor(place, "nobody") as supervisor:
        assert supervisor.ready["error"] == "refused"
        assert "belongs to another user" in supervisor.ready["message"]


@as_root
def test_folder_that_root_copied__is_handed_over_again(place: Path) -> None:
    with EmbeddedPostgres(place / "a") as server:
        keep(server.url(), 1)
    shutil.copytree(place / "a", place / "b")
    with EmbeddedPostgres(place / "b") as server:
        assert kept(server.url()) == [1]


@as_root
def test_closed_installation__is_copied_while_it_is_used(place: Path) -> None:
    site, temporary = place / "site", place / "tmp"
    site.mkdir(mode=0o700)
    for name in (PACKAGE, f"{PACKAGE}.libs"):
        shutil.copytree(installed().site / name, site / name)
    temporary.mkdir()
    place.chmod(0o711)
    program = (
        "import sys, tempfile; from pathlib import Path\n"
        f"sys.path.insert(0, {str(site)!r}); tempfile.tempdir = {str(temporary)!r}\n"
        "from chargera.store.postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(Path(sys.argv[1])); server.start()\n"
        "(copy,) = Path(tempfile.tempdir).iterdir()\n"
        "running = Path(f'/proc/{server.pid}/cmdline').read_text().partition('\\0')[0]\n"
        "assert Path(running).is_relative_to(copy), running\n"
        "server.stop()\n"
    )
    run = [sys.executable, "-c", program, str(place / "d")]
    subprocess.run(run, check=True)
    assert list(temporary.iterdir()) == []


def test_conflict__is_the_error_of_a_second_server_in_one_process(place: Path) -> None:
    with EmbeddedPostgres(place), pytest.raises(Conflict, match="another ChargEra"):
        EmbeddedPostgres(place).start()
