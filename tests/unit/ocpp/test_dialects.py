import random
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain import messages as m
from chargera.domain.errors import InvalidInput
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ConnectorStatus, OcppVersion
from chargera.ocpp import schemas, v16, v201
from chargera.ocpp.dialect import Dialect, ReadCall
from chargera.ocpp.framing import CallRefused, Fault
from tests.unit.ocpp.payloads import broken_payload, valid_payload

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, UTC)
NOW_TEXT = "2026-11-24T12:00:00.123Z"
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT_TEXT = "2026-11-24T12:00:00Z"

DIALECTS = {OcppVersion.V1_6: v16.DIALECT, OcppVersion.V2_0_1: v201.DIALECT}
SERVED = [(version, action) for version, d in DIALECTS.items() for action in sorted(d._served)]


def event(kind: m.TransactionEventKind, **values: Any) -> m.TransactionEvent:
    fields: dict[str, Any] = {
        "kind": kind, "transaction_id": None, "seq_no": None, "evse": None, "connector": None,
        "at": AT, "id_token": None, "samples": (), "signed": (), "charging": None,
        "stop_reason": None, "offline": False, "remote_start_id": None,
    }  # fmt: skip
    return m.TransactionEvent(**{**fields, **values})


# Requests, one by one ---------------------------------------------------------------------------

V16_REQUESTS: list[tuple[str, dict[str, Any], m.StationMessage]] = [
    ("Heartbeat", {}, m.Heartbeat()),
    (
        "BootNotification",
        {"chargePointVendor": "V", "chargePointModel": "M", "firmwareVersion": "1.2",
         "chargePointSerialNumber": "S1", "chargeBoxSerialNumber": "S2"},
        m.BootNotification("V", "M", "S1", "1.2", None),
    ),
    (
        "BootNotification",
        {"chargePointVendor": "V", "chargePointModel": "M", "chargeBoxSerialNumber": "S2"},
        m.BootNotification("V", "M", "S2", None, None),
    ),
    ("Authorize", {"idTag": "Tag"}, m.Authorize(m.IdTokenRef("Tag", None))),
    ("DataTransfer", {"vendorId": "V", "messageId": "x"}, m.DataTransfer("V", "x")),
    ("DataTransfer", {"vendorId": "V", "data": "d"}, m.DataTransfer("V", None)),
    (
        "StatusNotification",
        {"connectorId": 0, "errorCode": "NoError", "status": "Available", "timestamp": AT_TEXT},
        m.StatusNotification(None, 0, ConnectorStatus.AVAILABLE, "Available", AT, None),
    ),
    (
        "StartTransaction",
        {"connectorId": 1, "idTag": "Tag", "meterStart": 100, "timestamp": AT_TEXT},
        event(
            m.TransactionEventKind.STARTED,
            connector=1,
            id_token=m.IdTokenRef("Tag", None),
            samples=(m.MeterSample(AT, m.ReadingContext.BEGIN, 100, None),),
        ),
    ),
    (
        "StopTransaction",
        {"transactionId": 2**63 - 1, "meterStop": 250, "timestamp": AT_TEXT},
        event(
            m.TransactionEventKind.ENDED,
            transaction_id="9223372036854775807",
            samples=(m.MeterSample(AT, m.ReadingContext.END, 250, None),),
        ),
    ),
    (
        "StopTransaction",
        {"transactionId": -1, "idTag": "Tag", "meterStop": 250, "timestamp": AT_TEXT,
         "reason": "PowerLoss",
         "transactionData": [{"timestamp": "2026-11-24T11:00:00Z", "sampledValue": [
             {"value": "0.1", "unit": "kWh", "context": "Transaction.Begin"}]}]},
        event(
            m.TransactionEventKind.ENDED,
            transaction_id="-1",
            id_token=m.IdTokenRef("Tag", None),
            stop_reason="PowerLoss",
            samples=(
                m.MeterSample(AT, m.ReadingContext.END, 250, None),
                m.MeterSample(AT.replace(hour=11), m.ReadingContext.BEGIN, 100, None),
            ),
        ),
    ),
    (
        "MeterValues",
        {"connectorId": 1, "transactionId": 0,
         "meterValue": [{"timestamp": AT_TEXT, "sampledValue": [{"value": "5"}]}]},
        m.MeterValues(None, 1, (m.MeterSample(AT, m.ReadingContext.PERIODIC, 5, None),), ()),
    ),
    (
        "MeterValues",
        {"connectorId": 1, "transactionId": -1,
         "meterValue": [{"timestamp": AT_TEXT, "sampledValue": [{"value": "5"}]}]},
        event(
            m.TransactionEventKind.UPDATED,
            transaction_id="-1",
            connector=1,
            samples=(m.MeterSample(AT, m.ReadingContext.PERIODIC, 5, None),),
        ),
    ),
]  # fmt: skip

