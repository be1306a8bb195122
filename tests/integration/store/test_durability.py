"""A real database that promises too little is refused by the setting's name."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from chargera.domain.errors import Refused, Unavailable
from chargera.store import durability
from chargera.store.cluster import SUPERUSER
from chargera.store.connection import connect
from chargera.store.postgres import EmbeddedPostgres


async def checked(url: str) -> durability.Facts:
    async with await connect(url) as connection:
        return await durability.check(connection)


@contextmanager
def altered(server: EmbeddedPostgres, target: str, value: str) -> Iterator[None]:
    """Override synchronous_commit for a while."""
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(f"ALTER {target} SET synchronous_commit = '{value}'".encode())
        try:
            yield
        finally:
            connection.execute(f"ALTER {target} RESET synchronous_commit".encode())


async def test_the_embedded_server__is_durable(empty_database_url: str) -> None:
    facts = await checked(empty_database_url)
    assert facts.settings["fsync"] == facts.settings["full_page_writes"] == "on"
    assert facts.settings["synchronous_commit"] == "on"
    assert int(facts.settings["server_version_num"]) >= 180000
    assert facts.overrides == ()
    assert facts.is_standby is False


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
async def test_setting_off__is_refused_by_name(setting: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="c-") as folder,
        EmbeddedPostgres(Path(folder), settings={setting: "off"}) as server,
    ):
        with pytest.raises(Refused, match=f"{setting} = off") as caught:
            await checked(server.url())
        assert caught.value.field == setting
        assert f"set {setting} = on" in caught.value.remedy


async def test_address_that_weakens_commits__is_refused(empty_database_url: str) -> None:
    url = f"{empty_database_url}&options=-c%20synchronous_commit%3Doff"
    with pytest.raises(Refused, match="synchronous_commit = off") as caught:
        await checked(url)
    assert "out of the database's address" in caught.value.remedy


async def test_override_for_the_database__is_refused_wherever_the_address_says_on(
    postgres_server: EmbeddedPostgres, empty_database_url: str
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        database = connection.info.dbname
    target = f"DATABASE {database}"
    strong = f"{empty_database_url}&options=-c%20synchronous_commit%3Don"
    with altered(postgres_server, target, "off"):
        for url in (empty_database_url, strong):
            with pytest.raises(Refused, match="synchronous_commit = off") as caught:
                await checked(url)
            assert caught.value.remedy == f"ALTER {target} RESET synchronous_commit"
    assert await checked(empty_database_url)


async def test_override_for_our_role__is_refused_and_for_another_is_not_ours(
    postgres_server: EmbeddedPostgres, empty_database_url: str
) -> None:
    with altered(postgres_server, "ROLE chargera", "OFF"):
        with pytest.raises(Refused) as caught:
            await checked(empty_database_url)
        assert caught.value.remedy == "ALTER ROLE chargera RESET synchronous_commit"
    with altered(postgres_server, "ROLE postgres", "off"):
        assert await checked(empty_database_url)
    with altered(postgres_server, "ROLE chargera", "local"):  # no standbys: as good as on
        assert await checked(empty_database_url)


async def test_check__leaves_no_transaction_open(empty_database_url: str) -> None:
    async with await connect(empty_database_url) as connection:
        await durability.check(connection)
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


async def test_database_that_is_gone__is_unavailable(empty_database_url: str) -> None:
    async with await connect(empty_database_url) as connection:
        with psycopg.connect(empty_database_url) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
        with pytest.raises(Unavailable):
            await durability.check(connection)
