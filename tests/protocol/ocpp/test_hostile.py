"""Input that no honest station sends: no crash, nothing unrecorded, the others are served."""

import asyncio
import gc
import resource
import time
import zlib
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from websockets.exceptions import ConnectionClosed

from chargera.domain.errors import Unavailable
from chargera.domain.station import OcppVersion
from tests.protocol.ocpp.rig import LIMITS, RawSocket, Rig, running
from tests.unit.ocpp.payloads import bad_frames

HEARTBEAT = b'[2,"h%d","Heartbeat",{}]'
SUBPROTOCOLS = {OcppVersion.V1_6: "ocpp1.6", OcppVersion.V2_0_1: "ocpp2.0.1"}


async def beat(socket: RawSocket, number: int = 0) -> None:
    """An honest heartbeat, answered."""
    socket.send(HEARTBEAT % number)
    assert (await socket.message())[:2] == [3, f"h{number}"]


async def fuzz(rig: Rig, version: OcppVersion, seed: int, count: int) -> None:
    """Send bad frames one by one; each is recorded, and a heartbeat behind it is answered."""
    socket = await rig.raw("CP-2", SUBPROTOCOLS[version])
    sent = 0
    for frame in bad_frames(version, seed, count):
        socket.send(frame)
        sent += 1
        socket.send(HEARTBEAT % sent)
        while True:
            message = await socket.message()
            if message[1] == f"h{sent}":
                break
            assert message[0] in (3, 4), message
    stored = rig.database.rows
    assert len(stored) == 2 * sent
    assert all(row.outcome for row in stored)
    assert all("\0" not in row.outcome for row in stored)
    failed = [row for row in stored if row.outcome.startswith("failed")]
    assert failed == []
    refused = sum(row.outcome.startswith("refused") for row in stored)
    assert 0.3 * sent < refused < sent  # neither a deaf server nor one that refuses all
    socket.close()


@pytest.mark.parametrize("version", OcppVersion)
async def test_bad_frames__derived_from_the_schemas__are_all_recorded(version: OcppVersion) -> None:
    async with running() as rig:
        honest = await rig.raw("CP-1")
        await fuzz(rig, version, seed=7, count=1_000)
        await beat(honest)
        assert rig.server.counters.calls_failed == 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("version", OcppVersion)
async def test_bad_frames__many_more_of_them(version: OcppVersion, seed: int) -> None:
    async with running() as rig:
        await fuzz(rig, version, seed=1000 + seed, count=1_000)


@pytest.mark.parametrize(("subprotocol", "size"), [("ocpp1.6", 65_536), ("ocpp2.0.1", 262_144)])
async def test_oversize__to_the_byte__closes_and_is_recorded(subprotocol: str, size: int) -> None:
    async with running() as rig:
        honest = await rig.raw("CP-1")
        socket = await rig.raw("CP-2", subprotocol)
        head = b'[2,"x","DataTransfer",{"vendorId":"V","data":"'
        whole = head + b"d" * (size - len(head) - 3) + b'"}]'
        socket.send(whole)
        assert (await socket.message())[:2] == [3, "x"]
        socket.send(b" " + whole)
        assert await socket.close_code() == 1009
        await rig.until(lambda: len(rig.database.rows) == 2)
        assert rig.database.outcomes[1] == f"refused: a frame of more than {size} bytes"
        await beat(honest)


async def test_oversize__claimed_in_the_header_alone__costs_no_memory() -> None:
    async with running() as rig:
        socket = await rig.raw()
        socket.writer.write(bytes([0x81, 0xFF]) + (2**62).to_bytes(8) + b"mask")
        assert await socket.close_code() == 1009


async def test_oversize__in_endless_fragments__closes() -> None:
    async with running() as rig:
        socket = await rig.raw()
        socket.send(b"[" * 30_000, fin=False)
        for _ in range(2):
            socket.send(b"[" * 30_000, 0, fin=False)
        assert await socket.close_code() == 1009
        await rig.until(lambda: rig.database.outcomes == ["refused: too large"])


