"""Registrations of stations: what is taken, and what is refused by name."""

from datetime import UTC, datetime

import pytest

from chargera.domain.errors import InvalidInput
from chargera.domain.messages import STORED_CHARS_MAX, storable
from chargera.domain.station import (
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


def station(evse: str) -> ChargingStation:
    return ChargingStation(
        station_id="CP-1",
        manufacturer="M",
        model="X",
        serial_number="N",
        latitude="52",
        longitude="4",
        time_zone="UTC",
        connectors=parse_evses(evse),
        ocpp_versions=frozenset(OcppVersion),
        security_profile=2,
        plain_allowed=False,
        meter_key_der_hex=None,
        host_name=None,
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_parse_evses__repeated_number_is_its_next_connector() -> None:
    assert parse_evses("1:type2:22000, 2:CCS2:150000,1:type1:7400") == (
        Connector(1, 1, ConnectorType.TYPE2, 22_000, 1),
        Connector(2, 1, ConnectorType.CCS2, 150_000, 2),
        Connector(1, 2, ConnectorType.TYPE1, 7400, 3),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1:type2",
        "x:type2:1",
        "1:type2:x",
        "1:plug:22000",
        "0:type2:22000",
        "65:type2:22000",
        "1:type2:0",
        "1:type2:2000001",
        ",".join(["1:type2:1"] * 65),
    ],
)
def test_parse_evses__not_of_the_grammar__refused_by_field(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_evses(text)
    assert caught.value.field == "evse"
    assert caught.value.remedy


def test_connectors__by_1_6_number_and_by_evse() -> None:
    it = station("1:type2:22000,2:ccs2:150000,1:type1:7400")
    assert [c and c.connector_type for c in map(it.connector_of_1_6, (0, 1, 3, 4))] == [
        None,
        ConnectorType.TYPE2,
        ConnectorType.TYPE1,
        None,
    ]
    assert it.connector_of(1, None) == it.connectors[0]
    assert it.connector_of(1, 2) == it.connectors[2]
    assert it.connector_of(3, None) is None


@pytest.mark.parametrize("value", ["", "a:b", "a b", "x" * 49, "ü", "a\n"])
def test_check_station_id__cannot_identify__refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        check_station_id(value)
    assert check_station_id("NL*C4E-1.x_@|=+") == "NL*C4E-1.x_@|=+"


def test_check_coordinate__plain_text_with_seven_decimals() -> None:
    given = {
        "52.37020000": "52.3702",
        "-4.8": "-4.8",
        "90": "90",
        "1e1": "10",
        "0.123456789": "0.1234568",
    }
    for text, expected in given.items():
        assert check_coordinate(text, field="latitude", limit=90) == expected
    for text in ("x", "NaN", "inf", "90.1", ""):
        with pytest.raises(InvalidInput) as caught:
            check_coordinate(text, field="latitude", limit=90)
        assert caught.value.field == "latitude"


def test_check_text_and_time_zone__refused_by_field() -> None:
    assert check_text("ACME", field="model") == "ACME"
    for text in ("", "x" * 65, "a\tb"):
        with pytest.raises(InvalidInput):
            check_text(text, field="model")
    assert check_time_zone("Europe/Amsterdam") == "Europe/Amsterdam"
    for name in ("Mars/Base", "../etc/passwd", "", "x" * 300):
        with pytest.raises(InvalidInput):
            check_time_zone(name)


def test_storable__what_a_database_cannot_hold_is_replaced() -> None:
    assert storable("plain") == "plain"
    assert storable("a\0b") == "a\ufffdb"
    assert storable("a\ud800b") == "a\ufffdb"
    assert storable("grün 😀") == "grün 😀"


def test_storable__long_texts__stay_different() -> None:
    one, other = "x" * 5000 + "1", "x" * 5000 + "2"
    assert len(storable(one)) == len(storable("ü" * 5000)) == STORED_CHARS_MAX
    assert storable(one) != storable(other)