V201_REQUESTS: list[tuple[str, dict[str, Any], m.StationMessage]] = [
    ("Heartbeat", {}, m.Heartbeat()),
    (
        "BootNotification",
        {"reason": "PowerUp", "chargingStation": {"vendorName": "V", "model": "M",
         "serialNumber": "S", "firmwareVersion": "1"}},
        m.BootNotification("V", "M", "S", "1", "PowerUp"),
    ),
    (
        "Authorize",
        {"idToken": {"idToken": "AA", "type": "ISO14443"}},
        m.Authorize(m.IdTokenRef("AA", "ISO14443")),
    ),
    ("DataTransfer", {"vendorId": "V", "data": {"any": [1]}}, m.DataTransfer("V", None)),
    (
        "StatusNotification",
        {"timestamp": AT_TEXT, "connectorStatus": "Occupied", "evseId": 2, "connectorId": 1},
        m.StatusNotification(2, 1, ConnectorStatus.OCCUPIED, "Occupied", AT, None),
    ),
    (
        "MeterValues",
        {"evseId": 0, "meterValue": [{"timestamp": AT_TEXT, "sampledValue": [{"value": 5}]}]},
        m.MeterValues(0, None, (m.MeterSample(AT, m.ReadingContext.PERIODIC, 5, None),), ()),
    ),
    (
        "TransactionEvent",
        {"eventType": "Started", "timestamp": AT_TEXT, "triggerReason": "RemoteStart",
         "seqNo": 0.0, "offline": True, "evse": {"id": 1, "connectorId": 2},
         "idToken": {"idToken": "AA", "type": "Central"},
         "transactionInfo": {"transactionId": "tx", "chargingState": "EVConnected",
                             "remoteStartId": 7},
         "meterValue": [{"timestamp": AT_TEXT, "sampledValue": [
             {"value": 5, "context": "Transaction.Begin"}]}]},
        event(
            m.TransactionEventKind.STARTED,
            transaction_id="tx",
            seq_no=0,
            evse=1,
            connector=2,
            id_token=m.IdTokenRef("AA", "Central"),
            charging=ChargingState.IDLE,
            offline=True,
            remote_start_id=7,
            samples=(m.MeterSample(AT, m.ReadingContext.BEGIN, 5, None),),
        ),
    ),
    (
        "TransactionEvent",
        {"eventType": "Ended", "timestamp": AT_TEXT, "triggerReason": "EVDeparted", "seqNo": 9,
         "evse": {"id": 1}, "transactionInfo": {"transactionId": "tx",
         "stoppedReason": "EVDisconnected"}},
        event(
            m.TransactionEventKind.ENDED,
            transaction_id="tx",
            seq_no=9,
            evse=1,
            stop_reason="EVDisconnected",
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "action", "payload", "message"),
    [(v16.DIALECT, *row) for row in V16_REQUESTS] + [(v201.DIALECT, *row) for row in V201_REQUESTS],
)
def test_read__valid_request__is_the_neutral_message(
    dialect: Dialect, action: str, payload: dict[str, Any], message: m.StationMessage
) -> None:
    read = dialect.read(action, payload)
    assert (read.message, read.deviation) == (message, None)


@pytest.mark.parametrize(
    ("word", "status", "charging"),
    [
        ("Available", ConnectorStatus.AVAILABLE, None),
        ("Preparing", ConnectorStatus.OCCUPIED, None),
        ("Charging", ConnectorStatus.OCCUPIED, ChargingState.CHARGING),
        ("SuspendedEV", ConnectorStatus.OCCUPIED, ChargingState.IDLE),
        ("SuspendedEVSE", ConnectorStatus.OCCUPIED, ChargingState.IDLE),
        ("Finishing", ConnectorStatus.OCCUPIED, ChargingState.IDLE),
        ("Reserved", ConnectorStatus.RESERVED, None),
        ("Unavailable", ConnectorStatus.UNAVAILABLE, None),
        ("Faulted", ConnectorStatus.FAULTED, None),
    ],
)
def test_1_6__status_word__is_connector_status_and_charging_state(
    word: str, status: ConnectorStatus, charging: ChargingState | None
) -> None:
    payload = {"connectorId": 3, "errorCode": "NoError", "status": word}
    message = v16.DIALECT.read("StatusNotification", payload).message
    assert message == m.StatusNotification(None, 3, status, word, None, charging)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Charging", ChargingState.CHARGING),
        ("EVConnected", ChargingState.IDLE),
        ("SuspendedEV", ChargingState.IDLE),
        ("SuspendedEVSE", ChargingState.IDLE),
        ("Idle", ChargingState.IDLE),
    ],
)
def test_2_0_1__charging_state__is_charging_or_idle(word: str, state: ChargingState) -> None:
    payload = {
        "eventType": "Updated", "timestamp": AT_TEXT, "triggerReason": "ChargingStateChanged",
        "seqNo": 1, "transactionInfo": {"transactionId": "t", "chargingState": word},
    }  # fmt: skip
    message = v201.DIALECT.read("TransactionEvent", payload).message
    assert isinstance(message, m.TransactionEvent)
    assert message.charging is state


