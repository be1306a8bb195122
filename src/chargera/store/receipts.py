"""What a receipt is made of, from the database."""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.ports import StoredEntry
from chargera.app.receipts import ReceiptHead
from chargera.domain.transaction import SessionEvent
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.entry import EntryKind
from chargera.store import channel

_ENTRY = "select * from log_entry where"


class ReceiptStore:
    """Reads on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Read within the transaction of `connection`."""
        self._connection = connection

    async def session_entries(self, session_id: str, kinds: Sequence[str]) -> list[StoredEntry]:
        """Return a session's entries of these kinds in the order of the log."""
        return await self._entries(
            f"{_ENTRY} session_id = %s and kind = any(%s) order by log_index",
            [session_id, list(kinds)],
        )

    async def registration_entry(self, station_id: str, before: int) -> StoredEntry | None:
        """Return the newest registration of a station before an index."""
        found = await self._entries(
            f"{_ENTRY} station_id = %s and kind = %s and log_index < %s"
            " order by log_index desc limit 1",
            [station_id, str(EntryKind.STATION_REGISTERED), before],
        )
        return found[0] if found else None

    async def entry(self, log_index: int) -> StoredEntry | None:
        """Return one entry."""
        found = await self._entries(f"{_ENTRY} log_index = %s", [log_index])
        return found[0] if found else None

    async def session_events(self, session_id: str) -> list[SessionEvent]:
        """Return a session's readings in order of arrival."""
        events = await channel.read_events(self._connection, [session_id])
        return events.get(session_id, [])

    async def receipt_head(self, log_index: int) -> ReceiptHead | None:
        """Return the first anchored head above an index, else the newest; None: none covers it."""
        rows = await self._rows(
            "select c.note, a.message from checkpoint c join anchor a using (tree_size)"
            " where a.state = 'anchored' and c.tree_size > %s order by c.tree_size limit 1",
            [log_index],
        )
        if rows:
            return ReceiptHead(rows[0]["note"], AnchoredMessage.from_json(rows[0]["message"]))
        rows = await self._rows(
            "select note from checkpoint where tree_size > %s order by tree_size desc limit 1",
            [log_index],
        )
        return ReceiptHead(rows[0]["note"], None) if rows else None

    async def _entries(self, query: str, arguments: Sequence[Any]) -> list[StoredEntry]:
        return [
            StoredEntry(
                row["log_index"],
                EntryKind(row["kind"]),
                row["station_id"],
                row["session_id"],
                row["received_at"],
                row["entry"],
                row["record"],
                row["salt"],
            )
            for row in await self._rows(query, arguments)
        ]

    async def _rows(self, query: str, arguments: Sequence[Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, arguments)
            return await cursor.fetchall()
