"""Who gets in: profiles, credentials, versions, and sockets that nobody knows yet."""

import asyncio
import base64
import contextlib
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from chargera.app.ports import LiveEvent
from chargera.domain.errors import Refused, Unavailable
from chargera.ocpp.certificates import local_authority
from chargera.ocpp.server import OcppServer
from chargera.proofs.entry import EntryKind
from tests.protocol.ocpp.rig import LIMITS, Rig, client_frame, running, upgrade_request
from tests.unit.ocpp.doubles import PASSWORD


async def refused(rig: Rig, *arguments: Any, **options: Any) -> Any:
    with pytest.raises(InvalidStatus) as caught:
        await rig.connect(*arguments, **options)
    response = caught.value.response
    return response.status_code, bytes(response.body), sorted(response.headers.raw_items())


async def response_to(rig: Rig, request: bytes) -> bytes:
    reader, writer = await rig.open()
    writer.write(request)
    async with asyncio.timeout(10):
        response = await reader.read()
    writer.close()
    return response


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        (["ocpp1.6"], "ocpp1.6"),
        (["ocpp2.0.1"], "ocpp2.0.1"),
        (["ocpp1.6", "ocpp2.0.1"], "ocpp2.0.1"),
        (["ocpp9", "ocpp1.6"], "ocpp1.6"),
    ],
)
async def test_connect__offered_versions__newest_common_one(
    offered: list[str], agreed: str
) -> None:
    async with running() as rig:
        client = await rig.connect("CP-1", *offered)
        assert client.subprotocol == agreed
        assert rig.server.connected == 1
        assert rig.server.is_healthy()
        await asyncio.wait_for(await client.ping(), 5)
        assert LiveEvent("station", "CP-1", {"connected": True}) in rig.feed.events
        await client.close()
        await rig.until(lambda: rig.server.connected == 0)
        assert LiveEvent("station", "CP-1", {"connected": False}) in rig.feed.events


async def test_connect__no_common_version__handshake_without_subprotocol_then_close() -> None:
    async with running() as rig:
        for offered in (["ocpp9"], ["OCPP1.6"]):
            client = await rig.connect("CP-1", *offered)
            assert client.subprotocol is None
            with pytest.raises(ConnectionClosedError) as caught:
                await client.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1002
        assert rig.server.connected == 0


async def test_connect__compression_offered__is_not_agreed() -> None:
    async with running() as rig:
        client = await rig.connect(compression="deflate")
        assert "Sec-WebSocket-Extensions" not in client.response.headers


async def test_refused__whatever_is_wrong__same_answer_and_same_work() -> None:
    async with running() as rig:
        seen = set()
        attempts: list[tuple[str, dict[str, Any]]] = [
            ("CP-1", {"password": "wrong-wrong-wrong-wrong"}),
            ("CP-1", {"password": None}),
            ("CP-1", {"user": "CP-2"}),
            ("CP-2", {"user": "CP-1"}),
            ("NOBODY", {}),
            ("a%00b", {"user": "x"}),
            ("LOCKED", {}),
            ("CERT", {}),
            ("TLS-1", {}),
        ]
        for number, (station_id, options) in enumerate(attempts, start=1):
            status, body, headers = await refused(rig, station_id, **options)
            seen.add((status, body, tuple(headers)))
            assert rig.access.hashes == number
        assert len(seen) == 1
        assert seen.pop()[0] == 401
        assert rig.server.counters.handshakes == {"wrong credentials": 6, "security profile": 3}
        assert PASSWORD not in str(rig.logger.lines)


async def test_connect__tls__for_profile_2_and_no_lower(tmp_path: Path) -> None:
    async with running(tls_folder=tmp_path) as rig:
        client = await rig.connect("TLS-1", "ocpp2.0.1", secure=True)
        assert client.subprotocol == "ocpp2.0.1"
        await client.send('[2,"1","Heartbeat",{}]')
        assert "currentTime" in await client.recv()
        assert (await refused(rig, "TLS-1"))[0] == 401
        assert (await refused(rig, "CERT", secure=True))[0] == 401
        other = await rig.connect("CP-1", secure=True)
        assert rig.server.connected == 2
        await other.close()