# Deviations -------------------------------------------------------------------------------------

TOLERATED = [
    (v16.DIALECT, "BootNotification",
     {"chargePointVendor": "V" * 40, "chargePointModel": "M", "chargePointSerialNumber": "S" * 60},
     m.BootNotification("V" * 40, "M", "S" * 60, None, None), "longer than"),
    (v16.DIALECT, "BootNotification",
     {"chargePointVendor": "V", "chargePointModel": "M", "extra": 1, "iccid": None},
     m.BootNotification("V", "M", None, None, None), "extra"),
    (v16.DIALECT, "StatusNotification", {"connectorId": 1, "status": "Available"},
     m.StatusNotification(None, 1, ConnectorStatus.AVAILABLE, "Available", None, None),
     "errorCode"),
    (v16.DIALECT, "StatusNotification",
     {"connectorId": 1, "status": "Hibernating", "errorCode": "Bored"},
     m.StatusNotification(None, 1, ConnectorStatus.UNKNOWN, "Hibernating", None, None),
     "Hibernating"),
    (v16.DIALECT, "StatusNotification",
     {"connectorId": 1, "status": "Available", "errorCode": "NoError",
      "timestamp": "2026-11-24T12:00:00"},
     m.StatusNotification(None, 1, ConnectorStatus.AVAILABLE, "Available", AT, None),
     "no time zone"),
    (v16.DIALECT, "Authorize", {"idTag": "T" * 40},
     m.Authorize(m.IdTokenRef("T" * 40, None)), "longer than"),
    (v16.DIALECT, "StartTransaction",
     {"connectorId": 1, "idTag": "Tag", "meterStart": 100.6, "timestamp": AT_TEXT},
     event(m.TransactionEventKind.STARTED, connector=1, id_token=m.IdTokenRef("Tag", None),
           samples=(m.MeterSample(AT, m.ReadingContext.BEGIN, 101, None),)), "meterStart"),
    (v16.DIALECT, "MeterValues", {"connectorId": 1, "transactionId": 5, "meterValue": []},
     m.MeterValues(None, 1, (), ()), "meterValue"),
    (v201.DIALECT, "StatusNotification",
     {"timestamp": AT_TEXT, "connectorStatus": "Napping", "evseId": 1, "connectorId": 1},
     m.StatusNotification(1, 1, ConnectorStatus.UNKNOWN, "Napping", AT, None), "Napping"),
    (v201.DIALECT, "Heartbeat", {"customData": {"noVendor": 1}}, m.Heartbeat(), "vendorId"),
    (v201.DIALECT, "Authorize", {"idToken": {"idToken": "AA", "type": "Tattoo"}},
     m.Authorize(m.IdTokenRef("AA", "Tattoo")), "Tattoo"),
    (v201.DIALECT, "TransactionEvent",
     {"eventType": "Updated", "timestamp": "2026-11-24 12:00:00Z", "seqNo": 1,
      "transactionInfo": {"transactionId": "t" * 60, "chargingState": "Dreaming"}},
     event(m.TransactionEventKind.UPDATED, transaction_id="t" * 60, seq_no=1), "triggerReason"),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "action", "payload", "message", "named"), TOLERATED)
