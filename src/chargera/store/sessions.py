"""What is read of charging sessions, within the caller's reach."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.admin_ports import EntryFilter, SessionFilter
from chargera.app.permissions import Action, Caller
from chargera.app.views import (
    CdrView,
    LiveSession,
    ReadingView,
    SessionLive,
    SessionRow,
    SessionView,
    Today,
)
from chargera.domain.bill import bill_as_json
from chargera.domain.errors import InvalidInput
from chargera.domain.pricing import MeteredSession, RegisterValue, StateChange, running_cost
from chargera.domain.transaction import SessionEvent
from chargera.proofs import ocpi
from chargera.proofs.records import time_value
from chargera.store import reach, running, settled
from chargera.store.log_reads import PostgresLogReads
from chargera.store.transactions import read_events

Connection = AsyncConnection[Any]

_ROW = (
    "select c.session_id, c.station_id, c.evse, c.connector, c.ocpp_version, c.transaction_id,"
    " c.state, c.started_at, c.ended_at, c.meter_start_wh, c.meter_stop_wh,"
    " c.currency, c.net_minor, c.vat_minor, c.gross_minor, c.proof_level, c.cdr_log_index,"
    f" c.anomalies, b.document as bill, {running.REGISTER_WH} as register_wh,"
    f" {settled.MEMBER} as settlement from charging_session c {running.LAST}"
    " left join cdr b on b.session_id = c.session_id and b.log_index = c.cdr_log_index"
)


class PostgresSessions:
    """A `SessionReads` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def rows(self, caller: Caller, wanted: SessionFilter) -> list[SessionRow]:
        """Return sessions, newest first."""
        rows = await self._rows(
            f"{_ROW} where {reach.SESSIONS[caller.reach]}"
            " and (%(station_id)s::text is null or c.station_id = %(station_id)s)"
            " and (%(state)s::text is null or c.state = %(state)s)"
            " and (%(before)s::text is null or c.session_id < %(before)s)"
            " order by c.session_id desc limit %(limit)s",
            reach.parameters(
                caller,
                station_id=wanted.station_id,
                state=wanted.state,
                before=wanted.before,
                limit=wanted.limit,
            ),
        )
        return [_session_row(row) for row in rows]

    async def show(
        self, caller: Caller, session_id: str, now: datetime, *, linked: bool
    ) -> SessionView | None:
        """Return one session; `linked`: to whoever holds its unguessable link."""
        seen = reach.SESSIONS[caller.reach]
        rows = await self._rows(
            f"select c.*, b.document as bill, {running.REGISTER_WH} as register_wh,"
            f" {running.POWER_W} as power_w, {seen} as reached, s.time_zone,"
            f" {settled.MEMBER} as settlement,"
            " t.digest as tariff_digest, t.document as tariff_document,"
            " t.log_index as tariff_log_index, (select min(i.id_token) from id_token i"
            "  where i.id_token_key = c.id_token_key) as id_token,"
            " (select count(*) from signed_value v where v.session_id = c.session_id) as signed"
            f" from charging_session c {running.LAST} left join station s using (station_id)"
            " left join tariff_version t"
            "  on t.tariff_id = c.tariff_id and t.version = c.tariff_version"
            " left join cdr b on b.session_id = c.session_id and b.log_index = c.cdr_log_index"
            f" where c.session_id = %(session_id)s and ({seen} or %(linked)s)",
            reach.parameters(caller, session_id=session_id, linked=linked),
        )
        if not rows:
            return None
        row = rows[0]
        events = (await read_events(self._connection, [session_id])).get(session_id, [])
        entries = await PostgresLogReads(self._connection).entries(
            caller, EntryFilter(session_id=session_id)
        )
        indexes = {entry.kind: entry.log_index for entry in reversed(entries)}
        return SessionView(
            session=_session_row(row),
            time_zone=row["time_zone"] or "UTC",
            id_token=(row["id_token"] or row["id_token_key"]) if row["reached"] else None,
            id_token_status=row["id_token_status"],
            stop_reason=row["stop_reason"],
            tariff_id=row["tariff_id"],
            tariff_version=row["tariff_version"],
            tariff_digest=row["tariff_digest"],
            tariff_log_index=row["tariff_log_index"],
            started_log_index=indexes.get("session_started"),
            ended_log_index=indexes.get("session_ended"),
            received_at=row["received_at"],
            changed_at=row["changed_at"],
            live=_live(row, events, now) if row["state"] == "charging" else None,
            cdrs=tuple(await self._cdrs(session_id)),
            readings=tuple(_reading(event) for event in events),
            signed_values=row["signed"],
            entries=tuple(entries),
            may_decide=bool(row["reached"]) and caller.may(Action.SESSIONS_DECIDE),
        )

    async def today(self, caller: Caller, since: datetime, now: datetime, limit: int) -> Today:
        """Return the newest `limit` running sessions, and sums over the time from `since` on."""
        seen = reach.SESSIONS[caller.reach]
        rows = await self._rows(
            f"select c.*, {running.REGISTER_WH} as register_wh, {running.POWER_W} as power_w,"
            f" {seen} as reached, s.time_zone, t.document as tariff_document"
            f" from charging_session c {running.LAST} join station s using (station_id)"
            " left join tariff_version t"
            "  on t.tariff_id = c.tariff_id and t.version = c.tariff_version"
            " where c.state = 'charging' order by c.session_id desc limit %(limit)s",
            reach.parameters(caller, limit=limit),
        )
        (sums,) = await self._rows(
            f"select (select coalesce(sum({running.REGISTER_WH} - c.meter_start_wh), 0)"
            f"  from charging_session c {running.LAST} where c.state = 'charging') as running_wh,"
            " (select coalesce(sum(c.meter_stop_wh - c.meter_start_wh), 0)"
            "  from charging_session c"
            "  where c.ended_at >= %(since)s and c.state <> 'charging') as ended_wh,"
            " (select count(*) from cdr"
            "  where not is_credit and created_at >= %(since)s) as bills",
            {"since": since},
        )
        mine = [row["session_id"] for row in rows if row["reached"]]
        events = await read_events(self._connection, mine) if mine else {}
        sessions = tuple(_live_session(row, events, now) for row in rows)
        return Today(sessions, int(sums["running_wh"] + sums["ended_wh"]), sums["bills"])

    async def _cdrs(self, session_id: str) -> list[CdrView]:
        rows = await self._rows(
            "select * from cdr where session_id = %(session_id)s order by cdr_no",
            {"session_id": session_id},
        )
        return [
            CdrView(
                cdr_id=row["cdr_id"],
                is_credit=row["is_credit"],
                replaces_cdr_id=row["replaces_cdr_id"],
                currency=row["currency"],
                net_minor=row["net_minor"],
                vat_minor=row["vat_minor"],
                gross_minor=row["gross_minor"],
                energy_wh=row["energy_wh"],
                created_at=row["created_at"],
                log_index=row["log_index"],
            )
            for row in rows
        ]

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


