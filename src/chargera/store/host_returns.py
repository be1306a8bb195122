"""Credited bills that were settled, and the transfers by which hosts returned what they owe."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from chargera.app.host_returns import CreditedBill, HostReturn
from chargera.store import settled


class PostgresHostReturns:
    """A `HostReturnStore` on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def owed(self, limit: int) -> Sequence[CreditedBill]:
        """Return bills of which something is owed, by asset and number."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                "select c.session_id, l.batch, p.gateway, first.currency, first.net_minor,"
                " first.vat_minor, c.net_minor as net_minor_now, c.vat_minor as vat_minor_now,"
                " convert_from(first.document, 'UTF8')::jsonb -> 'settlement' as settlement,"
                " made.amount as returned, made.amount_minor as returned_minor"
                " from (select distinct session_id from cdr where is_credit) k"
                " join charging_session c using (session_id)"
                f" {settled.JOINS} where l.state = 'settled'"
                f" and {settled.CREDITED_MINOR} > made.amount_minor"
                " order by l.asset, l.cdr_no limit %s".encode(),
                [limit],
            )
            rows = await cursor.fetchall()
        return [
            CreditedBill(
                **row
                | {
                    "returned": int(row["returned"]),
                    "returned_minor": int(row["returned_minor"]),
                }
            )
            for row in rows
        ]

    async def is_taken(self, transaction_hash: str, place: int) -> bool:
        """Say whether a transfer returns a bill already."""
        cursor = await self._connection.execute(
            "select from host_return where transaction_hash = %s and place = %s",
            [transaction_hash, place],
        )
        return await cursor.fetchone() is not None

    async def add(self, found: HostReturn) -> None:
        """Insert a return."""
        await self._connection.execute(
            "insert into host_return (session_id, transaction_hash, place, amount, amount_minor,"
            " returned_at) values (%s, %s, %s, %s, %s, %s)",
            [
                found.session_id,
                found.transaction_hash,
                found.place,
                found.amount,
                found.amount_minor,
                found.returned_at,
            ],
        )
