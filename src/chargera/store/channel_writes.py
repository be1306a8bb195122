"""What the OCPP channel writes: the rows of a batch as calls of a pipeline."""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from chargera.app.ports import Changes, ConnectorReport
from chargera.domain.transaction import CURABLE, DERIVED, Transaction
from chargera.store import message_packs
from chargera.store.binary import array
from chargera.store.columns import (
    BOOLEAN,
    BYTEA,
    INT4,
    INT8,
    TEXT,
    TIME,
    WORD,
    Column,
    Table,
    Type,
)
from chargera.store.pipeline import Call, Statement


def calls(changes: Changes) -> list[Call]:
    """Return what writes the rows of a batch."""
    made: list[Call] = []
    if changes.messages:
        made += message_packs.calls(changes.messages)
    if changes.events:
        made.append(_events(changes.events))
    if changes.sessions:
        made.append(_SESSIONS.of(changes.sessions.values()))
    if changes.signed_values:
        made.append(_SIGNED_VALUES.of(changes.signed_values))
    if changes.connectors:
        made.append(_CONNECTORS.of(changes.connectors.values()))
    if changes.boots:
        made.append(_BOOTS.of(changes.boots.values()))
    seen = [item for item in changes.seen.items() if item[0] not in changes.boots]
    if seen:
        made.append(_SEEN.of(seen))
    return made


# A row for each value: spelled out, for nothing is written more often ----------------------------

_EVENT_TYPES = (WORD, INT4, BYTEA)
_EVENTS = Statement(
    "events",
    "insert into session_event (session_id, n, record) select unnest($1), unnest($2), unnest($3)",
    tuple(column.kind.array_oid for column in _EVENT_TYPES),
)


def _events(rows: Sequence[tuple[str, int, bytes]]) -> Call:
    columns = zip(*rows, strict=True)
    return Call(_EVENTS, [*map(_array, _EVENT_TYPES, columns)])


def _array(column_type: Type, values: Iterable[Any]) -> bytes:
    return array(column_type.kind, [*map(column_type.encode, values)])


# The state of sessions --------------------------------------------------------------------------


def _start_of_station(transaction: Transaction) -> Any:
    return transaction.start_key and transaction.start_key.at


def _list_of_anomalies(transaction: Transaction) -> str:
    return "{" + ",".join(sorted(transaction.anomalies)) + "}"


_SESSION_COLUMNS = (
    Column("session_id", WORD),
    Column("station_id", WORD),
    Column("evse", INT4),
    Column("connector", INT4),
    Column("ocpp_version", WORD),
    Column("transaction_id", TEXT),
    Column("generation", INT4),
    Column("id_token_key", WORD),
    Column("id_token_status", WORD),
    Column("id_token_rank", INT8),
    Column("login_id", WORD),
    Column("remote_start_id", INT8),
    Column("state", WORD),
    Column("charging", BOOLEAN),
    Column("started", BOOLEAN),
    Column("ended", BOOLEAN),
    Column("started_at", TIME),
    Column("ended_at", TIME),
    Column("station_started_at", TIME, _start_of_station),
    Column("meter_start_wh", INT8),
    Column("meter_stop_wh", INT8),
    Column("last_register_wh", INT8),
    Column("last_power_w", INT8),
    Column("stop_reason", WORD),
    Column("tariff_id", WORD),
    Column("tariff_version", INT4),
    Column("currency", WORD),
    Column("anomalies", WORD, _list_of_anomalies),
    Column("event_count", INT4),
    Column("received_at", TIME),
    Column("changed_at", TIME, lambda transaction: transaction.written_at),
)
_CAST = {"login_id": "v.login_id::uuid", "anomalies": "v.anomalies::text[]"}
_BILLINGS = ", ".join(f"'{anomaly}'" for anomaly in sorted(DERIVED - CURABLE))
_KEPT = ("session_id", "station_id", "ocpp_version", "generation", "received_at")
_MERGED = {
    # Billing owns `billed`: the channel never takes back a bill, it only asks for a new look.
    "state": "case when s.state = 'billed' then 'billed' else excluded.state end",
    # What only billing can find out stays until it has looked again.
    "anomalies": (
        "case when s.anomalies = '{}' then excluded.anomalies else"
        " array(select unnest(excluded.anomalies) union select found"
        f" from unnest(s.anomalies) found where found in ({_BILLINGS}) order by 1) end"
    ),
    "changed_at": "greatest(s.changed_at, excluded.changed_at)",
}
_NAMES = [column.name for column in _SESSION_COLUMNS]
_SESSIONS = Table(
    "sessions",
    f"insert into charging_session as s ({', '.join(_NAMES)}, proof_level, bill_after)"
    f" select {', '.join(_CAST.get(name, f'v.{name}') for name in _NAMES)}, 'L0',"
    " case when v.bill_due then now() + interval '1 second' end from {rows}"
    " on conflict (session_id) do update set "
    + ", ".join(
        f"{name} = {_MERGED.get(name, f'excluded.{name}')}" for name in _NAMES if name not in _KEPT
    )
    + ", bill_after = coalesce(excluded.bill_after, s.bill_after)",
    (*_SESSION_COLUMNS, Column("bill_due", BOOLEAN)),
)

# What is written less often ---------------------------------------------------------------------

_SIGNED_VALUES = Table(
    "signed_values",
    "insert into signed_value (session_id, n, context, raw, received_at) select * from {rows}",
    (
        Column("session_id", WORD),
        Column("n", INT4),
        Column("context", WORD),
        Column("raw", BYTEA),
        Column("received_at", TIME),
    ),
)


def _charging(report: ConnectorReport) -> str | None:
    return None if report.statement is None else report.statement.charging


_CONNECTORS = Table(
    "connectors",
    "update connector c set status = v.status, status_detail = v.detail, status_at = v.at,"
    " status_charging = v.charging from {rows}"
    " where (c.station_id, c.evse, c.connector) = (v.station_id, v.evse, v.connector)",
    (
        Column("station_id", WORD),
        Column("evse", INT4),
        Column("connector", INT4),
        Column("status", WORD),
        Column("detail", WORD),
        Column("at", TIME),
        Column("charging", WORD, _charging),
    ),
)
_BOOTS = Table(
    "boots",
    "update station s set vendor_reported = v.vendor, model_reported = v.model,"
    " firmware_version = v.firmware_version, last_boot_at = v.at, last_seen_at = v.at,"
    " ocpp_version = v.ocpp_version from {rows} where s.station_id = v.station_id",
    (
        Column("station_id", WORD),
        Column("vendor", TEXT),
        Column("model", TEXT),
        Column("firmware_version", TEXT),
        Column("ocpp_version", WORD),
        Column("at", TIME),
    ),
)
# Whoever changes a registration holds its row; that it is alive can wait for the next minute.
_SEEN = Table(
    "seen",
    "update station s set last_seen_at = v.at from (select v.station_id, v.at from {rows}"
    " where exists (select from station where station.station_id = v.station_id"
    " for update skip locked)) v where s.station_id = v.station_id",
    (Column("station_id", WORD, itemgetter(0)), Column("at", TIME, itemgetter(1))),
)
