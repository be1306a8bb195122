"""A simulated station in the words of OCPP 1.6J, spoken with the PyPI package `ocpp`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ocpp.v16 import ChargePoint, call, call_result

from chargera.domain.station import Connector
from chargera.sim.dialect import (
    LOG,
    Charge,
    Orders,
    Payload,
    PlugState,
    Sample,
    StopCause,
    timestamp,
)

REASONS = {
    StopCause.LOCAL: "Local",
    StopCause.REMOTE: "Remote",
    StopCause.DEAUTHORIZED: "DeAuthorized",
    StopCause.RESET: "SoftReset",
    StopCause.UNLOCK: "UnlockCommand",
}

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"

STRAY_TRANSACTION_ID = -1
"""What stations send when they never learnt the number of a transaction."""


class Dialect16:
    """OCPP 1.6J: the connector's number is its place in the station's list, from 1."""

    subprotocol = "ocpp1.6"

    def __init__(self, connectors: tuple[Connector, ...], orders: Orders) -> None:
        self._by_number = {c.ocpp16_connector_id: c for c in connectors}
        self._orders = orders

    def charge_point(self, station_id: str, connection: object, timeout_s: float) -> Any:
        """Return the `ocpp` charge point that answers the orders of one connection."""
        charge_point = ChargePoint(station_id, connection, response_timeout=timeout_s, logger=LOG)
        charge_point.route_map = {
            action: {"_on_action": handler}
            for action, handler in (
                ("RemoteStartTransaction", self._on_remote_start),
                ("RemoteStopTransaction", self._on_remote_stop),
                ("Reset", self._on_reset),
                ("UnlockConnector", self._on_unlock),
                ("TriggerMessage", self._on_trigger),
                ("DataTransfer", self._on_data_transfer),
            )
        }
        return charge_point

    def boot(self, identity: Mapping[str, str], *, after_reset: bool) -> Payload:
        """BootNotification; 1.6 has no word for the reason."""
        del after_reset
        return call.BootNotification(
            charge_point_vendor=identity["manufacturer"],
            charge_point_model=identity["model"],
            charge_point_serial_number=identity["serial_number"],
            firmware_version=identity["firmware"],
        )

    def heartbeat(self) -> Payload:
        """Heartbeat."""
        return call.Heartbeat()

    def status(self, connector: Connector, state: PlugState, at: datetime) -> Payload:
        """StatusNotification."""
        return call.StatusNotification(
            connector_id=connector.ocpp16_connector_id,
            error_code="NoError",
            status=state.value,
            timestamp=timestamp(at),
        )

    def authorize(self, id_token: str, kind: str) -> Payload:
        """Authorize; 1.6 knows no kinds of tags."""
        del kind
        return call.Authorize(id_tag=id_token)

    def started(self, charge: Charge, sample: Sample, *, offline: bool) -> Payload:
        """StartTransaction; the answer brings the transaction's number."""
        del offline
        return call.StartTransaction(
            connector_id=charge.connector.ocpp16_connector_id,
            id_tag=charge.id_token,
            meter_start=sample.register_wh,
            timestamp=timestamp(sample.at),
        )

    def updated(self, charge: Charge, sample: Sample, *, offline: bool, full: bool) -> Payload:
        """MeterValues; that the car is full is told by StatusNotification."""
        del offline, full
        return call.MeterValues(
            connector_id=charge.connector.ocpp16_connector_id,
            transaction_id=_number(charge),
            meter_value=[
                {
                    "timestamp": timestamp(sample.at),
                    "sampled_value": [
                        _value(sample.register_wh, ENERGY, "Wh", "Sample.Periodic"),
                        _value(sample.power_w, POWER, "W", "Sample.Periodic"),
                    ],
                }
            ],
        )

    def ended(self, charge: Charge, sample: Sample, cause: StopCause, *, offline: bool) -> Payload:
        """StopTransaction with the signed values of begin and end where the meter signs."""
        del offline
        signed = [
            {
                "timestamp": timestamp(moment.at),
                "sampled_value": [
                    {
                        "value": value,
                        "context": f"Transaction.{'End' if moment.seq_no else 'Begin'}",
                        "format": "SignedData",
                        "measurand": ENERGY,
                        "location": "Outlet",
                    }
                ],
            }
            for moment, value in charge.signed
        ]
        return call.StopTransaction(
            transaction_id=_number(charge),
            meter_stop=sample.register_wh,
            timestamp=timestamp(sample.at),
            reason=REASONS[cause],
            id_tag=charge.id_token,
            transaction_data=signed or None,
        )

    def accepts(self, answer: Payload) -> bool:
        """Say whether the answer's idTagInfo, if it has one, lets the driver charge."""
        info = getattr(answer, "id_tag_info", None)
        return info is None or info["status"] == "Accepted"

    def note_answer(self, charge: Charge, answer: Payload) -> None:
        """Keep the number that the other side chose for the transaction."""
        charge.transaction_id = str(answer.transaction_id)

    def _on_remote_start(self, id_tag: str, connector_id: int = 0, **_: object) -> Payload:
        connector = self._by_number.get(connector_id)
        known = connector_id == 0 or connector is not None
        done = known and self._orders.remote_start(connector, id_tag, "Central", None)
        return call_result.RemoteStartTransaction(status=_accepted(done))

    def _on_remote_stop(self, transaction_id: int) -> Payload:
        done = self._orders.remote_stop(str(transaction_id))
        return call_result.RemoteStopTransaction(status=_accepted(done))

    def _on_reset(self, **_: object) -> Payload:
        return call_result.Reset(status=_accepted(self._orders.reset()))

    def _on_unlock(self, connector_id: int) -> Payload:
        done = self._orders.unlock(self._by_number.get(connector_id))
        return call_result.UnlockConnector(status="Unlocked" if done else "NotSupported")

    def _on_trigger(self, requested_message: str, connector_id: int = 0) -> Payload:
        done = self._orders.trigger(requested_message, self._by_number.get(connector_id))
        return call_result.TriggerMessage(status="Accepted" if done else "NotImplemented")

    def _on_data_transfer(self, **_: object) -> Payload:
        return call_result.DataTransfer(status="UnknownVendorId")


def _accepted(done: bool) -> str:
    return "Accepted" if done else "Rejected"


def _number(charge: Charge) -> int:
    """Return the number that the answer to StartTransaction brought."""
    is_known = charge.transaction_id.lstrip("-").isdecimal()
    return int(charge.transaction_id) if is_known else STRAY_TRANSACTION_ID


def _value(number: int, measurand: str, unit: str, context: str) -> dict[str, str]:
    return {"value": str(number), "measurand": measurand, "unit": unit, "context": context}