async def test_connect__renewed_certificate__is_had_by_the_next_and_parts_from_nobody(
    tmp_path: Path,
) -> None:
    async with running(tls_folder=tmp_path) as rig:
        assert rig.tls is not None
        first = await rig.connect("TLS-1", "ocpp2.0.1", secure=True)
        (tmp_path / "server.pem").unlink()
        local_authority(tmp_path, datetime.now(UTC))
        assert rig.tls.renew()
        second = await rig.connect("CP-1", "ocpp2.0.1", secure=True)
        shown = [c.transport.get_extra_info("ssl_object").getpeercert() for c in (first, second)]
        assert shown[0]["serialNumber"] != shown[1]["serialNumber"]
        for client in (first, second):
            await client.send('[2,"1","Heartbeat",{}]')
            assert "currentTime" in await client.recv()


@pytest.mark.parametrize("weakness", ["TLS 1.1", "CBC", "no ECDHE"])
async def test_connect__weak_tls__is_refused(tmp_path: Path, weakness: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ciphers = {"TLS 1.1": "ALL:@SECLEVEL=0", "CBC": "AES128-SHA256", "no ECDHE": "AESGCM:!ECDHE"}
    context.set_ciphers(ciphers[weakness])
    if weakness == "TLS 1.1":
        with pytest.deprecated_call():
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with running(tls_folder=tmp_path) as rig:
        assert rig.server.tls_port is not None
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("127.0.0.1", rig.server.tls_port, ssl=context)
        await rig.until(lambda: rig.server.counters.handshakes["no TLS"] == 1)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /ocpp/CP-1 HTTP/1.1\r\n\r\n", b"426"),
        (b"POST /ocpp/CP-1 HTTP/1.1\r\n\r\n", b"405"),
        (b"\x16\x03\x01\x02\x00 tls to the plain port\r\n\r\n", b"400"),
        (b"GET /ocpp/" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"x" * 20_000, b"431"),
    ],
)
async def test_connect__what_is_no_upgrade__is_answered_and_closed(
    request_bytes: bytes, status: bytes
) -> None:
    async with running() as rig:
        response = await response_to(rig, request_bytes)
        assert response.startswith(b"HTTP/1.1 " + status)
        assert rig.access.hashes == 0
        assert rig.server.counters.handshakes == {"malformed request": 1}


async def test_connect__request_in_single_bytes__is_read() -> None:
    async with running() as rig:
        reader, writer = await rig.open()
        for byte in upgrade_request("CP-1"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await reader.readline()).startswith(b"HTTP/1.1 101")


async def test_connect__first_message_with_the_request__is_not_lost() -> None:
    async with running() as rig:
        frames = [client_frame(b'[2,"%d","Heartbeat",{}]' % n) for n in range(40)]
        _, writer = await rig.open()
        writer.write(upgrade_request("CP-1") + b"".join(frames))
        await rig.until(lambda: len(rig.decisions.calls) == 40)


async def test_connect__flood_behind_the_request__is_cut_off() -> None:
    async with running() as rig:
        rig.access.gate.clear()
        _, writer = await rig.open()
        writer.write(upgrade_request("CP-1"))
        await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(200):
                writer.write(b"x" * 65_536)
                await asyncio.wait_for(writer.drain(), 0.05)
        rig.access.gate.set()
        writer.close()
        await rig.until(lambda: rig.server.connected == 0)


