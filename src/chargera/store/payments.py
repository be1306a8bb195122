"""Payments of sessions: escrows and what a gateway prepays."""

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from chargera.app.payments import ID_TOKEN_TYPE, PaymentRow
from chargera.domain.messages import IdTokenRef
from chargera.domain.settlement import Rail

_COLUMNS = (
    "session_key, rail, payer, gateway, asset, max_amount, station_id, evse, transaction_hash,"
    " log_index, opened_at"
)


class PostgresPayments:
    """A `PaymentStore` on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def find(self, session_key: str) -> PaymentRow | None:
        """Return a payment."""
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                f"select {_COLUMNS}, id_token_key as id_token from payment"
                " where session_key = %s".encode(),
                [session_key],
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        amount = int(row["max_amount"])
        return PaymentRow(**row | {"rail": Rail(row["rail"]), "max_amount": amount})

    async def add(self, row: PaymentRow) -> None:
        """Insert a payment."""
        key = None if row.id_token is None else IdTokenRef(row.id_token, None).key
        await self._connection.execute(
            f"insert into payment ({_COLUMNS}, id_token_key)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)".encode(),
            [
                row.session_key,
                str(row.rail),
                row.payer,
                row.gateway,
                row.asset,
                row.max_amount,
                row.station_id,
                row.evse,
                row.transaction_hash,
                row.log_index,
                row.opened_at,
                key,
            ],
        )

    async def occupied_by(self, station_id: str, evse: int) -> str | None:
        """Return the session that somebody runs at an EVSE; one without identifier is nobody's."""
        cursor = await self._connection.execute(
            "select session_id from charging_session where station_id = %s and evse = %s"
            " and state = 'charging' and id_token_key is not null limit 1",
            [station_id, evse],
        )
        row = await cursor.fetchone()
        return None if row is None else str(row[0])

    async def used_id_tokens(self, opened_since: datetime) -> list[str]:
        """Return identifiers of escrows whose session has ended, and that are not blocked yet."""
        cursor = await self._connection.execute(
            "select t.id_token from payment w join id_token t using (id_token_key)"
            " where w.rail = 'wallet' and w.opened_at >= %s and not t.blocked"
            " and t.id_token_type = %s and exists (select from charging_session s"
            "  where s.id_token_key = w.id_token_key and s.ended) order by w.opened_at",
            [opened_since, ID_TOKEN_TYPE],
        )
        return [id_token for (id_token,) in await cursor.fetchall()]
