"""What the OCPP channel reads and writes: station states in, rows of a batch out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow

from chargera.app.ports import (
    Changes,
    ConnectorStatement,
    KnownIdToken,
    Loaded,
    MessageRow,
    QuotedTariff,
    StationState,
    TariffInForce,
    Wanted,
)
from chargera.domain.messages import IdTokenRef
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ChargingStation, Connector, ConnectorType, OcppVersion
from chargera.domain.transaction import CURABLE, DERIVED, Transaction
from chargera.proofs import ocpi
from chargera.store import copy
from chargera.store.transactions import ask, read_events, read_transactions

__all__ = ["load", "quoted_tariff", "read_events", "read_stations", "write"]

Connection = AsyncConnection[Any]
Cursor = AsyncCursor[DictRow]

RECENT = 4
"""How many ended transactions of a station are loaded with its state."""

# Reading ---------------------------------------------------------------------------------------


_AROUND = (
    "c.started_at <= v.at + interval '5 minutes'"
    " and coalesce(c.ended_at, 'infinity') >= v.at - interval '5 minutes'"
)
_RECENT_OF_STATIONS = (
    "select s.* from unnest(%s::text[]) as v(station_id) cross join lateral ("
    " (select * from charging_session c where c.station_id = v.station_id"
    "  and c.state = 'charging')"
    " union all (select * from charging_session c where c.station_id = v.station_id"
    "  order by c.received_at desc limit %s)) s"
)
_NEWEST_STARTS = (
    "select v.station_id, (select max(c.station_started_at) from charging_session c"
    "  where c.station_id = v.station_id and c.ocpp_version = '1.6') as newest_start_at"
    " from unnest(%s::text[]) as v(station_id)"
)
_BY_ID = (
    "select s.* from unnest(%s::text[], %s::text[], %s::timestamptz[])"
    " as v(station_id, transaction_id, at) cross join lateral ("
    " (select * from charging_session c where c.station_id = v.station_id"
    "  and c.transaction_id = v.transaction_id order by c.generation desc limit 4)"
    " union all (select * from charging_session c where c.station_id = v.station_id"
    f"  and c.transaction_id = v.transaction_id and {_AROUND}"
    "  order by c.generation desc limit 4)) s"
)
_UNNUMBERED = (
    "select s.* from unnest(%s::text[], %s::timestamptz[]) as v(station_id, at)"
    " cross join lateral (select * from charging_session c where c.station_id = v.station_id"
    f"  and c.ocpp_version = '1.6' and {_AROUND} order by c.received_at desc limit 8) s"
)
_STARTS = (
    "select s.* from unnest(%s::text[], %s::timestamptz[]) as v(station_id, at)"
    " cross join lateral (select * from charging_session c where c.station_id = v.station_id"
    "  and c.ocpp_version = '1.6' and c.station_started_at = v.at"
    "  order by c.received_at desc limit 8) s"
)
_ID_TOKENS = "select * from id_token where id_token_key = any(%s) and erased_at is null"
_NUMBERS = "select nextval('transaction_number') as number from generate_series(1, %s)"


async def load(connection: Connection, wanted: Wanted) -> Loaded:
    """Return what there is of what is wanted: one round trip, and a second one for readings."""
    by_id = [(s, number, at) for s, number, at in wanted.transactions if number is not None]
    unnumbered = [(s, at) for s, number, at in wanted.transactions if number is None]
    found: list[DictRow] = []
    async with connection.pipeline():
        stations = _Stations(connection, sorted(wanted.stations)) if wanted.stations else None
        if stations is not None:
            await stations.ask()
        asked = [
            await ask(connection, query, [list(column) for column in zip(*rows, strict=True)])
            for query, rows in (
                (_BY_ID, by_id),
                (_UNNUMBERED, unnumbered),
                (_STARTS, list(wanted.starts)),
            )
            if rows
        ]
        if wanted.id_tokens:
            id_tokens = await ask(connection, _ID_TOKENS, [sorted(wanted.id_tokens)])
        if wanted.numbers:
            numbers = await ask(connection, _NUMBERS, [wanted.numbers])
        loaded = Loaded()
        if stations is not None:
            loaded.stations = await stations.states()
            found += await stations.sessions()
        for cursor in asked:
            found += await cursor.fetchall()
        if wanted.id_tokens:
            loaded.id_tokens = _id_tokens(await id_tokens.fetchall())
        if wanted.numbers:
            loaded.numbers = [row["number"] for row in await numbers.fetchall()]
    found.sort(key=lambda row: (row["received_at"], row["generation"]))
    remembered = await read_transactions(connection, found)
    loaded.transactions = [each.transaction for each in remembered.values()]
    return loaded


class _Stations:
    """What belongs to the states of stations, asked for in a pipeline and read afterwards."""

    def __init__(self, connection: Connection, station_ids: Sequence[str]) -> None:
        self._connection = connection
        self._wanted = list(station_ids)

    async def ask(self) -> None:
        wanted = self._wanted
        self._connectors = await ask(self._connection, _CONNECTORS, [wanted])
        self._stations = await ask(self._connection, _STATIONS, [wanted])
        self._tariffs = await ask(self._connection, _TARIFFS, [wanted])
        self._newest = await ask(self._connection, _NEWEST_STARTS, [wanted])
        self._recent = await ask(self._connection, _RECENT_OF_STATIONS, [wanted, RECENT])

    async def states(self) -> dict[str, StationState]:
        plugs = await self._connectors.fetchall()
        stations = _registrations(await self._stations.fetchall(), plugs)
        tariffs = _tariffs(await self._tariffs.fetchall())
        states = {
            station_id: StationState(station, tariffs.get(station_id, []), {})
            for station_id, station in stations.items()
        }
        for row in await self._newest.fetchall():
            if row["station_id"] in states:
                states[row["station_id"]].newest_start_at = row["newest_start_at"]
        for row in plugs:
            if row["status_charging"] is not None and row["status_at"] is not None:
                statement = ConnectorStatement(
                    row["status_at"], ChargingState(row["status_charging"])
                )
                states[row["station_id"]].statuses[row["evse"], row["connector"]] = statement
        return states

    async def sessions(self) -> list[DictRow]:
        return await self._recent.fetchall()


_CONNECTORS = "select * from connector where station_id = any(%s) order by ocpp16_connector_id"
_STATIONS = (
    "select s.*, l.name as host_name from station s"
    " left join login l on l.login_id = s.host_login_id where s.station_id = any(%s)"
)
_TARIFFS = (
    "select f.station_id, f.from_at, t.* from tariff_in_force f"
    " join tariff_version t using (tariff_id, version)"
    " where f.station_id = any(%s) order by f.station_id, f.from_at"
)


async def read_stations(
    connection: Connection, station_ids: Sequence[str]
) -> dict[str, ChargingStation]:
    """Return the registrations of those stations that exist."""
    wanted = [list(station_ids)]
    async with connection.pipeline():
        plugs = await ask(connection, _CONNECTORS, wanted)
        stations = await ask(connection, _STATIONS, wanted)
        return _registrations(await stations.fetchall(), await plugs.fetchall())


def _registrations(rows: Iterable[DictRow], plugs: Iterable[DictRow]) -> dict[str, ChargingStation]:
    connectors: dict[str, list[Connector]] = defaultdict(list)
    for row in plugs:
        connectors[row["station_id"]].append(
            Connector(
                row["evse"],
                row["connector"],
                ConnectorType(row["connector_type"]),
                row["power_w_max"],
                row["ocpp16_connector_id"],
            )
        )
    return {
        row["station_id"]: ChargingStation(
            station_id=row["station_id"],
            manufacturer=row["manufacturer"],
            model=row["model"],
            serial_number=row["serial_number"],
            latitude=row["latitude"],
            longitude=row["longitude"],
            time_zone=row["time_zone"],
            connectors=tuple(connectors[row["station_id"]]),
            ocpp_versions=frozenset(OcppVersion(v) for v in row["ocpp_versions"]),
            security_profile=row["security_profile"],
            plain_allowed=row["plain_allowed"],
            meter_key_der_hex=row["meter_key_der_hex"],
            host_name=row["host_name"],
            registered_at=row["registered_at"],
        )
        for row in rows
    }


def _id_tokens(rows: Iterable[DictRow]) -> dict[str, KnownIdToken]:
    return {
        row["id_token_key"]: KnownIdToken(
            IdTokenRef(row["id_token"], row["id_token_type"]),
            row["blocked"],
            row["expires_at"],
            str(row["login_id"]) if row["login_id"] else None,
        )
        for row in rows
    }


def _tariffs(rows: Iterable[DictRow]) -> dict[str, list[TariffInForce]]:
    quoted: dict[tuple[str, int], QuotedTariff] = {}
    tariffs: dict[str, list[TariffInForce]] = defaultdict(list)
    for row in rows:
        key = (row["tariff_id"], row["version"])
        if key not in quoted:
            quoted[key] = quoted_tariff(row)
        tariffs[row["station_id"]].append(TariffInForce(row["from_at"], quoted[key]))
    return tariffs


def quoted_tariff(row: DictRow) -> QuotedTariff:
    """Return the tariff that a row of `tariff_version` holds."""
    return QuotedTariff(
        row["tariff_id"],
        row["version"],
        row["digest"],
        ocpi.tariff_from_ocpi(row["document"]),
        row["log_index"],
    )


# Writing ---------------------------------------------------------------------------------------

_SESSION_COLUMNS = {
    "session_id": "text",
    "station_id": "text",
    "evse": "int",
    "connector": "int",
    "ocpp_version": "text",
    "transaction_id": "text",
    "generation": "int",
    "id_token_key": "text",
    "id_token_status": "text",
    "id_token_rank": "bigint",
    "login_id": "uuid",
    "remote_start_id": "bigint",
    "state": "text",
    "charging": "boolean",
    "started": "boolean",
    "ended": "boolean",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "station_started_at": "timestamptz",
    "meter_start_wh": "bigint",
    "meter_stop_wh": "bigint",
    "last_register_wh": "bigint",
    "last_power_w": "bigint",
    "stop_reason": "text",
    "tariff_id": "text",
    "tariff_version": "int",
    "currency": "text",
    "anomalies": "text[]",
    "event_count": "int",
    "received_at": "timestamptz",
    "changed_at": "timestamptz",
}
"""Columns of `charging_session` that the channel writes, with their types."""

_KEPT = ("session_id", "station_id", "ocpp_version", "generation", "received_at")
_MERGED = {
    # Billing owns `billed`: the channel never takes back a bill, it only asks for a new look.
    "state": "case when s.state = 'billed' then 'billed' else excluded.state end",
    # What only billing can find out stays until it has looked again.
    "anomalies": (
        "array(select unnest(excluded.anomalies) union select found"
        " from unnest(s.anomalies) found where found in ({}) order by 1)"
    ).format(", ".join(f"'{anomaly}'" for anomaly in sorted(DERIVED - CURABLE))),
    "changed_at": "greatest(s.changed_at, excluded.changed_at)",
}
_SESSION_UPSERT = (
    "insert into charging_session as s"
    f" ({', '.join(_SESSION_COLUMNS)}, proof_level, bill_after)"
    f" select {', '.join(_SESSION_COLUMNS)}, 'L0',"
    " case when r.bill_due then now() + interval '1 second' end"
    " from json_to_recordset(%s::json) as r("
    + ", ".join(f"{name} {kind}" for name, kind in _SESSION_COLUMNS.items())
    + ", bill_due boolean) on conflict (session_id) do update set "
    + ", ".join(
        f"{name} = {_MERGED.get(name, f'excluded.{name}')}"
        for name in _SESSION_COLUMNS
        if name not in _KEPT
    )
    + ", bill_after = coalesce(excluded.bill_after, s.bill_after)"
)
_SIGNED_VALUES = (
    "insert into signed_value (session_id, n, context, raw, received_at) select * from"
    " unnest(%s::text[], %s::int[], %s::text[], %s::bytea[], %s::timestamptz[])"
)
_CONNECTOR_STATES = (
    "update connector c set status = v.status, status_detail = v.detail, status_at = v.at,"
    " status_charging = v.charging"
    " from unnest(%s::text[], %s::int[], %s::int[], %s::text[], %s::text[],"
    " %s::timestamptz[], %s::text[])"
    " as v(station_id, evse, connector, status, detail, at, charging)"
    " where (c.station_id, c.evse, c.connector) = (v.station_id, v.evse, v.connector)"
)
_BOOTS = (
    "update station s set vendor_reported = v.vendor, model_reported = v.model,"
    " firmware_version = v.firmware, last_boot_at = v.at, last_seen_at = v.at,"
    " ocpp_version = v.ocpp_version"
    " from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])"
    " as v(station_id, vendor, model, firmware, ocpp_version, at)"
    " where s.station_id = v.station_id"
)
# Whoever changes a registration holds its row; that it is alive can wait for the next minute.
_SEEN = (
    "update station s set last_seen_at = v.at from (select station_id, at from"
    " unnest(%s::text[], %s::timestamptz[]) as u(station_id, at) where exists"
    " (select from station where station.station_id = u.station_id for update skip locked)) v"
    " where s.station_id = v.station_id"
)


async def write(connection: Connection, changes: Changes) -> None:
    """Write the rows of a batch."""
    if changes.messages:
        await copy.into(
            connection,
            "ocpp_message (station_id, received_at, inbound, ocpp_version, action, message_id,"
            " frame, answer, outcome)",
            copy.rows(9, map(_message_row, changes.messages)),
        )
    if changes.events:
        await copy.into(
            connection,
            "session_event (session_id, n, record)",
            copy.rows(3, map(_event_row, changes.events)),
        )
    for query, arguments in _statements(changes):
        await connection.execute(query.encode(), arguments)


def _statements(changes: Changes) -> Iterable[tuple[str, list[Any]]]:
    """Return the statements of a batch with their arguments."""
    if changes.sessions:
        rows = [_session_row(transaction) for transaction in changes.sessions.values()]
        yield _SESSION_UPSERT, [orjson.dumps(rows).decode()]
    if changes.signed_values:
        yield (
            _SIGNED_VALUES,
            _columns(
                (v.session_id, v.n, v.context, v.raw, v.received_at) for v in changes.signed_values
            ),
        )
    if changes.connectors:
        yield (
            _CONNECTOR_STATES,
            _columns(
                (
                    *place,
                    report.status,
                    report.detail,
                    report.at,
                    report.statement and report.statement.charging,
                )
                for place, report in changes.connectors.items()
            ),
        )
    if changes.boots:
        yield (
            _BOOTS,
            _columns(
                (b.station_id, b.vendor, b.model, b.firmware_version, str(b.ocpp_version), b.at)
                for b in changes.boots.values()
            ),
        )
    seen = changes.seen.keys() - changes.boots.keys()
    if seen:
        yield _SEEN, _columns((station_id, changes.seen[station_id]) for station_id in seen)


def _columns(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [list(column) for column in zip(*rows, strict=True)]


def _message_row(row: MessageRow) -> bytes:
    return b"".join(
        (
            copy.word(row.station_id),
            copy.timestamp(row.received_at),
            copy.TRUE if row.inbound else copy.FALSE,
            copy.word(row.ocpp_version),
            copy.word(row.action),
            copy.text(row.message_id),
            copy.bytea(row.frame),
            copy.bytea(row.answer),
            copy.word(row.outcome),
        )
    )


def _event_row(row: tuple[str, int, bytes]) -> bytes:
    session_id, n, record = row
    return copy.word(session_id) + copy.int4(n) + copy.bytea(record)


def _session_row(transaction: Transaction) -> dict[str, Any]:
    start = transaction.start_key
    return {
        "session_id": transaction.session_id,
        "station_id": transaction.station_id,
        "evse": transaction.evse,
        "connector": transaction.connector,
        "ocpp_version": transaction.ocpp_version,
        "transaction_id": transaction.transaction_id,
        "generation": transaction.generation,
        "id_token_key": transaction.id_token_key,
        "id_token_status": transaction.id_token_status,
        "id_token_rank": transaction.id_token_rank,
        "login_id": transaction.login_id,
        "remote_start_id": transaction.remote_start_id,
        "state": transaction.state,
        "charging": transaction.charging,
        "started": transaction.started,
        "ended": transaction.ended,
        "started_at": transaction.started_at,
        "ended_at": transaction.ended_at,
        "station_started_at": start.at if start else None,
        "meter_start_wh": transaction.meter_start_wh,
        "meter_stop_wh": transaction.meter_stop_wh,
        "last_register_wh": transaction.last_register_wh,
        "last_power_w": transaction.last_power_w,
        "stop_reason": transaction.stop_reason,
        "tariff_id": transaction.tariff_id,
        "tariff_version": transaction.tariff_version,
        "currency": transaction.currency,
        "anomalies": sorted(transaction.anomalies),
        "event_count": transaction.event_count,
        "received_at": transaction.received_at,
        "changed_at": transaction.written_at,
        "bill_due": transaction.bill_due,
    }
