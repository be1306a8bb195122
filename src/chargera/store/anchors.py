"""Anchors and the jobs that deliver them, as `app.log_ports` asks for them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from chargera.app.log_ports import Anchor, AnchorSituation, AnchorState, SignedHead
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.entry import EntryKind
from chargera.store.connection import Connection
from chargera.store.jobs import Jobs
from chargera.store.unit_of_work import Database

_ANCHOR: LiteralString = (
    "select a.tree_size, c.note, a.hedera_transaction_id, a.state, a.attempts, a.requested_at,"
    " a.message, a.anchored_at from anchor a join checkpoint c using (tree_size)"
)
_OUTSTANDING: LiteralString = " where a.state in ('pending', 'submitted') order by tree_size"
_ANCHORED: LiteralString = " where a.state = 'anchored' order by tree_size desc"
_HEAD: LiteralString = "select tree_size, note, signed_at from checkpoint"


class PostgresAnchorStore:
    """An `AnchorStore` over the tables `anchor` and `checkpoint`."""

    def __init__(self, database: Database, jobs: Jobs, job_name: str) -> None:
        """Read and write through `database`; a request defers the job `job_name`."""
        self._database = database
        self._jobs = jobs
        self._job_name = job_name

    async def situation(self) -> AnchorSituation:
        """Return the present situation, read in one moment."""
        async with self._database.work() as work:
            connection = work.connection
            await connection.execute("set transaction isolation level repeatable read, read only")
            newest = await _one_head(connection, " order by tree_size desc limit 1", [])
            last = await _one_anchor(connection, _ANCHORED)
            outstanding = await _one_anchor(connection, _OUTSTANDING)
            last_size = last.tree_size if last else 0
            waiting = await _one_head(
                connection, " where tree_size > %s order by tree_size limit 1", [last_size]
            )
            cursor = await connection.execute(
                "select count(*) from log_entry"
                " where kind = %s and log_index >= %s and log_index < %s",
                [EntryKind.SESSION_ENDED, last_size, newest.tree_size if newest else 0],
            )
            row = await cursor.fetchone()
        return AnchorSituation(
            newest=newest,
            last_anchored=last,
            outstanding=outstanding,
            sessions_since=row[0] if row else 0,
            unanchored_since=waiting.signed_at if waiting else None,
        )

    async def request(
        self, head: SignedHead, hedera_transaction_id: str, requested_at: datetime
    ) -> None:
        """Store a pending anchor and the job that delivers it, in one commit."""
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                "insert into anchor (tree_size, requested_at, hedera_transaction_id, state)"
                " values (%s, %s, %s, 'pending') on conflict (tree_size) do update"
                " set requested_at = excluded.requested_at, state = 'pending', attempts = 0,"
                " hedera_transaction_id = excluded.hedera_transaction_id"
                " where anchor.state = 'failed' returning tree_size",
                [head.tree_size, requested_at, hedera_transaction_id],
            )
            if await cursor.fetchone() is not None:
                await self._jobs.defer(work.connection, self._job_name, tree_size=head.tree_size)
            await work.commit()

    async def sending(self, anchor: Anchor, hedera_transaction_id: str) -> None:
        """Note, before it happens, that the anchor is sent under this transaction id."""
        await self._execute(
            "update anchor set state = 'submitted', attempts = attempts + 1,"
            " hedera_transaction_id = %s where tree_size = %s",
            [hedera_transaction_id, anchor.tree_size],
        )

    async def settle(
        self, anchor: Anchor, message: AnchoredMessage | None, settled_at: datetime
    ) -> None:
        """Note the end: anchored as `message`, or failed if that is None."""
        if message is None:
            await self._execute(
                "update anchor set state = 'failed' where tree_size = %s", [anchor.tree_size]
            )
            return
        await self._execute(
            "update anchor set state = 'anchored', topic_id = %s, sequence_number = %s,"
            " consensus_timestamp = %s, message = %s, anchored_at = %s where tree_size = %s",
            [
                message.topic_id,
                message.sequence_number,
                message.consensus_timestamp,
                Jsonb(message.to_json()),
                settled_at,
                anchor.tree_size,
            ],
        )

    async def anchors(self, from_size: int, limit: int) -> Sequence[Anchor]:
        """Return anchors of at least `from_size` in order of size, at most `limit`."""
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                _ANCHOR + " where tree_size >= %s order by tree_size limit %s", [from_size, limit]
            )
            return [_anchor(row) for row in await cursor.fetchall()]

    async def _execute(self, statement: LiteralString, values: Sequence[Any]) -> None:
        async with self._database.work() as work:
            await work.connection.execute(statement, values)
            await work.commit()


async def _one_head(
    connection: Connection, rest: LiteralString, arguments: Sequence[Any]
) -> SignedHead | None:
    row = await (await connection.execute(_HEAD + rest, arguments)).fetchone()
    return None if row is None else SignedHead(row[0], bytes(row[1]), row[2])


async def _one_anchor(connection: Connection, rest: LiteralString) -> Anchor | None:
    row = await (await connection.execute(_ANCHOR + rest + " limit 1")).fetchone()
    return None if row is None else _anchor(row)


def _anchor(row: Sequence[Any]) -> Anchor:
    tree_size, note, transaction_id, state, attempts, requested_at, message, anchored_at = row
    return Anchor(
        tree_size=tree_size,
        note=bytes(note),
        hedera_transaction_id=transaction_id,
        state=AnchorState(state),
        attempts=attempts,
        requested_at=requested_at,
        message=None if message is None else AnchoredMessage.from_json(message),
        anchored_at=anchored_at,
    )
