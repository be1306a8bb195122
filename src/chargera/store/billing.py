"""Billing's rows: the sessions that wait, all that their bills depend on, and the bills."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.billing import BillingCase, BillingResult, CurrentCdr
from chargera.app.ports import QuotedTariff
from chargera.domain.errors import Unreadable
from chargera.domain.messages import ReadingContext
from chargera.proofs.cdr import SignedMeterValue
from chargera.proofs.ocmf import parse_ocmf
from chargera.store import channel
from chargera.store.entries import record_bytes

Connection = AsyncConnection[Any]

_DUE = (
    "select * from charging_session where bill_after <= now()"
    " order by bill_after limit %s for update skip locked"
)
_ONE = "select * from charging_session where session_id = %s for update"


class BillingStore:
    """Reads cases and writes outcomes on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection
        self._tariffs: dict[tuple[str, int], QuotedTariff] = {}

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
                "cdr_log_index": None
                if outcome.cdr_entry is None
                else first_log_index + outcome.cdr_entry,
            }
            for outcome in result.outcomes
        ]
        await self._connection.execute(
            "update charging_session s set state = r.state, anomalies = r.anomalies,"
            " proof_level = r.proof_level,"
            " net_minor = coalesce(r.net_minor, s.net_minor),"
            " vat_minor = coalesce(r.vat_minor, s.vat_minor),"
            " gross_minor = coalesce(r.gross_minor, s.gross_minor),"
            " currency = coalesce(r.currency, s.currency),"
            " cdr_log_index = coalesce(r.cdr_log_index, s.cdr_log_index), bill_after = null"
            " from json_to_recordset(%s::json) as r(session_id text, state text,"
            " anomalies text[], proof_level text, net_minor bigint, vat_minor bigint,"
            " gross_minor bigint, currency text, cdr_log_index bigint)"
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
        events = await channel.read_events(self._connection, session_ids)
        stations = await channel.read_stations(
            self._connection, sorted({row["station_id"] for row in rows})
        )
        tariffs = await self._quoted(rows)
        signed = await self._signed(session_ids)
        current = await self._current(session_ids)
        cases = []
        for row in rows:
            station = stations[row["station_id"]]
            values = signed.get(row["session_id"], [])
            pages = None
            if station.meter_key_der_hex and values:
                pages = await self._previous_pages(row)
            cases.append(
                BillingCase(
                    channel.transaction_of(row, events.get(row["session_id"], [])),
                    station,
                    tariffs.get((row["tariff_id"], row["tariff_version"])),
                    values,
                    pages,
                    current.get(row["session_id"]),
                )
            )
        return cases

    async def _quoted(self, rows: Sequence[DictRow]) -> dict[tuple[str, int], QuotedTariff]:
        keys = {(r["tariff_id"], r["tariff_version"]) for r in rows if r["tariff_id"]}
        if not keys:
            return {}
        found = await self._rows(
            "select t.* from tariff_version t join unnest(%s::text[], %s::int[])"
            " as v(tariff_id, version) using (tariff_id, version)",
            [[k[0] for k in keys], [k[1] for k in keys]],
        )
        return {(r["tariff_id"], r["version"]): channel.quoted_tariff(r) for r in found}

    async def _signed(self, session_ids: Sequence[str]) -> dict[str, list[SignedMeterValue]]:
        found: dict[str, list[SignedMeterValue]] = defaultdict(list)
        for row in await self._rows(
            "select session_id, context, raw from signed_value where session_id = any(%s)"
            " order by session_id, n",
            [list(session_ids)],
        ):
            value = SignedMeterValue(ReadingContext(row["context"]), row["raw"])
            found[row["session_id"]].append(value)
        return found

    async def _previous_pages(self, row: DictRow) -> Mapping[str, int] | None:
        """Return the last page of the station's meter before this session, by series."""
        rows = await self._rows(
            "select v.raw from signed_value v join charging_session s using (session_id)"
            " where s.station_id = %s and v.arrival_no < (select min(arrival_no)"
            " from signed_value where session_id = %s) order by v.arrival_no desc limit 1",
            [row["station_id"], row["session_id"]],
        )
        if not rows:
            return None
        try:
            record = parse_ocmf(rows[0]["raw"])
        except Unreadable:
            return None
        return {record.page_series.value: record.page_number}

    async def _current(self, session_ids: Sequence[str]) -> dict[str, CurrentCdr]:
        rows = await self._rows(
            "select distinct on (session_id) session_id, cdr_id, log_index, document from cdr"
            " where session_id = any(%s) and not is_credit order by session_id, log_index desc",
            [list(session_ids)],
        )
        return {
            row["session_id"]: CurrentCdr(
                row["cdr_id"], row["log_index"], orjson.loads(row["document"])
            )
            for row in rows
        }

    async def _rows(self, query: str, arguments: Sequence[Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, arguments)
            return await cursor.fetchall()


def _amounts(record: Mapping[str, Any], is_credit: bool) -> tuple[int, int, int]:
    source = record if is_credit else record["bill"]
    return source["net_minor"], source["vat_minor"], source["gross_minor"]
