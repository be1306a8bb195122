"""A fresh, migrated database for each integration test, in milliseconds.

One embedded server a test process (so pytest-xdist needs nothing more), one database a test, made
from a template that holds the schema. Root and ordinary users alike.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from chargera.store import migrate
from chargera.store.cluster import SUPERUSER
from chargera.store.connection import UNLIMITED, connect
from chargera.store.postgres import DATABASE, ROLE, EmbeddedPostgres

MEMORY = Path("/dev/shm")
MEMORY_FREE_MIN = 1024**3
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The server of this test process; its settings are those of the product.

    Its folder lies in memory where there is room: there an fsync costs nothing.
    """
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN
    place = MEMORY if has_room else None
    with (
        tempfile.TemporaryDirectory(prefix="c-", dir=place) as folder,
        EmbeddedPostgres(Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def template_database(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with the whole schema and no rows. Nobody may stay connected to it."""

    async def make() -> None:
        async with await connect(postgres_server.url(), limits=UNLIMITED) as connection:
            await migrate.apply(connection)

    asyncio.run(make())
    return DATABASE


@pytest.fixture(scope="session")
def copied(postgres_server: EmbeddedPostgres) -> Callable[[str], AbstractContextManager[str]]:
    """Make a copy of a database, by its name, and drop it at the end; gives the copy's URL."""
    return contextmanager(partial(_database, postgres_server))


@pytest.fixture
def empty_database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without any schema, owned by the product's role."""
    yield from _database(postgres_server, "template1")


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres, template_database: str) -> Iterator[str]:
    """The URL of a database of this test's own, with the whole schema and no rows."""
    yield from _database(postgres_server, template_database)


def _database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY FILE_COPY").format(
        sql.Identifier(name), sql.Identifier(ROLE), sql.Identifier(template)
    )
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(statement)
        yield server.url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
