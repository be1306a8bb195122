import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from chargera.domain.messages import MeterSample, ReadingContext, SignedValue, TransactionEvent
from chargera.domain.messages import MeterValues as MeterValuesMessage
from chargera.ocpp import meter_values, v16, v201
from chargera.ocpp.framing import CallRefused, Fault

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
AT_TEXT = "2026-11-24T12:00:00Z"
OCMF = 'OCMF|{"FV":"1.0"}|{"SD":"3045"}'
REGISTER = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"


def element(*sampled: dict[str, Any], at: str = AT_TEXT) -> dict[str, Any]:
    return {"timestamp": at, "sampledValue": list(sampled)}


def read_1_6(*elements: dict[str, Any]) -> Any:
    read = v16.DIALECT.read("MeterValues", {"connectorId": 1, "meterValue": list(elements)})
    assert isinstance(read.message, MeterValuesMessage)
    return read.message.samples, read.message.signed, read.deviation


def read_2_0_1(*elements: dict[str, Any]) -> Any:
    read = v201.DIALECT.read("MeterValues", {"evseId": 1, "meterValue": list(elements)})
    assert isinstance(read.message, MeterValuesMessage)
    return read.message.samples, read.message.signed, read.deviation


def sample(register: int | None, power: int | None = None, **kwargs: Any) -> MeterSample:
    context = kwargs.get("context", ReadingContext.PERIODIC)
    return MeterSample(kwargs.get("at", AT), context, register, power)


@pytest.mark.parametrize(
    ("sampled", "register"),
    [
        ({"value": "1234"}, 1234),
        ({"value": "1234", "unit": "Wh"}, 1234),
        ({"value": "1.2345", "unit": "kWh"}, 1235),
        ({"value": "1.2344", "unit": "kWh"}, 1234),
        ({"value": "1234.5"}, 1235),
        ({"value": "-2"}, -2),
        ({"value": "12", "measurand": REGISTER, "location": "Outlet"}, 12),
    ],
)
def test_1_6__register__is_rounded_watt_hours(sampled: dict[str, Any], register: int) -> None:
    assert read_1_6(element(sampled)) == ((sample(register),), (), None)


@pytest.mark.parametrize(
    ("sampled", "register"),
    [
        ({"value": 1234}, 1234),
        ({"value": 1234.5}, 1235),
        ({"value": 1.2345, "unitOfMeasure": {"unit": "kWh"}}, 1235),
        ({"value": 1.5, "unitOfMeasure": {"unit": "Wh", "multiplier": 3}}, 1500),
        ({"value": 15, "unitOfMeasure": {"multiplier": 2}}, 1500),
        ({"value": 12344, "unitOfMeasure": {"unit": "Wh", "multiplier": -1}}, 1234),
        ({"value": 12345, "unitOfMeasure": {"unit": "kWh", "multiplier": -4}}, 1235),
        ({"value": 12, "unitOfMeasure": {"unit": "Wh", "multiplier": 0.0}}, 12),
        ({"value": 3, "unitOfMeasure": {}}, 3),
    ],
)
def test_2_0_1__register__is_scaled_and_rounded(sampled: dict[str, Any], register: int) -> None:
    assert read_2_0_1(element(sampled)) == ((sample(register),), (), None)


def test_power__in_any_unit__is_watts_of_the_same_sample() -> None:
    assert read_1_6(
        element(
            {"value": "1000"},
            {"value": "7.36", "measurand": POWER, "unit": "kW"},
            {"value": "230", "measurand": "Voltage", "unit": "V"},
        )
    ) == ((sample(1000, 7360),), (), None)
    assert read_2_0_1(
        element({"value": 7360.4, "measurand": POWER, "unitOfMeasure": {"unit": "W"}})
    ) == ((sample(None, 7360),), (), None)


def test_phases__without_a_total__are_summed_before_rounding() -> None:
    phases = [
        {"value": "0.4", "measurand": POWER, "phase": "L1"},
        {"value": "0.4", "measurand": POWER, "phase": "L2-N"},
        {"value": "0.4", "measurand": POWER, "phase": "L3"},
        {"value": "99", "measurand": POWER, "phase": "L1-L2"},
        {"value": "99", "measurand": POWER, "phase": "N"},
    ]
    assert read_1_6(element(*phases))[0] == (sample(None, 1),)