def test_read__harmless_breach__is_served_and_named(
    dialect: Dialect,
    action: str,
    payload: dict[str, Any],
    message: m.StationMessage,
    named: str,
) -> None:
    read = dialect.read(action, payload)
    assert read.message == message
    assert read.deviation is not None
    assert named in read.deviation


def test_read__many_breaches__are_summed_up() -> None:
    payload = {"connectorId": 1, "status": "Available", "errorCode": "NoError"}
    payload |= {f"x{n}": 1 for n in range(9)} | {"vendorId": "v" * 300, "info": "i" * 60}
    payload |= {"vendorErrorCode": "e" * 60, "timestamp": "2026-11-24T12:00:00"}
    deviation = v16.DIALECT.read("StatusNotification", payload).deviation
    assert deviation is not None
    assert len(deviation) < 600
    values = [{"value": "1", "measurand": f"M{n}"} for n in range(20)]
    payload = {"connectorId": 1, "meterValue": [{"timestamp": AT_TEXT, "sampledValue": values}]}
    deviation = v16.DIALECT.read("MeterValues", payload).deviation
    assert deviation is not None
    assert deviation.endswith("and 15 more")


def test_read__countless_breaches__are_refused() -> None:
    values = [{"value": "1", "unit": "x"} for _ in range(1200)]
    payload = {"connectorId": 1, "meterValue": [{"timestamp": AT_TEXT, "sampledValue": values}]}
    with pytest.raises(CallRefused) as caught:
        v16.DIALECT.read("MeterValues", payload)
    assert caught.value.fault is Fault.FORMAT


REFUSED = [
    (v16.DIALECT, "BootNotification", {"chargePointVendor": "V"}, Fault.OCCURRENCE),
    (v16.DIALECT, "BootNotification", {"chargePointVendor": 1, "chargePointModel": "M"},
     Fault.TYPE),
    (v16.DIALECT, "BootNotification", {"chargePointVendor": None, "chargePointModel": "M"},
     Fault.OCCURRENCE),
    (v16.DIALECT, "BootNotification", {"chargePointVendor": "\0", "chargePointModel": "M"},
     Fault.PROPERTY),
    (v16.DIALECT, "Authorize", {}, Fault.OCCURRENCE),
    (v16.DIALECT, "Authorize", {"idTag": "x" * 600}, Fault.PROPERTY),
    (v16.DIALECT, "StatusNotification", {"connectorId": "1", "status": "Available"}, Fault.TYPE),
    (v16.DIALECT, "StatusNotification", {"connectorId": -1, "status": "Available",
     "errorCode": "NoError"}, Fault.PROPERTY),
    (v16.DIALECT, "StartTransaction", {"connectorId": 1, "idTag": "T", "meterStart": 1,
     "timestamp": "soon"}, Fault.PROPERTY),
    (v16.DIALECT, "StartTransaction", {"connectorId": 1, "idTag": "T", "meterStart": "x",
     "timestamp": AT_TEXT}, Fault.TYPE),
    (v16.DIALECT, "StartTransaction", {"connectorId": 1, "idTag": "T", "timestamp": AT_TEXT},
     Fault.OCCURRENCE),
    (v16.DIALECT, "StopTransaction", {"meterStop": 1, "timestamp": AT_TEXT}, Fault.OCCURRENCE),
    (v16.DIALECT, "StopTransaction", {"transactionId": -7, "meterStop": 1, "timestamp": AT_TEXT},
     Fault.PROPERTY),
    (v16.DIALECT, "MeterValues", {"connectorId": 1, "meterValue": {}}, Fault.TYPE),
    (v201.DIALECT, "BootNotification", {"reason": "PowerUp"}, Fault.OCCURRENCE),
    (v201.DIALECT, "Authorize", {"idToken": {"idToken": "AA"}}, Fault.OCCURRENCE),
    (v201.DIALECT, "Authorize", {"idToken": "AA"}, Fault.TYPE),
    (v201.DIALECT, "TransactionEvent", {"eventType": "Paused", "timestamp": AT_TEXT, "seqNo": 1,
     "transactionInfo": {"transactionId": "t"}}, Fault.PROPERTY),
    (v201.DIALECT, "TransactionEvent", {"eventType": "Ended", "timestamp": AT_TEXT, "seqNo": -1,
     "triggerReason": "Trigger", "transactionInfo": {"transactionId": "t"}}, Fault.PROPERTY),
    (v201.DIALECT, "TransactionEvent", {"eventType": "Ended", "timestamp": AT_TEXT, "seqNo": 1,
     "triggerReason": "Trigger", "transactionInfo": {}}, Fault.OCCURRENCE),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "action", "payload", "fault"), REFUSED)
