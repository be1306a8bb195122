"""Numbered CDRs: what a bill's settlement depends on, the lanes' numbers, and their rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from chargera.app.billing import BillingResult, NumberedCdr
from chargera.app.numbering import Escrow, Payable
from chargera.domain.settlement import Rail
from chargera.store.columns import INT4, INT8, TEXT, TIME, WORD, Table, in_order
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


_LANE_CDRS = Table.inserting(
    "lane_cdrs",
    "lane_cdr",
    in_order(
        ("operator_id", WORD),
        ("asset", WORD),
        ("cdr_no", INT8),
        ("session_id", WORD),
        ("log_index", INT8),
        ("passport_id", WORD),
    ),
)
_LANES = Table(
    "lanes",
    "update lane l set next_no = v.next_no from {rows}"
    " where l.operator_id = v.operator_id and l.asset = v.asset",
    in_order(
        ("operator_id", WORD),
        ("asset", WORD),
        ("next_no", INT8),
    ),
)
_PAYMENTS = Table.inserting(
    "fiat_payments",
    "payment",
    in_order(
        ("session_key", TEXT),
        ("rail", WORD),
        ("gateway", WORD),
        ("asset", WORD),
        ("max_amount", INT8),
        ("station_id", WORD),
        ("evse", INT4),
        ("session_id", WORD),
        ("log_index", INT8),
        ("opened_at", TIME),
    ),
)
_USED = Table(
    "used_escrows",
    "update payment p set session_id = v.session_id from {rows}"
    " where p.session_key = v.session_key",
    in_order(("session_key", TEXT), ("session_id", WORD)),
)
