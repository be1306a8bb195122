"""Billing's rows: the sessions that wait, all that their bills depend on, and the bills."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from chargera.app.billing import BillingCase, BillingResult, CurrentCdr, SilentSession
from chargera.app.ports import QuotedTariff
from chargera.domain.errors import Unreadable
from chargera.domain.transaction import Anomaly, Transaction
from chargera.proofs.cdr import SignedMeterValue
from chargera.proofs.ocmf import parse_ocmf
from chargera.store import channel
from chargera.store.entries import record_bytes
from chargera.store.transactions import ask, read_transactions

Connection = AsyncConnection[Any]

_DUE = (
    "select * from charging_session where bill_after <= now()"
    " order by bill_after limit %s for update skip locked"
)
_QUOTED = (
    "select t.* from tariff_version t join unnest(%s::text[], %s::int[])"
    " as v(tariff_id, version) using (tariff_id, version)"
)
_CURRENT = (
    "select distinct on (session_id) session_id, cdr_id, log_index, document from cdr"
    " where session_id = any(%s) and not is_credit order by session_id, log_index desc"
)
_ONE = "select * from charging_session where session_id = %s for update"


class BillingStore:
    """Reads cases and writes outcomes on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def take_due(self, limit: int) -> list[BillingCase]:
        """Return sessions whose bill is due, locked."""
        return await self._cases(await self._rows(_DUE, [limit]))

    async def load(self, session_id: str) -> BillingCase | None:
        """Return one session, locked; None if there is none."""
        cases = await self._cases(await self._rows(_ONE, [session_id]))
        return cases[0] if cases else None

    async def load_tariff(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version of a tariff."""
        rows = await self._rows(
            "select * from tariff_version where tariff_id = %s order by version desc limit 1",
            [tariff_id],
        )
        return channel.quoted_tariff(rows[0]) if rows else None

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

    async def store(self, result: BillingResult, first_log_index: int) -> None:
        """Write the rows; entry places count from `first_log_index`."""
        if result.cdrs:
            await self._store_cdrs(result, first_log_index)
        rows = [
            {
                "session_id": outcome.transaction.session_id,
                "state": outcome.state,
                "anomalies": list(outcome.anomalies),
                "proof_level": outcome.proof_level,
                "net_minor": outcome.bill.net_minor if outcome.bill else None,
                "vat_minor": outcome.bill.vat_minor if outcome.bill else None,
                "gross_minor": outcome.bill.gross_minor if outcome.bill else None,
                "currency": outcome.bill.currency if outcome.bill else None,
                "tariff_id": outcome.tariff.tariff_id if outcome.tariff else None,
                "tariff_version": outcome.tariff.version if outcome.tariff else None,
                "cdr_log_index": None
                if outcome.cdr_entry is None
                else first_log_index + outcome.cdr_entry,
            }
            for outcome in result.outcomes
        ]
        await self._connection.execute(
            "update charging_session s set state = r.state, anomalies = r.anomalies,"
            " proof_level = coalesce(r.proof_level, s.proof_level),"
            " net_minor = coalesce(r.net_minor, s.net_minor),"
            " vat_minor = coalesce(r.vat_minor, s.vat_minor),"
            " gross_minor = coalesce(r.gross_minor, s.gross_minor),"
            " currency = coalesce(r.currency, s.currency),"
            " tariff_id = coalesce(r.tariff_id, s.tariff_id),"
            " tariff_version = coalesce(r.tariff_version, s.tariff_version),"
            " cdr_log_index = coalesce(r.cdr_log_index, s.cdr_log_index), bill_after = null"
            " from json_to_recordset(%s::json) as r(session_id text, state text,"
            " anomalies text[], proof_level text, net_minor bigint, vat_minor bigint,"
            " gross_minor bigint, currency text, tariff_id text, tariff_version int,"
            " cdr_log_index bigint)"
            " where s.session_id = r.session_id",
            [orjson.dumps(rows).decode()],
        )

    async def _store_cdrs(self, result: BillingResult, first_log_index: int) -> None:
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "insert into cdr (cdr_id, session_id, is_credit, replaces_cdr_id, currency,"
                " net_minor, vat_minor, gross_minor, energy_wh, document, created_at, log_index)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (
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
                    for row in result.cdrs
                ],
            )

    async def _cases(self, rows: Sequence[DictRow]) -> list[BillingCase]:
        if not rows:
            return []
        session_ids = [row["session_id"] for row in rows]
        remembered = await read_transactions(self._connection, rows)
        connection = self._connection
        async with connection.pipeline():
            quoted = await ask(connection, _QUOTED, _tariff_keys(rows))
            bills = await ask(connection, _CURRENT, [session_ids])
            stations = await channel.read_stations(
                connection, sorted({row["station_id"] for row in rows})
            )
            tariffs = {
                (row["tariff_id"], row["version"]): channel.quoted_tariff(row)
                for row in await quoted.fetchall()
            }
            current = {
                row["session_id"]: CurrentCdr(
                    row["cdr_id"], row["log_index"], orjson.loads(row["document"])
                )
                for row in await bills.fetchall()
            }
        signing = [
            row["session_id"]
            for row in rows
            if remembered[row["session_id"]].signed
            and stations[row["station_id"]].meter_key_der_hex
        ]
        pages = await self._previous_pages(signing) if signing else {}
        return [
            BillingCase(
                each.transaction,
                each.events,
                stations[each.transaction.station_id],
                tariffs.get(_tariff_key(each.transaction)),
                [SignedMeterValue(context, raw) for context, raw in each.signed],
                pages.get(each.transaction.session_id),
                current.get(each.transaction.session_id),
            )
            for each in remembered.values()
        ]

    async def _previous_pages(self, session_ids: Sequence[str]) -> dict[str, Mapping[str, int]]:
        """Return the last page of a station's meter before each session, by series."""
        rows = await self._rows(
            "select s.session_id, p.raw from charging_session s cross join lateral ("
            " select v.raw from charging_session b join signed_value v using (session_id)"
            " where b.station_id = s.station_id and b.session_id < s.session_id"
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


def _tariff_keys(rows: Sequence[DictRow]) -> list[list[Any]]:
    keys = sorted({(r["tariff_id"], r["tariff_version"]) for r in rows if r["tariff_id"]})
    return [[tariff_id for tariff_id, _ in keys], [version for _, version in keys]]


def _amounts(record: Mapping[str, Any], is_credit: bool) -> tuple[int, int, int]:
    source = record if is_credit else record["bill"]
    return source["net_minor"], source["vat_minor"], source["gross_minor"]
