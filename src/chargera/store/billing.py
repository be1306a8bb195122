"""Billing's rows: the sessions that wait, all that their bills depend on, and the bills."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from chargera.app.billing import (
    BillingCase,
    BillingOutcome,
    BillingResult,
    CdrRow,
    CurrentCdr,
    SilentSession,
)
from chargera.app.ports import QuotedTariff
from chargera.domain.errors import Unreadable
from chargera.domain.transaction import Anomaly, Transaction, count_rows
from chargera.proofs.cdr import SignedMeterValue
from chargera.proofs.ocmf import parse_ocmf
from chargera.store import binary
from chargera.store.binary import integer, string
from chargera.store.columns import BOOLEAN, BYTEA, INT4, INT8, TEXT, TIME, WORD, Table, in_order
from chargera.store.entries import record_bytes
from chargera.store.lanes import numbered_calls
from chargera.store.pipeline import Call, Statement, run
from chargera.store.registrations import (
    CHANGING,
    ask_stations,
    ask_tariffs,
    former,
    read_newest_tariff,
    stations,
    tariff_of,
)
from chargera.store.transactions import (
    COLUMNS,
    ask,
    ask_readings,
    remembered,
    transaction_of,
)

Connection = AsyncConnection[Any]

_DUE = Statement(
    "due",
    f"select {COLUMNS} from charging_session s where s.bill_after <= now()"
    " order by s.bill_after limit $1 for update skip locked",
    (binary.INT4.oid,),
)
_ONE = Statement(
    "one_session",
    f"select {COLUMNS} from charging_session s where s.session_id = $1 for update",
    (binary.TEXT.oid,),
)
_CURRENT = Statement(
    "current_cdrs",
    "select distinct on (session_id) session_id, cdr_id, log_index, document from cdr"
    " where session_id = any($1) and not is_credit order by session_id, log_index desc",
    (binary.TEXT.array_oid,),
)
_FORMER = Statement(
    "former_registrations",
    f"select distinct on (s.session_id) s.session_id, {', '.join(f'f.{name}' for name in CHANGING)}"
    " from charging_session s join former_registration f using (station_id)"
    " where s.session_id = any($1) and f.until_log_index >"
    " (select min(e.log_index) from log_entry e where e.session_id = s.session_id)"
    " order by s.session_id, f.until_log_index",
    (binary.TEXT.array_oid,),
)
"""What stations were registered as when sessions began, where that has changed since."""

_TOTALS = Statement(
    "add_to_totals",
    "update network_total set bills = bills + $1, energy_wh = energy_wh + $2",
    (binary.INT8.oid, binary.INT8.oid),
)


class BillingStore:
    """Reads cases and writes outcomes on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def take_due(self, limit: int) -> list[BillingCase]:
        """Return sessions whose bill is due, locked."""
        return await self._cases(Call(_DUE, [binary.plain_int4(limit)]))

    async def load(self, session_id: str) -> BillingCase | None:
        """Return one session, locked; None if there is none."""
        cases = await self._cases(Call(_ONE, [session_id.encode()]))
        return cases[0] if cases else None

    async def load_tariff(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version of a tariff."""
        return await read_newest_tariff(self._connection, tariff_id)

    async def mark_silent(self, before: datetime, limit: int) -> list[SilentSession]:
        """Put running sessions without a word since that time into review and return them."""
        rows = await self._rows(
            "update charging_session s set state = 'review',"
            " anomalies = array(select unnest(s.anomalies) union select %(silent)s order by 1)"
            " where session_id in (select session_id from charging_session"
            "  where state = 'charging' and changed_at < %(before)s"
            "  order by session_id limit %(limit)s for update skip locked)"
            " returning session_id, station_id, transaction_id",
            {"silent": Anomaly.SILENT, "before": before, "limit": limit},
        )
        return [SilentSession(**row) for row in rows]

    @staticmethod
    def calls(result: BillingResult, first_log_index: int) -> list[Call]:
        """Return what writes the rows; entry places count from `first_log_index`."""
        made = []
        if result.cdrs:
            rows = [_cdr_row(row, first_log_index) for row in result.cdrs]
            made.append(_CDRS.of(rows))
            bills = sum(-1 if row.is_credit else 1 for row in result.cdrs)
            energy_wh = sum(row.energy_wh for row in result.cdrs)
            made.append(Call(_TOTALS, [binary.plain_int8(bills), binary.plain_int8(energy_wh)]))
        if result.outcomes:
            rows = [_outcome_row(outcome, first_log_index) for outcome in result.outcomes]
            made.append(_OUTCOMES.of(rows))
        if result.numbered:
            made += numbered_calls(result, first_log_index)
        return made

    async def _cases(self, sessions: Call) -> list[BillingCase]:
        """Return the cases of sessions: a round trip for these, and one for all else."""
        (rows,) = await run(self._connection, [sessions])
        transactions = [transaction_of(row) for row in rows]
        if not transactions:
            return []
        session_ids = [transaction.session_id for transaction in transactions]
        readings, signed, registered, plugs, bills, quoted, changed = await run(
            self._connection,
            [
                *ask_readings(session_ids),
                *ask_stations({transaction.station_id for transaction in transactions}),
                Call(_CURRENT, [binary.array(binary.TEXT, [*map(binary.word, session_ids)])]),
                ask_tariffs({_tariff_key(t) for t in transactions if t.tariff_id}),
                Call(_FORMER, [binary.array(binary.TEXT, [*map(binary.word, session_ids)])]),
            ],
        )
        cases = remembered(transactions, readings, signed, count_rows)
        now = stations(registered, plugs)
        then = {string(row[0]): former(row[1:]) for row in changed}
        station_of = {
            t.session_id: replace(now[t.station_id], **then[t.session_id])
            if t.session_id in then
            else now[t.station_id]
            for t in transactions
        }
        tariffs = {(t.tariff_id, t.version): t for t in map(tariff_of, quoted)}
        current = {string(row[0]): _current_cdr(row) for row in bills}
        signing = [
            each.transaction.session_id
            for each in cases
            if each.signed and station_of[each.transaction.session_id].meter_key_der_hex
        ]
        pages = await self._previous_pages(signing) if signing else {}
        return [
            BillingCase(
                each.transaction,
                each.events,
                station_of[each.transaction.session_id],
                tariffs.get(_tariff_key(each.transaction)),
                [SignedMeterValue(context, raw) for context, raw in each.signed],
                pages.get(each.transaction.session_id),
                current.get(each.transaction.session_id),
            )
            for each in cases
        ]

    async def _previous_pages(self, session_ids: Sequence[str]) -> dict[str, Mapping[str, int]]:
        """Return the last page of a station's meter before each session, by series.

        A meter that was exchanged since says nothing of the one that is there.
        """
        rows = await self._rows(
            "select s.session_id, p.raw from charging_session s cross join lateral ("
            " select v.raw from charging_session b join signed_value v using (session_id)"
            " where b.station_id = s.station_id and b.session_id < s.session_id"
            "  and not exists (select from former_registration f"
            "   where f.station_id = s.station_id and f.until_log_index between"
            "    (select min(log_index) from log_entry where session_id = b.session_id)"
            "    and (select min(log_index) from log_entry where session_id = s.session_id))"
            " order by b.session_id desc, v.n desc limit 1) p where s.session_id = any(%s)",
            [list(session_ids)],
        )
        pages: dict[str, Mapping[str, int]] = {}
        for row in rows:
            try:
                record = parse_ocmf(row["raw"])
            except Unreadable:
                continue
            pages[row["session_id"]] = {record.page_series.value: record.page_number}
        return pages

    async def _rows(
        self, query: str, arguments: Sequence[Any] | Mapping[str, Any]
    ) -> list[DictRow]:
        return await (await ask(self._connection, query, arguments)).fetchall()


def _tariff_key(transaction: Transaction) -> tuple[str, int]:
    return transaction.tariff_id or "", transaction.tariff_version or 0


def _current_cdr(row: tuple[bytes | None, ...]) -> CurrentCdr:
    _, cdr_id, log_index, document = row
    assert document is not None, "the schema has it not null"
    return CurrentCdr(string(cdr_id), integer(log_index), orjson.loads(document))


_CDRS = Table.inserting(
    "cdrs",
    "cdr",
    in_order(
        ("cdr_id", WORD),
        ("session_id", WORD),
        ("is_credit", BOOLEAN),
        ("replaces_cdr_id", TEXT),
        ("currency", WORD),
        ("net_minor", INT8),
        ("vat_minor", INT8),
        ("gross_minor", INT8),
        ("energy_wh", INT8),
        ("document", BYTEA),
        ("created_at", TIME),
        ("log_index", INT8),
    ),
)
_OUTCOMES = Table(
    "outcomes",
    "update charging_session s set state = v.state, anomalies = v.anomalies::text[],"
    " proof_level = coalesce(v.proof_level, s.proof_level),"
    " net_minor = coalesce(v.net_minor, s.net_minor),"
    " vat_minor = coalesce(v.vat_minor, s.vat_minor),"
    " gross_minor = coalesce(v.gross_minor, s.gross_minor),"
    " currency = coalesce(v.currency, s.currency),"
    " tariff_id = coalesce(v.tariff_id, s.tariff_id),"
    " tariff_version = coalesce(v.tariff_version, s.tariff_version),"
    " cdr_log_index = coalesce(v.cdr_log_index, s.cdr_log_index), bill_after = null"
    " from {rows} where s.session_id = v.session_id",
    in_order(
        ("session_id", WORD),
        ("state", WORD),
        ("anomalies", WORD),
        ("proof_level", WORD),
        ("net_minor", INT8),
        ("vat_minor", INT8),
        ("gross_minor", INT8),
        ("currency", WORD),
        ("tariff_id", WORD),
        ("tariff_version", INT4),
        ("cdr_log_index", INT8),
    ),
)


def _cdr_row(row: CdrRow, first_log_index: int) -> tuple[Any, ...]:
    return (
        row.cdr_id,
        row.session_id,
        row.is_credit,
        row.replaces_cdr_id,
        row.bill.currency,
        *_amounts(row.record, row.is_credit),
        row.energy_wh,
        record_bytes(row.record),
        row.created_at,
        first_log_index + row.entry,
    )


def _outcome_row(outcome: BillingOutcome, first_log_index: int) -> tuple[Any, ...]:
    bill, tariff, entry = outcome.bill, outcome.tariff, outcome.cdr_entry
    return (
        outcome.transaction.session_id,
        outcome.state,
        "{" + ",".join(outcome.anomalies) + "}",
        outcome.proof_level,
        *((bill.net_minor, bill.vat_minor, bill.gross_minor, bill.currency) if bill else _NO_BILL),
        *((tariff.tariff_id, tariff.version) if tariff else _NO_TARIFF),
        None if entry is None else first_log_index + entry,
    )


_NO_BILL = (None,) * 4
_NO_TARIFF = (None,) * 2


def _amounts(record: Mapping[str, Any], is_credit: bool) -> tuple[int, int, int]:
    source = record if is_credit else record["bill"]
    return source["net_minor"], source["vat_minor"], source["gross_minor"]