def test_read__what_cannot_be_read_safely__is_refused_with_the_error_that_names_it(
    dialect: Dialect, action: str, payload: dict[str, Any], fault: Fault
) -> None:
    with pytest.raises(CallRefused) as caught:
        dialect.read(action, payload)
    assert caught.value.fault is fault


# Properties over the schemas --------------------------------------------------------------------


def verdict_on(dialect: Dialect, action: str, payload: Any) -> ReadCall | CallRefused:
    try:
        return dialect.read(action, payload)
    except CallRefused as refused:
        return refused


@pytest.mark.parametrize(("version", "action"), SERVED)
@given(seed=st.integers(0, 2**32))
def test_read__any_valid_payload__is_mapped_or_properly_refused(
    version: OcppVersion, action: str, seed: int
) -> None:
    schema = schemas.request_schema(version, action)
    payload = valid_payload(schema, random.Random(seed))
    before = orjson.dumps(payload)
    verdict = verdict_on(DIALECTS[version], action, payload)
    if isinstance(verdict, CallRefused):
        # Only numbers that the schema does not bound are refused in a valid payload.
        assert verdict.fault is Fault.PROPERTY
        assert ":-3" in before.decode()
    else:
        assert not isinstance(verdict.message, m.UnservedCall)
    assert orjson.dumps(payload) == before


@pytest.mark.parametrize(("version", "action"), SERVED)
@given(seed=st.integers(0, 2**32))
def test_read__any_broken_payload__is_served_with_a_deviation_or_refused(
    version: OcppVersion, action: str, seed: int
) -> None:
    schema = schemas.request_schema(version, action)
    payload = broken_payload(schema, random.Random(seed))
    if not isinstance(payload, dict):
        return
    verdict = verdict_on(DIALECTS[version], action, payload)
    if isinstance(verdict, CallRefused):
        assert verdict.detail
    else:
        assert schema.is_valid(payload) or verdict.deviation


# Answers ----------------------------------------------------------------------------------------


def answers_of(action: str) -> list[m.Answer]:
    statuses = list(m.AuthorizationStatus)
    match action:
        case "BootNotification":
            return [m.BootAnswer(NOW, 300)]
        case "Heartbeat":
            return [m.HeartbeatAnswer(NOW)]
        case "Authorize":
            return [m.AuthorizeAnswer(s, until) for s in statuses for until in (None, NOW)]
        case "DataTransfer":
            return [m.DataTransferAnswer()]
        case "StartTransaction":
            return [m.TransactionAnswer("7", s, until) for s in statuses for until in (None, NOW)]
        case "StopTransaction" | "TransactionEvent":
            return [
                m.TransactionAnswer("7", None, None),
                m.TransactionAnswer("7", statuses[0], NOW),
            ]
        case "MeterValues":
            return [m.Acknowledged(), m.TransactionAnswer("7", None, None)]
        case _:
            return [m.Acknowledged()]


@pytest.mark.parametrize(("version", "action"), SERVED)
def test_write__every_answer__is_valid_by_the_official_schema(
    version: OcppVersion, action: str
) -> None:
    for answer in answers_of(action):
        payload = DIALECTS[version].write(action, answer)
        wire = orjson.loads(orjson.dumps(payload))
        assert schemas.response_schema(version, action).violations(wire) == []
        assert "+00:00" not in str(wire)


