"""The embedded chain's engine and anvil take one random history alike; so do RPC and embedding."""

from collections.abc import Iterator

import pytest

from chargera.app.chain_ports import GAS_LIMIT, BadTransaction, LogFilter, Reverted
from chargera.ledger.evm.chain import engine_maker
from chargera.ledger.evm.deployment import deploy
from chargera.ledger.evm.machine import Machine
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.ledger.evm.transaction import parse
from tests.evm_contracts import COUNTER, REFUSER, Account, word
from tests.evm_histories import CHAIN_ID, KEYS, START_S, History
from tests.settlement_workload import DEPLOYER, Workload
from tests.tools.anvil import Anvil, anvil_program, running_anvil

LENGTH = 150


@pytest.fixture(scope="module")
def program() -> str:
    found = anvil_program()
    assert found, "anvil is missing: npm ci --prefix contracts"
    return found


@pytest.fixture
def anvil(program) -> Iterator[Anvil]:
    with running_anvil(program, CHAIN_ID, START_S) as node:
        yield node


@pytest.mark.parametrize("name", ["pyrevm", "py-evm"])
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_history__receipts_logs_and_storage_are_those_of_anvil(anvil, seed, name):
    machine = Machine(CHAIN_ID, engine_maker(name))
    taken = 0
    for sent in History(seed).make(LENGTH):
        anvil.ask("evm_setNextBlockTimestamp", sent.time)
        (theirs,) = anvil.batch([("eth_sendRawTransactionSync", [f"0x{sent.raw.hex()}"])])
        try:
            ours = machine.execute(parse(sent.raw), sent.time).receipt
        except BadTransaction:
            assert "error" in theirs
            continue
        taken += 1
        receipt = theirs["result"]
        assert receipt["transactionHash"] == text(ours.transaction_hash)
        assert int(receipt["status"], 16) == ours.succeeded
        assert int(receipt["gasUsed"], 16) == ours.gas_used
        assert int(receipt["blockNumber"], 16) == ours.block.number
        if ours.created is not None:
            assert receipt["contractAddress"] == text(ours.created)
        assert [(log["address"], log["topics"], log["data"]) for log in receipt["logs"]] == [
            (text(log.address), [text(topic) for topic in log.topics], text(log.data))
            for log in ours.logs
        ]
    assert taken > LENGTH // 2
    check_state(anvil, machine)


def check_state(anvil: Anvil, machine: Machine) -> None:
    content = machine.state.content()
    for address, account in content.accounts.items():
        where = text(address)
        code, nonce = anvil.batch(
            [("eth_getCode", [where, "latest"]), ("eth_getTransactionCount", [where, "latest"])]
        )
        assert code["result"] == text(account.code)
        assert int(nonce["result"], 16) == account.nonce
    for address, words in content.storage.items():
        calls = [("eth_getStorageAt", [text(address), hex(slot), "latest"]) for slot in words]
        found = [int(answer["result"], 16) for answer in anvil.batch(calls)]
        assert found == list(words.values())


async def test_rpc_chain__over_anvil__does_what_a_chain_does(anvil):
    async with RpcChain.connected(anvil.url) as chain:
        assert chain.chain_id == CHAIN_ID
        account = Account(KEYS[0], chain.chain_id)
        made = [
            (await chain.receipt(await chain.send_raw(account.creation(code)))).created
            for code in (COUNTER, REFUSER)
        ]
        sent = await chain.send_raw(account.transaction(made[0]))
        assert (await chain.receipt(sent)).succeeded
        assert await chain.send_raw(third_again(account, made[0])) == sent
        failed = await chain.receipt(await chain.send_raw(account.transaction(made[1])))
        assert (failed.succeeded, failed.output) == (False, word(0xBAD))
        assert await chain.call(made[0], b"") == word(2)
        with pytest.raises(Reverted) as caught:
            await chain.call(made[1], b"")
        assert caught.value.data == word(0xBAD)
        (found,) = await chain.logs(LogFilter(0, 2**62, frozenset({made[0]})))
        assert (found.log.data, found.transaction_hash) == (word(1), sent)
        assert await chain.nonce(KEYS[0].address) == 4
        with pytest.raises(BadTransaction):
            await chain.send_raw(Account(KEYS[0], 1, 4).transaction(made[0]))


async def test_deployment__over_rpc__stands_where_it_would_on_the_embedded_chain(anvil):
    plan = Workload(CHAIN_ID, START_S + 3_600, batches=1).plan
    async with RpcChain.connected(anvil.url) as chain:
        for place in range(3):  # then it was interrupted
            await chain.send_raw(plan.raw(place, DEPLOYER))
        receipts = await deploy(chain, plan, DEPLOYER)
        assert await deploy(chain, plan, DEPLOYER) == receipts
    assert all(receipt.gas_used <= GAS_LIMIT for receipt in receipts)
    machine = Machine(CHAIN_ID, engine_maker())
    for place, receipt in enumerate(receipts):  # the token remembers when it was made
        ours = machine.execute(parse(plan.raw(place, DEPLOYER)), receipt.block.time).receipt
        assert ours.gas_used == receipt.gas_used
    for address in plan.contracts.values():
        code = anvil.ask("eth_getCode", text(address), "latest")
        assert code == text(machine.state.account(address).code) != "0x"


def third_again(account: Account, to: bytes) -> bytes:
    """Return the third transaction of the account again."""
    return Account(account.key, account.chain_id, 2).transaction(to)


def text(value: bytes) -> str:
    return f"0x{value.hex()}"
