"""The embedded chain's journal and snapshots in PostgreSQL, as `app.chain_ports` asks for them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, LiteralString, NamedTuple

import orjson
import psycopg

from chargera.app.chain_ports import (
    Block,
    ChainHead,
    ChainIdentity,
    ContractLog,
    FoundLog,
    JournalledTransaction,
    LogFilter,
    Receipt,
    Snapshot,
)
from chargera.app.ports import NewEntry
from chargera.domain.errors import Conflict
from chargera.proofs.entry import EntryKind
from chargera.store import binary, pipeline
from chargera.store.columns import BOOLEAN, BYTEA, INT4, INT8, Column, Table, Type, in_order
from chargera.store.connection import Connection
from chargera.store.unit_of_work import Database, UnitOfWork

LEASE_KEY = int.from_bytes(b"C4E evm")
"""The advisory lock that the chain's one writer holds."""

SNAPSHOTS_KEPT = 2
_TOPICS = 4
_NO_TOPICS = (None,) * _TOPICS


class _TransactionRow(NamedTuple):
    number: int
    hash: bytes
    raw: bytes
    sender: bytes
    receiver: bytes | None
    block_time: int
    succeeded: bool
    gas_used: int
    created: bytes | None
    output: bytes
    digest: bytes
    state_digest: bytes


_KNOWN = Type(binary.BYTEA, lru_cache(maxsize=8_192)(binary.bytea))
"""Bytes that come again and again: addresses, names and subjects of logs."""
_INSERT_TRANSACTIONS = Table(
    "chain_transactions",
    f"insert into chain_transaction ({', '.join(_TransactionRow._fields)})"
    " select * from {rows} order by number",
    (
        Column("number", INT8),
        Column("hash", BYTEA),
        Column("raw", BYTEA),
        Column("sender", _KNOWN),
        Column("receiver", _KNOWN),
        Column("block_time", INT8),
        Column("succeeded", BOOLEAN),
        Column("gas_used", INT8),
        Column("created", BYTEA),
        Column("output", BYTEA),
        Column("digest", BYTEA),
        Column("state_digest", BYTEA),
    ),
)
_INSERT_LOGS = Table.inserting(
    "chain_logs",
    "chain_log",
    in_order(
        ("number", INT8),
        ("log_index", INT4),
        ("address", _KNOWN),
        ("topic0", _KNOWN),
        ("topic1", _KNOWN),
        ("topic2", _KNOWN),
        ("topic3", _KNOWN),
        ("data", BYTEA),
    ),
)
_TRANSACTION: LiteralString = (
    "select number, hash, raw, sender, receiver, block_time, succeeded, gas_used, created, output,"
    " digest, state_digest from chain_transaction"
)


