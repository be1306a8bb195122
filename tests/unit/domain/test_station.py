"""Registrations: ids, EVSEs in their short form, places, zones, names."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.domain.station import (
    MAX_EVSES,
    MAX_POWER_W,
    ChargingStation,
    Connector,
    ConnectorType,
    OcppVersion,
    check_coordinate,
    check_station_id,
    check_text,
    check_time_zone,
    parse_evses,
)


@pytest.mark.parametrize("value", ["A", "CP-1", "a*b+c=d|e@f.g_h-i", "x" * 48])
def test_station_id__taken(value: str) -> None:
    assert check_station_id(value) == value


@pytest.mark.parametrize(
    "value", ["", "x" * 49, "a:b", "a b", "a/b", "é", "a\n", "CP-1\0", ".", ".."]
)
def test_station_id__refused(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_station_id(value)
    assert caught.value.field == "station_id"


def test_evses__numbers_types_and_places() -> None:
    assert parse_evses("1:type2:22000, 2:CCS2:150000,1:chademo:50000") == (
        Connector(1, 1, ConnectorType.TYPE2, 22_000, 1),
        Connector(2, 1, ConnectorType.CCS2, 150_000, 2),
        Connector(1, 2, ConnectorType.CHADEMO, 50_000, 3),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:type2",
        "1:type2:22000:x",
        "0:type2:22000",
        f"{MAX_EVSES + 1}:type2:22000",
        "x:type2:22000",
        "-1:type2:22000",
        "1:type9:22000",
        "1:type2:0",
        f"1:type2:{MAX_POWER_W + 1}",
        "1:type2:9e3",
        "1:type2:22000,",
        f"{'9' * 5000}:type2:22000",
        f"1:type2:{'9' * 5000}",
        ",".join(["1:type2:1"] * (MAX_EVSES + 1)),
    ],
)
def test_evses__refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_evses(text)
    assert caught.value.field == "evse"
    assert caught.value.remedy


@given(st.text(max_size=40))
def test_evses__anything__a_list_or_invalid(text: str) -> None:
    try:
        connectors = parse_evses(text)
    except InvalidInput:
        return
    assert [c.ocpp16_connector_id for c in connectors] == list(range(1, len(connectors) + 1))


def station() -> ChargingStation:
    return ChargingStation(
        "CP-1",
        "M",
        "X",
        "N",
        "52",
        "4",
        "UTC",
        parse_evses("1:type2:22000,1:ccs2:50000,2:ccs2:50000"),
        frozenset(OcppVersion),
        2,
        plain_allowed=False,
        meter_key_der_hex=None,
        host_name=None,
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_connectors__by_their_1_6_number_and_by_evse() -> None:
    made = station()
    assert made.connector_of_1_6(0) is None
    assert made.connector_of_1_6(3) == Connector(2, 1, ConnectorType.CCS2, 50_000, 3)
    assert made.connector_of_1_6(4) is None
    assert made.connector_of(1, None) == made.connectors[0]
    assert made.connector_of(1, 2) == made.connectors[1]
    assert made.connector_of(2, 2) is None
    assert made.connector_of(3, None) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("52.3702", "52.3702"),
        ("-90", "-90"),
        ("4.00", "4"),
        ("0.123456789", "0.1234568"),
        ("100", None),
        ("1E+1", "10"),
        ("-0", "-0"),
        ("NaN", None),
        ("Infinity", None),
        ("x", None),
        ("", None),
    ],
)
def test_coordinate(value: str, shown: str | None) -> None:
    if shown is not None:
        assert check_coordinate(value, field="lat", limit=90) == shown
        return
    with pytest.raises(InvalidInput) as caught:
        check_coordinate(value, field="lat", limit=90)
    assert caught.value.field == "lat"


@pytest.mark.parametrize(
    ("value", "good"),
    [("Schneider", True), ("x" * 64, True), ("", False), ("x" * 65, False), ("a\tb", False)],
)
def test_text(value: str, good: bool) -> None:
    if good:
        assert check_text(value, field="model") == value
        return
    with pytest.raises(InvalidInput) as caught:
        check_text(value, field="model")
    assert caught.value.field == "model"


def test_time_zone() -> None:
    assert check_time_zone("Europe/Amsterdam") == "Europe/Amsterdam"
    for name in ("Nowhere/City", "", "../etc/passwd", "x\0y", "Europe"):
        with pytest.raises(InvalidInput) as caught:
            check_time_zone(name)
        assert caught.value.field == "time_zone"
