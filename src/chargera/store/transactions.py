"""Transactions from their rows: a session, its readings, the signed values that it has."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, dict_row

from chargera.domain.messages import AuthorizationStatus, ReadingContext, TransactionEventKind
from chargera.domain.pricing import ChargingState
from chargera.domain.station import OcppVersion
from chargera.domain.transaction import (
    Anomaly,
    SessionEvent,
    SessionState,
    Transaction,
    recall,
)

Connection = AsyncConnection[Any]

_KINDS = {str(kind): kind for kind in TransactionEventKind}
_CONTEXTS = {str(context): context for context in ReadingContext}
_CHARGING: dict[str | None, ChargingState | None] = {None: None}
_CHARGING.update((str(state), state) for state in ChargingState)


_READINGS = (
    "select session_id, record from session_event where session_id = any(%s) order by session_id, n"
)


class Remembered(NamedTuple):
    """A transaction with its readings and signed values in order of arrival."""

    transaction: Transaction
    events: list[SessionEvent]
    signed: list[tuple[ReadingContext, bytes]]


async def read_transactions(
    connection: Connection, rows: Iterable[DictRow]
) -> dict[str, Remembered]:
    """Return the transactions of rows of `charging_session` by session id, each once."""
    found = {row["session_id"]: Remembered(transaction_of(row), [], []) for row in rows}
    if not found:
        return found
    async with connection.pipeline():
        readings = await ask(connection, _READINGS, [list(found)])
        signed = await ask(
            connection,
            "select session_id, n, context, raw from signed_value where session_id = any(%s)"
            " order by session_id, n",
            [list(found)],
        )
        records: dict[str, list[bytes]] = defaultdict(list)
        for row in await readings.fetchall():
            records[row["session_id"]].append(row["record"])
        for row in await signed.fetchall():
            transaction, _, values = found[row["session_id"]]
            transaction.signed.add(hashlib.sha256(row["raw"]).digest())
            transaction.signed_count = row["n"] + 1
            values.append((_CONTEXTS[row["context"]], row["raw"]))
    for session_id, encoded in records.items():
        transaction, events, _ = found[session_id]
        events.extend(map(event_of, encoded))
        recall(transaction, zip(events, encoded, strict=True))
    return found


async def read_events(
    connection: Connection, session_ids: Sequence[str]
) -> dict[str, list[SessionEvent]]:
    """Return the readings of these sessions in order of arrival."""
    cursor = await ask(connection, _READINGS, [list(session_ids)])
    events: dict[str, list[SessionEvent]] = defaultdict(list)
    for row in await cursor.fetchall():
        events[row["session_id"]].append(event_of(row["record"]))
    return events


def event_of(record: bytes) -> SessionEvent:
    """Return the reading that its canonical bytes stand for.

    Unlike `records.event_from_record` this believes what it reads: we wrote it.
    """
    members = orjson.loads(record)
    return SessionEvent(
        members["n"],
        _KINDS[members["kind"]],
        members["own"],
        datetime.fromisoformat(members["at"]),
        datetime.fromisoformat(members["received_at"]),
        members["seq_no"],
        members["register_wh"],
        members["power_w"],
        _CONTEXTS[members["context"]],
        _CHARGING[members["charging"]],
    )


def transaction_of(row: DictRow) -> Transaction:
    """Return the transaction that a row of `charging_session` describes, without its readings."""
    status, state = row["id_token_status"], SessionState(row["state"])
    anomalies = {Anomaly(code) for code in row["anomalies"]}
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
        state=state,
        charging=row["charging"],
        started=row["started"],
        ended=row["ended"],
        ended_at=row["ended_at"],
        id_token_key=row["id_token_key"],
        id_token_status=AuthorizationStatus(status) if status else None,
        id_token_rank=row["id_token_rank"],
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
        anomalies=anomalies,
        logged=set(anomalies),
        stored=True,
        written_at=row["changed_at"],
    )


async def ask(
    connection: Connection, query: str, arguments: Sequence[Any] | Mapping[str, Any]
) -> AsyncCursor[DictRow]:
    """Execute a query whose rows are read later: in a pipeline many share one round trip."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), arguments)
    return cursor
