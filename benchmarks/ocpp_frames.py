"""The messages of one charging session as frames with gaps, made once and filled cheaply.

One cycle: Heartbeat, StatusNotification, the start, ten messages with six sampled values, the
end. Only message id, time, register, number and transaction id differ from message to message.
"""

from dataclasses import dataclass
from typing import Any

import orjson

ID_TOKEN = "BENCH001"
UPDATES = 10
REGISTER_WH_MIN = 100_000_000
"""Registers have nine digits, so that all frames of a kind have one length."""

STEP_WH = 7


@dataclass(frozen=True, slots=True)
class Cycle:
    """The messages of one session, in order, as templates for bytes formatting.

    Gaps: `id` (36 characters), `at` (RFC 3339), `wh`, `n` (the number of the event) and `tx`.
    """

    subprotocol: str
    boot: bytes
    frames: tuple[bytes, ...]
    start: int
    """Place of the message that begins the session."""


def cycle_of(version: str) -> Cycle:
    """Return the cycle of an OCPP version."""
    return _CYCLES[version]()


def _cycle_1_6() -> Cycle:
    frames = [
        _frame("Heartbeat", {}),
        _frame(
            "StatusNotification",
            {"connectorId": 1, "errorCode": "NoError", "status": "Preparing", "timestamp": AT},
        ),
        _frame(
            "StartTransaction",
            {"connectorId": 1, "idTag": ID_TOKEN, "meterStart": WH, "timestamp": AT},
        ),
        *[
            _frame(
                "MeterValues",
                {
                    "connectorId": 1,
                    "transactionId": TX_NUMBER,
                    "meterValue": [{"timestamp": AT, "sampledValue": _values_1_6()}],
                },
            )
        ]
        * UPDATES,
        _frame(
            "StopTransaction",
            {
                "idTag": ID_TOKEN,
                "meterStop": WH,
                "reason": "EVDisconnected",
                "timestamp": AT,
                "transactionId": TX_NUMBER,
            },
        ),
    ]
    boot = _frame("BootNotification", {"chargePointVendor": "Bench", "chargePointModel": "B1"})
    return Cycle("ocpp1.6", boot, tuple(frames), 2)


def _values_1_6() -> list[dict[str, str]]:
    common = {"context": "Sample.Periodic", "format": "Raw"}
    lines = [
        common
        | {"value": value, "measurand": "Current.Import", "phase": phase, "unit": "A"}
        | {"location": "Outlet"}
        for phase, value in (("L1", "15.9"), ("L2", "16.0"), ("L3", "15.8"))
    ]
    return [
        common | {"value": WH_TEXT, "measurand": "Energy.Active.Import.Register", "unit": "Wh"},
        common | {"value": "10994", "measurand": "Power.Active.Import", "unit": "W"},
        *lines,
        common | {"value": "63", "measurand": "SoC", "unit": "Percent", "location": "EV"},
    ]


def _cycle_2_0_1() -> Cycle:
    frames = [
        _frame("Heartbeat", {}),
        _frame(
            "StatusNotification",
            {"timestamp": AT, "connectorStatus": "Occupied", "evseId": 1, "connectorId": 1},
        ),
        _event(
            "Started",
            "Authorized",
            "Charging",
            [_value_2_0_1("Energy.Active.Import.Register", WH, "Wh", "Transaction.Begin")],
            {"idToken": {"idToken": ID_TOKEN, "type": "ISO14443"}},
        ),
        *[_event("Updated", "MeterValuePeriodic", "Charging", _values_2_0_1())] * UPDATES,
        _event(
            "Ended",
            "EVCommunicationLost",
            "Idle",
            [_value_2_0_1("Energy.Active.Import.Register", WH, "Wh", "Transaction.End")],
        ),
    ]
    boot = _frame(
        "BootNotification",
        {"reason": "PowerUp", "chargingStation": {"model": "B1", "vendorName": "Bench"}},
    )
    return Cycle("ocpp2.0.1", boot, tuple(frames), 2)


def _event(
    kind: str, trigger: str, state: str, values: list[dict[str, Any]], more: Any = None
) -> bytes:
    payload = {
        "eventType": kind,
        "timestamp": AT,
        "triggerReason": trigger,
        "seqNo": NUMBER,
        "transactionInfo": {"transactionId": TX_TEXT, "chargingState": state},
        "evse": {"id": 1, "connectorId": 1},
        "meterValue": [{"timestamp": AT, "sampledValue": values}],
    }
    return _frame("TransactionEvent", payload | (more or {}))


def _values_2_0_1() -> list[dict[str, Any]]:
    context = "Sample.Periodic"
    lines = [
        _value_2_0_1("Current.Import", value, "A", context) | {"phase": phase, "location": "Outlet"}
        for phase, value in (("L1", 15.9), ("L2", 16.0), ("L3", 15.8))
    ]
    return [
        _value_2_0_1("Energy.Active.Import.Register", WH, "Wh", context),
        _value_2_0_1("Power.Active.Import", 10994, "W", context),
        *lines,
        _value_2_0_1("SoC", 63, "Percent", context) | {"location": "EV"},
    ]


def _value_2_0_1(measurand: str, value: Any, unit: str, context: str) -> dict[str, Any]:
    return {
        "value": value,
        "context": context,
        "measurand": measurand,
        "unitOfMeasure": {"unit": unit},
    }


# Gaps are texts first, so that a JSON library writes the frame; some become numbers.
ID, AT, WH_TEXT, TX_TEXT = "<id>", "<at>", "<wh text>", "<tx text>"
WH, NUMBER, TX_NUMBER = "<wh>", "<n>", "<tx>"
_GAPS = {
    b"<id>": b"%(id)b",
    b"<at>": b"%(at)b",
    b"<wh text>": b"%(wh)d",
    b"<tx text>": b"%(tx)b",
    b'"<wh>"': b"%(wh)d",
    b'"<n>"': b"%(n)d",
    b'"<tx>"': b"%(tx)b",
}


def _frame(action: str, payload: dict[str, Any]) -> bytes:
    text = orjson.dumps([2, ID, action, payload])
    assert b"%" not in text, "a per cent sign would be taken for a gap"
    for mark, gap in _GAPS.items():
        text = text.replace(mark, gap)
    return text


_CYCLES = {"1.6": _cycle_1_6, "2.0.1": _cycle_2_0_1}