class ChainWork:
    """A `JournalWork`: a unit of work with the transactions that are written in it."""

    def __init__(self, unit: UnitOfWork) -> None:
        """Write with `unit`, which also takes whatever else belongs to the transactions."""
        self.unit = unit
        self._transactions: list[JournalledTransaction] = []

    def journal(self, transactions: Sequence[JournalledTransaction]) -> None:
        """Take transactions; they are written at `commit`."""
        self._transactions += transactions

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log at `commit`."""
        self.unit.append(entry)

    async def commit(self) -> None:
        """Write everything. Raises Unavailable, or Conflict where another process wrote."""
        calls = [_INSERT_TRANSACTIONS.of([_row(t) for t in self._transactions])]
        logs = [row for transaction in self._transactions for row in _log_rows(transaction)]
        if logs:
            calls.append(_INSERT_LOGS.of(logs))
        try:
            if self._transactions:
                await pipeline.run(self.unit.connection, calls)
            await self.unit.commit()
        except psycopg.errors.UniqueViolation as error:
            raise Conflict(
                "another process has written transactions of the chain",
                remedy="one server at a time keeps a chain",
            ) from error
        self._transactions = []


class PostgresChainJournal:
    """A `ChainJournal` over the tables `chain`, `chain_transaction` and `chain_log`."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def identity(self, proposed: int) -> ChainIdentity:
        """Return the chain's id, stored by the first call, and the last head told."""
        async with self._database.work() as work:
            await work.connection.execute(
                "insert into chain (chain_id) values (%s) on conflict do nothing", [proposed]
            )
            row = await _one(work.connection, "select chain_id from chain")
            told = await _one(
                work.connection,
                "select record from log_entry where kind = %s and record is not null"
                " order by log_index desc limit 1",
                [str(EntryKind.JOURNAL_HEAD)],
            )
            await work.commit()
        assert row is not None, "it was just written"
        if told is None:
            return ChainIdentity(row[0])
        record = orjson.loads(told[0])
        digest = bytes.fromhex(record["digest"].removeprefix("0x"))
        return ChainIdentity(row[0], record["transactions"], digest)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[ChainWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""
        async with self._database.work() as unit:
            yield ChainWork(unit)

    async def transactions(self, first: int, limit: int) -> Sequence[JournalledTransaction]:
        """Return transactions by number from `first` on, at most `limit`."""
        return await self._transactions(
            " where number >= %s order by number limit %s", [first, limit]
        )

    async def find(self, transaction_hash: bytes) -> JournalledTransaction | None:
        """Return a transaction by its hash."""
        found = await self._transactions(" where hash = %s", [transaction_hash])
        return found[0] if found else None

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order, at most one more than the filter's limit."""
        conditions: list[LiteralString] = ["l.number between %s and %s"]
        values: list[Any] = [wanted.from_block, wanted.to_block]
        if wanted.addresses:
            conditions.append("l.address = any(%s)")
            values.append(list(wanted.addresses))
        if len(wanted.topics) > _TOPICS:
            return []
        for column, topics in zip(_TOPIC_COLUMNS, wanted.topics, strict=False):
            if topics is None:
                conditions.append(column + " is not null")
            else:
                conditions.append(column + " = any(%s)")
                values.append(list(topics))
        query: LiteralString = (
            "select l.number, t.block_time, t.digest, t.hash, l.log_index, l.address, l.topic0,"
            " l.topic1, l.topic2, l.topic3, l.data from chain_log l join chain_transaction t"
            " using (number) where " + " and ".join(conditions) + " order by l.number, l.log_index"
            " limit %s"
        )
        async with self._database.work() as work:
            cursor = work.connection.cursor(binary=True)
            await cursor.execute(query, [*values, wanted.limit + 1])
            return [_found_log(row) for row in await cursor.fetchall()]

    async def _transactions(
        self, rest: LiteralString, values: Sequence[Any]
    ) -> list[JournalledTransaction]:
        async with self._database.work() as work:
            cursor = work.connection.cursor(binary=True)
            await cursor.execute(_TRANSACTION + rest, values)
            rows = [_TransactionRow(*row) for row in await cursor.fetchall()]
            if not rows:
                return []
            await cursor.execute(
                "select number, log_index, address, topic0, topic1, topic2, topic3, data"
                " from chain_log where number between %s and %s order by number, log_index",
                [rows[0].number, rows[-1].number],
            )
            logs: dict[int, list[ContractLog]] = {}
            for number, _, *parts in await cursor.fetchall():
                logs.setdefault(number, []).append(_log(*parts))
        return [_transaction(row, logs.get(row.number, [])) for row in rows]


class PostgresSnapshots:
    """A `SnapshotStore` over the table `chain_snapshot`."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def newest(self) -> Snapshot | None:
        """Return the newest snapshot."""
        async with self._database.work() as work:
            row = await _one(
                work.connection,
                "select number, block_time, digest, state_digest, content, content_digest"
                " from chain_snapshot order by number desc limit 1",
            )
        if row is None:
            return None
        number, time, digest, state_digest, content, content_digest = row
        head = ChainHead(number, time, digest, state_digest)
        return Snapshot(head, content, content_digest)

    async def save(self, snapshot: Snapshot) -> None:
        """Store a snapshot and drop all but the newest two."""
        head = snapshot.head
        async with self._database.work() as work:
            await work.connection.execute(
                "insert into chain_snapshot (number, block_time, digest, state_digest, content,"
                " content_digest) values (%s, %s, %s, %s, %s, %s) on conflict do nothing",
                [
                    head.count,
                    head.time,
                    head.digest,
                    head.state_digest,
                    snapshot.content,
                    snapshot.content_digest,
                ],
            )
            await work.connection.execute(
                "delete from chain_snapshot where number not in"
                " (select number from chain_snapshot order by number desc limit %s)",
                [SNAPSHOTS_KEPT],
            )
            await work.commit()


_TOPIC_COLUMNS: tuple[LiteralString, ...] = ("l.topic0", "l.topic1", "l.topic2", "l.topic3")


async def _one(
    connection: Connection, query: LiteralString, values: Sequence[Any] = ()
) -> tuple[Any, ...] | None:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, values)
    return await cursor.fetchone()


def _row(transaction: JournalledTransaction) -> _TransactionRow:
    receipt = transaction.receipt
    return _TransactionRow(
        receipt.block.number,
        receipt.transaction_hash,
        transaction.raw,
        receipt.sender,
        receipt.to,
        receipt.block.time,
        receipt.succeeded,
        receipt.gas_used,
        receipt.created,
        receipt.output,
        receipt.digest,
        transaction.state_digest,
    )


def _log_rows(transaction: JournalledTransaction) -> list[tuple[Any, ...]]:
    number = transaction.number
    return [
        (number, place, log.address, *log.topics, *_NO_TOPICS[len(log.topics) :], log.data)
        for place, log in enumerate(transaction.receipt.logs)
    ]


def _transaction(row: _TransactionRow, logs: Sequence[ContractLog]) -> JournalledTransaction:
    receipt = Receipt(
        transaction_hash=row.hash,
        block=Block(row.number, row.block_time),
        sender=row.sender,
        to=row.receiver,
        succeeded=row.succeeded,
        gas_used=row.gas_used,
        created=row.created,
        output=row.output,
        logs=tuple(logs),
        digest=row.digest,
    )
    return JournalledTransaction(row.raw, receipt, row.state_digest)


def _found_log(row: tuple[Any, ...]) -> FoundLog:
    number, time, digest, transaction_hash, log_index, *parts = row
    return FoundLog(_log(*parts), Block(number, time), digest, transaction_hash, log_index)


def _log(address: bytes, *parts: bytes | None) -> ContractLog:
    *topics, data = parts
    assert data is not None, "the column is not null"
    return ContractLog(address, tuple(topic for topic in topics if topic is not None), data)
