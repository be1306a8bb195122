"""The embedded topic and the anchors over a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chargera.app.clock import SystemEntropy
from chargera.app.log_ports import MessageRange, SignedHead
from chargera.app.ports import NewEntry
from chargera.domain.errors import Conflict
from chargera.ledger.anchoring import DELIVER_JOB
from chargera.ledger.embedded_topic import EmbeddedTopic
from chargera.proofs.anchor import chain
from chargera.proofs.entry import EntryKind
from chargera.store.anchors import PostgresAnchorStore
from chargera.store.jobs import Jobs
from chargera.store.log import PostgresLogStore
from chargera.store.topic import PostgresTopicStore
from chargera.store.unit_of_work import Database
from tests.unit.ledger.contracts import (
    START,
    AnchorStoreContract,
    HandClock,
    TopicContract,
    transaction_id,
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, HandClock(), SystemEntropy())
    await database.open()
    yield database
    await database.close()


class TestPostgresTopic(TopicContract):
    @pytest.fixture
    def store(self, database: Database) -> PostgresTopicStore:
        return PostgresTopicStore(database)

    async def test_senders_at_once_are_put_in_one_order(
        self, topic: EmbeddedTopic, clock: HandClock
    ) -> None:
        names = [transaction_id(clock, number) for number in range(20)]
        sent = await asyncio.gather(
            *(topic.submit(name, name.encode()) for name in names for _ in range(2)),
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Conflict) for answer in sent) == 20
        messages = await topic.messages(MessageRange(), 100)
        assert sorted(message.message.decode() for message in messages) == sorted(names)
        assert chain(messages) == messages


class TestPostgresAnchorStore(AnchorStoreContract):
    @pytest.fixture
    def store(self, database: Database) -> PostgresAnchorStore:
        jobs = Jobs(database.url)

        async def deliver(tree_size: int) -> None:
            raise AssertionError("no worker runs here")

        jobs.register(DELIVER_JOB, deliver)
        return PostgresAnchorStore(database, jobs, DELIVER_JOB)

    @pytest.fixture
    def add_head(self, database: Database):
        async def add(size: int) -> SignedHead:
            head = SignedHead(size, b"note %d" % size, START + timedelta(seconds=size))
            await PostgresLogStore(database).add_head(head)
            return head

        return add

    @pytest.fixture
    def end_session(self, database: Database):
        async def end(count: int) -> None:
            async with database.work() as work:
                for _ in range(count):
                    work.append(NewEntry(EntryKind.SESSION_ENDED, None, None, {}, START))
                await work.commit()

        return end

    @pytest.fixture
    def jobs(self, database: Database):
        async def deferred() -> list[int]:
            async with database.work() as work:
                cursor = await work.connection.execute(
                    "select task_name, args from procrastinate_jobs order by id"
                )
                rows = await cursor.fetchall()
            assert {name for name, _ in rows} <= {DELIVER_JOB}
            return [arguments["tree_size"] for _, arguments in rows]

        return deferred