def _session_row(row: DictRow) -> SessionRow:
    """Return a session: once it is billed, with the times and registers of its bill.

    They differ from those of its first and last event where a time of the station does not stand
    or a person's decision corrected them.
    """
    begin, end = row["meter_start_wh"], row["register_wh"]
    started_at, ended_at, stop = row["started_at"], row["ended_at"], row["meter_stop_wh"]
    energy_wh = None
    if row["bill"] is not None:
        bill = orjson.loads(row["bill"])
        energy_wh = bill["energy_wh"]
        started_at, ended_at = (
            time_value(bill[name], field=name) for name in ("started_at", "ended_at")
        )
        begin, stop = bill["meter_start_wh"], bill["meter_stop_wh"]
    elif begin is not None and end is not None and begin <= end:
        energy_wh = end - begin
    return SessionRow(
        session_id=row["session_id"],
        station_id=row["station_id"],
        evse=row["evse"],
        connector=row["connector"],
        ocpp_version=row["ocpp_version"],
        transaction_id=row["transaction_id"],
        state=row["state"],
        started_at=started_at,
        ended_at=ended_at,
        meter_start_wh=begin,
        meter_stop_wh=stop,
        energy_wh=energy_wh,
        currency=None if row["bill"] is None else row["currency"],
        net_minor=row["net_minor"],
        vat_minor=row["vat_minor"],
        gross_minor=row["gross_minor"],
        proof_level=row["proof_level"],
        cdr_log_index=row["cdr_log_index"],
        anomalies=tuple(row["anomalies"]),
        settlement=row["settlement"],
    )


def _reading(event: SessionEvent) -> ReadingView:
    return ReadingView(
        n=event.n,
        kind=str(event.kind),
        at=event.at,
        received_at=event.received_at,
        seq_no=event.seq_no,
        register_wh=event.register_wh,
        power_w=event.power_w,
        context=str(event.context),
        charging=None if event.charging is None else str(event.charging),
    )


def _live(row: DictRow, events: list[SessionEvent], now: datetime) -> SessionLive:
    return SessionLive(
        power_w=row["power_w"],
        charging=row["charging"],
        cost_so_far=_cost_so_far(row, events, now),
    )


def _live_session(
    row: DictRow, events: Mapping[str, list[SessionEvent]], now: datetime
) -> LiveSession:
    reached = row["reached"]
    cost = _cost_so_far(row, events.get(row["session_id"], []), now) if reached else None
    begin, end = row["meter_start_wh"], row["register_wh"]
    return LiveSession(
        station_id=row["station_id"],
        evse=row["evse"],
        connector=row["connector"],
        started_at=row["started_at"],
        charging=row["charging"],
        energy_wh=None if begin is None or end is None else end - begin,
        power_w=row["power_w"],
        session_id=row["session_id"] if reached else None,
        cost_minor=cost["gross_minor"] if cost else None,
        currency=cost["currency"] if cost else None,
    )


def _cost_so_far(
    row: DictRow, events: list[SessionEvent], now: datetime
) -> Mapping[str, Any] | None:
    """Return the bill so far, None where nothing can be priced yet; never a promise."""
    if row["tariff_document"] is None or row["meter_start_wh"] is None:
        return None
    registers = [RegisterValue(row["started_at"], row["meter_start_wh"])]
    changes: list[StateChange] = []
    for event in sorted(events, key=lambda e: e.at):
        at = min(max(event.at, row["started_at"]), now)
        if event.register_wh is not None and at > registers[-1].at:
            rising = max(event.register_wh, registers[-1].register_wh)
            registers.append(RegisterValue(at, rising))
        if event.charging is not None:
            changes.append(StateChange(at, event.charging))
    try:
        session = MeteredSession(
            row["started_at"], None, row["time_zone"], tuple(registers), tuple(changes)
        )
        bill = running_cost(ocpi.tariff_from_ocpi(row["tariff_document"]), session, now)
    except InvalidInput:
        return None
    return bill_as_json(bill)
