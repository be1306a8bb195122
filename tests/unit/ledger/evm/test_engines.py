"""Two EVMs by different people, one history: equal receipts, equal gas, equal state (I24)."""

import pytest

from chargera.app.chain_ports import BadTransaction, Block, JournalledTransaction
from chargera.domain.errors import Unavailable
from chargera.ledger.evm.chain import engine_maker
from chargera.ledger.evm.engine import Account, Changes, Message, intrinsic_gas
from chargera.ledger.evm.machine import Machine
from chargera.ledger.evm.pyevm import PyEvmEngine
from chargera.ledger.evm.transaction import parse
from tests.evm_contracts import COUNTER, GUARDED, KEEPER, init_code, word
from tests.evm_histories import CHAIN_ID, KEYS, START_S, History, Sent
from tests.settlement_workload import Workload

pytest.importorskip("pyrevm")
from chargera.ledger.evm.revm import RevmEngine  # where it is installed

ENGINES = [RevmEngine, PyEvmEngine]
BLOCK = Block(1, 1_780_000_000)
SENDER = KEYS[0].address
PLACE = b"\x44" * 20


def outcome_of(machine: Machine, sent: Sent) -> JournalledTransaction | str:
    try:
        return machine.execute(parse(sent.raw), sent.time)
    except BadTransaction as error:
        return error.message


@pytest.mark.parametrize(
    "seed", [1, 2, 3, *(pytest.param(n, marks=pytest.mark.long) for n in range(4, 60))]
)
def test_history__is_the_same_on_both(seed):
    machines = [Machine(CHAIN_ID, engine) for engine in ENGINES]
    taken = 0
    for sent in History(seed).make(120):
        one, other = (outcome_of(machine, sent) for machine in machines)
        assert one == other
        taken += isinstance(one, JournalledTransaction)
    assert machines[0].head == machines[1].head
    assert machines[0].state.content() == machines[1].state.content()
    assert taken > 100


def test_settlement__by_the_shipped_contracts__is_the_same_on_both():
    workload = Workload(CHAIN_ID, START_S, passports=3, batches=2, leaves=6)
    machines = [Machine(CHAIN_ID, engine) for engine in ENGINES]
    for sent in (*workload.setting_up, *workload.proposing, *workload.settling):
        one, other = (machine.execute(parse(sent.raw), sent.time) for machine in machines)
        assert one == other
        assert one.receipt.succeeded
    assert machines[0].state.content() == machines[1].state.content()


def test_engine_maker__takes_the_one_that_is_asked_for():
    assert engine_maker("pyrevm") is RevmEngine
    assert engine_maker("py-evm") is PyEvmEngine
    assert engine_maker() is RevmEngine
    with pytest.raises(Unavailable, match="the EVM abacus is not installed"):
        engine_maker("abacus")


@pytest.fixture(params=ENGINES, ids=[engine.name for engine in ENGINES])
def engine(request):
    return request.param(CHAIN_ID)


def put(engine, code: bytes, words: dict[int, int] | None = None) -> None:
    engine.apply(Changes({PLACE: Account(1, code)}, {PLACE: words or {}}))


def test_run__changes_nothing_until_it_is_applied(engine):
    put(engine, COUNTER)
    for _ in range(2):
        outcome = engine.run(Message(SENDER, PLACE, b""), BLOCK)
        assert outcome.output == word(1)
        assert outcome.changes.storage == {PLACE: {0: 1}}
    engine.apply(outcome.changes)
    assert engine.run(Message(SENDER, PLACE, b""), BLOCK).output == word(2)


def test_run__many_words_of_one_contract__all_are_put(engine):
    words = {slot: slot + 7 for slot in range(300)}
    put(engine, KEEPER, words)
    for slot in (0, 150, 299):
        unchanged = engine.run(Message(SENDER, PLACE, word(slot) + word(slot + 7)), BLOCK)
        assert unchanged.changes.storage.get(PLACE, {}).get(slot, slot + 7) == slot + 7
        changed = engine.run(Message(SENDER, PLACE, word(slot) + word(9_999)), BLOCK)
        assert changed.changes.storage == {PLACE: {slot: 9_999}}


def test_run__transient_storage_does_not_outlive_it(engine):
    put(engine, GUARDED)
    for _ in range(3):
        assert engine.run(Message(SENDER, PLACE, b""), BLOCK).succeeded


def test_run__clearing_a_word__gives_gas_back(engine):
    """EIP-3529: 4,800 of 26,006 + calldata, below the cap of a fifth."""
    put(engine, KEEPER, {1: 5})
    data = word(1) + word(0)
    outcome = engine.run(Message(SENDER, PLACE, data), BLOCK)
    spent = intrinsic_gas(PLACE, data) + 5_000 + 4 * 3
    assert outcome.gas_used == spent - min(4_800, spent // 5)


def test_run__creation__makes_a_contract_with_nonce_1_and_code(engine):
    outcome = engine.run(Message(SENDER, None, init_code(COUNTER)), BLOCK)
    assert outcome.changes.accounts[outcome.created] == Account(1, COUNTER)
    assert outcome.output == b""


def test_run__ten_thousand_times__is_no_slower_and_no_bigger():
    """pyrevm's journal leaks; ours must not (its text is read after each run)."""
    engine = RevmEngine(CHAIN_ID)
    put(engine, COUNTER)
    for _ in range(10_000):
        engine.apply(engine.run(Message(SENDER, PLACE, b""), BLOCK).changes)
    assert len(engine._evm.journal_str) < 2_000
    assert engine.run(Message(SENDER, PLACE, b""), BLOCK).output == word(10_001)
