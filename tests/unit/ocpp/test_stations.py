import asyncio
from dataclasses import replace

import pytest
from picows import WSMsgType
from picows.picows import _make_test_ws_frame

from chargera.domain.errors import Conflict
from chargera.ocpp import v16
from chargera.ocpp.connection import Channel, Connection
from chargera.ocpp.counters import CappedLog, ChannelCounters
from chargera.ocpp.limits import ChannelLimits
from chargera.ocpp.stations import ConnectedStations
from tests.unit.ocpp.doubles import FakeTransport, FixedClock, HeldGateway, SilentLogger, Ticks

LIMITS = replace(ChannelLimits(), probe_timeout_s=0.05)


class Rig:
    def __init__(self) -> None:
        ticks = Ticks()
        log = CappedLog(SilentLogger(), ticks)
        self.stations = ConnectedStations(log)
        self.channel = Channel(
            HeldGateway(ticks), FixedClock(), ticks, LIMITS, ChannelCounters(), log
        )

    async def connect(self, station_id: str = "CP-1") -> tuple[Connection, FakeTransport]:
        epoch = await self.stations.claim(station_id)
        connection = Connection(station_id, v16.DIALECT, epoch, self.channel, self.stations.remove)
        transport = FakeTransport()
        connection.on_ws_connected(transport)
        self.stations.settle(station_id, connection)
        return connection, transport


def pong(connection: Connection, transport: FakeTransport) -> None:
    connection.on_ws_frame(transport, _make_test_ws_frame(WSMsgType.PONG, b"?", True, False))


async def test_claim__first_socket__speaks_for_the_station() -> None:
    rig = Rig()
    connection, _ = await rig.connect()
    assert rig.stations.get("CP-1") is connection
    assert rig.stations.get("CP-2") is None
    assert list(rig.stations) == [connection]
    assert len(rig.stations) == 1


async def test_claim__old_socket_half_open__is_fenced_and_the_new_one_wins() -> None:
    rig = Rig()
    old, old_transport = await rig.connect()
    new, _ = await rig.connect()
    assert old_transport.pings == 1
    assert old.fenced
    assert not new.fenced
    assert new.epoch > old.epoch
    assert rig.stations.get("CP-1") is new
    old.on_ws_disconnected(old_transport)
    assert rig.stations.get("CP-1") is new


async def test_claim__both_alive__the_new_one_is_refused() -> None:
    rig = Rig()
    old, transport = await rig.connect()
    asyncio.get_running_loop().call_later(0.01, pong, old, transport)
    with pytest.raises(Conflict):
        await rig.stations.claim("CP-1")
    assert rig.stations.get("CP-1") is old
    assert not old.fenced
    assert await rig.stations.claim("CP-2")


async def test_claim__while_another_claim_is_under_way__is_refused_at_once() -> None:
    rig = Rig()
    await rig.connect()
    first = asyncio.create_task(rig.stations.claim("CP-1"))
    await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await rig.stations.claim("CP-1")
    await first
    with pytest.raises(Conflict):  # the first one has not settled yet
        await rig.stations.claim("CP-1")
    rig.stations.settle("CP-1", None)
    assert await rig.stations.claim("CP-1") > await first


async def test_claim__cancelled__leaves_the_identity_free() -> None:
    rig = Rig()
    await rig.connect()
    claim = asyncio.create_task(rig.stations.claim("CP-1"))
    await asyncio.sleep(0)
    claim.cancel()
    await asyncio.gather(claim, return_exceptions=True)
    await rig.connect()


async def test_claim__old_socket_already_closing__is_not_asked() -> None:
    rig = Rig()
    old, transport = await rig.connect()
    old.send_away("no database")
    assert rig.stations.get("CP-1") is None
    await rig.connect()
    assert transport.pings == 0


async def test_remove__the_last_socket__leaves_nobody() -> None:
    rig = Rig()
    connection, transport = await rig.connect()
    connection.on_ws_disconnected(transport)
    assert rig.stations.get("CP-1") is None
    assert not rig.stations.remove(connection)
