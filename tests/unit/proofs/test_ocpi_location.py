"""Passports as OCPI Locations: there and back, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unsupported
from chargera.domain.passport import Protocol, degrees_text
from chargera.domain.station import Connector, ConnectorType
from chargera.proofs.ocpi_json import encode_json, parse_json
from chargera.proofs.ocpi_location import TypePlate, location_to_ocpi, metadata_from_ocpi
from chargera.proofs.passport import PassportMetadata, metadata_digest
from tests.unit.proofs.test_passport import METADATA

AT = datetime(2026, 5, 4, 8, 0, 0, 999, tzinfo=UTC)


def plate(metadata: PassportMetadata) -> TypePlate:
    return TypePlate(
        metadata.manufacturer, metadata.model, metadata.serial_number, metadata.protocols
    )


def placed(kinds: list[tuple[int, ConnectorType, int]]) -> tuple[Connector, ...]:
    """Connectors in the order of their EVSEs."""
    rows: list[Connector] = []
    for evse, kind, power_w in sorted(kinds, key=lambda row: row[0]):
        earlier = sum(row.evse == evse for row in rows)
        rows.append(Connector(evse, earlier + 1, kind, power_w, len(rows) + 1))
    return tuple(rows)


METADATAS = st.builds(
    PassportMetadata,
    operator_id=st.sampled_from(["NL*C4E", "DE*ABC"]),
    station_id=st.from_regex(r"\A[A-Za-z0-9*]{1,36}\Z"),
    manufacturer=st.just("Acme"),
    model=st.just("X"),
    serial_number=st.just("7"),
    latitude=st.integers(-900_000_000, 900_000_000).map(degrees_text),
    longitude=st.integers(-1_800_000_000, 1_800_000_000).map(degrees_text),
    time_zone=st.just("Europe/Amsterdam"),
    connectors=st.lists(
        st.tuples(st.integers(1, 64), st.sampled_from(ConnectorType), st.integers(1, 2_000_000)),
        min_size=1,
        max_size=5,
    ).map(placed),
    protocols=st.just((Protocol.OCPP_1_6,)),
)


@given(METADATAS)
def test_location__any_station__there_and_back_with_the_same_digest(
    metadata: PassportMetadata,
) -> None:
    document = parse_json(encode_json(location_to_ocpi(metadata, AT)))
    read = metadata_from_ocpi(document, plate(metadata))
    assert read == metadata
    assert metadata_digest(read) == metadata_digest(metadata)


def test_location__what_partners_need() -> None:
    location = location_to_ocpi(METADATA, AT)
    assert (location["country_code"], location["party_id"]) == ("NL", "C4E")
    assert location["country"] == "NLD"
    assert location["coordinates"] == {"latitude": "52.3702000", "longitude": "-4.5000000"}
    assert location["last_updated"] == "2026-05-04T08:00:00Z"
    first, second = location["evses"]  # type: ignore[misc]  # a list of two
    assert [c["standard"] for c in first["connectors"]] == ["IEC_62196_T2", "IEC_62196_T2_COMBO"]
    assert (first["uid"], second["physical_reference"]) == ("CP-1-1", "2")
    amperes = [c["max_amperage"] for c in first["connectors"]]
    assert amperes == [32, 50]  # 22 kW over three phases of 230 V; 50 kW at 1000 V


def test_location__long_station_id__cut_to_what_ocpi_allows() -> None:
    location = location_to_ocpi(replace(METADATA, station_id="S" * 48), AT)
    assert location["id"] == "S" * 36
    evses: Any = location["evses"]
    assert len(evses[0]["uid"]) <= 36


def document() -> dict[str, Any]:
    return dict(parse_json(encode_json(location_to_ocpi(METADATA, AT))))


def read(change: Callable[[Any], object]) -> PassportMetadata:
    changed = document()
    change(changed)
    return metadata_from_ocpi(changed, plate(METADATA))


@pytest.mark.parametrize("reference", ["A", "0", "65", "01", None])
def test_read__references_that_are_no_numbers__evses_in_their_order(reference: str | None) -> None:
    metadata = read(lambda d: d["evses"][0].update(physical_reference=reference))
    assert [c.evse for c in metadata.connectors] == [1, 1, 2]
    twice = read(lambda d: d["evses"][0].update(physical_reference="2"))
    assert [c.evse for c in twice.connectors] == [1, 1, 2]


def test_read__no_power_given__that_of_volts_and_amperes() -> None:
    metadata = read(lambda d: d["evses"][0]["connectors"][0].update(max_electric_power=None))
    assert metadata.connectors[0].power_w_max == 3 * 230 * 32


FAULTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no coordinates": (lambda d: d.pop("coordinates"), "coordinates"),
    "latitude": (lambda d: d["coordinates"].update(latitude="91.0"), "coordinates.latitude"),
    "longitude": (lambda d: d["coordinates"].update(longitude="x"), "coordinates.longitude"),
    "no evses": (lambda d: d.update(evses=[]), "evses"),
    "too many": (lambda d: d.update(evses=d["evses"] * 40), "evses"),
    "too many connectors": (lambda d: d.update(evses=d["evses"] * 30), "evses"),
    "power": (
        lambda d: d["evses"][0]["connectors"][0].update(max_electric_power=0),
        "evses[0].connectors[0].max_electric_power",
    ),
    "no power": (
        lambda d: (
            d["evses"][0]["connectors"][0].pop("max_electric_power"),
            d["evses"][0]["connectors"][0].pop("max_voltage"),
        ),
        "evses[0].connectors[0].max_voltage",
    ),
    "id": (lambda d: d.update(id="a:b"), "station_id"),
    "zone": (lambda d: d.update(time_zone="Nowhere/Land"), "time_zone"),
    "party": (lambda d: d.update(party_id="TOOLONG"), "party_id"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_read__member_missing_or_wrong__named(fault: str) -> None:
    change, field = FAULTS[fault]
    with pytest.raises(InvalidInput) as refusal:
        read(change)
    assert refusal.value.field == field


def test_read__plug_that_no_station_has__unsupported() -> None:
    with pytest.raises(Unsupported):
        read(lambda d: d["evses"][0]["connectors"][0].update(standard="DOMESTIC_A"))


def test_read__no_object__refused() -> None:
    with pytest.raises(InvalidInput):
        metadata_from_ocpi([], plate(METADATA))