def test_phases__beside_a_total__do_not_count() -> None:
    assert read_1_6(element({"value": "7", "phase": "L1"}, {"value": "20"}))[0] == (sample(20),)


def test_contexts__of_one_element__are_samples_of_their_own() -> None:
    samples, _, _ = read_1_6(
        element(
            {"value": "10", "context": "Transaction.Begin"},
            {"value": "25", "context": "Transaction.End"},
            {"value": "11", "context": "Trigger"},
        )
    )
    assert samples == (
        sample(10, context=ReadingContext.BEGIN),
        sample(25, context=ReadingContext.END),
        sample(11, context=ReadingContext.OTHER),
    )


def test_location__inlet_stands_back_and_the_cars_own_meter_never_counts() -> None:
    inlet = {"value": "105", "location": "Inlet"}
    outlet = {"value": "100", "location": "Outlet"}
    assert read_1_6(element(inlet, outlet))[0] == (sample(100),)
    assert read_1_6(element(outlet, inlet))[0] == (sample(100),)
    assert read_1_6(element(inlet))[0] == (sample(105),)
    assert read_1_6(element({"value": "1", "location": "EV"}))[0] == ()


@pytest.mark.parametrize(
    "sampled",
    [
        {"value": "much"},
        {"value": "5", "unit": "V"},
        {"value": "5", "unit": "furlong"},
        {"value": 5, "unit": 7},
        {"unit": "Wh"},
    ],
)
def test_1_6__value_or_unit_that_cannot_be_read__is_noted_and_left_out(
    sampled: dict[str, Any],
) -> None:
    if sampled.get("unit") == 7:  # a unit that is no text is no harmless deviation
        with pytest.raises(CallRefused):
            read_1_6(element(sampled))
        return
    samples, signed, deviation = read_1_6(element(sampled, {"value": "1", "measurand": POWER}))
    assert (samples, signed) == ((sample(None, 1),), ())
    assert "cannot be read" in deviation


@pytest.mark.parametrize(
    "unit_of_measure",
    [{"multiplier": 13}, {"multiplier": -13}, {"unit": "kVAh"}],
)
def test_2_0_1__unit_that_cannot_be_read__is_noted_and_left_out(
    unit_of_measure: dict[str, Any],
) -> None:
    samples, _, deviation = read_2_0_1(element({"value": 1, "unitOfMeasure": unit_of_measure}))
    assert samples == ()
    assert "cannot be read" in deviation


def test_value_of_the_other_json_type__is_read_and_noted() -> None:
    samples, _, deviation = read_1_6(element({"value": 12.5}))
    assert samples == (sample(13),)
    assert "not of type" in deviation
    samples, _, deviation = read_2_0_1(element({"value": "12.5"}))
    assert samples == (sample(13),)
    assert "not of type" in deviation


def test_unknown_measurand_and_unit__are_served_and_noted() -> None:
    samples, _, deviation = read_1_6(
        element(
            {"value": "1", "measurand": "Request.Energy"},
            {"value": "50", "measurand": "Frequency", "unit": "Hz"},
            {"value": "5"},
        )
    )
    assert samples == (sample(5),)
    assert "Request.Energy" in deviation
    assert "Hz" in deviation


def test_1_6__signed_data__is_kept_byte_for_byte() -> None:
    samples, signed, deviation = read_1_6(
        element(
            {"value": OCMF, "format": "SignedData", "context": "Transaction.Begin"},
            {"value": "3", "context": "Transaction.Begin"},
        )
    )
    assert signed == (SignedValue(OCMF.encode(), ReadingContext.BEGIN, AT),)
    assert samples == (sample(3, context=ReadingContext.BEGIN),)
    assert deviation is None


def test_1_6__signed_data_that_is_no_text__is_refused() -> None:
    with pytest.raises(CallRefused) as caught:
        read_1_6(element({"value": 5, "format": "SignedData"}))
    assert caught.value.fault is Fault.TYPE


