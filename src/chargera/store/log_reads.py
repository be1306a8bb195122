"""What is read of the log by people: public entries, and the records that a caller may read."""

from collections.abc import Mapping
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.admin_ports import EntryFilter
from chargera.app.permissions import Caller
from chargera.app.views import AnchorView, LogEntryView, LogHeadView
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.tree import leaf_hash
from chargera.store import reach

Connection = AsyncConnection[Any]

_COMMITTING = [str(kind) for kind in (EntryKind.SESSION_ENDED, EntryKind.CDR)]
"""Kinds whose records hold count and digest of a session's readings."""

RECORDS_AT_ONCE = 2_000
SESSIONS_AT_ONCE = 200


class PostgresLogReads:
    """A `LogReads` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def head(self) -> LogHeadView:
        """Return how far the log is."""
        (row,) = await self._rows(
            "select h.size, c.tree_size, c.note, c.signed_at, a.tree_size as anchored_size,"
            " a.anchored_at from log_head h"
            " left join lateral (select * from checkpoint"
            "  order by tree_size desc limit 1) c on true"
            " left join lateral (select * from anchor where state = 'anchored'"
            "  order by tree_size desc limit 1) a on true",
            {},
        )
        note = None if row["note"] is None else bytes(row["note"])
        return LogHeadView(
            size=row["size"],
            checkpoint=None if note is None else note.decode(),
            checkpoint_size=row["tree_size"],
            root_hash=None if note is None else _root_hash(note),
            signed_at=row["signed_at"],
            anchored_size=row["anchored_size"],
            anchored_at=row["anchored_at"],
        )

    async def entry(self, caller: Caller, log_index: int) -> LogEntryView | None:
        """Return one entry; None if the log is not that long."""
        rows = await self.entries(caller, EntryFilter(from_index=log_index, limit=1))
        return rows[0] if rows and rows[0].log_index == log_index else None

    async def entries(self, caller: Caller, wanted: EntryFilter) -> list[LogEntryView]:
        """Return entries in order; the record only where the caller may read it."""
        rows = await self._rows(
            "select e.log_index, e.kind, e.station_id, e.station_seq, e.session_id, e.received_at,"
            f" e.entry, r.readable, case when r.readable then e.record end as record,"
            " case when r.readable then e.salt end as salt from log_entry e"
            f" cross join lateral (select {reach.records_of(caller)} as readable) r"
            " where e.log_index >= %(from_index)s"
            " and (%(kind)s::text is null or e.kind = %(kind)s)"
            " and (%(station_id)s::text is null or e.station_id = %(station_id)s)"
            " and (%(session_id)s::text is null or e.session_id = %(session_id)s)"
            " order by e.log_index limit %(limit)s",
            reach.parameters(
                caller,
                from_index=wanted.from_index,
                kind=wanted.kind,
                station_id=wanted.station_id,
                session_id=wanted.session_id,
                limit=wanted.limit,
            ),
        )
        return [_entry(row) for row in rows]

    async def records(self, caller: Caller, after: int, size: int) -> tuple[bytes, int] | None:
        """Return lines `{index, kind, record, salt}`, salt in hex, and the last one's index."""
        rows = await self._rows(
            "select e.log_index, e.kind, e.record, e.salt from log_entry e"
            " where e.log_index > %(after)s and e.log_index < %(size)s"
            f" and e.record is not null and {reach.records_of(caller)}"
            " order by e.log_index limit %(limit)s",
            reach.parameters(caller, after=after, size=size, limit=RECORDS_AT_ONCE),
        )
        if not rows:
            return None
        return b"".join(_record_line(row) for row in rows), rows[-1]["log_index"]

    async def readings(self, caller: Caller, after: str, size: int) -> tuple[bytes, str] | None:
        """Return lines `{events, session_id}` of some sessions, and the last one's id.

        Of each session the readings that a record which the caller may read commits to.
        """
        rows = await self._rows(
            "select c.session_id, v.record from (select e.session_id,"
            " max((convert_from(e.record, 'UTF8')::jsonb #>> '{events,count}')::int) as count"
            " from log_entry e where e.session_id > %(after)s and e.log_index < %(size)s"
            f" and e.kind = any(%(kinds)s) and e.record is not null and {reach.records_of(caller)}"
            " group by e.session_id order by e.session_id limit %(limit)s) c"
            " left join session_event v on v.session_id = c.session_id and v.n < c.count"
            " order by c.session_id, v.n",
            reach.parameters(
                caller, after=after, size=size, kinds=_COMMITTING, limit=SESSIONS_AT_ONCE
            ),
        )
        sessions: dict[str, list[bytes]] = {}
        for row in rows:
            events = sessions.setdefault(row["session_id"], [])
            if row["record"] is not None:
                events.append(bytes(row["record"]))
        if not sessions:
            return None
        lines = b"".join(_readings_line(*session) for session in sessions.items())
        return lines, rows[-1]["session_id"]

    async def anchors(self, before: int | None, limit: int | None) -> list[AnchorView]:
        """Return anchors, newest first."""
        rows = await self._rows(
            "select * from anchor where %(before)s::bigint is null or tree_size < %(before)s"
            " order by tree_size desc limit %(limit)s",
            {"before": before, "limit": limit},
        )
        return [_anchor(row) for row in rows]

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


def _entry(row: DictRow) -> LogEntryView:
    entry = bytes(row["entry"])
    return LogEntryView(
        log_index=row["log_index"],
        kind=row["kind"],
        station_id=row["station_id"],
        station_seq=row["station_seq"],
        session_id=row["session_id"] if row["readable"] else None,
        received_at=row["received_at"],
        entry=entry.decode(),
        leaf_hash=leaf_hash(entry).hex(),
        readable=row["readable"],
        record=None if row["record"] is None else orjson.loads(row["record"]),
        salt=None if row["salt"] is None else bytes(row["salt"]).hex(),
    )


def _record_line(row: DictRow) -> bytes:
    """Return one line of an export; the record's bytes stand in it as they were committed to."""
    return b'{"index":%d,"kind":%b,"record":%b,"salt":"%b"}\n' % (
        row["log_index"],
        orjson.dumps(row["kind"]),
        bytes(row["record"]),
        bytes(row["salt"]).hex().encode(),
    )


def _readings_line(session_id: str, events: list[bytes]) -> bytes:
    """Return one line of an export: the list's bytes are those that its digest is over."""
    return b'{"events":[%b],"session_id":%b}\n' % (b",".join(events), orjson.dumps(session_id))


def _root_hash(note: bytes) -> str:
    """Return the root hash that a note of ours states, in hex."""
    return parse_checkpoint(note).root_hash.hex()


def _anchor(row: DictRow) -> AnchorView:
    message = row["message"] or {}
    return AnchorView(
        tree_size=row["tree_size"],
        state=row["state"],
        requested_at=row["requested_at"],
        attempts=row["attempts"],
        hedera_transaction_id=row["hedera_transaction_id"],
        topic_id=message.get("topic_id", row["topic_id"]),
        sequence_number=message.get("sequence_number", row["sequence_number"]),
        consensus_timestamp=message.get("consensus_timestamp", row["consensus_timestamp"]),
        running_hash=message.get("running_hash"),
        anchored_at=row["anchored_at"],
        payer_account_id=message.get("payer_account_id"),
        running_hash_version=message.get("running_hash_version"),
        message=message.get("message"),
    )
