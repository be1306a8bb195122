"""Whole sessions of foreign stations: PyPI `ocpp` over `websockets` judges what we say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from ocpp.exceptions import OCPPError
from ocpp.routing import on
from ocpp.v16 import ChargePoint as ChargePoint16
from ocpp.v16 import call as call16
from ocpp.v16 import call_result as result16
from ocpp.v201 import ChargePoint as ChargePoint201
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201

from chargera.domain import messages as m
from chargera.domain.errors import Unavailable
from tests.protocol.ocpp.rig import LIMITS, Rig, running

AT = "2026-11-24T12:00:00Z"
TOKEN = m.IdTokenRef("AABBCCDD", "ISO14443")
QUICK = replace(LIMITS, command_settle_s=0.0, command_timeout_s=2.0)


class Station16(ChargePoint16):  # type: ignore[misc]
    """A 1.6 station that does what it is told."""

    @on("RemoteStartTransaction")
    async def on_remote_start(self, **_: Any) -> Any:
        return result16.RemoteStartTransaction(status="Accepted")

    @on("RemoteStopTransaction")
    async def on_remote_stop(self, **_: Any) -> Any:
        return result16.RemoteStopTransaction(status="Rejected")

    @on("Reset")
    async def on_reset(self, **_: Any) -> Any:
        return result16.Reset(status="Accepted")

    @on("UnlockConnector")
    async def on_unlock(self, **_: Any) -> Any:
        return result16.UnlockConnector(status="Unlocked")

    @on("TriggerMessage")
    async def on_trigger(self, **_: Any) -> Any:
        return result16.TriggerMessage(status="Accepted")


class Station201(ChargePoint201):  # type: ignore[misc]
    """A 2.0.1 station that does what it is told."""

    @on("RequestStartTransaction")
    async def on_remote_start(self, **_: Any) -> Any:
        return result201.RequestStartTransaction(status="Accepted", transaction_id="tx-1")

    @on("RequestStopTransaction")
    async def on_remote_stop(self, **_: Any) -> Any:
        return result201.RequestStopTransaction(status="Accepted")

    @on("Reset")
    async def on_reset(self, **_: Any) -> Any:
        return result201.Reset(status="Scheduled")

    @on("UnlockConnector")
    async def on_unlock(self, **_: Any) -> Any:
        return result201.UnlockConnector(status="UnlockFailed")


@asynccontextmanager
async def speaking(rig: Rig, kind: Any, subprotocol: str, station_id: str) -> AsyncIterator[Any]:
    client = await rig.connect(station_id, subprotocol)
    station = kind(station_id, client, response_timeout=5)
    task = asyncio.create_task(station.start())
    try:
        yield station
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def test_1_6__a_whole_session__in_the_judgement_of_a_foreign_station() -> None:
    async with running() as rig, speaking(rig, Station16, "ocpp1.6", "CP-1") as station:
        boot = await station.call(
            call16.BootNotification(charge_point_model="M", charge_point_vendor="V")
        )
        assert (boot.status, boot.interval) == ("Accepted", 300)
        assert (await station.call(call16.Heartbeat())).current_time.endswith("Z")
        await station.call(call16.StatusNotification(1, "NoError", "Preparing", timestamp=AT))
        allowed = await station.call(call16.Authorize("AABBCCDD"))
        assert allowed.id_tag_info["status"] == "Accepted"
        started = await station.call(call16.StartTransaction(1, "AABBCCDD", 100, AT))
        values = [
            {"timestamp": AT, "sampled_value": [{"value": "150", "context": "Sample.Periodic"}]}
        ]
        await station.call(call16.MeterValues(1, values, started.transaction_id))
        await station.call(call16.StopTransaction(300, AT, started.transaction_id, "Local"))
        transfer = await station.call(call16.DataTransfer("vendor"))
        assert transfer.status == "UnknownVendorId"
        kinds = [call.message.__class__.__name__ for call in rig.decisions.calls]
        assert kinds == [
            "BootNotification", "Heartbeat", "StatusNotification", "Authorize",
            "TransactionEvent", "TransactionEvent", "TransactionEvent", "DataTransfer",
        ]  # fmt: skip
        assert set(rig.database.outcomes) == {"ok"}
        assert [call.deviation for call in rig.decisions.calls] == [None] * 8


async def test_2_0_1__a_whole_session__in_the_judgement_of_a_foreign_station() -> None:
    async with running() as rig, speaking(rig, Station201, "ocpp2.0.1", "CP-1") as station:
        boot = await station.call(
            call201.BootNotification({"model": "M", "vendor_name": "V"}, "PowerUp")
        )
        assert boot.status == "Accepted"
        await station.call(call201.Heartbeat())
        await station.call(call201.StatusNotification(AT, "Occupied", 1, 1))
        token = {"id_token": "AABB", "type": "ISO14443"}
        allowed = await station.call(call201.Authorize(token))
        assert allowed.id_token_info["status"] == "Accepted"
        for number, kind in enumerate(("Started", "Updated", "Ended")):
            answer = await station.call(
                call201.TransactionEvent(
                    kind,
                    AT,
                    "Authorized",
                    number,
                    {"transaction_id": "tx-1", "charging_state": "Charging"},
                    id_token=token if kind == "Started" else None,
                    evse={"id": 1, "connector_id": 1},
                    meter_value=[{"timestamp": AT, "sampled_value": [{"value": 100.5 + number}]}],
                )
            )
            assert (answer.id_token_info is not None) is (kind == "Started")
        values = [{"timestamp": AT, "sampled_value": [{"value": 5}]}]
        await station.call(call201.MeterValues(1, values))
        await station.call(call201.DataTransfer("vendor"))
        assert set(rig.database.outcomes) == {"ok"}
        assert len(rig.database.rows) == 9


async def test_unserved_actions__are_refused_as_the_specification_names_it() -> None:
    async with running() as rig:
        async with speaking(rig, Station16, "ocpp1.6", "CP-1") as station:
            with pytest.raises(OCPPError) as caught:
                await station.call(call16.FirmwareStatusNotification("Idle"), suppress=False)
            assert caught.value.code == "NotSupported"
        async with speaking(rig, Station201, "ocpp2.0.1", "CP-2") as station:
            with pytest.raises(OCPPError) as caught:
                await station.call(
                    call201.SecurityEventNotification("FirmwareUpdated", AT), suppress=False
                )
            assert caught.value.code == "NotSupported"
        assert rig.database.outcomes == ["refused: NotSupported"] * 2


async def test_commands__before_the_boot_and_after__of_both_versions() -> None:
    async with running(QUICK) as rig:
        send = rig.server.commands.send
        async with speaking(rig, Station16, "ocpp1.6", "CP-1") as station:
            with pytest.raises(Unavailable):
                await send("CP-1", m.Reset(True))
            await station.call(call16.BootNotification("M", "V"))
            for command, answer in [
                (m.RemoteStart(1, 1, 1, TOKEN, 5), "Accepted"),
                (m.RemoteStop("7"), "Rejected"),
                (m.Reset(True), "Accepted"),
                (m.UnlockConnector(1, 1, 1), "Unlocked"),
                (m.TriggerMessage("StatusNotification", 1, 1, 1), "Accepted"),
            ]:
                result = await send("CP-1", command)
                assert result == m.CommandAnswer(answer != "Rejected", answer)
        async with speaking(rig, Station201, "ocpp2.0.1", "CP-2") as station:
            await station.call(
                call201.BootNotification({"model": "M", "vendor_name": "V"}, "PowerUp")
            )
            for command, answer in [
                (m.RemoteStart(1, 1, 1, TOKEN, 5), m.CommandAnswer(True, "Accepted")),
                (m.RemoteStop("tx-1"), m.CommandAnswer(True, "Accepted")),
                (m.Reset(False), m.CommandAnswer(True, "Scheduled")),
                (m.UnlockConnector(1, 1, 1), m.CommandAnswer(False, "UnlockFailed")),
                (m.TriggerMessage("Heartbeat", None, None, None),
                 m.CommandAnswer(False, "NotImplemented")),
            ]:  # fmt: skip
                assert await send("CP-2", command) == answer
        await rig.server.gateway.drain()
        ours = [row for row in rig.database.rows if not row.inbound]
        assert len(ours) == 10
        assert all(row.answer for row in ours)
        assert sum(row.outcome == "ok" for row in ours) == 7


async def test_calls_that_cross__are_both_answered() -> None:
    async with running(QUICK) as rig:
        socket = await rig.raw()
        socket.send(b'[2,"b","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
        await socket.message()
        rig.database.gate.clear()
        socket.send(b'[2,"a","Authorize",{"idTag":"AABB"}]')
        command = asyncio.create_task(rig.server.commands.send("CP-1", m.Reset(True)))
        _, message_id, action, _ = await socket.message()
        assert action == "Reset"
        socket.send(b'[3,"%b",{"status":"Accepted"}]' % message_id.encode())
        assert await command == m.CommandAnswer(True, "Accepted")
        rig.database.gate.set()
        assert (await socket.message())[:2] == [3, "a"]


async def test_station_that_vanishes__with_a_call_of_ours_open__is_unavailable() -> None:
    async with running(QUICK) as rig:
        socket = await rig.raw()
        socket.send(b'[2,"b","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
        await socket.message()
        command = asyncio.create_task(rig.server.commands.send("CP-1", m.Reset(True)))
        assert (await socket.message())[2] == "Reset"
        socket.writer.transport.abort()
        with pytest.raises(Unavailable, match="lost"):
            await command
        await rig.server.gateway.drain()
        assert rig.database.outcomes == ["ok", "connection lost"]
