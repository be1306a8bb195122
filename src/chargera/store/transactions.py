"""Transactions from their rows: a session, its readings, the signed values that it has."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
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
from chargera.store import binary
from chargera.store.binary import flag, integer, moment, string
from chargera.store.pipeline import Call, Rows, Statement, run

Connection = AsyncConnection[Any]

_KINDS = {str(kind): kind for kind in TransactionEventKind}
_CONTEXTS = {str(context): context for context in ReadingContext}
_CHARGING: dict[str | None, ChargingState | None] = {None: None}
_CHARGING.update((str(state), state) for state in ChargingState)


_READINGS = Statement(
    "readings",
    "select session_id, string_agg(record, ',' order by n) from session_event"
    " where session_id = any($1) group by session_id",
    (binary.TEXT.array_oid,),
)
"""The canonical list of each session's readings, without its brackets."""

_SIGNED = Statement(
    "signed",
    "select session_id, n, context, raw from signed_value where session_id = any($1)"
    " order by session_id, n",
    (binary.TEXT.array_oid,),
)


class Remembered(NamedTuple):
    """A transaction with its readings and signed values in order of arrival."""

    transaction: Transaction
    events: list[SessionEvent]
    signed: list[tuple[ReadingContext, bytes]]


async def read_transactions(connection: Connection, rows: Rows) -> list[Transaction]:
    """Return the transactions of rows with `COLUMNS`, each once, as if they had never gone."""
    if not rows:
        return []
    transactions = [transaction_of(row) for row in rows]
    calls = ask_readings([transaction.session_id for transaction in transactions])
    readings, signed = await run(connection, calls)
    found = remembered(transactions, readings, signed, recall)
    return [each.transaction for each in found]


def ask_readings(session_ids: Collection[str]) -> list[Call]:
    """Return the two calls whose rows `remembered` takes."""
    wanted = [binary.array(binary.TEXT, [binary.word(key) for key in session_ids])]
    return [Call(_READINGS, wanted), Call(_SIGNED, wanted)]


def remembered(
    transactions: Iterable[Transaction],
    readings: Rows,
    values: Rows,
    take_rows: Callable[[Transaction, Sequence[SessionEvent], bytes], None],
) -> list[Remembered]:
    """Return transactions with what belongs to them, each once.

    `take_rows` makes again what follows from the readings and is wanted.
    """
    found = {each.session_id: Remembered(each, [], []) for each in transactions}
    for session_id, n, context, raw in values:
        assert raw is not None, "the schema has it not null"
        transaction, _, signed = found[string(session_id)]
        transaction.signed.add(hashlib.sha256(raw).digest())
        transaction.signed_count = integer(n) + 1
        signed.append((_CONTEXTS[string(context)], raw))
    for session_id, records in readings:
        assert records is not None, "a group has rows"
        transaction, events, _ = found[string(session_id)]
        events += events_of(records)
        take_rows(transaction, events, records)
    return list(found.values())


async def read_events(
    connection: Connection, session_ids: Sequence[str]
) -> dict[str, list[SessionEvent]]:
    """Return the readings of these sessions in order of arrival."""
    (readings,) = await run(connection, ask_readings(session_ids)[:1])
    return {string(session_id): events_of(records or b"") for session_id, records in readings}


def events_of(records: bytes) -> list[SessionEvent]:
    """Return the readings of a canonical list without its brackets.

    Unlike `records.event_from_record` this believes what it reads: we wrote it.
    """
    moment = datetime.fromisoformat
    return [
        SessionEvent(
            members["n"],
            _KINDS[members["kind"]],
            members["own"],
            moment(members["at"]),
            moment(members["received_at"]),
            members["seq_no"],
            members["register_wh"],
            members["power_w"],
            _CONTEXTS[members["context"]],
            _CHARGING[members["charging"]],
        )
        for members in orjson.loads(b"[" + records + b"]")
    ]


def transaction_of(values: Sequence[bytes | None]) -> Transaction:
    """Return the transaction that a row with `COLUMNS` describes, without its readings."""
    members: dict[str, Any] = {
        name: None if value is None else decode(value)
        for (name, decode), value in zip(_FIELDS, values, strict=True)
    }
    transaction = Transaction(**members)
    transaction.logged = set(transaction.anomalies)
    transaction.stored = True
    return transaction


def _anomalies(data: bytes) -> set[Anomaly]:
    codes = data[1:-1].decode()  # an array as text: words need no quotes
    return {Anomaly(code) for code in codes.split(",")} if codes else set()


def _word(kind: type[StrEnum]) -> Callable[[bytes], Any]:
    members = {member.value.encode(): member for member in kind}
    return members.__getitem__


_FIELDS: tuple[tuple[str, Callable[[bytes], Any]], ...] = (
    ("session_id", string),
    ("station_id", string),
    ("evse", integer),
    ("connector", integer),
    ("ocpp_version", _word(OcppVersion)),
    ("transaction_id", string),
    ("generation", integer),
    ("received_at", moment),
    ("started_at", moment),
    ("state", _word(SessionState)),
    ("charging", flag),
    ("started", flag),
    ("ended", flag),
    ("ended_at", moment),
    ("id_token_key", string),
    ("id_token_status", _word(AuthorizationStatus)),
    ("id_token_rank", integer),
    ("login_id", string),
    ("remote_start_id", integer),
    ("meter_start_wh", integer),
    ("meter_stop_wh", integer),
    ("last_register_wh", integer),
    ("last_power_w", integer),
    ("stop_reason", string),
    ("tariff_id", string),
    ("tariff_version", integer),
    ("currency", string),
    ("anomalies", _anomalies),
    ("written_at", moment),
)
"""Fields of a transaction that stand in its row, and how they are read."""

_EXPRESSIONS = {
    "login_id": "s.login_id::text",
    "anomalies": "s.anomalies::text",
    "written_at": "s.changed_at",
}
COLUMNS = ", ".join(_EXPRESSIONS.get(name, f"s.{name}") for name, _ in _FIELDS)
"""What `transaction_of` wants selected from `charging_session s`."""


async def ask(
    connection: Connection, query: str, arguments: Sequence[Any] | Mapping[str, Any]
) -> AsyncCursor[DictRow]:
    """Execute a query whose rows are read later: in a pipeline many share one round trip."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), arguments)
    return cursor
