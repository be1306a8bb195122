"""A passport's metadata as an OCPI 2.2.1 Location object, and back.

A Location has no place for manufacturer, model and serial number as such, and wants a postal
address that a registration does not hold: the former are given when it is read, the latter is
said to be not given when it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from chargera.domain.countries import alpha3
from chargera.domain.errors import InvalidInput
from chargera.domain.passport import Protocol
from chargera.domain.station import (
    MAX_EVSES,
    MAX_POWER_W,
    Connector,
    ConnectorType,
    check_coordinate,
    check_station_id,
    check_text,
    check_time_zone,
)
from chargera.proofs.ocpi_json import Fields, decimal, list_of, one_of, text, whole
from chargera.proofs.passport import PassportMetadata

NOT_GIVEN = "not given"
"""Registrations hold coordinates but no postal address."""

_ID_MAX = 36
_LINE_VOLTAGE_V = 230
_DC_VOLTAGE_V = 1_000


class ConnectorStandard(StrEnum):
    """OCPI ConnectorType, of those plugs that a station may be registered with."""

    IEC_62196_T1 = "IEC_62196_T1"
    IEC_62196_T1_COMBO = "IEC_62196_T1_COMBO"
    IEC_62196_T2 = "IEC_62196_T2"
    IEC_62196_T2_COMBO = "IEC_62196_T2_COMBO"
    CHADEMO = "CHADEMO"
    SAE_J3400 = "SAE_J3400"
    """A word of OCPI 2.3.0; 2.2.1 has none for it."""


@dataclass(frozen=True, slots=True)
class Plug:
    """How OCPI describes a plug: standard, format, power type; volts and phases for its current."""

    standard: ConnectorStandard
    form: str
    power_type: str
    voltage_v: int
    phases: int


PLUGS: Mapping[ConnectorType, Plug] = {
    ConnectorType.TYPE1: Plug(
        ConnectorStandard.IEC_62196_T1, "CABLE", "AC_1_PHASE", _LINE_VOLTAGE_V, 1
    ),
    ConnectorType.TYPE2: Plug(
        ConnectorStandard.IEC_62196_T2, "SOCKET", "AC_3_PHASE", _LINE_VOLTAGE_V, 3
    ),
    ConnectorType.CCS1: Plug(ConnectorStandard.IEC_62196_T1_COMBO, "CABLE", "DC", _DC_VOLTAGE_V, 1),
    ConnectorType.CCS2: Plug(ConnectorStandard.IEC_62196_T2_COMBO, "CABLE", "DC", _DC_VOLTAGE_V, 1),
    ConnectorType.CHADEMO: Plug(ConnectorStandard.CHADEMO, "CABLE", "DC", _DC_VOLTAGE_V, 1),
    ConnectorType.NACS: Plug(ConnectorStandard.SAE_J3400, "CABLE", "DC", _DC_VOLTAGE_V, 1),
}
_TYPES = {plug.standard: kind for kind, plug in PLUGS.items()}


@dataclass(frozen=True, slots=True)
class TypePlate:
    """What a passport says of its station and a Location does not."""

    manufacturer: str
    model: str
    serial_number: str
    protocols: tuple[Protocol, ...]


def location_to_ocpi(metadata: PassportMetadata, last_updated: datetime) -> dict[str, object]:
    """Return the Location object of a station, for `encode_json`.

    The EVSE's number is its `physical_reference`, the connector's its `id`. An id over 36
    characters is cut, as OCPI demands.
    """
    country_code, party_id = metadata.operator_id.split("*")
    updated = last_updated.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    location_id = metadata.station_id[:_ID_MAX]
    numbers = list(dict.fromkeys(connector.evse for connector in metadata.connectors))
    return {
        "country_code": country_code,
        "party_id": party_id,
        "id": location_id,
        "publish": True,
        "name": f"{metadata.manufacturer} {metadata.model}",
        "address": NOT_GIVEN,
        "city": NOT_GIVEN,
        "country": alpha3(country_code),
        "coordinates": {
            "latitude": f"{Decimal(metadata.latitude):.7f}",
            "longitude": f"{Decimal(metadata.longitude):.7f}",
        },
        "evses": [
            {
                "uid": f"{metadata.station_id[:30]}-{number}",
                "status": "UNKNOWN",
                "connectors": [
                    _connector(connector, updated)
                    for connector in metadata.connectors
                    if connector.evse == number
                ],
                "physical_reference": str(number),
                "last_updated": updated,
            }
            for number in numbers
        ],
        "time_zone": metadata.time_zone,
        "last_updated": updated,
    }


def metadata_from_ocpi(document: object, plate: TypePlate) -> PassportMetadata:
    """Read a Location as the metadata of a station with that type plate.

    EVSEs count as their `physical_reference` says, where those of all are different numbers, else
    in their order; connectors in theirs. A connector without `max_electric_power` has the power
    of its volts and amperes.

    Raises:
        Unsupported: a plug that no station can be registered with.
        InvalidInput: a member is missing or wrong, named by its path.
    """
    fields = Fields.of(document, "")
    coordinates = Fields.of(fields.required("coordinates", _any), "coordinates")
    evses = fields.required("evses", list_of(_evse, MAX_EVSES))
    numbers = _numbers([reference for reference, _ in evses])
    connectors: list[Connector] = []
    for number, (_, plugs) in zip(numbers, evses, strict=True):
        for place, (kind, power_w) in enumerate(plugs, start=1):
            connectors.append(Connector(number, place, kind, power_w, len(connectors) + 1))
    if not 0 < len(connectors) <= MAX_EVSES:
        raise InvalidInput(f"must have 1 to {MAX_EVSES} connectors", field="evses")
    country_code, party_id = (fields.required(n, text(3)) for n in ("country_code", "party_id"))
    return PassportMetadata(
        operator_id=f"{country_code}*{party_id}",
        station_id=check_station_id(fields.required("id", text(_ID_MAX))),
        manufacturer=check_text(plate.manufacturer, field="manufacturer"),
        model=check_text(plate.model, field="model"),
        serial_number=check_text(plate.serial_number, field="serial_number"),
        latitude=_degrees(coordinates, "latitude", 90),
        longitude=_degrees(coordinates, "longitude", 180),
        time_zone=check_time_zone(fields.required("time_zone", text(255))),
        connectors=tuple(connectors),
        protocols=plate.protocols,
    )


def _connector(connector: Connector, updated: str) -> dict[str, object]:
    plug = PLUGS[connector.connector_type]
    volts = plug.voltage_v * plug.phases
    return {
        "id": str(connector.connector),
        "standard": plug.standard.value,
        "format": plug.form,
        "power_type": plug.power_type,
        "max_voltage": plug.voltage_v,
        "max_amperage": -(-connector.power_w_max // volts),
        "max_electric_power": connector.power_w_max,
        "last_updated": updated,
    }


def _evse(value: object, path: str) -> tuple[str | None, Sequence[tuple[ConnectorType, int]]]:
    fields = Fields.of(value, path)
    reference = fields.optional("physical_reference", text(16))
    return reference, fields.required("connectors", list_of(_plug, MAX_EVSES))


def _plug(value: object, path: str) -> tuple[ConnectorType, int]:
    fields = Fields.of(value, path)
    kind = _TYPES[fields.required("standard", one_of(ConnectorStandard))]
    power_w = fields.optional("max_electric_power", whole)
    if power_w is None:
        volts, amperes = (fields.required(n, whole) for n in ("max_voltage", "max_amperage"))
        power_w = volts * amperes * PLUGS[kind].phases
    if not 1 <= power_w <= MAX_POWER_W:
        raise InvalidInput(
            f"{path}: its power must be 1 to {MAX_POWER_W} W", field=f"{path}.max_electric_power"
        )
    return kind, power_w


def _numbers(references: Sequence[str | None]) -> list[int]:
    known = [str(number) for number in range(1, MAX_EVSES + 1)]
    if all(one in known for one in references) and len(set(references)) == len(references):
        return [known.index(one or "") + 1 for one in references]
    return list(range(1, len(references) + 1))


def _degrees(fields: Fields, name: str, limit: int) -> str:
    path = f"coordinates.{name}"
    return check_coordinate(f"{fields.required(name, decimal):f}", field=path, limit=limit)


def _any(value: object, path: str) -> object:
    return value
