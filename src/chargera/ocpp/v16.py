"""OCPP 1.6 JSON: its payloads to and from the neutral vocabulary.

The only module that speaks of charge points, idTags and connector numbers that span a station.
1.6 has no EVSEs: `evse` is None and `connector` the 1.6 number, 0 meaning the whole station.
Source: OCPP 1.6 edition 2, chapters 4 to 6.
"""

from typing import Any

from chargera.domain.messages import (
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    BootAnswer,
    BootNotification,
    DataTransfer,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenRef,
    MeterSample,
    MeterValues,
    ReadingContext,
    RemoteStart,
    RemoteStop,
    Reset,
    StationCommand,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    TransactionEventKind,
    TriggerMessage,
    UnlockConnector,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ConnectorStatus, OcppVersion
from chargera.ocpp import fields, meter_values
from chargera.ocpp.dialect import Action, Dialect
from chargera.ocpp.fields import Notes, time_text
from chargera.ocpp.framing import CallRefused, Fault, Payload

NO_TRANSACTION = 0
"""What many stations send as `transactionId` of meter values outside any transaction."""

UNNUMBERED = -1
"""What stations send that started offline and never learned the number (libocpp issue 495)."""

STATUS = {
    "Available": (ConnectorStatus.AVAILABLE, None),
    "Preparing": (ConnectorStatus.OCCUPIED, None),
    "Charging": (ConnectorStatus.OCCUPIED, ChargingState.CHARGING),
    "SuspendedEV": (ConnectorStatus.OCCUPIED, ChargingState.IDLE),
    "SuspendedEVSE": (ConnectorStatus.OCCUPIED, ChargingState.IDLE),
    "Finishing": (ConnectorStatus.OCCUPIED, ChargingState.IDLE),
    "Reserved": (ConnectorStatus.RESERVED, None),
    "Unavailable": (ConnectorStatus.UNAVAILABLE, None),
    "Faulted": (ConnectorStatus.FAULTED, None),
}
"""`ChargePointStatus` as connector status and what it says of a running transaction."""

UNKNOWN_STATUS = (ConnectorStatus.UNKNOWN, None)

SPELLING = {
    Fault.FORMAT: "FormationViolation",
    Fault.OCCURRENCE: "OccurenceConstraintViolation",
    Fault.RPC: "FormationViolation",
    Fault.MESSAGE_TYPE: "ProtocolError",
}
"""Error codes of OCPP-J 1.6, table 7, that 2.0.1 spells otherwise or does not share."""


def _boot_notification(payload: Payload, notes: Notes) -> BootNotification:
    serial = fields.optional_text(payload, "chargePointSerialNumber")
    return BootNotification(
        vendor=fields.text(payload, "chargePointVendor"),
        model=fields.text(payload, "chargePointModel"),
        serial_number=serial or fields.optional_text(payload, "chargeBoxSerialNumber"),
        firmware_version=fields.optional_text(payload, "firmwareVersion"),
        reason=None,
    )


def _heartbeat(payload: Payload, notes: Notes) -> Heartbeat:
    return Heartbeat()


def _status_notification(payload: Payload, notes: Notes) -> StatusNotification:
    word = fields.text(payload, "status")
    status, charging = STATUS.get(word, UNKNOWN_STATUS)
    return StatusNotification(
        evse=None,
        connector=fields.integer(payload, "connectorId"),
        status=status,
        detail=word,
        at=fields.optional_moment(payload, "timestamp", notes),
        charging=charging,
    )


def _authorize(payload: Payload, notes: Notes) -> Authorize:
    return Authorize(IdTokenRef(fields.text(payload, "idTag"), None))


def _data_transfer(payload: Payload, notes: Notes) -> DataTransfer:
    return DataTransfer(
        fields.text(payload, "vendorId"), fields.optional_text(payload, "messageId")
    )


def _start_transaction(payload: Payload, notes: Notes) -> TransactionEvent:
    at = fields.moment(payload, "timestamp", notes)
    register_wh = fields.register(payload, "meterStart", notes)
    return TransactionEvent(
        kind=TransactionEventKind.STARTED,
        transaction_id=None,
        seq_no=None,
        evse=None,
        connector=fields.integer(payload, "connectorId"),
        at=at,
        id_token=IdTokenRef(fields.text(payload, "idTag"), None),
        samples=(MeterSample(at, ReadingContext.BEGIN, register_wh, None),),
        signed=(),
        charging=None,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )


def _stop_transaction(payload: Payload, notes: Notes) -> TransactionEvent:
    at = fields.moment(payload, "timestamp", notes)
    register_wh = fields.register(payload, "meterStop", notes)
    samples, signed = meter_values.read(fields.objects(payload, "transactionData"), STYLE, notes)
    id_tag = fields.optional_text(payload, "idTag")
    number = fields.integer(payload, "transactionId", UNNUMBERED, fields.INT64_MAX)
    return TransactionEvent(
        kind=TransactionEventKind.ENDED,
        transaction_id=str(number),
        seq_no=None,
        evse=None,
        connector=None,
        at=at,
        id_token=None if id_tag is None else IdTokenRef(id_tag, None),
        samples=(MeterSample(at, ReadingContext.END, register_wh, None), *samples),
        signed=signed,
        charging=None,
        stop_reason=fields.optional_text(payload, "reason"),
        offline=False,
        remote_start_id=None,
    )


def _meter_values(payload: Payload, notes: Notes) -> MeterValues | TransactionEvent:
    """Values of a transaction are one event of it, at the time of their first element."""
    connector = fields.integer(payload, "connectorId")
    elements = fields.objects(payload, "meterValue")
    samples, signed = meter_values.read(elements, STYLE, notes)
    number = fields.optional_integer(payload, "transactionId", UNNUMBERED, fields.INT64_MAX)
    if number is None or number == NO_TRANSACTION or not elements:
        return MeterValues(None, connector, samples, signed)
    return TransactionEvent(
        kind=TransactionEventKind.UPDATED,
        transaction_id=str(number),
        seq_no=None,
        evse=None,
        connector=connector,
        at=fields.moment(elements[0], "timestamp", []),
        id_token=None,
        samples=samples,
        signed=signed,
        charging=None,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )


def _scale(sampled: Payload) -> tuple[str | None, int]:
    unit = sampled.get("unit", "")
    return unit if unit.__class__ is str else None, 0


def _signed_bytes(sampled: Payload) -> bytes | None:
    """A SignedData value is the signed string itself."""
    if sampled.get("format") != "SignedData":
        return None
    value = sampled.get("value")
    if value.__class__ is not str:
        raise CallRefused(Fault.TYPE, "value: is no text")
    return value.encode()


STYLE = meter_values.Style(_scale, "format", _signed_bytes, signed_has_number=False)


# Answers --------------------------------------------------------------------------------------


def _boot_answer(answer: BootAnswer) -> Payload:
    return {
        "status": "Accepted",
        "currentTime": time_text(answer.now),
        "interval": answer.interval_s,
    }


def _heartbeat_answer(answer: HeartbeatAnswer) -> Payload:
    return {"currentTime": time_text(answer.now)}


def _authorize_answer(answer: AuthorizeAnswer) -> Payload:
    return {"idTagInfo": _id_tag_info(answer.status, answer)}


def _start_answer(answer: TransactionAnswer) -> Payload:
    status = answer.status or AuthorizationStatus.INVALID
    return {
        "transactionId": int(answer.transaction_id),
        "idTagInfo": _id_tag_info(status, answer),
    }


def _stop_answer(answer: TransactionAnswer) -> Payload:
    if answer.status is None:
        return {}
    return {"idTagInfo": _id_tag_info(answer.status, answer)}


def _id_tag_info(
    status: AuthorizationStatus, answer: AuthorizeAnswer | TransactionAnswer
) -> Payload:
    info: Payload = {"status": status.value}
    if answer.expires_at is not None:
        info["expiryDate"] = time_text(answer.expires_at)
    return info


def _unknown_vendor(answer: Any) -> Payload:
    return {"status": "UnknownVendorId"}


def _empty(answer: Any) -> Payload:
    return {}


# Commands -------------------------------------------------------------------------------------


def _command(command: StationCommand) -> tuple[str, Payload]:
    match command:
        case RemoteStart():
            return "RemoteStartTransaction", {
                "connectorId": command.ocpp16_connector_id,
                "idTag": command.id_token.value,
            }
        case RemoteStop(transaction_id):
            return "RemoteStopTransaction", {"transactionId": int(transaction_id)}
        case Reset(hard):
            return "Reset", {"type": "Hard" if hard else "Soft"}
        case UnlockConnector():
            return "UnlockConnector", {"connectorId": command.ocpp16_connector_id}
        case TriggerMessage():
            payload: Payload = {"requestedMessage": command.requested_message}
            if command.ocpp16_connector_id is not None:
                payload["connectorId"] = command.ocpp16_connector_id
            return "TriggerMessage", payload


DIALECT = Dialect(
    OcppVersion.V1_6,
    spelling=SPELLING,
    served={
        "Authorize": Action(_authorize, _authorize_answer),
        "BootNotification": Action(_boot_notification, _boot_answer),
        "DataTransfer": Action(_data_transfer, _unknown_vendor),
        "Heartbeat": Action(_heartbeat, _heartbeat_answer),
        "MeterValues": Action(_meter_values, _empty),
        "StartTransaction": Action(_start_transaction, _start_answer),
        "StatusNotification": Action(_status_notification, _empty),
        "StopTransaction": Action(_stop_transaction, _stop_answer),
    },
    command=_command,
    answers_unreadable=False,
)
