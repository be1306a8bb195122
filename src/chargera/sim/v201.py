"""A simulated station in the words of OCPP 2.0.1, spoken with the PyPI package `ocpp`."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ocpp.v201 import ChargePoint, call, call_result

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

STOPS = {
    StopCause.LOCAL: ("StopAuthorized", "Local"),
    StopCause.REMOTE: ("RemoteStop", "Remote"),
    StopCause.DEAUTHORIZED: ("Deauthorized", "DeAuthorized"),
    StopCause.RESET: ("ResetCommand", "ImmediateReset"),
    StopCause.UNLOCK: ("UnlockCommand", "Other"),
}
"""The trigger reason and the stopped reason of each cause."""

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"


class Dialect201:
    """OCPP 2.0.1: one message, TransactionEvent, tells a whole transaction."""

    subprotocol = "ocpp2.0.1"

    def __init__(self, connectors: tuple[Connector, ...], orders: Orders) -> None:
        self._connectors = connectors
        self._orders = orders

    def charge_point(self, station_id: str, connection: object, timeout_s: float) -> Any:
        """Return the `ocpp` charge point that answers the orders of one connection."""
        charge_point = ChargePoint(station_id, connection, response_timeout=timeout_s, logger=LOG)
        charge_point.route_map = {
            action: {"_on_action": handler}
            for action, handler in (
                ("RequestStartTransaction", self._on_request_start),
                ("RequestStopTransaction", self._on_request_stop),
                ("Reset", self._on_reset),
                ("UnlockConnector", self._on_unlock),
                ("TriggerMessage", self._on_trigger),
                ("DataTransfer", self._on_data_transfer),
            )
        }
        return charge_point

    def boot(self, identity: Mapping[str, str], *, after_reset: bool) -> Payload:
        """BootNotification."""
        return call.BootNotification(
            reason="RemoteReset" if after_reset else "PowerUp",
            charging_station={
                "vendor_name": identity["manufacturer"],
                "model": identity["model"],
                "serial_number": identity["serial_number"],
                "firmware_version": identity["firmware"],
            },
        )

    def heartbeat(self) -> Payload:
        """Heartbeat."""
        return call.Heartbeat()

    def status(self, connector: Connector, state: PlugState, at: datetime) -> Payload:
        """StatusNotification."""
        return call.StatusNotification(
            timestamp=timestamp(at),
            connector_status=state.status.value,
            evse_id=connector.evse,
            connector_id=connector.connector,
        )

    def authorize(self, id_token: str, kind: str) -> Payload:
        """Authorize."""
        return call.Authorize(id_token={"id_token": id_token, "type": kind})

    def started(self, charge: Charge, sample: Sample, *, offline: bool) -> Payload:
        """TransactionEvent Started, with the signed begin value where the meter signs."""
        is_remote = charge.remote_start_id is not None
        return _event(
            charge,
            sample,
            kind="Started",
            trigger="RemoteStart" if is_remote else "Authorized",
            info={"charging_state": "Charging", "remote_start_id": charge.remote_start_id},
            context="Transaction.Begin",
            offline=offline,
            names_driver=True,
        )

    def updated(self, charge: Charge, sample: Sample, *, offline: bool, full: bool) -> Payload:
        """TransactionEvent Updated."""
        is_idle = full or sample.power_w == 0
        return _event(
            charge,
            sample,
            kind="Updated",
            trigger="ChargingStateChanged" if full else "MeterValuePeriodic",
            info={"charging_state": "SuspendedEV" if is_idle else "Charging"},
            context="Sample.Periodic",
            offline=offline,
        )

    def ended(self, charge: Charge, sample: Sample, cause: StopCause, *, offline: bool) -> Payload:
        """TransactionEvent Ended, with the signed end value where the meter signs."""
        trigger, reason = STOPS[cause]
        return _event(
            charge,
            sample,
            kind="Ended",
            trigger=trigger,
            info={"charging_state": "Idle", "stopped_reason": reason},
            context="Transaction.End",
            offline=offline,
            names_driver=cause is StopCause.LOCAL,
        )

    def accepts(self, answer: Payload) -> bool:
        """Say whether the answer's idTokenInfo, if it has one, lets the driver charge."""
        info = getattr(answer, "id_token_info", None)
        return info is None or info["status"] == "Accepted"

    def note_answer(self, charge: Charge, answer: Payload) -> None:
        """Keep nothing: the station chose the transaction's id itself."""

    def _on_request_start(
        self,
        id_token: Mapping[str, Any],
        remote_start_id: int,
        evse_id: int | None = None,
        **_: object,
    ) -> Payload:
        connector = self._find(evse_id)
        known = evse_id is None or connector is not None
        done = known and self._orders.remote_start(
            connector, id_token["id_token"], id_token["type"], remote_start_id
        )
        return call_result.RequestStartTransaction(status=_accepted(done))

    def _on_request_stop(self, transaction_id: str, **_: object) -> Payload:
        done = self._orders.remote_stop(transaction_id)
        return call_result.RequestStopTransaction(status=_accepted(done))

    def _on_reset(self, **_: object) -> Payload:
        return call_result.Reset(status=_accepted(self._orders.reset()))

    def _on_unlock(self, evse_id: int, connector_id: int, **_: object) -> Payload:
        done = self._orders.unlock(self._find(evse_id, connector_id))
        return call_result.UnlockConnector(status="Unlocked" if done else "UnknownConnector")

    def _on_trigger(
        self, requested_message: str, evse: Mapping[str, Any] | None = None, **_: object
    ) -> Payload:
        connector = self._find(evse["id"], evse.get("connector_id")) if evse else None
        done = self._orders.trigger(requested_message, connector)
        return call_result.TriggerMessage(status="Accepted" if done else "NotImplemented")

    def _on_data_transfer(self, **_: object) -> Payload:
        return call_result.DataTransfer(status="UnknownVendorId")

    def _find(self, evse: int | None, connector: int | None = None) -> Connector | None:
        for candidate in self._connectors:
            if candidate.evse == evse and connector in (None, candidate.connector):
                return candidate
        return None


