"""Numbered CDRs: what a bill's settlement depends on, the lanes' numbers, and their rows."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from chargera.app.billing import BillingResult, NumberedCdr
from chargera.app.numbering import Escrow, Payable
from chargera.domain.settlement import Rail
from chargera.store.columns import INT4, INT8, TEXT, TIME, WORD, Column, Table
from chargera.store.pipeline import Call

Connection = AsyncConnection[Any]


async def payables(connection: Connection, session_ids: Sequence[str]) -> dict[str, Payable]:
    """Return those of these sessions whose station has a passport in force, with their escrows.

    An escrow is for one session: the one that first showed its identifier and was billed.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "select s.session_id, p.passport_id, p.registered_at,"
            " least(p.retired_at, p.left_at) as retired_at,"
            " w.session_key, w.payer, w.asset from charging_session s"
            " join passport p on p.station_id = s.station_id and p.step = 'registered'"
            " left join payment w on w.id_token_key = s.id_token_key and w.rail = 'wallet'"
            "  and w.session_id is null and w.station_id = s.station_id"
            " where s.session_id = any(%s)",
            [list(session_ids)],
        )
        rows = await cursor.fetchall()
    return {
        row["session_id"]: Payable(
            row["passport_id"],
            row["registered_at"],
            row["retired_at"],
            Escrow(row["session_key"], row["payer"], row["asset"]) if row["session_key"] else None,
        )
        for row in rows
    }


async def lock_lanes(
    connection: Connection, operator_id: str, assets: Sequence[str]
) -> dict[str, int]:
    """Return the next number of each lane, locked until the commit; new lanes begin at 0."""
    await connection.execute(
        "insert into lane (operator_id, asset, next_no)"
        " select %s, asset, 0 from unnest(%s::text[]) as v(asset) order by asset"
        " on conflict do nothing",
        [operator_id, list(assets)],
    )
    cursor = await connection.execute(
        "select asset, next_no from lane where operator_id = %s and asset = any(%s)"
        " order by asset for update",
        [operator_id, list(assets)],
    )
    return dict(await cursor.fetchall())


def numbered_calls(result: BillingResult, first_log_index: int) -> list[Call]:
    """Return what writes the numbers of a billing run; entry places count from the index."""
    rows = [_row(result.operator_id, each, first_log_index) for each in result.numbered]
    lanes: dict[str, int] = {}
    for each in result.numbered:
        lanes[each.numbered.asset] = each.numbered.cdr_no + 1
    calls = [
        _LANE_CDRS.of(rows),
        _LANES.of([(result.operator_id, asset, next_no) for asset, next_no in lanes.items()]),
    ]
    fiat = [_payment(each, first_log_index) for each in result.numbered if each.payment is not None]
    if fiat:
        calls.append(_PAYMENTS.of(fiat))
    wallet = [each for each in result.numbered if each.payment is None]
    if wallet:
        used = [(each.numbered.settlement["session_key"], each.session_id) for each in wallet]
        calls.append(_USED.of(used))
    return calls


def _row(operator_id: str, each: NumberedCdr, first: int) -> tuple[Any, ...]:
    numbered = each.numbered
    return (
        operator_id,
        numbered.asset,
        numbered.cdr_no,
        each.session_id,
        first + each.entry,
        numbered.passport_id,
    )


def _payment(each: NumberedCdr, first: int) -> tuple[Any, ...]:
    record: Mapping[str, Any] | None = each.numbered.payment
    assert record is not None, "a fiat session has a payment"
    assert each.payment is not None, "whose entry has a place"
    return (
        each.numbered.settlement["session_key"],
        str(Rail.FIAT),
        record["gateway"],
        each.numbered.asset,
        int(each.numbered.settlement["amount"]),
        each.station_id,
        each.evse,
        each.session_id,
        first + each.payment,
        each.at,
    )


_LANE_COLUMNS = (
    Column("operator_id", WORD, itemgetter(0)),
    Column("asset", WORD, itemgetter(1)),
    Column("cdr_no", INT8, itemgetter(2)),
    Column("session_id", WORD, itemgetter(3)),
    Column("log_index", INT8, itemgetter(4)),
    Column("passport_id", WORD, itemgetter(5)),
)
_LANE_CDRS = Table(
    "lane_cdrs",
    f"insert into lane_cdr ({', '.join(c.name for c in _LANE_COLUMNS)}) select * from {{rows}}",
    _LANE_COLUMNS,
)
_LANES = Table(
    "lanes",
    "update lane l set next_no = v.next_no from {rows}"
    " where l.operator_id = v.operator_id and l.asset = v.asset",
    (
        Column("operator_id", WORD, itemgetter(0)),
        Column("asset", WORD, itemgetter(1)),
        Column("next_no", INT8, itemgetter(2)),
    ),
)
_PAYMENT_COLUMNS = (
    Column("session_key", TEXT, itemgetter(0)),
    Column("rail", WORD, itemgetter(1)),
    Column("gateway", WORD, itemgetter(2)),
    Column("asset", WORD, itemgetter(3)),
    Column("max_amount", INT8, itemgetter(4)),
    Column("station_id", WORD, itemgetter(5)),
    Column("evse", INT4, itemgetter(6)),
    Column("session_id", WORD, itemgetter(7)),
    Column("log_index", INT8, itemgetter(8)),
    Column("opened_at", TIME, itemgetter(9)),
)
_PAYMENTS = Table(
    "fiat_payments",
    f"insert into payment ({', '.join(c.name for c in _PAYMENT_COLUMNS)}) select * from {{rows}}",
    _PAYMENT_COLUMNS,
)
_USED = Table(
    "used_escrows",
    "update payment p set session_id = v.session_id from {rows}"
    " where p.session_key = v.session_key",
    (Column("session_key", TEXT, itemgetter(0)), Column("session_id", WORD, itemgetter(1))),
)
