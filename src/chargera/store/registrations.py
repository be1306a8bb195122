"""Registrations of stations and the tariffs that sessions are quoted, from their rows.

Both are read again and again and seldom change, so that a row that was read before gives the
value that it gave then.
"""

from collections import defaultdict
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import orjson
from psycopg import AsyncConnection

from chargera.app.ports import QuotedTariff, TariffInForce
from chargera.domain.station import ChargingStation, Connector, ConnectorType, OcppVersion
from chargera.proofs import ocpi
from chargera.store import binary
from chargera.store.binary import flag, integer, moment, string
from chargera.store.pipeline import Call, Rows, Statement, run

Connection = AsyncConnection[Any]
_Row = tuple[bytes | None, ...]
Decode = Callable[[bytes], Any]


def _versions(data: bytes) -> frozenset[OcppVersion]:
    return frozenset(map(OcppVersion, data.decode().split()))


_FIELDS: tuple[tuple[str, str, Decode], ...] = (
    ("station_id", "s.station_id", string),
    ("manufacturer", "s.manufacturer", string),
    ("model", "s.model", string),
    ("serial_number", "s.serial_number", string),
    ("latitude", "s.latitude", string),
    ("longitude", "s.longitude", string),
    ("time_zone", "s.time_zone", string),
    ("ocpp_versions", "array_to_string(s.ocpp_versions, ' ')", _versions),
    ("security_profile", "s.security_profile", integer),
    ("plain_allowed", "s.plain_allowed", flag),
    ("meter_key_der_hex", "s.meter_key_der_hex", string),
    ("host_name", "l.name", string),
    ("registered_at", "s.registered_at", moment),
)
"""Fields of a registration, where they stand, and how they are read."""

_STATIONS = Statement(
    "stations",
    f"select {', '.join(expression for _, expression, _ in _FIELDS)} from station s"
    " left join login l on l.login_id = s.host_login_id where s.station_id = any($1)",
    (binary.TEXT.array_oid,),
)
_CONNECTORS = Statement(
    "connectors_of_stations",
    "select station_id, evse, connector, connector_type, power_w_max, ocpp16_connector_id"
    " from connector where station_id = any($1) order by ocpp16_connector_id",
    (binary.TEXT.array_oid,),
)
_TARIFF_COLUMNS = "t.tariff_id, t.version, t.digest, t.document::text, t.log_index"
_TARIFFS = Statement(
    "tariffs",
    f"select {_TARIFF_COLUMNS} from unnest($1, $2) as v(tariff_id, version)"
    " join tariff_version t using (tariff_id, version)",
    (binary.TEXT.array_oid, binary.INT4.array_oid),
)
_NEWEST_TARIFF = Statement(
    "newest_tariff",
    f"select {_TARIFF_COLUMNS} from tariff_version t where tariff_id = $1"
    " order by version desc limit 1",
    (binary.TEXT.oid,),
)
_IN_FORCE = Statement(
    "tariffs_in_force",
    f"select f.station_id, f.from_at, {_TARIFF_COLUMNS} from tariff_in_force f"
    " join tariff_version t using (tariff_id, version)"
    " where f.station_id = any($1) order by f.station_id, f.from_at",
    (binary.TEXT.array_oid,),
)


# Stations --------------------------------------------------------------------------------------


async def read_stations(
    connection: Connection, station_ids: Collection[str]
) -> dict[str, ChargingStation]:
    """Return the registrations of those stations that exist."""
    return stations(*await run(connection, ask_stations(station_ids)))


def ask_stations(station_ids: Collection[str]) -> list[Call]:
    """Return the two calls whose rows `stations` takes."""
    wanted = [binary.array(binary.TEXT, [binary.word(each) for each in station_ids])]
    return [Call(_STATIONS, wanted), Call(_CONNECTORS, wanted)]


def stations(rows: Rows, plugs: Rows) -> dict[str, ChargingStation]:
    """Return registrations by station id."""
    of_station: dict[bytes | None, list[_Row]] = defaultdict(list)
    for plug in plugs:
        of_station[plug[0]].append(plug)
    found = (_station(row, tuple(of_station[row[0]])) for row in rows)
    return {station.station_id: station for station in found}


@lru_cache(maxsize=4_096)
def _station(row: _Row, plugs: tuple[_Row, ...]) -> ChargingStation:
    members: dict[str, Any] = {
        name: None if value is None else decode(value)
        for (name, _, decode), value in zip(_FIELDS, row, strict=True)
    }
    return ChargingStation(connectors=tuple(map(_connector, plugs)), **members)


def former(row: _Row) -> dict[str, Any]:
    """Return what a station was registered as before, by the members that may change."""
    return {
        name: None if value is None else string(value)
        for name, value in zip(CHANGING, row, strict=True)
    }


CHANGING = ("latitude", "longitude", "time_zone", "meter_key_der_hex")
"""Members of a registration that custody records change."""


def _connector(row: _Row) -> Connector:
    _, evse, connector, kind, power_w_max, number = row
    return Connector(
        integer(evse),
        integer(connector),
        ConnectorType(string(kind)),
        integer(power_w_max),
        integer(number),
    )


# Tariffs ---------------------------------------------------------------------------------------


async def read_newest_tariff(connection: Connection, tariff_id: str) -> QuotedTariff | None:
    """Return the newest version of a tariff; None if there is no such tariff."""
    (rows,) = await run(connection, [Call(_NEWEST_TARIFF, [tariff_id.encode()])])
    return tariff_of(rows[0]) if rows else None


def ask_tariffs(versions: Collection[tuple[str, int]]) -> Call:
    """Return the call whose rows are these versions of tariffs."""
    tariff_ids = [binary.word(tariff_id) for tariff_id, _ in versions]
    numbers = [binary.int4(version) for _, version in versions]
    return Call(
        _TARIFFS, [binary.array(binary.TEXT, tariff_ids), binary.array(binary.INT4, numbers)]
    )


def ask_tariffs_in_force(station_ids: Collection[str]) -> Call:
    """Return the call whose rows `tariffs_in_force` takes."""
    wanted = binary.array(binary.TEXT, [binary.word(each) for each in station_ids])
    return Call(_IN_FORCE, [wanted])


def tariffs_in_force(rows: Rows) -> dict[str, list[TariffInForce]]:
    """Return what prices the new sessions of each station, and since when, in order of time."""
    found: dict[str, list[TariffInForce]] = defaultdict(list)
    for station_id, from_at, *tariff in rows:
        assert from_at is not None, "the schema has it not null"
        found[string(station_id)].append(TariffInForce(moment(from_at), tariff_of(tuple(tariff))))
    return found


@lru_cache(maxsize=1_024)
def tariff_of(row: _Row) -> QuotedTariff:
    """Return the tariff version of a row; none is ever changed."""
    tariff_id, version, digest, document, log_index = row
    assert document is not None, "the schema has it not null"
    return QuotedTariff(
        string(tariff_id),
        integer(version),
        string(digest),
        ocpi.tariff_from_ocpi(orjson.loads(document)),
        integer(log_index),
    )