def test_write__times_and_words__are_those_of_the_version() -> None:
    assert v16.DIALECT.write("BootNotification", m.BootAnswer(NOW, 60)) == {
        "status": "Accepted",
        "currentTime": NOW_TEXT,
        "interval": 60,
    }
    accepted = m.AuthorizationStatus.ACCEPTED
    assert v16.DIALECT.write("StartTransaction", m.TransactionAnswer("12", accepted, NOW)) == {
        "transactionId": 12,
        "idTagInfo": {"status": "Accepted", "expiryDate": NOW_TEXT},
    }
    assert v201.DIALECT.write("TransactionEvent", m.TransactionAnswer("t", accepted, NOW)) == {
        "idTokenInfo": {"status": "Accepted", "cacheExpiryDateTime": NOW_TEXT},
    }
    assert v16.DIALECT.write("MeterValues", m.TransactionAnswer("12", None, None)) == {}


def test_write__start_whose_token_nobody_judged__is_not_accepted() -> None:
    payload = v16.DIALECT.write("StartTransaction", m.TransactionAnswer("12", None, None))
    assert payload["idTagInfo"]["status"] == "Invalid"


@pytest.mark.parametrize("version", OcppVersion)
def test_every_other_action__is_answered_with_the_error_of_the_specification(
    version: OcppVersion,
) -> None:
    dialect = DIALECTS[version]
    others = schemas.actions(version) - set(dialect._served)
    assert len(others) > 30
    for action in others:
        read = dialect.read(action, {})
        assert read.message == m.UnservedCall(action)
        with pytest.raises(CallRefused) as caught:
            dialect.write(action, m.NotServed(action))
        assert caught.value.fault is Fault.NOT_SUPPORTED
    with pytest.raises(CallRefused) as caught:
        dialect.write("MakeCoffee", m.NotServed("MakeCoffee"))
    assert caught.value.fault is Fault.NOT_IMPLEMENTED


def test_code__is_spelled_as_the_version_spells_it() -> None:
    assert v16.DIALECT.code(Fault.OCCURRENCE) == "OccurenceConstraintViolation"
    assert v201.DIALECT.code(Fault.OCCURRENCE) == "OccurrenceConstraintViolation"
    assert v16.DIALECT.code(Fault.FORMAT) == "FormationViolation"
    assert v201.DIALECT.code(Fault.FORMAT) == "FormatViolation"
    assert v16.DIALECT.code(Fault.INTERNAL) == v201.DIALECT.code(Fault.INTERNAL) == "InternalError"
    known = {
        "NotImplemented", "NotSupported", "InternalError", "ProtocolError", "SecurityError",
        "FormationViolation", "PropertyConstraintViolation", "OccurenceConstraintViolation",
        "TypeConstraintViolation", "GenericError",
    }  # fmt: skip
    assert {v16.DIALECT.code(fault) for fault in Fault} == known


# Commands ---------------------------------------------------------------------------------------

TOKEN = m.IdTokenRef("AABB", "ISO14443")

COMMANDS: list[tuple[Dialect, m.StationCommand, str, dict[str, Any]]] = [
    (v16.DIALECT, m.RemoteStart(2, 1, 3, TOKEN, 9), "RemoteStartTransaction",
     {"connectorId": 3, "idTag": "AABB"}),
    (v16.DIALECT, m.RemoteStop("12"), "RemoteStopTransaction", {"transactionId": 12}),
    (v16.DIALECT, m.Reset(True), "Reset", {"type": "Hard"}),
    (v16.DIALECT, m.Reset(False), "Reset", {"type": "Soft"}),
    (v16.DIALECT, m.UnlockConnector(2, 1, 3), "UnlockConnector", {"connectorId": 3}),
    (v16.DIALECT, m.TriggerMessage("MeterValues", 2, 1, 3), "TriggerMessage",
     {"requestedMessage": "MeterValues", "connectorId": 3}),
    (v16.DIALECT, m.TriggerMessage("Heartbeat", None, None, None), "TriggerMessage",
     {"requestedMessage": "Heartbeat"}),
    (v201.DIALECT, m.RemoteStart(2, 1, 3, TOKEN, 9), "RequestStartTransaction",
     {"evseId": 2, "remoteStartId": 9, "idToken": {"idToken": "AABB", "type": "ISO14443"}}),
    (v201.DIALECT, m.RemoteStart(2, 1, 3, m.IdTokenRef("X", None), 9), "RequestStartTransaction",
     {"evseId": 2, "remoteStartId": 9, "idToken": {"idToken": "X", "type": "Central"}}),
    (v201.DIALECT, m.RemoteStop("tx"), "RequestStopTransaction", {"transactionId": "tx"}),
    (v201.DIALECT, m.Reset(True), "Reset", {"type": "Immediate"}),
    (v201.DIALECT, m.Reset(False), "Reset", {"type": "OnIdle"}),
    (v201.DIALECT, m.UnlockConnector(2, 1, 3), "UnlockConnector", {"evseId": 2, "connectorId": 1}),
    (v201.DIALECT, m.TriggerMessage("TransactionEvent", 2, 1, 3), "TriggerMessage",
     {"requestedMessage": "TransactionEvent", "evse": {"id": 2, "connectorId": 1}}),
    (v201.DIALECT, m.TriggerMessage("MeterValues", 2, None, None), "TriggerMessage",
     {"requestedMessage": "MeterValues", "evse": {"id": 2}}),
    (v201.DIALECT, m.TriggerMessage("Heartbeat", None, None, None), "TriggerMessage",
     {"requestedMessage": "Heartbeat"}),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "command", "action", "payload"), COMMANDS)
