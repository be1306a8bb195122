"""Transactions of Hedera that are stored before they are sent."""

from datetime import datetime

from psycopg.errors import UniqueViolation

from chargera.app.hedera_ports import HederaSend, HederaSendState
from chargera.domain.errors import Conflict
from chargera.store.unit_of_work import Database


class PostgresHederaSends:
    """A `HederaSendStore` over the table `hedera_send`."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def find(self, purpose: str) -> HederaSend | None:
        """Return the transaction that has, or may have, the effect; None if there is none."""
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                "select hedera_transaction_id, state, status, entity_id from hedera_send"
                " where purpose = %s and state in ('sent', 'done')",
                [purpose],
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        transaction_id, state, status, entity_id = row
        return HederaSend(transaction_id, purpose, HederaSendState(state), status, entity_id)

    async def add(self, hedera_transaction_id: str, purpose: str, at: datetime) -> None:
        """Store a transaction that is about to be sent. Raises Conflict; see the port."""
        async with self._database.work() as work:
            try:
                await work.connection.execute(
                    "insert into hedera_send (hedera_transaction_id, purpose, stored_at)"
                    " values (%s, %s, %s)",
                    [hedera_transaction_id, purpose, at],
                )
            except UniqueViolation:
                raise Conflict(
                    f"{purpose} is being sent already", remedy="ask what became of it"
                ) from None
            await work.commit()

    async def settle(self, send: HederaSend, at: datetime) -> None:
        """Note what became of it; one that was noted before stays as it is."""
        async with self._database.work() as work:
            await work.connection.execute(
                "update hedera_send set state = %s, status = %s, entity_id = %s, settled_at = %s"
                " where hedera_transaction_id = %s and state = 'sent'",
                [send.state, send.status, send.entity_id, at, send.hedera_transaction_id],
            )
            await work.commit()