@pytest.mark.parametrize(
    ("payload", "opcode", "rsv1"),
    [(b"x", 3, False), (b"x" * 200, 9, False), (b"\x03\xe8", 8, True), (b"x", 0, False)],
)
async def test_frames_that_break_the_websocket__close(
    payload: bytes, opcode: int, rsv1: bool
) -> None:
    async with running() as rig:
        honest = await rig.raw("CP-1")
        socket = await rig.raw("CP-2")
        socket.send(payload, opcode, rsv1=rsv1)
        assert await socket.close_code() in (1000, 1002)
        await beat(honest)
        await rig.until(lambda: rig.server.connected == 1)


async def test_unmasked_frame__closes() -> None:
    async with running() as rig:
        socket = await rig.raw()
        socket.writer.write(b"\x81\x02{}")
        assert await socket.close_code() == 1002


@pytest.mark.parametrize("depth", [33, 1_000, 30_000])
async def test_deep_nesting__is_refused_and_recorded(depth: int) -> None:
    async with running() as rig:
        socket = await rig.raw("CP-1", "ocpp2.0.1")
        deep = b"[" * depth + b"]" * depth
        socket.send(b'[2,"d","DataTransfer",{"vendorId":"V","data":' + deep + b"}]")
        assert (await socket.message())[:3] == [4, "d", "RpcFrameworkError"]
        assert rig.database.outcomes[0].startswith("refused: RpcFrameworkError")
        await beat(socket)


async def test_compressed_bomb__is_never_inflated() -> None:
    bomb = zlib.compress(b"[" * 50_000_000, 9)[2:-4]
    assert len(bomb) < 65_536
    async with running() as rig:
        honest = await rig.raw("CP-1")
        socket = await rig.raw("CP-2")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        socket.send(bomb, rsv1=True)
        assert await socket.close_code() == 1002
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 20_000
        await beat(honest)
        assert "compress" in rig.database.outcomes[0]


async def test_pipelined_calls__are_answered_in_order_and_not_at_once_beyond_the_bound() -> None:
    async with running() as rig:
        socket = await rig.raw()
        for number in range(200):
            socket.send(HEARTBEAT % number)
        answers = [(await socket.message())[1] for _ in range(200)]
        assert answers == [f"h{number}" for number in range(200)]
        assert rig.database.outcomes.count("ok, queued") > 150


async def test_flood_of_tiny_frames__is_bounded_and_recorded() -> None:
    async with running(replace(LIMITS, queued_messages_max=16)) as rig:
        honest = await rig.raw("CP-1")
        rig.database.gate.clear()
        socket = await rig.raw("CP-2")
        socket.send(b"0")
        await rig.database.began.wait()
        for _ in range(20_000):
            socket.send(b"0")
        await rig.until(lambda: rig.server.connected == 1)
        rig.database.gate.set()
        await beat(honest)
        await rig.server.gateway.drain()
        outcomes = [row.outcome for row in rig.database.rows if row.station_id == "CP-2"]
        assert outcomes.count("refused: too many messages wait for an answer") == 1
        assert len(outcomes) == 1 + 16 + 1


async def test_messages_above_the_rate__are_slowed_and_none_is_lost() -> None:
    async with running(replace(LIMITS, messages_per_s=50, messages_burst=10)) as rig:
        honest = await rig.raw("CP-1")
        socket = await rig.raw("CP-2")
        began = time.monotonic()
        for number in range(40):
            socket.send(HEARTBEAT % number)
        answers = [await socket.message() for _ in range(40)]
        socket.send(HEARTBEAT % 40)
        answers.append(await socket.message())
        assert [a[1] for a in answers] == [f"h{n}" for n in range(41)]
        assert time.monotonic() - began > 0.4
        assert rig.server.counters.throttled > 0
        await beat(honest)