def test_command__is_the_versions_request(
    dialect: Dialect, command: m.StationCommand, action: str, payload: dict[str, Any]
) -> None:
    assert dialect.command(command) == (action, payload)
    assert schemas.request_schema(dialect.version, action).is_valid(payload)


@pytest.mark.parametrize(
    ("dialect", "command", "field"),
    [
        (v16.DIALECT, m.TriggerMessage("Coffee", None, None, None), "requestedMessage"),
        (v201.DIALECT, m.TriggerMessage("Coffee", None, None, None), "requestedMessage"),
        (v16.DIALECT, m.RemoteStart(1, 1, 1, m.IdTokenRef("x" * 21, None), 1), "idTag"),
        (v201.DIALECT, m.RemoteStart(1, 1, 1, m.IdTokenRef("x", "Tattoo"), 1), "type"),
    ],
)
def test_command__that_the_version_cannot_express__is_refused_by_field(
    dialect: Dialect, command: m.StationCommand, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        dialect.command(command)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("dialect", "action", "payload", "answer", "deviates"),
    [
        (v16.DIALECT, "Reset", {"status": "Accepted"}, m.CommandAnswer(True, "Accepted"), False),
        (v16.DIALECT, "Reset", {"status": "Rejected"}, m.CommandAnswer(False, "Rejected"), False),
        (v16.DIALECT, "UnlockConnector", {"status": "Unlocked"},
         m.CommandAnswer(True, "Unlocked"), False),
        (v201.DIALECT, "Reset", {"status": "Scheduled"}, m.CommandAnswer(True, "Scheduled"), False),
        (v201.DIALECT, "UnlockConnector", {"status": "UnlockFailed"},
         m.CommandAnswer(False, "UnlockFailed"), False),
        (v16.DIALECT, "Reset", {"status": "Maybe"}, m.CommandAnswer(False, "Maybe"), True),
        (v16.DIALECT, "Reset", {}, m.CommandAnswer(False, "unreadable"), True),
        (v16.DIALECT, "Reset", {"status": 5}, m.CommandAnswer(False, "unreadable"), True),
        (v16.DIALECT, "Reset", {"status": "x" * 600}, m.CommandAnswer(False, "unreadable"), True),
    ],
)  # fmt: skip
def test_command_answer__is_the_stations_word(
    dialect: Dialect,
    action: str,
    payload: dict[str, Any],
    answer: m.CommandAnswer,
    deviates: bool,
) -> None:
    read, deviation = dialect.command_answer(action, payload)
    assert read == answer
    assert (deviation is not None) is deviates


def test_schemas__unknown_action__has_none() -> None:
    with pytest.raises(FileNotFoundError):
        schemas.request_schema(OcppVersion.V1_6, "MakeCoffee")


@pytest.mark.parametrize("version", OcppVersion)
def test_schemas__every_file_of_the_version__compiles(version: OcppVersion) -> None:
    actions = schemas.actions(version)
    assert len(actions) == {OcppVersion.V1_6: 39, OcppVersion.V2_0_1: 64}[version]
    for action in actions:
        assert schemas.request_schema(version, action).document
        assert schemas.response_schema(version, action).document
