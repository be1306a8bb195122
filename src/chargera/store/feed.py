"""What attesters read: unanswered questions, and the records that their answers rest on."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.attester_feed import FeedReadings, FeedRecord
from chargera.app.receipts import IN_RECEIPT
from chargera.app.settlement import BatchRow
from chargera.domain.errors import NotFound
from chargera.proofs.entry import EntryKind
from chargera.store.settlement import batch_row

BATCHES_AT_ONCE = 16
NUMBERS_END = 2**63


class PostgresFeed:
    """A `FeedStore` on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Read within the transaction of `connection`."""
        self._connection = connection

    async def unanswered_batches(self, attester: str | None) -> Sequence[BatchRow]:
        """Return formed batches that this attester has not answered (None: all), oldest first.

        One with fiat bills waits until its gateway has prepaid it.
        """
        rows = await self._rows(
            "select b.* from batch b where b.state = 'formed'"
            " and (b.gateway_signature is not null or b.document ->> 'gateway' = %(nobody)s)"
            " and not exists (select from attestation a where a.digest = b.digest"
            "  and a.attester = %(attester)s) order by b.batch_no limit %(limit)s",
            {"attester": attester, "limit": BATCHES_AT_ONCE, "nobody": f"0x{'0' * 40}"},
        )
        return [batch_row(row) for row in rows]

    async def head_of(self, tree_size: int) -> str:
        """Return the signed head of a size."""
        return await self._head("select note from checkpoint where tree_size = %(n)s", tree_size)

    async def anchored_head_over(self, log_index: int) -> str:
        """Return the first anchored head over an entry."""
        return await self._head(
            "select c.note from checkpoint c join anchor a using (tree_size)"
            " where a.state = 'anchored' and c.tree_size > %(n)s order by c.tree_size limit 1",
            log_index,
        )

    async def head_over(self, log_index: int) -> str:
        """Return the first signed head over an entry."""
        return await self._head(
            "select note from checkpoint where tree_size > %(n)s order by tree_size limit 1",
            log_index,
        )

    async def _head(self, query: str, number: int) -> str:
        rows = await self._rows(query, {"n": number})
        if not rows:
            raise NotFound("there is no such head", field="head")
        return bytes(rows[0]["note"]).decode()

    async def evidence(self, log_index: int) -> tuple[Sequence[int], FeedReadings]:
        """Return the indexes of the records that a CDR entry rests on, and its readings.

        The session's entries up to the bill, the station's registration when it began and its
        passport, the tariff, the payment, and the CDR that has the number before. A record that is
        not JSON any more is shown as it is: whoever opens it against its entry names it.
        """
        (bill,) = await self._rows(
            "select e.log_index, e.session_id, e.station_id, e.record, l.operator_id, l.asset,"
            " l.cdr_no from log_entry e join lane_cdr l using (log_index)"
            " where e.log_index = %(n)s",
            {"n": log_index},
        )
        said = _json(bill["record"])
        rows = await self._rows(
            "select log_index from log_entry where log_index <= %(bill)s"
            " and session_id = %(session_id)s and kind = any(%(kinds)s)"
            " union select max(log_index) from log_entry where log_index < %(bill)s"
            "  and station_id = %(station_id)s and kind = %(passport)s"
            " union select max(log_index) from log_entry where station_id = %(station_id)s"
            "  and kind = %(station)s and log_index < (select min(log_index) from log_entry"
            "   where session_id = %(session_id)s)"
            " union select log_index from payment where session_id = %(session_id)s"
            "  and log_index is not null"
            " union select log_index from lane_cdr where operator_id = %(operator_id)s"
            "  and asset = %(asset)s and cdr_no = %(cdr_no)s - 1"
            " union select log_index from log_entry where log_index = %(tariff)s"
            " order by 1",
            {
                "asset": bill["asset"],
                "bill": log_index,
                "cdr_no": bill["cdr_no"],
                "kinds": [str(kind) for kind in IN_RECEIPT],
                "operator_id": bill["operator_id"],
                "passport": str(EntryKind.PASSPORT_REGISTERED),
                "session_id": bill["session_id"],
                "station": str(EntryKind.STATION_REGISTERED),
                "station_id": bill["station_id"],
                "tariff": _number(said, "tariff", "log_index"),
            },
        )
        count = _number(said, "events", "count") or 0
        return [row["log_index"] for row in rows], await self._readings(bill, count)

    async def _readings(self, bill: DictRow, count: int) -> FeedReadings:
        rows = await self._rows(
            "select record from session_event where session_id = %(session_id)s"
            " and n < %(count)s order by n",
            {"session_id": bill["session_id"], "count": count},
        )
        return FeedReadings(bill["session_id"], [_json(row["record"]) for row in rows])

    async def records(self, log_indexes: Sequence[int]) -> Sequence[FeedRecord]:
        """Return these records; one that was erased is not there."""
        rows = await self._rows(
            "select log_index, record, salt from log_entry where log_index = any(%(indexes)s)"
            " and record is not null order by log_index",
            {"indexes": list(log_indexes)},
        )
        return [
            FeedRecord(
                row["log_index"],
                bytes(row["record"]).decode("utf-8", "replace"),
                bytes(row["salt"]).hex(),
            )
            for row in rows
        ]

    async def station_entry(self, station_id: str, before: int) -> int:
        """Return the index of a station's newest registration before an entry."""
        rows = await self._rows(
            "select log_index from log_entry where station_id = %(station_id)s"
            " and kind = %(kind)s and log_index < %(before)s order by log_index desc limit 1",
            {
                "station_id": station_id,
                "kind": str(EntryKind.STATION_REGISTERED),
                "before": before,
            },
        )
        return int(rows[0]["log_index"])

    async def has_answered(self, digest: str, attester: str) -> bool:
        """Say whether an attester has answered to a digest."""
        rows = await self._rows(
            "select 1 from attestation where digest = %(digest)s and attester = %(attester)s",
            {"digest": digest, "attester": attester},
        )
        return bool(rows)

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


def _json(record: bytes | None) -> Any:
    """Return what a record says; one that is not JSON is its text, one that was erased None."""
    if record is None:
        return None
    try:
        return orjson.loads(record)
    except orjson.JSONDecodeError:
        return record.decode("utf-8", "replace")


def _number(record: Any, name: str, member: str) -> int | None:
    """Return a number within a record, as far as the record has it."""
    part = record.get(name) if isinstance(record, dict) else None
    number = part.get(member) if isinstance(part, dict) else None
    return number if isinstance(number, int) and 0 <= number < NUMBERS_END else None
