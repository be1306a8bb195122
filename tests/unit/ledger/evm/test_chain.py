"""The embedded chain: acknowledged is durable, refused has no effect, a start gives it again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256

import pytest

from chargera.app.chain_ports import (
    BadTransaction,
    CallRequest,
    LogFilter,
    Reverted,
)
from chargera.app.chain_testing import MemoryJournal
from chargera.app.log_testing import Faults, MemoryLease
from chargera.domain.errors import InvalidInput, Refused, Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.chain import RECENT_MAX, WAITING_MAX, ChainPolicy, EmbeddedChain
from chargera.ledger.evm.transaction import contract_address, parse, sign
from chargera.proofs.entry import EntryKind
from tests.evm_contracts import (
    COUNTER,
    ENDLESS,
    FACTORY,
    KEEPER,
    REFUSER,
    SURROUNDINGS,
    Account,
    assemble,
    init_code,
    word,
)
from tests.unit.ledger.evm.nodes import NOW, Counting, HandClock

KEY = ChainKey(b"\x07" * 32)


class Node:
    """A journal and the chain that lives from it."""

    def __init__(self, faults: Faults | None = None, interval: int = 1000) -> None:
        self.journal = MemoryJournal(faults)
        self.clock = HandClock()
        self.policy = ChainPolicy(snapshot_interval=interval)
        self.leases: list[MemoryLease] = []

    async def start(self, *, from_genesis: bool = False, make_engine=None) -> EmbeddedChain:
        self.chain = await EmbeddedChain.open(
            self.journal,
            self.journal.snapshots,
            MemoryLease(self.leases),
            self.clock,
            Counting(),
            policy=self.policy,
            from_genesis=from_genesis,
            make_engine=make_engine,
        )
        return self.chain

    async def restart(self, *, from_genesis: bool = False) -> EmbeddedChain:
        """Start another process: what the old one had in memory is gone."""
        self.leases.clear()
        return await self.start(from_genesis=from_genesis)

    def account(self) -> Account:
        return Account(KEY, self.chain.chain_id)


@pytest.fixture
async def node() -> Node:
    made = Node()
    await made.start()
    return made


async def deploy(chain: EmbeddedChain, account: Account, code: bytes) -> bytes:
    receipt = await chain.receipt(await chain.send_raw(account.creation(code)))
    assert receipt.succeeded
    return receipt.created


# Sending ---------------------------------------------------------------------------------------


async def test_creation__stands_where_sender_and_nonce_say(node):
    account = node.account()
    first = await deploy(node.chain, account, COUNTER)
    second = await deploy(node.chain, account, KEEPER)
    assert first == contract_address(KEY.address, 0)
    assert second == contract_address(KEY.address, 1)
    assert await node.chain.code(first) == COUNTER
    assert await node.chain.nonce(KEY.address) == 2


async def test_call__succeeds__its_receipt_tells_block_logs_and_output(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    node.clock.time += timedelta(seconds=90)
    receipt = await node.chain.receipt(await node.chain.send_raw(account.transaction(counter)))
    assert (receipt.block.number, receipt.block.time) == (2, int(NOW.timestamp()) + 90)
    assert (receipt.sender, receipt.to, receipt.created) == (KEY.address, counter, None)
    assert receipt.output == word(1)
    (log,) = receipt.logs
    assert (log.address, log.topics, log.data) == (counter, (word(0xAA),), word(1))
    assert await node.chain.storage(counter, 0) == 1
    assert receipt.digest == node.chain.head.digest


async def test_call__reverts__costs_the_nonce_and_changes_nothing_else(node):
    account = node.account()
    refuser = await deploy(node.chain, account, REFUSER)
    receipt = await node.chain.receipt(await node.chain.send_raw(account.transaction(refuser)))
    assert (receipt.succeeded, receipt.output, receipt.logs) == (False, word(0xBAD), ())
    assert await node.chain.storage(refuser, 0) == 0
    assert await node.chain.nonce(KEY.address) == 2


async def test_call__runs_out_of_gas__takes_all_of_it(node):
    account = node.account()
    endless = await deploy(node.chain, account, ENDLESS)
    raw = account.transaction(endless, gas=50_000)
    receipt = await node.chain.receipt(await node.chain.send_raw(raw))
    assert (receipt.succeeded, receipt.gas_used, receipt.output) == (False, 50_000, b"")


async def test_gas__does_not_depend_on_what_ran_before(node):
    """Each transaction begins cold, else a start would compute other receipts."""
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    used = []
    for _ in range(3):
        await node.chain.call(counter, b"")
        receipt = await node.chain.receipt(await node.chain.send_raw(account.transaction(counter)))
        used.append(receipt.gas_used)
    assert used[1] == used[2] < used[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chain_id": 5}, "signed for chain 5"),
        ({"nonce": 1}, "nonce too high"),
        ({"gas_limit": 15_000_001}, "gas limit above"),
        ({"gas_limit": 20_999}, "intrinsic gas too low"),
        ({"max_fee": 2**256 - 1, "gas_limit": 1}, "intrinsic gas too low"),
        ({"to": None, "data": b"\1" * 49_153}, "init code over"),
    ],
)
async def test_send__breaks_a_rule__is_refused_without_a_trace(node, change, said):
    fields = {
        "chain_id": node.chain.chain_id,
        "nonce": 0,
        "to": b"\x22" * 20,
        "data": b"",
        "gas_limit": 5_000_000,
    }
    before = node.chain.head
    with pytest.raises(BadTransaction, match=said):
        await node.chain.send_raw(sign(KEY, **fields | change))
    assert node.chain.head == before
    assert not node.journal.stored
    assert not node.journal.entries


async def test_creation__over_24576_bytes__fails_and_leaves_no_code(node):
    account = node.account()
    at_limit = account.transaction(None, init_code(b"\0" * 24_576), gas=10_000_000)
    over = account.transaction(None, init_code(b"\0" * 24_577), gas=10_000_000)
    first = await node.chain.receipt(await node.chain.send_raw(at_limit))
    second = await node.chain.receipt(await node.chain.send_raw(over))
    assert (first.succeeded, second.succeeded, second.created) == (True, False, None)
    assert await node.chain.code(contract_address(KEY.address, 1)) == b""


async def test_creation__of_code_over_the_limit_inside_a_contract__gives_no_address(node):
    account = node.account()
    factory = await deploy(node.chain, account, FACTORY)
    raw = account.transaction(factory, init_code(b"\0" * 24_577), gas=10_000_000)
    receipt = await node.chain.receipt(await node.chain.send_raw(raw))
    assert receipt.output == word(0)


async def test_contract_that_makes_contracts__counts_its_own_nonce(node):
    account = node.account()
    factory = await deploy(node.chain, account, FACTORY)
    for nonce in (1, 2):
        raw = account.transaction(factory, init_code(COUNTER))
        receipt = await node.chain.receipt(await node.chain.send_raw(raw))
        made = contract_address(factory, nonce)
        assert receipt.output == word(made)
        assert await node.chain.code(made) == COUNTER


async def test_send__again__is_the_same_transaction(node):
    raw = node.account().creation(COUNTER)
    assert await node.chain.send_raw(raw) == await node.chain.send_raw(raw)
    assert node.chain.head.count == 1


async def test_send__another_with_a_used_nonce__is_refused(node):
    await node.chain.send_raw(node.account().creation(COUNTER))
    with pytest.raises(BadTransaction, match="nonce too low"):
        await node.chain.send_raw(node.account().creation(KEEPER))


async def test_send__many_at_once__are_committed_together_in_order(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    raws = [account.transaction(counter) for _ in range(20)]
    async with node.chain.sending():
        waiting = [asyncio.create_task(node.chain.send_raw(raw)) for raw in raws]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [parse(raw).hash for raw in raws]
    assert await node.chain.storage(counter, 0) == 20
    assert len(node.journal.entries) == 2
    await asyncio.gather(*(node.chain.send_raw(account.transaction(counter)) for _ in range(20)))
    assert await node.chain.storage(counter, 0) == 40
    assert len(node.journal.entries) == 3


async def test_receipt__old_or_new__is_what_the_journal_has(node):
    """Of the last ones it is told from memory; what was taken back was never in it."""
    account = node.account()
    raws = [account.creation(COUNTER) for _ in range(RECENT_MAX + 3)]
    sent = [await node.chain.send_raw(raw) for raw in raws]
    async with node.chain.sending() as sending:
        sending.send(account.creation(COUNTER))
    receipts = [await node.chain.receipt(each) for each in sent]
    assert receipts == [stored.receipt for stored in node.journal.stored]
    assert [receipt.block.number for receipt in receipts] == list(range(1, RECENT_MAX + 4))
    assert len(node.chain._recent) == RECENT_MAX
    again = await node.restart()
    assert [await again.receipt(each) for each in sent] == receipts
    never = parse(account.transaction(receipts[0].created)).hash
    assert await again.receipt(never) is None


async def test_send__one_of_many_is_refused__the_others_count(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    good = [account.transaction(counter) for _ in range(2)]
    bad = sign(KEY, chain_id=1, nonce=9, to=counter, data=b"", gas_limit=99_000)
    async with node.chain.sending():
        waiting = [asyncio.create_task(node.chain.send_raw(raw)) for raw in (good[0], bad, good[1])]
        await asyncio.sleep(0)
    first, refused, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert (first, last) == tuple(parse(raw).hash for raw in good)
    assert isinstance(refused, BadTransaction)


async def test_time__clock_stands_or_goes_back__blocks_do_not(node):
    account = node.account()
    await node.chain.send_raw(account.creation(COUNTER))
    node.clock.time -= timedelta(seconds=30)
    receipt = await node.chain.receipt(await node.chain.send_raw(account.creation(COUNTER)))
    assert receipt.block.time == int(NOW.timestamp())


# Together with other writes --------------------------------------------------------------------


async def test_sending__committed__all_of_it_is_durable(node):
    account = node.account()
    async with node.chain.sending() as sending:
        made = sending.send(account.creation(COUNTER)).created
        sending.send(account.transaction(made))
        await sending.commit()
    assert await node.chain.storage(made, 0) == 1
    (head,) = node.journal.entries
    assert head.kind is EntryKind.JOURNAL_HEAD
    assert head.record["transactions"] == 2
    assert head.record["digest"] == "0x" + node.chain.head.digest.hex()


async def test_sending__left_without_commit__has_not_happened(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    before = node.chain.head
    async with node.chain.sending() as sending:
        assert sending.send(account.transaction(counter)).succeeded
    assert node.chain.head == before
    assert await node.chain.storage(counter, 0) == 0
    assert await node.chain.call(counter, b"") == word(1)
    receipt = await node.chain.receipt(
        await node.chain.send_raw(Account(KEY, node.chain.chain_id, 1).transaction(counter))
    )
    assert receipt.output == word(1)


async def test_sending__fails_in_between__takes_everything_back(node):
    account = node.account()

    async def fail() -> None:
        async with node.chain.sending() as sending:
            sending.send(account.creation(COUNTER))
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        await fail()
    assert node.chain.head.count == 0
    assert await node.chain.code(contract_address(KEY.address, 0)) == b""


async def test_sending__fails_after_its_commit__has_happened(node):
    account = node.account()

    async def fail() -> None:
        async with node.chain.sending() as sending:
            sending.send(account.creation(COUNTER))
            await sending.commit()
            raise RuntimeError("later")

    with pytest.raises(RuntimeError, match="later"):
        await fail()
    assert node.chain.head.count == 1
    assert await node.chain.code(contract_address(KEY.address, 0)) == COUNTER


# Faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after its effect"])
async def test_commit__fails__is_not_acknowledged_and_the_chain_follows_the_journal(after):
    """Whether a commit without an answer has happened, only the journal knows."""
    node = Node(faults=Faults())
    await node.start()
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    raw = account.transaction(counter)
    faults = node.journal.faults
    faults.at, faults.after = len(faults.calls) + 2, after
    faults.error = Unavailable("gone")
    with pytest.raises(Unavailable, match="gone"):
        await node.chain.send_raw(raw)
    assert faults.calls[-1] == "commit"
    assert await node.chain.nonce(KEY.address) == 1 + after  # the journal is asked at once
    await node.chain.send_raw(raw)
    assert node.chain.head.count == 2
    assert await node.chain.storage(counter, 0) == 1
    again = await node.restart()
    assert await again.storage(counter, 0) == 1


async def insist(do: Callable[[], Awaitable]):
    """Do it again until the part that is needed answers."""
    while True:
        try:
            return await do()
        except Unavailable:
            continue


async def test_every_storage_call_fails_once__nothing_acknowledged_is_lost_or_done_twice():
    at, struck = 0, True
    while struck:
        at += 1
        node = Node(Faults(at, after=bool(at % 2), error=Unavailable("gone")), interval=2)
        await insist(node.restart)
        account = node.account()
        counter = contract_address(KEY.address, 0)
        for raw in [account.creation(COUNTER)] + [account.transaction(counter) for _ in range(5)]:
            await insist(partial(node.chain.send_raw, raw))
        struck = node.journal.faults.struck
        head = node.chain.head
        assert head.count == 6
        again = await insist(partial(node.restart, from_genesis=True))
        assert again.head == head
        assert await again.storage(counter, 0) == 5
    assert at > 10


async def test_send__cancelled_while_others_wait__the_others_are_done(node):
    account = node.account()
    raws = [account.creation(COUNTER) for _ in range(3)]
    async with node.chain.sending():
        tasks = [asyncio.create_task(node.chain.send_raw(raw)) for raw in raws]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.sleep(0)
    assert await tasks[0]
    assert await tasks[1]
    assert node.chain.head.count == 2


# Starting --------------------------------------------------------------------------------------


async def run_some(node: Node, count: int = 10) -> None:
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    keeper = await deploy(node.chain, account, KEEPER)
    for n in range(count):
        await node.chain.send_raw(account.transaction(counter))
        await node.chain.send_raw(account.transaction(keeper, word(n) + word(n % 3)))


@pytest.mark.parametrize("from_genesis", [False, True])
async def test_start__again__is_the_same_chain(from_genesis):
    node = Node(interval=7)
    chain = await node.start()
    await run_some(node)
    again = await node.restart(from_genesis=from_genesis)
    assert again is not chain
    assert (again.head, again.chain_id) == (chain.head, chain.chain_id)
    assert again._machine.state.content() == chain._machine.state.content()
    assert len(node.journal.snapshots.stored) == 2


async def test_start__chain_id__has_48_bits_and_stays(node):
    assert node.chain.chain_id == 0x810203040506
    assert (await node.restart()).chain_id == node.chain.chain_id


async def test_start__while_another_process_has_the_chain__is_refused(node):
    with pytest.raises(Refused, match="another process"):
        await node.start()


async def test_lease__lost_while_the_database_was_away__nothing_is_sent_until_it_is_back(node):
    account = node.account()
    faults = node.journal.faults
    faults.at, faults.error = len(faults.calls) + 2, Unavailable("gone")
    raw = account.creation(COUNTER)
    with pytest.raises(Unavailable):
        await node.chain.send_raw(raw)
    ours = node.leases.pop()
    other = MemoryLease(node.leases)
    await other.acquire()
    with pytest.raises(Refused, match="another process"):
        await node.chain.send_raw(raw)
    await other.release()
    await node.chain.send_raw(raw)
    assert node.leases == [ours]


async def test_close__lets_another_process_have_it(node):
    await node.chain.close()
    await node.start()


def _raw_of_another(node: Node) -> bytes:
    return Account(KEY, node.chain.chain_id, 2).transaction(b"\x09" * 20)


TAMPERINGS: list[tuple[str, Callable]] = [
    ("output", lambda t, node: replace(t, receipt=replace(t.receipt, output=b"x"))),
    ("gas", lambda t, node: replace(t, receipt=replace(t.receipt, gas_used=1))),
    ("logs", lambda t, node: replace(t, receipt=replace(t.receipt, logs=()))),
    ("state digest", lambda t, node: replace(t, state_digest=b"\0" * 32)),
    ("digest", lambda t, node: replace(t, receipt=replace(t.receipt, digest=b"\0" * 32))),
    ("raw", lambda t, node: replace(t, raw=_raw_of_another(node))),
    ("raw that is none", lambda t, node: replace(t, raw=b"\2")),
    (
        "time",
        lambda t, node: replace(
            t, receipt=replace(t.receipt, block=replace(t.receipt.block, time=1))
        ),
    ),
]


@pytest.mark.parametrize(("what", "tamper"), TAMPERINGS, ids=[name for name, _ in TAMPERINGS])
async def test_start__a_stored_transaction_was_changed__is_refused_naming_it(node, what, tamper):
    await run_some(node, 3)
    node.journal.stored[2] = tamper(node.journal.stored[2], node)
    with pytest.raises(Refused, match=r"transaction 3 of the chain's journal"):
        await node.restart()


async def test_start__the_last_transactions_are_gone__is_refused_by_what_the_log_says(node):
    await run_some(node, 3)
    del node.journal.stored[-2:]
    with pytest.raises(Refused, match="the log says that the chain has 8 transactions"):
        await node.restart()


async def test_start__snapshot_was_changed__is_refused():
    node = Node(interval=5)
    await node.start()
    await run_some(node, 3)
    (snapshot, *_) = node.journal.snapshots.stored
    node.journal.snapshots.stored = [replace(snapshot, content=snapshot.content + b"\0")]
    with pytest.raises(Refused, match="damaged"):
        await node.restart()


async def test_start__snapshot_of_another_journal__is_refused():
    node = Node(interval=5)
    await node.start()
    await run_some(node, 3)
    (snapshot, *_) = node.journal.snapshots.stored
    head = replace(snapshot.head, digest=b"\1" * 32)
    node.journal.snapshots.stored = [replace(snapshot, head=head)]
    with pytest.raises(Refused, match="another journal"):
        await node.restart()


# Reading ---------------------------------------------------------------------------------------


async def test_call__sees_now_and_changes_nothing(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    here = await deploy(node.chain, account, SURROUNDINGS)
    node.clock.time += timedelta(hours=1)
    assert await node.chain.call(counter, b"") == word(1)
    assert await node.chain.call(counter, b"") == word(1)
    answer = await node.chain.call(here, b"", b"\x33" * 20)
    words = [int.from_bytes(answer[n : n + 32]) for n in range(0, 256, 32)]
    caller = int.from_bytes(b"\x33" * 20)
    assert words == [int(NOW.timestamp()) + 3600, 3, node.chain.chain_id, 0, caller, 0, 0, 0]


async def test_call__refused_by_the_contract__raises_what_it_said(node):
    refuser = await deploy(node.chain, node.account(), REFUSER)
    with pytest.raises(Reverted) as caught:
        await node.chain.call(refuser, b"")
    assert caught.value.data == word(0xBAD)


async def test_call__refused_in_words__says_them(node):
    said = "CHARGE FIRST"
    code = assemble(
        f"0x08c379a0{'00' * 28} 0 MSTORE 32 4 MSTORE {len(said)} 36 MSTORE"
        f" 0x{said.encode().ljust(32, bytes(1)).hex()} 68 MSTORE 100 0 REVERT"
    )
    refuser = await deploy(node.chain, node.account(), code)
    with pytest.raises(Reverted, match="execution reverted: CHARGE FIRST"):
        await node.chain.call(refuser, b"")


async def test_send__too_many_wait__is_refused_for_now(node):
    account = node.account()
    async with node.chain.sending():
        waiting = [
            asyncio.create_task(node.chain.send_raw(account.transaction(b"\x22" * 20)))
            for _ in range(WAITING_MAX)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await node.chain.send_raw(account.transaction(b"\x22" * 20))
    await asyncio.gather(*waiting)
    assert await node.chain.nonce(KEY.address) == WAITING_MAX


async def test_call__halts__raises_without_data(node):
    endless = await deploy(node.chain, node.account(), ENDLESS)
    with pytest.raises(Reverted, match="halted") as caught:
        await node.chain.call(endless, b"")
    assert caught.value.data == b""


async def test_call__with_value__is_refused(node):
    with pytest.raises(BadTransaction, match="insufficient funds"):
        await node.chain.try_call(CallRequest(b"\x22" * 20, value=1))


async def test_call__as_a_contract__is_refused(node):
    counter = await deploy(node.chain, node.account(), COUNTER)
    with pytest.raises(BadTransaction, match="EIP-3607"):
        await node.chain.try_call(CallRequest(counter, sender=counter))


async def test_estimate__is_enough_and_close(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    gas = await node.chain.estimate_gas(CallRequest(counter, b"", KEY.address))
    receipt = await node.chain.receipt(
        await node.chain.send_raw(account.transaction(counter, gas=gas))
    )
    assert receipt.succeeded
    assert gas <= receipt.gas_used * 65 // 64


async def test_estimate__of_what_gives_gas_back__is_enough(node):
    account = node.account()
    keeper = await deploy(node.chain, account, KEEPER)
    await node.chain.send_raw(account.transaction(keeper, word(1) + word(5)))
    clearing = word(1) + word(0)
    gas = await node.chain.estimate_gas(CallRequest(keeper, clearing, KEY.address))
    raw = account.transaction(keeper, clearing, gas=gas)
    receipt = await node.chain.receipt(await node.chain.send_raw(raw))
    assert receipt.succeeded
    assert receipt.gas_used < gas


async def test_logs__by_block_address_and_topic(node):
    account = node.account()
    first = await deploy(node.chain, account, COUNTER)
    second = await deploy(node.chain, account, COUNTER)
    for counter in (first, second, first):
        await node.chain.send_raw(account.transaction(counter))
    found = await node.chain.logs(LogFilter(0, 99, frozenset({first})))
    assert [(f.block.number, f.log_index, f.log.data) for f in found] == [
        (3, 0, word(1)),
        (5, 0, word(2)),
    ]
    assert found[0].block_hash == await node.chain.block_digest(3)
    assert len(await node.chain.logs(LogFilter(4, 5))) == 2
    assert len(await node.chain.logs(LogFilter(0, 9, topics=(frozenset({word(0xAA)}),)))) == 3
    assert not await node.chain.logs(LogFilter(0, 9, topics=(frozenset({word(1)}),)))
    assert not await node.chain.logs(LogFilter(0, 9, topics=(None, None)))
    with pytest.raises(InvalidInput, match="more than 2 logs"):
        await node.chain.logs(LogFilter(0, 9, limit=2))


async def test_block__by_number__and_none_beyond_the_head(node):
    raw = node.account().creation(COUNTER)
    await node.chain.send_raw(raw)
    executed = await node.chain.block(1)
    assert executed.request.raw == raw
    assert await node.chain.transaction(parse(raw).hash) == executed
    assert await node.chain.block(0) is None
    assert await node.chain.block(2) is None
    assert await node.chain.block_digest(2) is None
    assert await node.chain.transaction(b"\0" * 32) is None
    assert await node.chain.receipt(b"\0" * 32) is None


# What others see meanwhile ---------------------------------------------------------------------


async def test_read__while_a_commit_is_under_way__sees_nothing_of_it(node):
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    async with node.chain.sending() as sending:
        sending.send(account.transaction(counter))
        assert await node.chain.storage(counter, 0) == 1  # whoever writes it sees it
        assert node.chain.head.count == 1
        others = [
            asyncio.create_task(read)
            for read in (
                node.chain.storage(counter, 0),
                node.chain.nonce(KEY.address),
                node.chain.call(counter, b""),
            )
        ]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in others)
    assert await asyncio.gather(*others) == [0, 1, word(1)]


async def test_sending__after_its_commit__takes_no_more(node):
    account = node.account()
    async with node.chain.sending() as sending:
        sending.send(account.creation(COUNTER))
        await sending.commit()
        with pytest.raises(AssertionError):
            sending.send(account.creation(COUNTER))
    assert node.chain.head.count == 1


async def test_journal__its_digests_are_those_that_the_reference_says(node):
    """As docs/reference/chain.md has it, with nothing but SHA-256 and integers."""
    account = node.account()
    counter = await deploy(node.chain, account, COUNTER)
    await node.chain.send_raw(account.transaction(counter))

    def n(value: int, size: int) -> bytes:
        return value.to_bytes(size, "big")

    def h(*parts: bytes) -> bytes:
        return sha256(b"".join(parts)).digest()

    chain_id, at = n(node.chain.chain_id, 8), n(int(NOW.timestamp()), 8)
    state_line, journal_line = b"chargera.chain-state/1\n", b"chargera.chain-journal/1\n"
    state, journal = h(state_line, chain_id), h(journal_line, chain_id)
    made, called = node.journal.stored
    sender = KEY.address + n(1, 8) + n(0, 4)
    contract = counter + n(1, 8) + n(len(COUNTER), 4) + COUNTER
    accounts = b"".join(sorted([sender, contract]))
    state = h(state_line, state, n(2, 4), accounts, n(0, 4))
    outcome = n(1, 8) + at + b"\1" + n(made.receipt.gas_used, 8) + n(20, 1) + counter
    outcome += n(0, 4) + n(0, 4)
    journal = h(journal_line, journal, h(made.raw), state, outcome)
    assert (made.state_digest, made.receipt.digest) == (state, journal)
    words = counter + n(1, 4) + word(0) + word(1)
    state = h(state_line, state, n(1, 4), KEY.address + n(2, 8) + n(0, 4), n(1, 4), words)
    outcome = n(2, 8) + at + b"\1" + n(called.receipt.gas_used, 8) + n(0, 1)
    outcome += n(32, 4) + word(1) + n(1, 4) + counter + n(1, 1) + word(0xAA) + n(32, 4) + word(1)
    journal = h(journal_line, journal, h(called.raw), state, outcome)
    assert (called.state_digest, called.receipt.digest) == (state, journal)
