"""Strangers at the door of the real server: guessers and crowds, while stations are served."""

import asyncio
import base64
import contextlib
import itertools
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from tests.integration.durability.load import LoadStation
from tests.integration.durability.ordeal import Ordeal
from tests.server import ServerProcess, data_folder

GUESSES = 1000
AT_ONCE = 50
MEMORY_MAX = 50 * 2**20
"""How much a server may grow under attack (threat 8)."""

WAITING_MAX, WAITING_OF_ADDRESS_MAX = 300, 100
SETTINGS = {
    "CHANNEL_WAITING_SOCKETS": WAITING_MAX,
    "CHANNEL_WAITING_SOCKETS_PER_ADDRESS": WAITING_OF_ADDRESS_MAX,
    "CHANNEL_MESSAGES_PER_S": 100_000,
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with data_folder() as folder, ServerProcess(folder, settings=SETTINGS) as server:
        yield server
        server.stop()


@pytest.fixture(scope="module")
def stations(server: ServerProcess) -> list[LoadStation]:
    ordeal = Ordeal(server, Random(4), pairs=1)
    ordeal.register()
    return ordeal.stations


@asynccontextmanager
async def served(server: ServerProcess, stations: list[LoadStation]) -> AsyncIterator[None]:
    """While the block runs stations speak, come back, and hear their answers soon."""
    for station in stations:
        station.is_closing = True
        await station.live()  # its password is verified now
        station.is_closing = False
    before = server.resident_bytes()
    lives = [asyncio.create_task(station.live()) for station in stations]
    await more_is_heard(stations)
    yield
    for station in stations:
        station.is_closing = True
    await asyncio.gather(*lives)
    async with asyncio.timeout(30):
        await stations[0].live()  # it is not locked out
    assert max(max(station.waits_s) for station in stations) < 5
    assert server.resident_bytes() - before < MEMORY_MAX
    assert server.is_running
    assert b'"database":"ok"' in server.fetch("/readyz").replace(b" ", b"")


async def more_is_heard(stations: list[LoadStation]) -> None:
    """Return when every station has had some more answers."""
    heard = [len(station.acknowledged) + 5 for station in stations]
    async with asyncio.timeout(60):
        while any(len(s.acknowledged) < n for s, n in zip(stations, heard, strict=True)):
            await asyncio.sleep(0.01)


async def test_thousand_guesses__ten_reach_the_hash__all_hear_the_same(
    server: ServerProcess, stations: list[LoadStation]
) -> None:
    others = [station.password for station in stations]
    guesses = itertools.cycle(
        [
            (stations[0].station_id, stations[0].station_id, "a-wrong-password-000"),
            (stations[0].station_id, stations[0].station_id, others[1]),
            (stations[0].station_id, stations[1].station_id, others[1]),  # as itself, elsewhere
            ("NOBODY-1", "NOBODY-1", others[0]),
            (stations[1].station_id, None, None),
        ]
    )
    async with served(server, stations):
        hashes = server.metric("chargera_password_hashes_total")
        refused = server.metric("chargera_station_logins_refused_total")
        queue = [next(guesses) for _ in range(GUESSES)]
        answers: Counter[bytes] = Counter()

        async def guess() -> None:
            while queue:
                answers[await ask(server, *queue.pop())] += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(guess())
            await more_is_heard(stations)
            assert queue, "that was while they guessed"
        assert server.metric("chargera_password_hashes_total") - hashes <= 10
        assert server.metric("chargera_station_logins_refused_total") - refused == GUESSES
    assert len(answers) == 1, answers.keys()
    [answer] = answers
    assert answer.startswith(b"HTTP/1.1 401 ")


async def ask(
    server: ServerProcess, station_id: str, user: str | None, password: str | None
) -> bytes:
    """Return all that the server says to one attempt to come in."""
    lines = [
        f"GET /ocpp/{station_id} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: ocpp1.6, ocpp2.0.1",
    ]
    if user is not None:
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        lines.append(f"Authorization: Basic {pair}")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


def port_of(server: ServerProcess) -> int:
    return int(server.ready["ocpp"].rpartition(":")[2].partition("/")[0])


async def test_silent_crowd__bounded_in_all_and_for_each_address__stations_are_served(
    server: ServerProcess, stations: list[LoadStation]
) -> None:
    crowd: list[socket.socket] = []
    try:
        async with served(server, stations):
            for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"):
                crowd += [from_address(address, port_of(server)) for _ in range(150)]
            await more_is_heard(stations)
            held = Counter(address for address, one in named(crowd) if not is_ended(one))
            assert all(count <= WAITING_OF_ADDRESS_MAX for count in held.values()), held
            assert WAITING_MAX - 20 <= held.total() <= WAITING_MAX
            for one in crowd:
                one.close()
            began_s = time.monotonic()
            while await asyncio.to_thread(refuses_a_newcomer, server):
                assert time.monotonic() - began_s < 5, "the crowd has gone, its places have not"
                await asyncio.sleep(0.05)
    finally:
        for one in crowd:
            one.close()


def from_address(address: str, port: int) -> socket.socket:
    """Connect from one of the addresses of the loopback, and say nothing."""
    one = socket.socket()
    one.bind((address, 0))
    one.connect(("127.0.0.1", port))
    one.setblocking(False)
    return one


def named(crowd: list[socket.socket]) -> Iterator[tuple[str, socket.socket]]:
    for one in crowd:
        yield one.getsockname()[0], one


def is_ended(one: socket.socket) -> bool:
    """Say whether the other side has answered or gone: a silent guest hears nothing else."""
    try:
        one.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def refuses_a_newcomer(server: ServerProcess) -> bool:
    """Say whether one more silent guest is sent away."""
    one = from_address("127.0.0.9", port_of(server))
    try:
        time.sleep(0.1)
        return is_ended(one)
    finally:
        one.close()
