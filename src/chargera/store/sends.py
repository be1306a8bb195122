"""Transactions that are stored before they are sent to the chain."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from chargera.app.settlement_ports import StoredSend
from chargera.store.unit_of_work import Database

_COLUMNS: LiteralString = "purpose, sender, nonce, raw, transaction_hash, outcome"


class PostgresSends:
    """A `SendStore` over the table `chain_send`."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def find(self, purpose: str) -> StoredSend | None:
        """Return what was stored for a purpose."""
        found = await self._rows(f"select {_COLUMNS} from chain_send where purpose = %s", [purpose])
        return found[0] if found else None

    async def unsettled(self, sender: str) -> Sequence[StoredSend]:
        """Return an account's transactions whose outcome is not known, by nonce."""
        return await self._rows(
            f"select {_COLUMNS} from chain_send where sender = %s and outcome is null"
            " order by nonce",
            [sender],
        )

    async def next_nonce(self, sender: str) -> int:
        """Return one more than the highest nonce that was stored; 0 without any."""
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                "select coalesce(max(nonce) + 1, 0) from chain_send"
                " where sender = %s and outcome is distinct from 'failed'",
                [sender],
            )
            row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def add(self, send: StoredSend, at: datetime) -> None:
        """Store a transaction; one that failed under the same nonce makes room."""
        async with self._database.work() as work:
            await work.connection.execute(
                "insert into chain_send (purpose, sender, nonce, raw, transaction_hash, stored_at)"
                " values (%s, %s, %s, %s, %s, %s)",
                [send.purpose, send.sender, send.nonce, send.raw, send.transaction_hash, at],
            )
            await work.commit()

    async def succeeded(self, purpose: str) -> None:
        """Note that it was executed."""
        await self._change("update chain_send set outcome = 'ok' where purpose = %s", [purpose])

    async def failed(self, purpose: str) -> None:
        """Note that it had no effect: its purpose may have another transaction."""
        await self._change(
            "delete from chain_send where purpose = %s and outcome is null", [purpose]
        )

    async def _change(self, statement: LiteralString, values: Sequence[Any]) -> None:
        async with self._database.work() as work:
            await work.connection.execute(statement, values)
            await work.commit()

    async def _rows(self, query: LiteralString, values: Sequence[Any]) -> list[StoredSend]:
        async with self._database.work() as work:
            cursor = await work.connection.execute(query, values)
            rows = await cursor.fetchall()
        return [
            StoredSend(purpose, sender, nonce, bytes(raw), transaction_hash, outcome)
            for purpose, sender, nonce, raw, transaction_hash, outcome in rows
        ]
