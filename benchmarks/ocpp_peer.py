"""The peer: PyPI `ocpp` over `websockets`, both with default settings, answers made of constants.

    python -m benchmarks.ocpp_peer

Nothing is stored, nobody is asked for a password. Prints its port and serves until it is stopped.
"""

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime
from typing import Any

import ocpp.v16
import ocpp.v201
import websockets
from ocpp.routing import on
from websockets.asyncio.server import ServerConnection, serve

SUBPROTOCOLS = [websockets.Subprotocol("ocpp1.6"), websockets.Subprotocol("ocpp2.0.1")]
INTERVAL_S = 300
ACCEPTED = {"status": "Accepted"}


class ChargePoint(ocpp.v16.ChargePoint):
    """A station of OCPP 1.6."""

    @on("BootNotification")
    def on_boot_notification(self, **payload: Any) -> Any:
        return ocpp.v16.call_result.BootNotification(_now(), INTERVAL_S, "Accepted")

    @on("Heartbeat")
    def on_heartbeat(self) -> Any:
        return ocpp.v16.call_result.Heartbeat(_now())

    @on("StatusNotification")
    def on_status_notification(self, **payload: Any) -> Any:
        return ocpp.v16.call_result.StatusNotification()

    @on("StartTransaction")
    def on_start_transaction(self, **payload: Any) -> Any:
        return ocpp.v16.call_result.StartTransaction(1, ACCEPTED)

    @on("MeterValues")
    def on_meter_values(self, **payload: Any) -> Any:
        return ocpp.v16.call_result.MeterValues()

    @on("StopTransaction")
    def on_stop_transaction(self, **payload: Any) -> Any:
        return ocpp.v16.call_result.StopTransaction(ACCEPTED)


class ChargingStation(ocpp.v201.ChargePoint):
    """A station of OCPP 2.0.1."""

    @on("BootNotification")
    def on_boot_notification(self, **payload: Any) -> Any:
        return ocpp.v201.call_result.BootNotification(_now(), INTERVAL_S, "Accepted")

    @on("Heartbeat")
    def on_heartbeat(self) -> Any:
        return ocpp.v201.call_result.Heartbeat(_now())

    @on("StatusNotification")
    def on_status_notification(self, **payload: Any) -> Any:
        return ocpp.v201.call_result.StatusNotification()

    @on("TransactionEvent")
    def on_transaction_event(self, id_token: Any = None, **payload: Any) -> Any:
        return ocpp.v201.call_result.TransactionEvent(id_token_info=id_token and ACCEPTED)


async def _serve_station(connection: ServerConnection) -> None:
    assert connection.request is not None
    station_id = connection.request.path.rpartition("/")[2]
    kind = ChargePoint if connection.subprotocol == "ocpp1.6" else ChargingStation
    with contextlib.suppress(websockets.ConnectionClosed):
        await kind(station_id, connection).start()


async def _run() -> None:
    async with serve(_serve_station, "127.0.0.1", 0, subprotocols=SUBPROTOCOLS) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps({"port": port}), flush=True)
        await asyncio.Event().wait()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    try:
        asyncio.run(_run())
    except KeyboardInterrupt:
        sys.exit(0)
