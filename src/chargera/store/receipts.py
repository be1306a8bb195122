"""What a receipt is made of, from the database."""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.ports import StoredEntry
from chargera.app.receipts import ReceiptHead, StoredSettlement
from chargera.domain.transaction import SessionEvent
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.entry import EntryKind
from chargera.store.transactions import read_events

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

    async def station_entries(self, station_id: str, kind: str) -> list[StoredEntry]:
        """Return a station's entries of a kind in the order of the log."""
        return await self._entries(
            f"{_ENTRY} station_id = %s and kind = %s order by log_index", [station_id, kind]
        )

    async def session_events(self, session_id: str) -> list[SessionEvent]:
        """Return a session's readings in order of arrival."""
        events = await read_events(self._connection, [session_id])
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

    async def settlement(self, session_id: str) -> StoredSettlement | None:
        """Return the signed batch that pays a session's bill; None while there is none."""
        rows = await self._rows(
            "select b.digest, b.document from lane_cdr l join batch b on b.digest = l.batch"
            " where l.session_id = %s and l.state <> 'skipped'"
            " and b.state in ('signed', 'proposed', 'settled')",
            [session_id],
        )
        if not rows:
            return None
        signatures = await self._rows(
            "select attester, signature from attestation"
            " where digest = %s and signature is not null order by place",
            [rows[0]["digest"]],
        )
        pairs = [(row["attester"], row["signature"]) for row in signatures]
        return StoredSettlement(rows[0]["document"], pairs)

    async def id_token_text(self, session_id: str) -> str | None:
        """Return the identifier of a session as it was registered; None without one."""
        rows = await self._rows(
            "select t.id_token from charging_session s join id_token t using (id_token_key)"
            " where s.session_id = %s and t.erased_at is null order by t.id_token_type limit 1",
            [session_id],
        )
        return rows[0]["id_token"] if rows else None

    async def tariff_document(self, tariff_id: str, version: int) -> Mapping[str, Any]:
        """Return a tariff version's OCPI document."""
        rows = await self._rows(
            "select document from tariff_version where tariff_id = %s and version = %s",
            [tariff_id, version],
        )
        document: Mapping[str, Any] = rows[0]["document"]
        return document

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