async def test_slow_reader__loses_its_connection_and_no_other_does() -> None:
    async with running(replace(LIMITS, output_messages_max=20)) as rig:
        honest = await rig.raw("CP-1")
        socket = await rig.raw("CP-2", receive_bytes=4_096)
        slow = asyncio.create_task(feed_without_reading(socket))
        slowest_s = 0.0
        for number in range(100):
            began = time.monotonic()
            await beat(honest, number)
            slowest_s = max(slowest_s, time.monotonic() - began)
            await asyncio.sleep(0.002)
        await rig.until(lambda: rig.server.connected == 1)
        assert rig.server.counters.disconnects == {"slow reader": 1}
        assert slowest_s < 5.0, "nobody waits for a slow reader"
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def feed_without_reading(socket: RawSocket) -> None:
    """Unknown actions with long names: every answer is a long one, and none is read."""
    number = 0
    socket.reader._transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        number += 1
        socket.send(orjson.dumps([2, f"{number:036d}", "A" * 50, {}]))
        await socket.writer.drain()
        await asyncio.sleep(0)


async def test_half_open_socket__is_gone_before_twice_the_ping_interval() -> None:
    async with running(replace(LIMITS, ping_interval_s=0.4)) as rig:
        alive = await rig.connect("CP-1")
        await rig.raw("CP-2")  # never answers a ping
        began = time.monotonic()
        await rig.until(lambda: rig.server.connected == 1)
        slack_s = 3.0  # of a busy machine
        assert 0.5 < time.monotonic() - began < 0.8 + slack_s
        assert rig.server.counters.disconnects == {"silent": 1}
        await alive.send('[2,"1","Heartbeat",{}]')
        assert await alive.recv()


async def test_thousand_sockets_cut_at_once__leave_few_lines_and_no_connection() -> None:
    async with running(replace(LIMITS, waiting_sockets_per_address_max=1000)) as rig:
        sockets = await asyncio.gather(*(rig.raw(f"CP-{n}") for n in range(1, 60)))
        for socket in sockets:
            socket.writer.transport.abort()
        await rig.until(lambda: rig.server.connected == 0)
        lines = [line for line in rig.logger.lines if line[0] == "station disconnected"]
        assert len(lines) == 20


async def test_slow_loris__on_the_tls_port__holds_no_place_for_long(tmp_path: Path) -> None:
    limits = replace(LIMITS, handshake_timeout_s=0.2, waiting_sockets_per_address_max=3)
    async with running(limits, tmp_path) as rig:
        for _ in range(3):
            _, writer = await rig.open(secure=True)
            writer.write(b"\x16\x03\x01")
        await rig.until(lambda: not rig.server._doorkeeper.waiting)
        client = await rig.connect("TLS-1", "ocpp2.0.1", secure=True)
        await client.send('[2,"1","Heartbeat",{}]')
        assert await client.recv()


async def test_connections_that_come_and_go__leave_no_memory_behind() -> None:
    async with running() as rig:
        for _ in range(3):
            (await rig.raw()).close()
            await rig.until(lambda: rig.server.connected == 0)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(50):
            socket = await rig.raw()
            await beat(socket)
            socket.close()
            await rig.until(lambda: rig.server.connected == 0)
        rig.writers.clear()
        rig.logger.lines.clear()
        rig.feed.events.clear()
        rig.database.rows.clear()
        rig.database.commits.clear()
        rig.decisions.calls.clear()
        gc.collect()
        assert len(gc.get_objects()) - before < 1_000


async def test_outage__stations_are_sent_away_and_come_back() -> None:
    limits = replace(LIMITS, database_patience_s=0.3)
    async with running(limits) as rig:
        down = True
        rig.database.before_commit = lambda rows: Unavailable("away") if down else None
        client = await rig.connect()
        await client.send('[2,"1","Heartbeat",{}]')
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013
        with pytest.raises(Exception, match="503"):
            await rig.connect()
        assert not rig.server.is_healthy()
        down = False
        await rig.until(rig.server.is_healthy)
        again = await rig.connect()
        await again.send('[2,"1","Heartbeat",{}]')
        assert await again.recv()
        assert rig.database.outcomes == ["ok"]
