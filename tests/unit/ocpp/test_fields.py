from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.ocpp import fields
from chargera.ocpp.framing import CallRefused, Fault


def fault_of(read: Any, *arguments: Any) -> Fault:
    with pytest.raises(CallRefused) as caught:
        read(*arguments)
    return caught.value.fault


def test_text__present__is_returned() -> None:
    assert fields.text({"a": "x"}, "a") == "x"
    assert fields.optional_text({}, "a") is None
    assert fields.optional_text({"a": None}, "a") is None


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({}, Fault.OCCURRENCE),
        ({"a": None}, Fault.OCCURRENCE),
        ({"a": 1}, Fault.TYPE),
        ({"a": "\0"}, Fault.PROPERTY),
        ({"a": "x" * 513}, Fault.PROPERTY),
    ],
)
def test_text__absent_or_unusable__names_the_fault(payload: Any, fault: Fault) -> None:
    assert fault_of(fields.text, payload, "a") is fault


def test_integer__within_its_range__is_returned() -> None:
    assert fields.integer({"a": 0}, "a") == 0
    assert fields.integer({"a": 5.0}, "a") == 5
    assert fields.optional_integer({"a": None}, "a") is None


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, Fault.OCCURRENCE),
        (True, Fault.TYPE),
        ("5", Fault.TYPE),
        (5.5, Fault.TYPE),
        (-1, Fault.PROPERTY),
        (2**31, Fault.PROPERTY),
        (1.8e19, Fault.PROPERTY),
    ],
)
def test_integer__absent_or_unusable__names_the_fault(value: Any, fault: Fault) -> None:
    assert fault_of(fields.integer, {"a": value}, "a") is fault


def test_objects__absent__is_an_empty_list() -> None:
    assert fields.objects({}, "a") == []
    assert fields.objects({"a": [{}]}, "a") == [{}]
    assert fields.optional_object({}, "a") is None
    assert fields.member_object({"a": {"b": 1}}, "a") == {"b": 1}


@pytest.mark.parametrize(
    ("read", "value", "fault"),
    [
        (fields.objects, {}, Fault.TYPE),
        (fields.objects, [1], Fault.TYPE),
        (fields.member_object, None, Fault.OCCURRENCE),
        (fields.member_object, [], Fault.TYPE),
        (fields.optional_object, "x", Fault.TYPE),
    ],
)
def test_objects__other_json__names_the_fault(read: Any, value: Any, fault: Fault) -> None:
    assert fault_of(read, {"a": value}, "a") is fault


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T12:00:00Z", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24t12:00:00z", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24 12:00:00Z", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24T12:00Z", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24T13:00:00+01:00", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24T13:00:00+0100", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24T12:00:00.1239Z", datetime(2026, 11, 24, 12, 0, 0, 123000, UTC)),
        ("2026-11-24T12:00:00.123456789Z", datetime(2026, 11, 24, 12, 0, 0, 123000, UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_moment__any_writing_of_an_instant__is_utc_in_milliseconds(text: str, at: datetime) -> None:
    notes: list[str] = []
    read = fields.moment({"t": text}, "t", notes)
    assert (read, read.tzinfo, notes) == (at, UTC, [])


def test_moment__without_zone__is_taken_as_utc_and_noted() -> None:
    notes: list[str] = []
    at = fields.moment({"t": "2026-11-24T12:00:00"}, "t", notes)
    assert at == datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert notes == ["t: has no time zone"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (None, Fault.OCCURRENCE),
        (1732449600, Fault.TYPE),
        ("", Fault.PROPERTY),
        ("yesterday at noon", Fault.PROPERTY),
        ("2026-11-24", Fault.PROPERTY),
        ("2026-13-24T12:00:00Z", Fault.PROPERTY),
        ("2026-11-24T25:00:00Z", Fault.PROPERTY),
        ("9999-12-31T23:59:60Z", Fault.PROPERTY),
        ("0001-01-01T00:00:00+14:00", Fault.PROPERTY),
        ("2026-11-24T12:00:00Z" + "0" * 40, Fault.PROPERTY),
    ],
)
def test_moment__unreadable__names_the_fault(value: Any, fault: Fault) -> None:
    assert fault_of(fields.moment, {"t": value}, "t", []) is fault
    assert fields.optional_moment({"t": None}, "t", []) is None


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
)
def test_moment__any_offset__keeps_the_instant(naive: datetime, offset_min: int) -> None:
    at = naive.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    read = fields.moment({"t": at.isoformat()}, "t", [])
    assert timedelta() <= at - read < timedelta(milliseconds=1)
    assert fields.moment({"t": fields.time_text(read)}, "t", []) == read


def test_time_text__is_utc_with_z_and_milliseconds() -> None:
    at = datetime(2026, 11, 24, 13, 0, 0, 5000, timezone(timedelta(hours=1)))
    assert fields.time_text(at) == "2026-11-24T12:00:00.005Z"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (5, 5),
        ("5", 5),
        (" 5 ", Decimal(5)),
        ("5.25", Decimal("5.25")),
        (0.1, Decimal("0.1")),
        ("-3", Decimal(-3)),
        ("1e3", Decimal(1000)),
        ("1e-999999999", Decimal("1e-999999999")),
        (None, None),
        (True, None),
        ([], None),
        ("", None),
        ("abc", None),
        ("12,5", None),
        ("NaN", None),
        ("-Infinity", None),
        ("1e999999999", None),
        ("1e99999999999999999999", None),
        ("9" * 41, None),
        (10**16, None),
        ("²", None),
    ],
)
def test_number__text_or_number__is_exact_or_none(value: Any, read: Any) -> None:
    assert fields.number(value) == read


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (7, 7),
        (Decimal("0.5"), 1),
        (Decimal("2.5"), 3),
        (Decimal("2.4999"), 2),
        (Decimal("-0.4"), 0),
        (Decimal("1e-999999"), 0),
        (10**15, 10**15),
        (10**15 + 1, None),
        (Decimal(10**16), None),
    ],
)
def test_rounded__half_up__and_only_plausible_quantities(value: Any, whole: int | None) -> None:
    assert fields.rounded(value) == whole


def test_register__number_of_any_writing__is_whole_watt_hours() -> None:
    notes: list[str] = []
    assert fields.register({"m": 12345}, "m", notes) == 12345
    assert fields.register({"m": -5}, "m", notes) == -5
    assert notes == []
    assert fields.register({"m": 12345.5}, "m", notes) == 12346
    assert notes == ["m: is no whole number"]


def test_register__none__names_the_fault() -> None:
    assert fault_of(fields.register, {}, "m", []) is Fault.OCCURRENCE
    assert fault_of(fields.register, {"m": "much"}, "m", []) is Fault.TYPE
    assert fault_of(fields.register, {"m": 10**18}, "m", []) is Fault.TYPE