async def test_connect__slower_than_allowed__is_cut_off() -> None:
    limits = replace(LIMITS, handshake_timeout_s=0.1)
    async with running(limits) as rig:
        reader, writer = await rig.open()
        writer.write(b"GET /ocpp/CP-1 HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        assert rig.server.counters.handshakes == {"too slow": 1}


async def test_connect__tls_never_begun__is_cut_off(tmp_path: Path) -> None:
    limits = replace(LIMITS, handshake_timeout_s=0.1)
    async with running(limits, tmp_path) as rig:
        reader, writer = await rig.open(secure=True)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        await rig.until(lambda: not rig.server._doorkeeper.waiting)


@pytest.mark.parametrize("bound", ["waiting_sockets_max", "waiting_sockets_per_address_max"])
async def test_connect__too_many_sockets_wait__more_are_turned_away(bound: str) -> None:
    async with running(replace(LIMITS, **{bound: 5})) as rig:
        idle = [await rig.open() for _ in range(5)]
        await rig.until(lambda: rig.server.counters.sockets_accepted == 5)
        response = await response_to(rig, b"")
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 10\r\n" in response
        idle[0][1].close()
        await rig.until(lambda: len(rig.server._doorkeeper.waiting) == 4)
        client = await rig.connect()
        await client.send('[2,"1","Heartbeat",{}]')
        assert await client.recv()
        for _, writer in idle:
            writer.close()
        await rig.until(lambda: not rig.server._doorkeeper.waiting)


async def test_connect__too_many_wait_on_the_tls_port__more_are_cut_off(tmp_path: Path) -> None:
    async with running(replace(LIMITS, waiting_sockets_max=1), tmp_path) as rig:
        _, first = await rig.open(secure=True)
        await rig.until(lambda: rig.server.counters.sockets_accepted == 1)
        with contextlib.suppress(ConnectionError):
            reader, writer = await rig.open(secure=True)
            assert await reader.read() == b""
            writer.close()
        assert rig.server.counters.handshakes == {"too many wait": 1}
        first.close()


async def test_connect__no_database__asks_to_come_back() -> None:
    async with running() as rig:
        rig.access.error = Unavailable("away")
        status, _, headers = await refused(rig)
        assert status == 503
        assert ("Retry-After", "10") in headers


async def test_connect__broken_access__is_answered_and_logged() -> None:
    async with running() as rig:
        rig.access.error = RuntimeError("bug")
        assert (await refused(rig))[0] == 500
        assert "handshake failed" in [line[0] for line in rig.logger.lines]


async def test_connect__socket_gone_before_the_decision__leaves_no_trace() -> None:
    async with running() as rig:
        rig.access.gate.clear()
        _, writer = await rig.open()
        writer.write(upgrade_request("CP-1"))
        await rig.until(lambda: rig.access.hashes == 1)
        writer.transport.abort()
        await rig.until(lambda: not rig.server._doorkeeper.waiting)
        rig.access.gate.set()
        await asyncio.sleep(0.05)
        assert rig.server.connected == 0
        assert await rig.connect()


async def test_connect__refusal_for_a_socket_that_has_gone__is_not_sent() -> None:
    async with running() as rig:
        rig.access.gate.clear()
        _, writer = await rig.open()
        writer.write(upgrade_request("NOBODY"))
        await rig.until(lambda: rig.access.hashes == 1)
        writer.transport.abort()
        await rig.until(lambda: not rig.server._doorkeeper.waiting)
        rig.access.gate.set()
        await asyncio.sleep(0.05)
        assert rig.server.counters.handshakes["wrong credentials"] == 0


# A second socket of one identity ----------------------------------------------------------------


async def test_second_socket__both_alive__is_refused_and_an_event_is_raised() -> None:
    async with running() as rig:
        first = await rig.connect()
        status, _, headers = await refused(rig)
        assert status == 503
        assert ("Retry-After", "10") in headers
        await first.send('[2,"1","Heartbeat",{}]')
        assert await first.recv()
        await rig.server.gateway.drain()
        (entry,) = rig.database.entries
        assert entry.kind is EntryKind.SECURITY_EVENT
        assert entry.record["event"] == "second_socket"
        assert LiveEvent("station", "CP-1", {"event": "second_socket"}) in rig.feed.events


async def test_second_socket__first_half_open__wins_and_the_old_one_is_fenced() -> None:
    async with running(replace(LIMITS, probe_timeout_s=0.1)) as rig:
        old = await rig.raw()  # it reads nothing and therefore answers no ping
        rig.database.gate.clear()
        old.send(b'[2,"old","Heartbeat",{}]')
        await rig.database.began.wait()
        old.send(b'[2,"late","Heartbeat",{}]')
        await rig.until(lambda: any(c._queue for c in rig.server._stations))
        new = await rig.connect()
        await new.send('[2,"new","Heartbeat",{}]')
        rig.database.gate.set()
        assert '"new"' in str(await new.recv())
        await rig.server.gateway.drain()
        assert rig.server.connected == 1
        assert [c.message_id for c in rig.decisions.calls] == ["old", "new"]
        assert sorted(rig.database.outcomes) == ["fenced", "ok", "ok"]
        opcodes = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                opcodes.append((await old.receive())[0])
        assert opcodes in ([9, 8], [9])
        old.close()


async def test_second_socket__wrong_password__never_reaches_the_first() -> None:
    async with running() as rig:
        first = await rig.raw()
        status, _, _ = await refused(rig, password="wrong-wrong-wrong-wrong")
        assert status == 401
        first.send(b'[2,"1","Heartbeat",{}]')
        assert (await first.message())[1] == "1"
        first.close()


async def test_second_socket__two_at_once__exactly_one_wins() -> None:
    async with running(replace(LIMITS, probe_timeout_s=0.2)) as rig:
        old = await rig.raw()
        results = await asyncio.gather(rig.connect(), rig.connect(), return_exceptions=True)
        refusals = [r for r in results if isinstance(r, InvalidStatus)]
        assert len(refusals) == 1
        assert refusals[0].response.status_code == 503
        assert rig.server.connected == 1
        old.close()


async def test_second_socket__after_the_first_has_gone__comes_in() -> None:
    async with running() as rig:
        first = await rig.connect()
        await first.close()
        second = await rig.connect()
        await second.send('[2,"1","Heartbeat",{}]')
        assert await second.recv()


async def test_second_socket__gone_while_the_first_is_asked__frees_the_identity() -> None:
    async with running(replace(LIMITS, probe_timeout_s=0.1)) as rig:
        old = await rig.raw()
        _, writer = await rig.open()
        writer.write(upgrade_request("CP-1"))
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await rig.until(lambda: rig.server.connected == 0)
        assert await rig.connect()
        old.close()


# Start and stop ---------------------------------------------------------------------------------


async def test_start__port_taken__says_so_and_leaves_nothing_running() -> None:
    async with running() as rig:
        other = Rig(LIMITS, None)
        with pytest.raises(Refused) as caught:
            await other.server.start("127.0.0.1", rig.server.port)
        assert caught.value.field == "ocpp_port"
        assert not other.server.is_healthy()


async def test_start__ipv6__is_served() -> None:
    rig = Rig(LIMITS, None)
    await rig.server.start("::1", 0)
    reader, writer = await asyncio.open_connection("::1", rig.server.port)
    writer.write(upgrade_request("CP-1"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    writer.close()
    await rig.server.stop()


async def test_stop__what_was_received__is_committed_answered_and_closed() -> None:
    async with running() as rig:
        client = await rig.connect()
        rig.database.gate.clear()
        await client.send('[2,"1","Heartbeat",{}]')
        await rig.database.began.wait()
        stop = asyncio.create_task(rig.server.stop())
        await asyncio.sleep(0.05)
        assert not stop.done()
        with pytest.raises(ConnectionRefusedError):
            await rig.open()
        rig.database.gate.set()
        assert '"1"' in str(await client.recv())
        with pytest.raises(Exception, match="1001"):
            await client.recv()
        await stop
        assert rig.database.outcomes == ["ok"]


async def test_stop__database_that_does_not_answer__ends_in_time() -> None:
    async with running(replace(LIMITS, stop_timeout_s=0.2)) as rig:
        client = await rig.raw()
        rig.database.gate.clear()
        client.send(b'[2,"1","Heartbeat",{}]')
        await rig.database.began.wait()
        async with asyncio.timeout(3):
            await rig.server.stop()
        assert "stopped with messages that are not recorded" in [x[0] for x in rig.logger.lines]
        client.close()


async def test_stop__during_a_handshake__lets_nobody_in() -> None:
    rig = Rig(LIMITS, None)
    await rig.server.start("127.0.0.1", 0)
    rig.access.gate.clear()
    reader, writer = await rig.open()
    writer.write(upgrade_request("CP-1"))
    await rig.until(lambda: rig.access.hashes == 1)
    await rig.server.stop()
    rig.access.gate.set()
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    await asyncio.sleep(0.05)
    assert rig.server.connected == 0


def test_server__needs_a_certificate_for_its_tls_port() -> None:
    async def start_without() -> None:
        rig = Rig(LIMITS, None)
        try:
            await rig.server.start("127.0.0.1", 0, 0)
        finally:
            await rig.server.stop()

    assert OcppServer.__init__.__doc__
    with pytest.raises(AssertionError, match="certificate"):
        asyncio.run(start_without())


def test_base64_helper__is_what_stations_send() -> None:
    assert base64.b64encode(f"CP-1:{PASSWORD}".encode()) in upgrade_request("CP-1")
