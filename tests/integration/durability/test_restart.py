"""Stopping and starting again: nothing is lost or left behind, and time never goes back."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.integration.durability.ordeal import CLOCK_RATE, SETTINGS, Ordeal
from tests.server import COMMAND, ServerProcess, data_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


def now_of(server: ServerProcess) -> datetime:
    with server.client() as client:
        return datetime.fromisoformat(client.get("clock").json()["now"])


async def test_stop_under_load__exit_0_in_time__nothing_left_and_nothing_lost(
    folder: Path,
) -> None:
    server = ServerProcess(folder, settings=SETTINGS)
    try:
        ordeal = Ordeal(server, Random(5))
        await ordeal.prepare()
        async with ordeal.load():
            while len(ordeal.acknowledged) < 100:
                await asyncio.sleep(0.01)
            took_s = await ordeal.stop()
            assert took_s < 10
            assert not (folder / "serve.json").exists()
            await ordeal.start()
            await asyncio.to_thread(ordeal.check_acknowledged)
        ordeal.check_log()
    finally:
        server.discard()


def test_second_server_on_the_same_folder__refused__the_first_goes_on(folder: Path) -> None:
    with ServerProcess(folder) as server:
        ports = ("--http-port", "0", "--ocpp-port", "0")
        second = subprocess.run(
            [COMMAND, "serve", "--data-dir", str(folder), *ports],
            capture_output=True,
            timeout=30,
            check=False,
        )
        assert second.returncode == 1, second.stderr
        assert b"another" in second.stderr, second.stderr
        assert second.stdout == b""
        assert server.fetch("/readyz")
        assert server.command("clock", "now")["now"]
        server.stop()


def test_manual_clock__after_kill_and_after_stop__stands_where_it_stood(folder: Path) -> None:
    server = ServerProcess(folder, "--clock", "manual")
    with server:
        assert abs(now_of(server) - datetime.now(UTC)) < timedelta(minutes=1)
        before = now_of(server)
        advanced = server.command("clock", "advance", "86400.5")["now"]
        assert datetime.fromisoformat(advanced) == before + timedelta(seconds=86_400.5)
        server.kill()
        server.start()
        assert now_of(server) == datetime.fromisoformat(advanced)
        server.stop()
        server.start()
        assert now_of(server) == datetime.fromisoformat(advanced)
        server.stop()


def test_accelerated_clock__killed__never_behind_what_it_told(folder: Path) -> None:
    saved = folder / "clock.json"
    with ServerProcess(folder, "--clock-rate", CLOCK_RATE) as server:
        before = saved.stat().st_mtime_ns
        while saved.stat().st_mtime_ns == before:
            time.sleep(0.01)
        time.sleep(0.9)  # what is saved is as old as it gets
        told = now_of(server)
        server.kill()
        server.start()
        assert now_of(server) >= told
        told = now_of(server)
        server.stop()
        server.start()
        assert told <= now_of(server) <= told + timedelta(seconds=10 * float(CLOCK_RATE))
        server.stop()
