"""Numbered CDRs, batches, attesters' answers, and how far each session's settlement is."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from chargera.app.settlement import (
    AnchoredHead,
    Answer,
    BatchRow,
    BatchStage,
    LaneState,
    WaitingCdr,
)
from chargera.app.settlement_views import LaneRun

_BATCH = tuple(field.name for field in fields(BatchRow))
_ANSWER = tuple(field.name for field in fields(Answer))


class PostgresSettlement:
    """A `SettlementStore` on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def waiting(self, below: int) -> Sequence[WaitingCdr]:
        """Return CDRs in no batch with log indexes below this, locked, by lane and number.

        Those of a charger whose new meter is not on chain yet wait: nobody would sign for them.
        """
        rows = await self._rows(
            "select l.cdr_no, l.session_id, l.log_index, l.passport_id, l.asset,"
            " e.received_at as numbered_at, e.record, e.entry, l.doubted, b.formed_at as tried_at"
            " from lane_cdr l join log_entry e using (log_index)"
            " left join batch b on b.digest = l.batch"
            " where l.state = 'waiting' and l.log_index < %s and e.record is not null"
            " and not exists (select from custody c where c.passport_id = l.passport_id"
            "  and c.kind = 'meter' and c.step not in ('recorded', 'refused'))"
            " order by l.asset, l.cdr_no for update of l",
            [below],
        )
        return [
            WaitingCdr(**row | {"record": bytes(row["record"]), "entry": bytes(row["entry"])})
            for row in rows
        ]

    async def anchored_head(self) -> AnchoredHead | None:
        """Return the newest anchored head."""
        rows = await self._rows(
            "select a.tree_size, c.note, a.topic_id, a.sequence_number from anchor a"
            " join checkpoint c using (tree_size) where a.state = 'anchored'"
            " order by a.tree_size desc limit 1",
            [],
        )
        return AnchoredHead(**rows[0] | {"note": bytes(rows[0]["note"])}) if rows else None

    async def head_note(self, tree_size: int) -> bytes | None:
        """Return the signed head of a size."""
        rows = await self._rows("select note from checkpoint where tree_size = %s", [tree_size])
        return bytes(rows[0]["note"]) if rows else None

    async def add_batch(self, row: BatchRow, cdr_nos: Sequence[int]) -> None:
        """Insert a batch; its CDRs are pending from now on."""
        places = ", ".join("%s" for _ in _BATCH)
        await self._connection.execute(
            f"insert into batch ({', '.join(_BATCH)}) values ({places})"
            " on conflict (digest) do update set state = 'formed'".encode(),
            _values(row),
        )
        await self.mark(row, cdr_nos, LaneState.PENDING)

    async def batch(self, digest: str) -> BatchRow | None:
        """Return a batch, locked for this unit of work."""
        rows = await self._rows("select * from batch where digest = %s for update", [digest])
        return batch_row(rows[0]) if rows else None

    async def batches(
        self, stages: Sequence[BatchStage], limit: int | None = None, before: str | None = None
    ) -> Sequence[BatchRow]:
        """Return batches in these stages, newest first; those formed before the one of a digest."""
        rows = await self._rows(
            "select * from batch where state = any(%s) and (%s::text is null"
            " or batch_no < (select batch_no from batch where digest = %s))"
            " order by batch_no desc limit %s",
            [[str(stage) for stage in stages], before, before, limit],
        )
        return [batch_row(row) for row in rows]

    async def update_batch(self, row: BatchRow) -> None:
        """Replace what may change of a batch."""
        assignments = ", ".join(f"{name} = %s" for name in _BATCH)
        await self._connection.execute(
            f"update batch set {assignments} where digest = %s".encode(),
            [*_values(row), row.digest],
        )

    async def mark(
        self, row: BatchRow, cdr_nos: Sequence[int], state: LaneState, *, doubted: bool = False
    ) -> None:
        """Say how far CDRs of a batch are."""
        await self._connection.execute(
            "update lane_cdr set state = %s, batch = %s, doubted = %s"
            " where operator_id = %s and asset = %s and cdr_no = any(%s)",
            [str(state), row.digest, doubted, row.operator_id, row.asset, list(cdr_nos)],
        )

    async def sessions_of(self, row: BatchRow) -> dict[int, str]:
        """Return the sessions of a batch's leaves by their number."""
        numbers = [leaf["cdr_no"] for leaf in row.document["leaves"]]
        rows = await self._rows(
            "select cdr_no, session_id from lane_cdr where operator_id = %s and asset = %s"
            " and cdr_no = any(%s)",
            [row.operator_id, row.asset, numbers],
        )
        return {row["cdr_no"]: row["session_id"] for row in rows}

    async def lane_runs(self) -> Sequence[LaneRun]:
        """Return all numbered CDRs by lane and number, as runs."""
        rows = await self._rows(
            "select asset, state, batch, min(cdr_no) as first, max(cdr_no) as last from ("
            " select l.*, cdr_no - row_number() over"
            "  (partition by asset, state, batch order by cdr_no) as island"
            " from (select asset, cdr_no, state,"
            "  case when state not in ('waiting', 'settled') then batch end as batch"
            "  from lane_cdr) l) numbered"
            " group by asset, state, batch, island order by asset, first",
            [],
        )
        return [LaneRun(**row) for row in rows]

    async def answer(self, answer: Answer) -> None:
        """Insert an answer, or replace the refusal of the same attester."""
        places = ", ".join("%s" for _ in _ANSWER)
        await self._connection.execute(
            f"insert into attestation ({', '.join(_ANSWER)}) values ({places})"
            " on conflict (digest, attester) do update set decision = excluded.decision,"
            " signature = excluded.signature, record = excluded.record,"
            " reason = excluded.reason, decided_at = excluded.decided_at"
            " where attestation.decision = 'refused'".encode(),
            [getattr(answer, name) for name in _ANSWER],
        )

    async def answers(self, digest: str) -> Sequence[Answer]:
        """Return the answers to a digest."""
        rows = await self._rows(
            f"select {', '.join(_ANSWER)} from attestation where digest = %s order by place",
            [digest],
        )
        return [Answer(**row) for row in rows]

    async def _rows(self, query: str, values: Sequence[Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


def _values(row: BatchRow) -> list[Any]:
    values = [getattr(row, name) for name in _BATCH]
    values[_BATCH.index("document")] = Jsonb(dict(row.document))
    values[_BATCH.index("state")] = str(row.state)
    return values


def batch_row(row: DictRow) -> BatchRow:
    """Return a batch from its row."""
    members = {name: row[name] for name in _BATCH}
    members["state"] = BatchStage(row["state"])
    for name in ("paid", "disputed"):
        members[name] = None if row[name] is None else int(row[name])
    return BatchRow(**members)
