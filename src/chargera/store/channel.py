"""What the OCPP channel reads: the states of stations, and what a batch of messages needs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from chargera.app.ports import ConnectorStatement, KnownIdToken, Loaded, StationState, Wanted
from chargera.domain.messages import IdTokenRef
from chargera.domain.pricing import ChargingState
from chargera.store import binary
from chargera.store.binary import integer, moment, string
from chargera.store.pipeline import Call, Rows, Statement, run
from chargera.store.registrations import (
    ask_stations,
    ask_tariffs_in_force,
    stations,
    tariffs_in_force,
)
from chargera.store.transactions import COLUMNS, read_transactions

Connection = AsyncConnection[Any]

RECENT = 4
"""How many ended transactions of a station are loaded with its state."""

# Queries ---------------------------------------------------------------------------------------

_TEXTS, _TIMES = binary.TEXT.array_oid, binary.TIMESTAMPTZ.array_oid
_OF_STATION = f"select {COLUMNS} from charging_session s where s.station_id = v.station_id"
_AROUND = (
    "s.started_at <= v.at + interval '5 minutes'"
    " and coalesce(s.ended_at, 'infinity') >= v.at - interval '5 minutes'"
)
_RECENT = Statement(
    "recent_sessions",
    "select t.* from unnest($1) as v(station_id) cross join lateral ("
    f" ({_OF_STATION} and s.state = 'charging')"
    f" union all ({_OF_STATION} order by s.received_at desc limit $2)) t",
    (_TEXTS, binary.INT4.oid),
)
_BY_ID = Statement(
    "sessions_by_id",
    "select t.* from unnest($1, $2, $3) as v(station_id, transaction_id, at) cross join lateral ("
    f" ({_OF_STATION} and s.transaction_id = v.transaction_id order by s.generation desc limit 4)"
    f" union all ({_OF_STATION} and s.transaction_id = v.transaction_id and {_AROUND}"
    "  order by s.generation desc limit 4)) t",
    (_TEXTS, _TEXTS, _TIMES),
)
_UNNUMBERED = Statement(
    "sessions_unnumbered",
    "select t.* from unnest($1, $2) as v(station_id, at) cross join lateral ("
    f" {_OF_STATION} and s.ocpp_version = '1.6' and {_AROUND}"
    "  order by s.received_at desc limit 8) t",
    (_TEXTS, _TIMES),
)
_STARTS = Statement(
    "sessions_by_start",
    "select t.* from unnest($1, $2) as v(station_id, at) cross join lateral ("
    f" {_OF_STATION} and s.ocpp_version = '1.6' and s.station_started_at = v.at"
    "  order by s.received_at desc limit 8) t",
    (_TEXTS, _TIMES),
)
_NEWEST_STARTS = Statement(
    "newest_starts",
    "select v.station_id, (select max(s.station_started_at) from charging_session s"
    "  where s.station_id = v.station_id and s.ocpp_version = '1.6') from unnest($1)"
    " as v(station_id)",
    (_TEXTS,),
)
_STATEMENTS = Statement(
    "connector_statements",
    "select station_id, evse, connector, status_at, status_charging from connector"
    " where station_id = any($1) and status_charging is not null",
    (_TEXTS,),
)
_ID_TOKENS = Statement(
    "id_tokens",
    "select t.id_token_key, t.id_token, t.id_token_type, t.blocked, t.expires_at,"
    " t.login_id::text, w.station_id, (select s.session_id from charging_session s"
    "  where s.id_token_key = w.id_token_key and s.station_id = w.station_id"
    "  and s.state <> 'refused' order by s.received_at limit 1)"
    " from id_token t left join payment w on w.id_token_key = t.id_token_key"
    "  and w.rail = 'wallet' where t.id_token_key = any($1) and t.erased_at is null"
    " order by t.id_token_key, t.id_token_type",
    (binary.TEXT.array_oid,),
)
_NUMBERS = Statement(
    "numbers",
    "select nextval('transaction_number') from generate_series(1, $1)",
    (binary.INT4.oid,),
)


# What a batch asks for --------------------------------------------------------------------------


async def load(connection: Connection, wanted: Wanted) -> Loaded:
    """Return what there is of what is wanted.

    What most batches ask for takes one round trip; sessions that are found, and stations that
    were not known, take further ones.
    """
    calls = _calls(wanted)
    rows = dict(zip(calls, await run(connection, list(calls.values())), strict=True))
    loaded = Loaded(
        id_tokens=_id_tokens(rows.pop(_ID_TOKENS, [])),
        numbers=[integer(number) for (number,) in rows.pop(_NUMBERS, [])],
    )
    if wanted.stations:
        loaded.stations = await _states(connection, sorted(wanted.stations))
    found = [row for rows_of_one in rows.values() for row in rows_of_one]
    loaded.transactions = await read_transactions(connection, found)
    loaded.transactions.sort(key=lambda found: (found.received_at, found.generation))
    return loaded


def _calls(wanted: Wanted) -> dict[Statement, Call]:
    """Return what asks for tokens, numbers and sessions, as far as they are wanted."""
    by_id = [(s, number, at) for s, number, at in wanted.transactions if number is not None]
    unnumbered = [(s, at) for s, number, at in wanted.transactions if number is None]
    arguments: dict[Statement, list[bytes]] = {}
    if wanted.id_tokens:
        arguments[_ID_TOKENS] = [_texts(wanted.id_tokens)]
    if wanted.numbers:
        arguments[_NUMBERS] = [binary.plain_int4(wanted.numbers)]
    if wanted.stations:
        arguments[_RECENT] = [_texts(wanted.stations), binary.plain_int4(RECENT)]
    if by_id:
        stations, numbers, times = zip(*by_id, strict=True)
        arguments[_BY_ID] = [_texts(stations), _texts(numbers), _times(times)]
    for statement, rows in ((_UNNUMBERED, unnumbered), (_STARTS, list(wanted.starts))):
        if rows:
            stations, times = zip(*rows, strict=True)
            arguments[statement] = [_texts(stations), _times(times)]
    return {statement: Call(statement, values) for statement, values in arguments.items()}


def _texts(values: Iterable[str]) -> bytes:
    return binary.array(binary.TEXT, [binary.text(value) for value in values])


def _times(values: Iterable[datetime]) -> bytes:
    return binary.array(binary.TIMESTAMPTZ, [binary.timestamp(value) for value in values])


async def _states(connection: Connection, station_ids: Sequence[str]) -> dict[str, StationState]:
    """Return the states of those stations that are registered, without transactions."""
    wanted = [_texts(station_ids)]
    rows, plugs, in_force, newest, statements = await run(
        connection,
        [
            *ask_stations(station_ids),
            ask_tariffs_in_force(station_ids),
            Call(_NEWEST_STARTS, wanted),
            Call(_STATEMENTS, wanted),
        ],
    )
    tariffs = tariffs_in_force(in_force)
    states = {
        station_id: StationState(station, tariffs.get(station_id, []), {})
        for station_id, station in stations(rows, plugs).items()
    }
    for station_id, at in newest:
        if at is not None:
            states[string(station_id)].newest_start_at = moment(at)
    for station_id, evse, connector, at, charging in statements:
        if at is not None:
            statement = ConnectorStatement(moment(at), ChargingState(string(charging)))
            place = (integer(evse), integer(connector))
            states[string(station_id)].statuses[place] = statement
    return states


def _id_tokens(rows: Rows) -> dict[str, list[KnownIdToken]]:
    found: dict[str, list[KnownIdToken]] = {}
    for key, value, kind, blocked, expires_at, login_id, escrow_at, used_by in rows:
        id_token = KnownIdToken(
            IdTokenRef(string(value), string(kind)),
            blocked == binary.YES,
            None if expires_at is None else moment(expires_at),
            None if login_id is None else string(login_id),
            None if escrow_at is None else string(escrow_at),
            None if used_by is None else string(used_by),
        )
        found.setdefault(string(key), []).append(id_token)
    return found