@pytest.mark.parametrize(
    ("data", "raw"),
    [
        (base64.b64encode(OCMF.encode()).decode(), OCMF.encode()),
        (OCMF, OCMF.encode()),
        ("not base64 at all!", b"not base64 at all!"),
    ],
)
def test_2_0_1__signed_meter_value__is_unwrapped_to_the_signed_bytes(data: str, raw: bytes) -> None:
    signed_meter_value = {
        "signedMeterData": data,
        "signingMethod": "",
        "encodingMethod": "OCMF",
        "publicKey": "",
    }
    samples, signed, deviation = read_2_0_1(
        element({"value": 7, "context": "Transaction.End", "signedMeterValue": signed_meter_value})
    )
    assert signed == (SignedValue(raw, ReadingContext.END, AT),)
    assert samples == (sample(7, context=ReadingContext.END),)
    assert deviation is None


def test_2_0_1__signed_meter_value_without_the_rest__is_served_and_noted() -> None:
    samples, signed, deviation = read_2_0_1(
        element({"value": 7, "signedMeterValue": {"signedMeterData": OCMF}})
    )
    assert (samples, len(signed)) == ((sample(7),), 1)
    assert "publicKey" in deviation


@pytest.mark.parametrize(
    ("signed_meter_value", "fault"),
    [({}, Fault.OCCURRENCE), ({"signedMeterData": None}, Fault.OCCURRENCE), ("x", Fault.TYPE)],
)
def test_2_0_1__signed_meter_value_without_data__is_refused(
    signed_meter_value: Any, fault: Fault
) -> None:
    with pytest.raises(CallRefused) as caught:
        read_2_0_1(element({"value": 7, "signedMeterValue": signed_meter_value}))
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    ("scale", "sampled"),
    [
        (v201._scale, {"unitOfMeasure": "Wh"}),
        (v201._scale, {"unitOfMeasure": {"unit": 5}}),
        (v201._scale, {"unitOfMeasure": {"multiplier": "3"}}),
        (v201._scale, {"unitOfMeasure": {"multiplier": 13}}),
        (v16._scale, {"unit": None}),
    ],
)
def test_scale__of_other_json__cannot_be_read(scale: Any, sampled: dict[str, Any]) -> None:
    assert scale(sampled) == (None, 0)


@pytest.mark.parametrize("data", [5, [], {}])
def test_signed_bytes__of_other_json__are_refused(data: Any) -> None:
    with pytest.raises(CallRefused) as caught:
        v201._signed_bytes({"signedMeterValue": {"signedMeterData": data}})
    assert caught.value.fault is Fault.TYPE


def test_context_that_is_no_text__is_refused() -> None:
    with pytest.raises(CallRefused) as caught:
        meter_values.read([element({"value": "1", "context": ["x"]})], v16.STYLE, [])
    assert caught.value.fault is Fault.TYPE


def test_phase_that_is_no_text__is_no_part_of_the_total() -> None:
    samples, _ = meter_values.read([element({"value": "1", "phase": 1})], v16.STYLE, [])
    assert samples == ()


def test_elements__are_bounded() -> None:
    many = [element({"value": "1"})] * (meter_values.ELEMENTS_MAX + 1)
    with pytest.raises(CallRefused):
        meter_values.read(many, v16.STYLE, [])


def test_implausible_register__is_left_out() -> None:
    total = [{"value": "9" * 15}, {"value": "999", "unit": "W", "measurand": POWER}]
    assert read_1_6(element(*total))[0] == (sample(int("9" * 15), 999),)
    huge = {"value": "999999999999.9", "unit": "kWh"}
    assert read_1_6(element(huge))[0] == (sample(999999999999900),)
    assert read_1_6(element({"value": "9999999999999", "unit": "kWh"}))[0] == ()


def test_1_6__element_without_a_time__is_refused() -> None:
    payload = {"connectorId": 1, "meterValue": [{"sampledValue": [{"value": "1"}]}]}
    with pytest.raises(CallRefused) as caught:
        v16.DIALECT.read("MeterValues", payload)
    assert caught.value.fault is Fault.OCCURRENCE


def test_1_6__values_of_a_transaction__are_one_event_at_the_first_elements_time() -> None:
    later = "2026-11-24T12:01:00Z"
    message = v16.DIALECT.read(
        "MeterValues",
        {
            "connectorId": 2,
            "transactionId": 77,
            "meterValue": [
                element({"value": "230", "measurand": "Voltage"}),
                element({"value": "10"}, at=later),
            ],
        },
    ).message
    assert isinstance(message, TransactionEvent)
    assert (message.transaction_id, message.connector, message.evse) == ("77", 2, None)
    assert message.at == AT
    assert message.samples == (sample(10, at=AT.replace(minute=1)),)
