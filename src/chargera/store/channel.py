"""What the OCPP channel reads and writes: station states in, rows of a batch out."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.ports import (
    Changes,
    KnownIdToken,
    MessageRow,
    QuotedTariff,
    StationState,
    TariffInForce,
)
from chargera.domain.messages import AuthorizationStatus, IdTokenRef, TransactionEventKind
from chargera.domain.station import ChargingStation, Connector, ConnectorType, OcppVersion
from chargera.domain.transaction import (
    Anomaly,
    SessionEvent,
    SessionState,
    Transaction,
    row_key,
)
from chargera.proofs import ocpi, records
from chargera.store import copy
from chargera.store.entries import record_bytes

Connection = AsyncConnection[Any]

RECENT = 4
"""How many ended transactions of a station are loaded with its state."""

# Reading ---------------------------------------------------------------------------------------


async def load_stations(
    connection: Connection, station_ids: Sequence[str]
) -> dict[str, StationState]:
    """Return the states of those stations that are registered."""
    stations = await read_stations(connection, station_ids)
    tariffs = await _tariffs(connection, station_ids)
    rows = await _rows(
        connection,
        "select s.* from unnest(%s::text[]) as wanted(station_id) cross join lateral ("
        " (select * from charging_session c where c.station_id = wanted.station_id"
        "  and c.state = 'charging')"
        " union (select * from charging_session c where c.station_id = wanted.station_id"
        "  order by c.received_at desc limit %s)) s order by s.session_id",
        [list(station_ids), RECENT],
    )
    transactions: dict[str, dict[str, list[Transaction]]] = defaultdict(dict)
    for transaction in await _transactions(connection, rows):
        numbered = transactions[transaction.station_id]
        numbered.setdefault(transaction.transaction_id, []).append(transaction)
    return {
        station_id: StationState(
            station, tariffs.get(station_id, []), transactions.get(station_id, {})
        )
        for station_id, station in stations.items()
    }


async def read_stations(
    connection: Connection, station_ids: Sequence[str]
) -> dict[str, ChargingStation]:
    """Return the registrations of those stations that exist."""
    wanted = [list(station_ids)]
    plugs: dict[str, list[Connector]] = defaultdict(list)
    for row in await _rows(
        connection,
        "select * from connector where station_id = any(%s) order by ocpp16_connector_id",
        wanted,
    ):
        plugs[row["station_id"]].append(
            Connector(
                row["evse"],
                row["connector"],
                ConnectorType(row["connector_type"]),
                row["power_w_max"],
                row["ocpp16_connector_id"],
            )
        )
    found = await _rows(
        connection,
        "select s.*, l.name as host_name from station s"
        " left join login l on l.login_id = s.host_login_id where s.station_id = any(%s)",
        wanted,
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
            connectors=tuple(plugs[row["station_id"]]),
            ocpp_versions=frozenset(OcppVersion(v) for v in row["ocpp_versions"]),
            security_profile=row["security_profile"],
            plain_allowed=row["plain_allowed"],
            meter_key_der_hex=row["meter_key_der_hex"],
            host_name=row["host_name"],
            registered_at=row["registered_at"],
        )
        for row in found
    }


async def load_transactions(
    connection: Connection, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], list[Transaction]]:
    """Return all generations of these (station id, transaction id), oldest first."""
    rows = await _rows(
        connection,
        "select c.* from charging_session c join unnest(%s::text[], %s::text[])"
        " as v(station_id, transaction_id) using (station_id, transaction_id)"
        " order by c.session_id",
        [[k[0] for k in keys], [k[1] for k in keys]],
    )
    found: dict[tuple[str, str], list[Transaction]] = {}
    for transaction in await _transactions(connection, rows):
        key = (transaction.station_id, transaction.transaction_id)
        found.setdefault(key, []).append(transaction)
    return found


async def load_id_tokens(connection: Connection, keys: Sequence[str]) -> dict[str, KnownIdToken]:
    """Return the known ones of these identifiers."""
    rows = await _rows(
        connection,
        "select * from id_token where id_token_key = any(%s) and erased_at is null",
        [list(keys)],
    )
    return {
        row["id_token_key"]: KnownIdToken(
            IdTokenRef(row["id_token"], row["id_token_type"]),
            row["blocked"],
            row["expires_at"],
            str(row["login_id"]) if row["login_id"] else None,
        )
        for row in rows
    }


async def next_transaction_numbers(connection: Connection, count: int) -> list[int]:
    """Return fresh numbers for OCPP 1.6 transactions."""
    rows = await _rows(
        connection,
        "select nextval('transaction_number') as number from generate_series(1, %s)",
        [count],
    )
    return [row["number"] for row in rows]


async def read_events(
    connection: Connection, session_ids: Sequence[str]
) -> dict[str, list[SessionEvent]]:
    """Return the rows of these sessions in order of arrival."""
    rows = await _rows(
        connection,
        "select session_id, record from session_event where session_id = any(%s)"
        " order by session_id, n",
        [list(session_ids)],
    )
    events: dict[str, list[SessionEvent]] = defaultdict(list)
    for row in rows:
        event = records.event_from_record(orjson.loads(row["record"]), field="session_event")
        events[row["session_id"]].append(event)
    return events


def transaction_of(row: DictRow, events: list[SessionEvent]) -> Transaction:
    """Return the transaction that a row of `charging_session` and its events describe."""
    status = row["id_token_status"]
    own = [event for event in events if event.own]
    starts = [event for event in own if event.kind is TransactionEventKind.STARTED]
    state = SessionState(row["state"])
    return Transaction(
        session_id=row["session_id"],
        station_id=row["station_id"],
        evse=row["evse"],
        connector=row["connector"],
        ocpp_version=OcppVersion(row["ocpp_version"]),
        transaction_id=row["transaction_id"],
        generation=row["generation"],
        received_at=row["received_at"],
        started_at=row["started_at"],
        state=SessionState.ENDED if state is SessionState.BILLED else state,
        charging=row["charging"],
        started=row["started"],
        ended=row["ended"],
        ended_at=row["ended_at"],
        id_token_key=row["id_token_key"],
        id_token_status=AuthorizationStatus(status) if status else None,
        login_id=str(row["login_id"]) if row["login_id"] else None,
        remote_start_id=row["remote_start_id"],
        meter_start_wh=row["meter_start_wh"],
        meter_stop_wh=row["meter_stop_wh"],
        last_register_wh=row["last_register_wh"],
        last_power_w=row["last_power_w"],
        stop_reason=row["stop_reason"],
        tariff_id=row["tariff_id"],
        tariff_version=row["tariff_version"],
        currency=row["currency"],
        anomalies={Anomaly(code) for code in row["anomalies"]},
        events=events,
        keys={row_key(event) for event in own},
        start_key=row_key(starts[0]) if starts else None,
        stored=True,
    )


async def _transactions(connection: Connection, rows: Sequence[DictRow]) -> list[Transaction]:
    if not rows:
        return []
    events = await read_events(connection, [row["session_id"] for row in rows])
    return [transaction_of(row, events.get(row["session_id"], [])) for row in rows]


async def _tariffs(
    connection: Connection, station_ids: Sequence[str]
) -> dict[str, list[TariffInForce]]:
    rows = await _rows(
        connection,
        "select f.station_id, f.from_at, t.* from tariff_in_force f"
        " join tariff_version t using (tariff_id, version)"
        " where f.station_id = any(%s) order by f.station_id, f.from_at",
        [list(station_ids)],
    )
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


async def _rows(connection: Connection, query: str, arguments: Sequence[Any]) -> list[DictRow]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, arguments)
        return await cursor.fetchall()


# Writing ---------------------------------------------------------------------------------------

_SESSION_COLUMNS = (
    "session_id, station_id, evse, connector, ocpp_version, transaction_id, generation,"
    " id_token_key, id_token_status, login_id, remote_start_id, state, charging, started, ended,"
    " started_at, ended_at, meter_start_wh, meter_stop_wh, last_register_wh, last_power_w,"
    " stop_reason, tariff_id, tariff_version, currency, anomalies, event_count, received_at,"
    " changed_at"
)
_SESSION_UPDATES = ", ".join(
    f"{name} = excluded.{name}"
    for name in (
        "evse",
        "connector",
        "id_token_key",
        "id_token_status",
        "login_id",
        "remote_start_id",
        "charging",
        "started",
        "ended",
        "started_at",
        "ended_at",
        "meter_start_wh",
        "meter_stop_wh",
        "last_register_wh",
        "last_power_w",
        "stop_reason",
        "tariff_id",
        "tariff_version",
        "currency",
        "event_count",
        "changed_at",
    )
)
# Billing owns `billed`: the channel never takes back a bill, it only asks for a new look.
_SESSION_UPSERT = (
    f"insert into charging_session ({_SESSION_COLUMNS}, proof_level, bill_after)"  # noqa: S608 - constants of this module
    f" select {_SESSION_COLUMNS}, 'L0',"
    " case when r.bill_due then now() + interval '1 second' end"
    " from json_to_recordset(%s::json) as r(session_id text, station_id text, evse int,"
    " connector int, ocpp_version text, transaction_id text, generation int, id_token_key text,"
    " id_token_status text, login_id uuid, remote_start_id bigint, state text, charging boolean,"
    " started boolean, ended boolean, started_at timestamptz, ended_at timestamptz,"
    " meter_start_wh bigint, meter_stop_wh bigint, last_register_wh bigint, last_power_w bigint,"
    " stop_reason text, tariff_id text, tariff_version int, currency text, anomalies text[],"
    " event_count int, received_at timestamptz, changed_at timestamptz, bill_due boolean)"
    f" on conflict (session_id) do update set {_SESSION_UPDATES},"
    " state = case when charging_session.state = 'billed' then 'billed' else excluded.state end,"
    " anomalies = excluded.anomalies,"
    " bill_after = coalesce(excluded.bill_after, charging_session.bill_after)"
)


async def write(connection: Connection, changes: Changes, now: datetime) -> None:
    """Write the rows of a batch."""
    if changes.messages:
        await _copy(
            connection,
            "ocpp_message (station_id, received_at, inbound, ocpp_version, action, message_id,"
            " frame, answer, outcome)",
            copy.rows(9, map(_message_row, changes.messages)),
        )
    if changes.sessions:
        rows = [_session_row(t, now) for t in changes.sessions.values()]
        await connection.execute(_SESSION_UPSERT, [orjson.dumps(rows).decode()])
    if changes.events:
        await _copy(
            connection,
            "session_event (session_id, n, record)",
            copy.rows(3, (_event_row(session_id, e) for session_id, e in changes.events)),
        )
    if changes.signed_values:
        await _write_signed_values(connection, changes)
    if changes.connectors:
        await _write_connectors(connection, changes)
    if changes.boots:
        await _write_boots(connection, changes)


async def _copy(connection: Connection, target: str, stream: bytes) -> None:
    async with (
        connection.cursor() as cursor,
        cursor.copy(f"copy {target} from stdin (format binary)") as sink,
    ):
        await sink.write(stream)


def _message_row(row: MessageRow) -> bytes:
    return b"".join(
        (
            copy.text(row.station_id),
            copy.timestamp(row.received_at),
            copy.boolean(row.inbound),
            copy.text(row.ocpp_version),
            copy.text(row.action),
            copy.text(row.message_id),
            copy.bytea(row.frame),
            copy.bytea(row.answer),
            copy.text(row.outcome),
        )
    )


def _event_row(session_id: str, event: SessionEvent) -> bytes:
    return b"".join(
        (
            copy.text(session_id),
            copy.int4(event.n),
            copy.bytea(record_bytes(records.event_record(event))),
        )
    )


def _session_row(transaction: Transaction, now: datetime) -> dict[str, Any]:
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
        "login_id": transaction.login_id,
        "remote_start_id": transaction.remote_start_id,
        "state": transaction.state,
        "charging": transaction.charging,
        "started": transaction.started,
        "ended": transaction.ended,
        "started_at": transaction.started_at,
        "ended_at": transaction.ended_at,
        "meter_start_wh": transaction.meter_start_wh,
        "meter_stop_wh": transaction.meter_stop_wh,
        "last_register_wh": transaction.last_register_wh,
        "last_power_w": transaction.last_power_w,
        "stop_reason": transaction.stop_reason,
        "tariff_id": transaction.tariff_id,
        "tariff_version": transaction.tariff_version,
        "currency": transaction.currency,
        "anomalies": sorted(transaction.anomalies),
        "event_count": len(transaction.events),
        "received_at": transaction.received_at,
        "changed_at": now,
        "bill_due": transaction.bill_due,
    }


async def _write_signed_values(connection: Connection, changes: Changes) -> None:
    for value in changes.signed_values:
        await connection.execute(
            "insert into signed_value (session_id, n, context, raw, received_at)"
            " select %s, count(*), %s, %s, %s from signed_value where session_id = %s",
            [value.session_id, value.context, value.raw, value.received_at, value.session_id],
        )


async def _write_connectors(connection: Connection, changes: Changes) -> None:
    reports = list(changes.connectors.values())
    await connection.execute(
        "update connector c set status = v.status, status_detail = v.detail, status_at = v.at"
        " from unnest(%s::text[], %s::int[], %s::int[], %s::text[], %s::text[],"
        " %s::timestamptz[]) as v(station_id, evse, connector, status, detail, at)"
        " where (c.station_id, c.evse, c.connector) = (v.station_id, v.evse, v.connector)",
        [
            [r.station_id for r in reports],
            [r.evse for r in reports],
            [r.connector for r in reports],
            [r.status for r in reports],
            [r.detail for r in reports],
            [r.at for r in reports],
        ],
    )


async def _write_boots(connection: Connection, changes: Changes) -> None:
    for boot in changes.boots.values():
        await connection.execute(
            "update station set vendor_reported = %s, model_reported = %s, firmware_version = %s,"
            " last_boot_at = %s, last_seen_at = %s, ocpp_version = %s where station_id = %s",
            [
                boot.vendor,
                boot.model,
                boot.firmware_version,
                boot.at,
                boot.at,
                boot.ocpp_version,
                boot.station_id,
            ],
        )