def _accepted(done: bool) -> str:
    return "Accepted" if done else "Rejected"


def _event(
    charge: Charge,
    sample: Sample,
    *,
    kind: str,
    trigger: str,
    info: Mapping[str, Any],
    context: str,
    offline: bool,
    names_driver: bool = False,
) -> Payload:
    values: list[dict[str, Any]] = [
        {
            "value": sample.register_wh,
            "measurand": ENERGY,
            "context": context,
            "unit_of_measure": {"unit": "Wh"},
        },
        {
            "value": sample.power_w,
            "measurand": POWER,
            "context": context,
            "unit_of_measure": {"unit": "W"},
        },
    ]
    for moment, value in charge.signed:
        if moment == sample:
            values[0]["signed_meter_value"] = _signed(value, charge.public_key_hex or "")
    driver = {"id_token": charge.id_token, "type": charge.id_token_kind}
    return call.TransactionEvent(
        event_type=kind,
        timestamp=timestamp(sample.at),
        trigger_reason=trigger,
        seq_no=sample.seq_no,
        transaction_info={"transaction_id": charge.transaction_id, **info},
        meter_value=[{"timestamp": timestamp(sample.at), "sampled_value": values}],
        offline=offline or None,
        evse={"id": charge.connector.evse, "connector_id": charge.connector.connector},
        id_token=driver if names_driver else None,
    )


def _signed(value: str, public_key_hex: str) -> dict[str, str]:
    """Return a SignedMeterValueType (OCPP 2.0.1, 2.44): data and key in base64."""
    algorithm = value.rsplit("|", 1)[1].split('"SA":"', 1)[1].split('"', 1)[0]
    return {
        "signed_meter_data": base64.b64encode(value.encode()).decode(),
        "signing_method": algorithm,
        "encoding_method": "OCMF",
        "public_key": base64.b64encode(bytes.fromhex(public_key_hex)).decode(),
    }
