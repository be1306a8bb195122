"""Many statements in one round trip, prepared once, their parameters already binary.

psycopg's cursors look at every parameter and keep state for every statement, which is the dearer
part of a batch of small ones. Here a batch is a list of calls: all are sent at once in libpq's
pipeline mode, and their results are read together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

Connection = AsyncConnection[Any]
Rows = list[tuple[bytes | None, ...]]
"""What a call returns, in binary format; empty where it returns nothing."""

BINARY = 1


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """SQL with parameters `$1`, `$2` ...; `types` are their object identifiers."""

    name: str
    query: str
    types: tuple[int, ...] = ()


class Call(NamedTuple):
    """A statement with its parameters in binary format, None for null."""

    statement: Statement
    parameters: Sequence[bytes | None] = ()


BEGIN = Call(Statement("begin", "begin"))
COMMIT = Call(Statement("commit", "commit"))

_prepared: WeakKeyDictionary[Connection, set[Statement]] = WeakKeyDictionary()
"""What each connection has prepared."""


async def run(connection: Connection, calls: Sequence[Call]) -> list[Rows]:
    """Run calls in order and return what each of them returns.

    They run in the connection's transaction, which is begun unless it is open. If one fails, its
    error is raised as psycopg raises it and the transaction is only good for a rollback.
    """
    is_begun = connection.pgconn.transaction_status != TransactionStatus.IDLE
    if not is_begun:
        calls = [BEGIN, *calls]
    known = _prepared.setdefault(connection, set())
    new = list(dict.fromkeys(call.statement for call in calls if call.statement not in known))
    async with connection.lock:
        results = await connection.wait(_exchange(connection.pgconn, known, new, calls))
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
    return [_rows(result) for result in results[len(new) + (not is_begun) :]]


def _exchange(
    connection: PGconn, known: set[Statement], new: Sequence[Statement], calls: Sequence[Call]
) -> PQGen[list[PGresult]]:
    """Prepare what is new, run the calls, and return the result of each.

    What was prepared is noted here: whoever is cancelled has the exchange end without him.
    """
    connection.enter_pipeline_mode()
    try:
        for statement in new:
            connection.send_prepare(
                statement.name.encode(), statement.query.encode(), statement.types
            )
        for statement, parameters in calls:
            formats = (BINARY,) * len(parameters)
            connection.send_query_prepared(statement.name.encode(), parameters, formats, BINARY)
        connection.pipeline_sync()
        results = yield from _results(connection)
        known.update(
            statement
            for statement, result in zip(new, results, strict=False)
            if result.status == ExecStatus.COMMAND_OK
        )
        connection.exit_pipeline_mode()
    except BaseException:
        connection.finish()  # in the middle of an exchange it is good for nothing
        raise
    return results


def _results(connection: PGconn) -> PQGen[list[PGresult]]:
    """Send what waits to be sent and read until the sync is answered."""
    results: list[PGresult] = []
    unsent = connection.flush()
    while True:
        ready: Ready | int | None = yield Wait.RW if unsent else Wait.R
        if ready is None:
            continue  # whoever waited was cancelled, and psycopg waits for the end in his place
        if ready & Ready.R:
            connection.consume_input()
        if unsent:
            unsent = connection.flush()
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:  # the end of one call
                if connection.status == ConnStatus.BAD:
                    raise psycopg.OperationalError("the connection is lost")
                continue
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)


def _rows(result: PGresult) -> Rows:
    columns = range(result.nfields)
    return [
        tuple(result.get_value(row, column) for column in columns) for row in range(result.ntuples)
    ]
