"""The chain's journal in PostgreSQL and its double in memory are one: the same tests for both."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import psycopg
import pytest

from chargera.app.chain_ports import ChainIdentity, LogFilter
from chargera.app.chain_testing import MemoryJournal
from chargera.app.clock import SystemEntropy
from chargera.app.log_testing import MemoryLease
from chargera.domain.errors import Conflict, Refused, Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.chain import ChainPolicy, EmbeddedChain
from chargera.ledger.evm.transaction import parse
from chargera.store.chain import LEASE_KEY, PostgresChainJournal, PostgresSnapshots
from chargera.store.log import PostgresLease
from chargera.store.unit_of_work import Database
from tests.evm_contracts import COUNTER, KEEPER, REFUSER, Account, assemble, word

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
KEY = ChainKey(b"\x07" * 32)
FOUR_TOPICS = assemble("4 3 2 1 0 0 LOG4 0 0 LOG0 STOP")


class FixedClock:
    """A time that stands still."""

    def now(self) -> datetime:
        return NOW


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, FixedClock(), SystemEntropy())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(params=["memory", "postgresql"])
def stores(request):
    """Journal, snapshots and a way to make leases."""
    if request.param == "memory":
        journal = MemoryJournal()
        holders: list[MemoryLease] = []
        return journal, journal.snapshots, lambda: MemoryLease(holders)
    database = request.getfixturevalue("database")
    return (
        PostgresChainJournal(database),
        PostgresSnapshots(database),
        lambda: PostgresLease(database.url, LEASE_KEY, "chargera-chain"),
    )


async def start(stores, interval: int = 1000) -> EmbeddedChain:
    journal, snapshots, make_lease = stores
    return await EmbeddedChain.open(
        journal,
        snapshots,
        make_lease(),
        FixedClock(),
        SystemEntropy(),
        policy=ChainPolicy(snapshot_interval=interval),
    )


async def run_some(chain: EmbeddedChain) -> Account:
    account = Account(KEY, chain.chain_id)
    codes = (COUNTER, KEEPER, REFUSER, FOUR_TOPICS)
    made = [
        (await chain.receipt(await chain.send_raw(account.creation(code)))).created
        for code in codes
    ]
    for to in (*made, *made):
        await chain.send_raw(account.transaction(to, word(3) + word(4)))
    return account


async def test_journal__gives_back_what_was_written(stores):
    chain = await start(stores)
    journal = stores[0]
    account = Account(KEY, chain.chain_id)
    done = []
    for raw in [account.creation(FOUR_TOPICS), account.creation(REFUSER)]:
        await chain.send_raw(raw)
        done.append((await chain.transaction(parse(raw).hash)).receipt)
    for receipt in list(done):
        raw = account.transaction(receipt.created)
        done.append(await chain.receipt(await chain.send_raw(raw)))
    stored = await journal.transactions(1, 10)
    assert [transaction.receipt for transaction in stored] == done
    assert [transaction.number for transaction in stored] == [1, 2, 3, 4]
    assert stored[-1].state_digest == chain.head.state_digest
    assert await journal.transactions(2, 2) == stored[1:3]
    assert await journal.transactions(5, 10) == []
    assert await journal.find(done[2].transaction_hash) == stored[2]
    assert await journal.find(b"\0" * 32) is None
    assert [len(log.topics) for log in stored[2].receipt.logs] == [4, 0]
    assert (stored[3].receipt.succeeded, stored[3].receipt.output) == (False, word(0xBAD))
    await chain.close()


async def test_start__again__replays_to_the_same_head(stores):
    chain = await start(stores, interval=5)
    await run_some(chain)
    await chain.close()
    again = await start(stores, interval=5)
    assert (again.head, again.chain_id) == (chain.head, chain.chain_id)
    newest = await stores[1].newest()
    assert newest.head.count == 10
    await again.close()


async def test_start__while_another_has_the_lease__is_refused(stores):
    chain = await start(stores)
    with pytest.raises(Refused, match="another process"):
        await start(stores)
    await chain.close()


async def test_identity__stays_what_the_first_start_drew(stores):
    journal = stores[0]
    assert await journal.identity(77) == ChainIdentity(77)
    assert await journal.identity(78) == ChainIdentity(77)


async def test_identity__tells_the_last_head_of_the_log(stores):
    chain = await start(stores)
    await run_some(chain)
    told = await stores[0].identity(1)
    assert told == ChainIdentity(chain.chain_id, 12, chain.head.digest)
    await chain.close()


async def test_logs__by_range_address_and_topics(stores):
    chain = await start(stores)
    await run_some(chain)
    journal = stores[0]
    everything = await journal.logs(LogFilter(0, 99))
    assert [(found.block.number, found.log_index) for found in everything] == [
        (5, 0), (8, 0), (8, 1), (9, 0), (12, 0), (12, 1),
    ]  # fmt: skip
    filters = [
        LogFilter(6, 9),
        LogFilter(0, 99, frozenset({everything[0].log.address})),
        LogFilter(0, 99, topics=(frozenset({word(1), word(0xAA)}),)),
        LogFilter(0, 99, topics=(None, frozenset({word(2)}))),
        LogFilter(0, 99, topics=(None,)),
        LogFilter(0, 99, topics=(None, None, None, None, None)),
        LogFilter(0, 99, frozenset({b"\x01" * 20})),
    ]
    expected = [
        [
            found
            for found in everything
            if wanted.takes(found.log)
            and wanted.from_block <= found.block.number <= wanted.to_block
        ]
        for wanted in filters
    ]
    assert [list(await journal.logs(wanted)) for wanted in filters] == expected
    assert [len(found) for found in expected] == [3, 2, 4, 2, 4, 0, 0]
    assert len(await journal.logs(LogFilter(0, 99, limit=2))) == 3
    await chain.close()


async def test_work__another_has_written_meanwhile__conflict_and_nothing_is_written(stores):
    chain = await start(stores)
    await run_some(chain)
    journal = stores[0]
    (last,) = await journal.transactions(12, 1)
    async with journal.work() as work:
        work.journal([last])
        with pytest.raises(Conflict, match="another process"):
            await work.commit()
    assert len(await journal.transactions(1, 99)) == 12
    await chain.close()


async def test_snapshots__newest_two_are_kept(stores):
    chain = await start(stores, interval=3)
    await run_some(chain)
    newest = await stores[1].newest()
    assert newest.head == chain.head
    await chain.close()


# PostgreSQL alone ------------------------------------------------------------------------------


@pytest.fixture
async def chain(database: Database) -> AsyncIterator[EmbeddedChain]:
    stores = (
        PostgresChainJournal(database),
        PostgresSnapshots(database),
        lambda: PostgresLease(database.url, LEASE_KEY, "chargera-chain"),
    )
    opened = await start(stores, interval=4)
    yield opened
    await opened.close()


async def test_commit__writes_transactions_entry_and_rows_of_others_together(chain, database):
    account = Account(KEY, chain.chain_id)

    async def rows(of: str) -> int:
        async with database.work() as work:
            cursor = await work.connection.execute(f"select count(*) from {of}")
            return (await cursor.fetchone())[0]

    async def write(sending) -> None:
        sending.send(account.creation(COUNTER))
        await sending.work.unit.connection.execute(
            "insert into lane (operator_id, asset, next_no) values ('NL*C4E', '0x', 1)"
        )

    async with chain.sending() as sending:
        await write(sending)
    counts = [await rows(of) for of in ("chain_transaction", "lane", "log_entry")]
    assert counts == [0, 0, 0]
    account.next_nonce = 0
    async with chain.sending() as sending:
        await write(sending)
        await sending.commit()
    assert [await rows(of) for of in ("chain_transaction", "lane", "log_entry")] == [1, 1, 1]


async def test_many_at_once__are_few_commits(chain, database):
    account = Account(KEY, chain.chain_id)
    counter = (await chain.receipt(await chain.send_raw(account.creation(COUNTER)))).created
    raws = [account.transaction(counter) for _ in range(100)]
    hashes = await asyncio.gather(*(chain.send_raw(raw) for raw in raws))
    assert hashes == [parse(raw).hash for raw in raws]
    async with database.work() as work:
        cursor = await work.connection.execute("select count(*) from log_entry")
        assert (await cursor.fetchone())[0] <= 5
    assert await chain.storage(counter, 0) == 100


async def test_connection_is_cut_in_the_commit__nothing_lost_nothing_twice(chain, database_url):
    account = Account(KEY, chain.chain_id)
    counter = (await chain.receipt(await chain.send_raw(account.creation(COUNTER)))).created
    raw = account.transaction(counter)

    async def cut_and_commit() -> None:
        async with chain.sending() as sending:
            sending.send(raw)
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                    " where application_name = 'chargera' and datname = current_database()"
                )
            await sending.commit()

    with pytest.raises(Unavailable):
        await cut_and_commit()
    assert await chain.storage(counter, 0) == 0
    await chain.send_raw(raw)
    assert await chain.storage(counter, 0) == 1


@pytest.mark.parametrize(
    "change",
    [
        "update chain_transaction set output = 'x' where number = 11",
        "update chain_transaction set gas_used = gas_used + 1 where number = 11",
        "update chain_log set data = 'x' where number = 12",
        "delete from chain_log where number = 12",
    ],
)
async def test_start__a_row_was_changed_by_sql__is_refused(database, change):
    stores = (
        PostgresChainJournal(database),
        PostgresSnapshots(database),
        lambda: PostgresLease(database.url, LEASE_KEY, "chargera-chain"),
    )
    chain = await start(stores, interval=5)
    await run_some(chain)
    await chain.close()
    async with database.work() as work:
        await work.connection.execute(change)
        await work.connection.commit()
    with pytest.raises(Refused, match="does not give what was stored"):
        await start(stores)
