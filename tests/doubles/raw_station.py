"""A station of raw OCPP frames that does a standard run right, but for one fault that it is given.

It shares no code with the product or its simulated stations: frames are lists, written here.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

CONNECTORS = 2
Frame = list[Any]


class RawStation:
    """One station with two EVSEs of one connector each, of OCPP 1.6 or 2.0.1."""

    def __init__(
        self, url: str, station_id: str, password: str, version: str, fault: str = "none"
    ) -> None:
        self.station_id = station_id
        self.is_16 = version == "1.6"
        self.fault = fault
        self._url = f"{url}/{station_id}"
        self._subprotocol = f"ocpp{version}"
        self._password = password
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._socket: ClientConnection | None = None
        self._register_wh = 1_000
        self._transaction: str | None = None
        self._seq_no = 0
        self.booted = asyncio.Event()
        self._again = True

    async def run(self) -> None:
        """Be connected, and connect again after a reset."""
        secret = base64.b64encode(f"{self.station_id}:{self._password}".encode()).decode()
        while self._again:
            self._again = False
            async with connect(
                self._url,
                subprotocols=[Subprotocol(self._subprotocol)],
                additional_headers={"Authorization": f"Basic {secret}"},
                compression=None,
                proxy=None,
            ) as socket:
                self._socket = socket
                self._start(self._boot())
                try:
                    async for data in socket:
                        self._take(json.loads(data))
                except ConnectionClosed:
                    pass

    async def hang_up(self) -> None:
        """End the connection for good."""
        assert self._socket is not None
        await self._socket.close()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _send(self, frame: Frame) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps(frame))

    def _take(self, frame: Frame) -> None:
        if frame[0] == 2:
            self._start(self._answer(*frame[1:]))
        elif frame[1] in self._answers:
            self._answers.pop(frame[1]).set_result(frame[2])

    async def _call(self, action: str, payload: dict[str, Any]) -> Any:
        number = f"m{next(self._numbers)}"
        self._answers[number] = asyncio.get_running_loop().create_future()
        answer = self._answers[number]
        await self._send([2, number, action, payload])
        return await answer

    # What it says -------------------------------------------------------------------------

    def _now(self) -> str:
        ahead = timedelta(minutes=-7 if self.fault == "clock" else 0)
        return (datetime.now(UTC) + ahead).isoformat(timespec="milliseconds")[:-6] + "Z"

    async def _boot(self) -> None:
        vendor = " " if self.fault == "boot" else "Maker"
        payload: dict[str, Any] = {"chargePointVendor": vendor, "chargePointModel": "M"}
        if not self.is_16:
            station = {"vendorName": vendor, "model": "M"}
            payload = {"reason": "PowerUp", "chargingStation": station}
        await self._call("BootNotification", payload)
        self.booted.set()

    async def _status(self, connector: int) -> None:
        if self.fault == "status" and connector == 2:
            return
        if self.is_16:
            payload = {"connectorId": connector, "errorCode": "NoError", "status": "Available"}
            if self.fault != "no time":
                payload["timestamp"] = self._now()
        else:
            payload = {"evseId": connector, "connectorId": 1, "connectorStatus": "Available"}
            payload["timestamp"] = self._now()
        await self._call("StatusNotification", payload)

    async def _event(self, kind: str, context: str, **more: Any) -> None:
        """A TransactionEvent of 2.0.1."""
        value = {"value": self._register_wh, "context": context}
        payload = {
            "eventType": kind,
            "timestamp": self._now(),
            "triggerReason": "RemoteStart",
            "seqNo": self._seq_no,
            "transactionInfo": {"transactionId": self._transaction, **more.pop("info", {})},
            "evse": {"id": 1, "connectorId": 1},
            "meterValue": [{"timestamp": self._now(), "sampledValue": [value]}],
        }
        if self.fault == "transaction_begin" and kind == "Started":
            del payload["meterValue"]
        self._seq_no += 2 if self.fault == "transaction_end" and kind == "Updated" else 1
        await self._call("TransactionEvent", payload | more)

    async def _begin(self, order: dict[str, Any]) -> None:
        if self.is_16:
            if self.fault == "transaction_begin":
                return
            payload = {
                "connectorId": 1,
                "idTag": order["idTag"],
                "meterStart": self._register_wh,
                "timestamp": self._now(),
            }
            self._transaction = str(
                (await self._call("StartTransaction", payload))["transactionId"]
            )
            return
        self._transaction = "T-1"
        info = {"remoteStartId": order["remoteStartId"]}
        await self._event("Started", "Transaction.Begin", info=info, idToken=order["idToken"])

    async def _read_meter(self) -> None:
        self._register_wh += -50 if self.fault == "meter_values" else 7
        if not self.is_16:
            await self._event("Updated", "Sample.Periodic")
            return
        value = {"timestamp": self._now(), "sampledValue": [{"value": str(self._register_wh)}]}
        number = int(self._transaction or 0)
        payload = {"connectorId": 1, "transactionId": number, "meterValue": [value]}
        await self._call("MeterValues", payload)

    async def _end(self) -> None:
        self._register_wh += 3
        if not self.is_16:
            await self._event("Ended", "Transaction.End", info={"stoppedReason": "Remote"})
            return
        payload = {
            "transactionId": int(self._transaction or 0),
            "meterStop": 10 if self.fault == "transaction_end" else self._register_wh,
            "timestamp": self._now(),
            "reason": "Remote",
        }
        await self._call("StopTransaction", payload)

    # What it answers ----------------------------------------------------------------------

    async def _answer(self, number: str, action: str, payload: dict[str, Any]) -> None:
        match action:
            case "DataTransfer":
                word = "Accepted" if self.fault == "unknown_vendor" else "UnknownVendorId"
                await self._send([3, number, {"status": word}])
            case "TriggerMessage" if not payload and self.fault != "broken_call":
                await self._send([4, number, "ProtocolError", "requestedMessage is missing", {}])
            case "TriggerMessage":
                await self._send([3, number, {"status": "Accepted"}])
                await self._obey(payload)
            case "RemoteStartTransaction" | "RequestStartTransaction":
                await self._order(number, "remote_start", lambda: self._begin(payload))
            case "RemoteStopTransaction" | "RequestStopTransaction":
                await self._order(number, "remote_stop", self._end)
            case "UnlockConnector":
                wrong = "NotSupported" if self.is_16 else "UnknownConnector"
                word = wrong if self.fault == "unlock" else "Unlocked"
                await self._send([3, number, {"status": word}])
            case "Reset":
                await self._order(number, "reset", self._restart)
            case _ if self.fault == "unknown_action":
                await self._send([3, number, {}])
            case _:
                await self._send([4, number, "NotImplemented", "", {}])

    async def _order(self, number: str, name: str, obey: Callable[[], Any]) -> None:
        if self.fault == name:
            await self._send([3, number, {"status": "Rejected"}])
            return
        await self._send([3, number, {"status": "Accepted"}])
        await obey()

    async def _obey(self, payload: dict[str, Any]) -> None:
        match payload.get("requestedMessage"):
            case "Heartbeat" if self.fault == "hang up":
                await self.hang_up()
            case "Heartbeat" if self.fault != "heartbeat":
                await self._call("Heartbeat", {"extra": 1} if self.fault == "form" else {})
            case "StatusNotification":
                evse = payload.get("connectorId") if self.is_16 else payload["evse"]["id"]
                await self._status(int(evse or 0))
            case "MeterValues" | "TransactionEvent":
                await self._read_meter()

    async def _restart(self) -> None:
        self._again = self.fault != "stays away"
        await self.hang_up()
