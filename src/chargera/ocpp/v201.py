"""OCPP 2.0.1: its payloads to and from the neutral vocabulary.

Source: OCPP 2.0.1 edition 3, part 2, chapters 1 to 3 (messages, data types, enumerations).
"""

import base64
import binascii
from typing import Any

from chargera.domain.messages import (
    Authorize,
    AuthorizeAnswer,
    BootAnswer,
    BootNotification,
    DataTransfer,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenRef,
    MeterValues,
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

CHARGING_STATE = {
    "Charging": ChargingState.CHARGING,
    "EVConnected": ChargingState.IDLE,
    "SuspendedEV": ChargingState.IDLE,
    "SuspendedEVSE": ChargingState.IDLE,
    "Idle": ChargingState.IDLE,
}

KINDS = {kind.value: kind for kind in TransactionEventKind}

STATUS = {status.value: status for status in ConnectorStatus}

MULTIPLIER_MAX = 12
OCMF_HEAD = "OCMF|"
ID_TOKEN_OF_THE_CSMS = "Central"  # noqa: S105 - `IdTokenEnumType`, no secret
"""Type of an identifier that is sent to a station and has none (2.0.1 part 2, 3.41)."""


def _boot_notification(payload: Payload, notes: Notes) -> BootNotification:
    station = fields.member_object(payload, "chargingStation")
    return BootNotification(
        vendor=fields.text(station, "vendorName"),
        model=fields.text(station, "model"),
        serial_number=fields.optional_text(station, "serialNumber"),
        firmware_version=fields.optional_text(station, "firmwareVersion"),
        reason=fields.optional_text(payload, "reason"),
    )


def _heartbeat(payload: Payload, notes: Notes) -> Heartbeat:
    return Heartbeat()


def _status_notification(payload: Payload, notes: Notes) -> StatusNotification:
    word = fields.text(payload, "connectorStatus")
    return StatusNotification(
        evse=fields.integer(payload, "evseId"),
        connector=fields.integer(payload, "connectorId"),
        status=STATUS.get(word, ConnectorStatus.UNKNOWN),
        detail=word,
        at=fields.optional_moment(payload, "timestamp", notes),
        charging=None,
    )


def _authorize(payload: Payload, notes: Notes) -> Authorize:
    return Authorize(_id_token(fields.member_object(payload, "idToken")))


def _data_transfer(payload: Payload, notes: Notes) -> DataTransfer:
    return DataTransfer(
        fields.text(payload, "vendorId"), fields.optional_text(payload, "messageId")
    )


def _transaction_event(payload: Payload, notes: Notes) -> TransactionEvent:
    kind = KINDS.get(fields.text(payload, "eventType"))
    if kind is None:
        raise CallRefused(Fault.PROPERTY, f"eventType: is none of {', '.join(KINDS)}")
    info = fields.member_object(payload, "transactionInfo")
    number = fields.text(info, "transactionId")
    seq_no = fields.integer(payload, "seqNo")
    evse = connector = id_token = None
    if "evse" in payload and (place := fields.optional_object(payload, "evse")) is not None:
        evse = fields.integer(place, "id")
        connector = fields.optional_integer(place, "connectorId")
    at = fields.moment(payload, "timestamp", notes)
    if "idToken" in payload and (card := fields.optional_object(payload, "idToken")) is not None:
        id_token = _id_token(card)
    elements = fields.objects(payload, "meterValue")
    samples, signed = meter_values.read(elements, STYLE, notes) if elements else ((), ())
    state = fields.optional_text(info, "chargingState")
    charging = None if state is None else CHARGING_STATE.get(state)
    stop_reason = fields.optional_text(info, "stoppedReason")
    offline = payload.get("offline") is True
    remote_start_id = fields.optional_integer(info, "remoteStartId")
    return TransactionEvent(
        kind,
        number,
        seq_no,
        evse,
        connector,
        at,
        id_token,
        samples,
        signed,
        charging,
        stop_reason,
        offline,
        remote_start_id,
    )


def _meter_values(payload: Payload, notes: Notes) -> MeterValues:
    samples, signed = meter_values.read(fields.objects(payload, "meterValue"), STYLE, notes)
    return MeterValues(fields.integer(payload, "evseId"), None, samples, signed)


def _id_token(token: Payload) -> IdTokenRef:
    return IdTokenRef(fields.text(token, "idToken"), fields.text(token, "type"))


def _scale(sampled: Payload) -> tuple[str | None, int]:
    unit_of_measure = sampled.get("unitOfMeasure")
    if unit_of_measure is None:
        return "", 0
    if unit_of_measure.__class__ is not dict:
        return None, 0
    unit = unit_of_measure.get("unit", "")
    multiplier = unit_of_measure.get("multiplier", 0)
    if multiplier.__class__ is float and multiplier.is_integer():
        multiplier = int(multiplier)
    if unit.__class__ is not str or multiplier.__class__ is not int:
        return None, 0
    if abs(multiplier) > MULTIPLIER_MAX:
        return None, 0
    return unit, multiplier


def _signed_bytes(sampled: Payload) -> bytes | None:
    signed = sampled.get("signedMeterValue")
    if signed is None:
        return None
    if signed.__class__ is not dict:
        raise CallRefused(Fault.TYPE, "signedMeterValue: is no object")
    data = signed.get("signedMeterData")
    if data is None:
        raise CallRefused(Fault.OCCURRENCE, "signedMeterData: is required")
    if data.__class__ is not str:
        raise CallRefused(Fault.TYPE, "signedMeterData: is no text")
    return _unwrapped(data)


def _unwrapped(data: str) -> bytes:
    """Return the signed string itself: the specification wants Base64, many send it plain."""
    if data.startswith(OCMF_HEAD):
        return data.encode()
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return data.encode()


STYLE = meter_values.Style(_scale, "signedMeterValue", _signed_bytes, signed_has_number=True)


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
    return {"idTokenInfo": _id_token_info(answer)}


def _transaction_answer(answer: TransactionAnswer) -> Payload:
    return {} if answer.status is None else {"idTokenInfo": _id_token_info(answer)}


def _id_token_info(answer: AuthorizeAnswer | TransactionAnswer) -> Payload:
    info: Payload = {"status": None if answer.status is None else answer.status.value}
    if answer.expires_at is not None:
        info["cacheExpiryDateTime"] = time_text(answer.expires_at)
    return info


def _unknown_vendor(answer: Any) -> Payload:
    return {"status": "UnknownVendorId"}


def _empty(answer: Any) -> Payload:
    return {}


# Commands -------------------------------------------------------------------------------------


def _command(command: StationCommand) -> tuple[str, Payload]:
    match command:
        case RemoteStart():
            return "RequestStartTransaction", {
                "evseId": command.evse,
                "remoteStartId": command.remote_start_id,
                "idToken": {
                    "idToken": command.id_token.value,
                    "type": command.id_token.kind or ID_TOKEN_OF_THE_CSMS,
                },
            }
        case RemoteStop(transaction_id):
            return "RequestStopTransaction", {"transactionId": transaction_id}
        case Reset(hard):
            return "Reset", {"type": "Immediate" if hard else "OnIdle"}
        case UnlockConnector():
            return "UnlockConnector", {
                "evseId": command.evse,
                "connectorId": command.connector,
            }
        case TriggerMessage():
            payload: Payload = {"requestedMessage": command.requested_message}
            if command.evse is not None:
                payload["evse"] = {"id": command.evse}
                if command.connector is not None:
                    payload["evse"]["connectorId"] = command.connector
            return "TriggerMessage", payload


DIALECT = Dialect(
    OcppVersion.V2_0_1,
    spelling={},
    served={
        "Authorize": Action(_authorize, _authorize_answer),
        "BootNotification": Action(_boot_notification, _boot_answer),
        "DataTransfer": Action(_data_transfer, _unknown_vendor),
        "Heartbeat": Action(_heartbeat, _heartbeat_answer),
        "MeterValues": Action(_meter_values, _empty),
        "StatusNotification": Action(_status_notification, _empty),
        "TransactionEvent": Action(_transaction_event, _transaction_answer),
    },
    command=_command,
    answers_unreadable=True,
)
