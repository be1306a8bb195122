"""Connections to PostgreSQL: what every session of ours has in common, and what its errors mean.

Each session runs in UTC, names itself, reads and writes JSON with orjson and waits neither for a
statement, nor a lock, nor us in the middle of a transaction, for longer than a limit.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from chargera.domain.errors import InvalidInput, Unavailable

Connection = AsyncConnection[tuple[Any, ...]]
Pool = AsyncConnectionPool[Connection]

CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long the server lets a session wait; 0 means for ever."""

    statement_s: float = 30.0
    lock_s: float = 10.0
    idle_in_transaction_s: float = 60.0


DEFAULT_LIMITS = SessionLimits()
UNLIMITED = SessionLimits(0, 0, 0)
"""For migrations and backups, which take as long as they take."""


async def connect(
    url: str,
    *,
    application_name: str = "chargera",
    limits: SessionLimits = DEFAULT_LIMITS,
    autocommit: bool = False,
) -> Connection:
    """Open one connection; closing it, or leaving its `async with`, is the caller's.

    Raises: InvalidInput, when `url` is no connection string; Unavailable, when nobody answers.
    """
    parameters = _parameters(url, application_name, limits)
    with database_errors():
        connection: Connection = await AsyncConnection.connect(
            url, autocommit=autocommit, **parameters
        )
    await _configure(connection)
    return connection


def is_quiet(connection: Connection) -> bool:
    """Say whether a connection that asks nothing is as it was left.

    Nobody speaks to such a session, unless it is to say that it ends: the server need not be asked.
    """
    if connection.closed:
        return False
    readable = select.poll()
    readable.register(connection.fileno(), select.POLLIN)
    return not readable.poll(0)


def make_pool(
    url: str,
    *,
    size_min: int = 2,
    size_max: int = 10,
    wait_s: float = 30.0,
    application_name: str = "chargera",
    limits: SessionLimits = DEFAULT_LIMITS,
) -> Pool:
    """Return a pool that is not open yet: `async with` it, or await its `open` and `close`.

    A connection that broke while it lay in the pool is replaced before it is lent. Taking one
    waits at most `wait_s`, then raises PoolTimeout (`database_errors` makes that Unavailable).

    Raises: InvalidInput, when `url` is no connection string.
    """
    return AsyncConnectionPool(
        url,
        kwargs=_parameters(url, application_name, limits),
        min_size=size_min,
        max_size=size_max,
        timeout=wait_s,
        configure=_configure,
        check=AsyncConnectionPool.check_connection,
        name=application_name,
        open=False,
    )


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what may go away by itself into Unavailable; let every other error of SQL through.

    That is: no answer, no free connection, a timeout, a deadlock or lost race (the transaction is
    rolled back and may be tried again), and a server that has become read-only after a failover.
    """
    try:
        yield
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        psycopg.errors.IdleInTransactionSessionTimeout,
        psycopg.errors.ReadOnlySqlTransaction,
    ) as error:
        reason = str(error).strip() or type(error).__name__
        raise Unavailable(
            f"the database does not answer as it should: {reason}",
            remedy="try again; if it lasts, look at the database's own log",
        ) from error


def _parameters(url: str, application_name: str, limits: SessionLimits) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise InvalidInput(
            "this is not the address of a PostgreSQL database",
            field="database_url",
            remedy="postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
        ) from None  # its text repeats the address, and with it perhaps a password
    timeouts = {
        "statement_timeout": limits.statement_s,
        "lock_timeout": limits.lock_s,
        "idle_in_transaction_session_timeout": limits.idle_in_transaction_s,
    }
    options = " ".join(f"-c {name}={round(value * 1000)}" for name, value in timeouts.items())
    return {
        "application_name": application_name,
        "connect_timeout": given.get("connect_timeout", CONNECT_TIMEOUT_S),
        # Ours last: within `options` the later one wins.
        "options": f"{given.get('options', '')} -c timezone=UTC {options}".strip(),
    }


async def _configure(connection: Connection) -> None:
    # At each rollback psycopg has all prepared statements forgotten, with its own those of
    # `pipeline`, unless it has none.
    connection.prepare_threshold = None
    set_json_dumps(orjson.dumps, connection)
    set_json_loads(orjson.loads, connection)
