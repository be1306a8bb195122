"""Entries, signed heads and the writer's lease, as `app.log_ports` asks for them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg

from chargera.app.log_ports import SignedHead
from chargera.domain.errors import Conflict, Refused, Unavailable
from chargera.store.connection import UNLIMITED, Connection, connect, database_errors
from chargera.store.unit_of_work import Database

LEASE_KEY = int.from_bytes(b"C4E log")
"""The advisory lock that the log's one writer holds; locks of two databases never meet."""

_HEAD = "select tree_size, note, signed_at from checkpoint"


class PostgresLogStore:
    """A `LogStore` over the tables `log_head`, `log_entry` and `checkpoint`."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def size(self) -> int:
        """Return how many entries are durable."""
        async with self._database.work() as work:
            cursor = await work.connection.execute("select size from log_head")
            row = await cursor.fetchone()
        assert row is not None, "the schema makes the only row of log_head"
        return int(row[0])

    async def entries_from(self, log_index: int, limit: int) -> Sequence[bytes]:
        """Return the entries with this and the following indexes, at most `limit`."""
        async with self._database.work() as work:
            cursor = work.connection.cursor(binary=True)
            await cursor.execute(
                "select log_index, entry from log_entry where log_index >= %s and log_index < %s"
                " order by log_index",
                [log_index, log_index + limit],
            )
            rows = await cursor.fetchall()
        for place, (found, _) in enumerate(rows):
            if found != log_index + place:
                raise Refused(
                    f"entry {log_index + place} is missing in the database",
                    remedy="restore the database from a backup that has it",
                )
        return [entry for _, entry in rows]

    async def last_head(self) -> SignedHead | None:
        """Return the largest signed head."""
        return await self._one_head(f"{_HEAD} order by tree_size desc limit 1", [])

    async def head_covering(self, log_index: int) -> SignedHead | None:
        """Return the smallest signed head that covers the entry."""
        query = f"{_HEAD} where tree_size > %s order by tree_size limit 1"
        return await self._one_head(query, [log_index])

    async def add_head(self, head: SignedHead) -> None:
        """Store a head; Conflict if another note has that size."""
        async with self._database.work() as work:
            await work.connection.execute(
                "insert into checkpoint (tree_size, note, signed_at) values (%s, %s, %s)"
                " on conflict do nothing",
                [head.tree_size, head.note, head.signed_at],
            )
            cursor = await work.connection.execute(
                "select note from checkpoint where tree_size = %s", [head.tree_size]
            )
            row = await cursor.fetchone()
            await work.commit()
        if row is None or bytes(row[0]) != head.note:
            raise Conflict(
                f"another head of {head.tree_size} entries is stored",
                remedy="two servers have written this log: stop both and compare their heads",
            )

    async def _one_head(self, query: str, arguments: Sequence[Any]) -> SignedHead | None:
        async with self._database.work() as work:
            cursor = await work.connection.execute(query, arguments)
            row = await cursor.fetchone()
        return None if row is None else SignedHead(row[0], bytes(row[1]), row[2])


class PostgresLease:
    """A `Lease` as an advisory lock: the server frees it when its connection is gone."""

    def __init__(self, url: str, key: int = LEASE_KEY, name: str = "chargera-log") -> None:
        """Compete for the lease in the database at `url`, on a connection of its own, `name`."""
        self._url = url
        self._key = key
        self._name = name
        self._connection: Connection | None = None

    async def acquire(self) -> bool:
        """Take the lease, or keep it; False if another process has it. Raises Unavailable."""
        if await self.is_held():
            return True
        connection = await connect(
            self._url, application_name=self._name, limits=UNLIMITED, autocommit=True
        )
        try:
            with database_errors():
                cursor = await connection.execute("select pg_try_advisory_lock(%s)", [self._key])
                row = await cursor.fetchone()
        except Unavailable:
            await connection.close()
            raise
        if row is None or not row[0]:
            await connection.close()
            return False
        self._connection = connection
        return True

    async def is_held(self) -> bool:
        """Say whether it is still held: the lock lives as long as the connection answers."""
        if self._connection is None:
            return False
        try:
            await self._connection.execute("select 1")
        except psycopg.Error:
            await self.release()
            return False
        return True

    async def release(self) -> None:
        """Give it up: on return another process can have it, if the database answers."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # A connection that is closed holds its locks until the server has noticed.
        with suppress(psycopg.Error):
            await connection.execute("select pg_advisory_unlock(%s)", [self._key])
        await connection.close()
