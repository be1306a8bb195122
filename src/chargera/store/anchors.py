"""Anchors and the jobs that deliver them, as `app.log_ports` asks for them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from chargera.app.log_ports import Anchor, AnchorSituation, AnchorState, SignedHead
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.entry import EntryKind
from chargera.store.jobs import Jobs
from chargera.store.unit_of_work import Database

_ANCHOR: LiteralString = (
    "select a.tree_size, c.note, a.hedera_transaction_id, a.state, a.attempts, a.requested_at,"
    " a.message, a.anchored_at from anchor a join checkpoint c using (tree_size)"
)
_SITUATION: LiteralString = (
    "with newest as (select tree_size, note, signed_at from checkpoint"
    "  order by tree_size desc limit 1),"
    f" last as ({_ANCHOR} where a.state = 'anchored' order by tree_size desc limit 1),"
    f" outstanding as ({_ANCHOR} where a.state in ('pending', 'submitted')"
    "  order by tree_size limit 1)"
    " select newest.*, last.*, outstanding.*, (select c.signed_at from checkpoint c"
    "  where c.tree_size > coalesce(last.tree_size, 0) order by c.tree_size limit 1),"
    " (select count(*) from log_entry e where e.kind = %s"
    "  and e.log_index >= coalesce(last.tree_size, 0)"
    "  and e.log_index < coalesce(newest.tree_size, 0))"
    " from (values (0)) one(n) left join newest on true left join last on true"
    " left join outstanding on true"
)
"""One statement: it sees one moment."""


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
            cursor = await work.connection.execute(_SITUATION, [EntryKind.SESSION_ENDED])
            row = await cursor.fetchone()
        assert row is not None, "the query has one row, whatever there is"
        newest, last, outstanding = row[:3], row[3:11], row[11:19]
        return AnchorSituation(
            newest=None if newest[0] is None else _head(newest),
            last_anchored=None if last[0] is None else _anchor(last),
            outstanding=None if outstanding[0] is None else _anchor(outstanding),
            sessions_since=row[20],
            unanchored_since=row[19],
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


def _head(row: Sequence[Any]) -> SignedHead:
    return SignedHead(row[0], bytes(row[1]), row[2])


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
