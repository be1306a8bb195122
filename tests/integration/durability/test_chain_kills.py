"""The chain of a real server, over HTTP: web3.py works with it, and kill -9 loses nothing of it."""

import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime

import httpx2
import pytest
from eth_account import Account as Web3Account
from web3 import Web3
from web3.exceptions import ContractCustomError, Web3RPCError

from chargera.ledger.abi import interface
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.transaction import parse
from chargera.proofs.chain_values import address_text, operator_word
from tests.evm_contracts import COUNTER, REFUSER, Account, init_code, word
from tests.server import ServerProcess, data_folder
from tests.settlement_workload import AMOUNT, DEPOSIT, GATEWAY, KEEPER, OPERATOR_ID, Workload

KEY = ChainKey(b"\x07" * 32)
NODE_SETTINGS = {"CHAIN_SNAPSHOT_INTERVAL": 40}
BATCHES_A_KILL, LEAVES = 4, 4


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with data_folder() as folder, ServerProcess(folder, settings=NODE_SETTINGS) as running:
        yield running


def test_web3__makes_a_contract_calls_it_and_reads_its_logs(server):
    web3 = Web3(Web3.HTTPProvider(f"{server.ready['http']}/rpc"))
    assert web3.is_connected()
    account = Web3Account.create()
    assert web3.eth.chain_id.bit_length() == 48
    made = send(web3, account, {"data": init_code(COUNTER)})
    counter = made["contractAddress"]
    assert web3.eth.get_code(counter) == COUNTER
    receipt = send(web3, account, {"to": counter})
    assert (receipt["status"], receipt["type"], receipt["effectiveGasPrice"]) == (1, 2, 0)
    (log,) = web3.eth.get_logs({"address": counter, "fromBlock": 0})
    assert log == receipt["logs"][0]
    assert web3.eth.call({"to": counter}) == word(2)
    block = web3.eth.get_block("latest", full_transactions=True)
    assert block["hash"] == receipt["blockHash"]
    assert block["baseFeePerGas"] == 0
    assert block["transactions"][0]["hash"] == receipt["transactionHash"]
    assert web3.eth.get_transaction(receipt["transactionHash"])["from"] == account.address
    assert web3.eth.fee_history(2, "latest", [50])["reward"] == [[0], [0]]
    assert web3.eth.get_balance(account.address) == 0
    assert web3.eth.get_transaction_count(account.address) == 2


def test_web3__contract_refuses__its_error_comes_through(server):
    web3 = Web3(Web3.HTTPProvider(f"{server.ready['http']}/rpc"))
    refuser = send(web3, Web3Account.create(), {"data": init_code(REFUSER)})["contractAddress"]
    with pytest.raises(ContractCustomError) as caught:
        web3.eth.call({"to": refuser})
    assert caught.value.data == "0x" + word(0xBAD).hex()
    raw = Account(KEY, web3.eth.chain_id, 5).transaction(b"\x01" * 20)
    with pytest.raises(Web3RPCError, match="nonce too high"):
        web3.eth.send_raw_transaction(raw)


def send(web3: Web3, account, fields: dict) -> dict:
    """Let web3.py fill in what is missing, sign and wait, as scripts do."""
    transaction = {
        "chainId": web3.eth.chain_id,
        "from": account.address,
        "nonce": web3.eth.get_transaction_count(account.address),
        "maxFeePerGas": web3.eth.gas_price,
        "maxPriorityFeePerGas": web3.eth.max_priority_fee,
        "type": 2,
        "value": 0,
        **fields,
    }
    transaction["gas"] = web3.eth.estimate_gas(transaction)
    signed = account.sign_transaction(transaction)
    return web3.eth.wait_for_transaction_receipt(
        web3.eth.send_raw_transaction(signed.raw_transaction), poll_latency=0.01
    )


# kill -9 ---------------------------------------------------------------------------------------


class Sender:
    """Sends transactions in order, each again until it is acknowledged."""

    def __init__(self, url: str, waiting: deque[bytes]) -> None:
        self.url = url
        self.waiting = waiting
        self.acknowledged: list[bytes] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with httpx2.Client(timeout=10) as client:
            while self.waiting and not self._stopped.is_set():
                raw = self.waiting[0]
                try:
                    answer = rpc(client, self.url, "eth_sendRawTransaction", text(raw))
                except (httpx2.HTTPError, ValueError):
                    answer = None
                if answer == text(parse(raw).hash):
                    self.acknowledged.append(self.waiting.popleft())
                self._stopped.wait(0.01)


def rpc(client: httpx2.Client, url: str, method: str, *parameters):
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
    return client.post(f"{url}/rpc", json=call).json().get("result")


@pytest.mark.timeout(600)
# Ten kills at the steps of a settlement are in `test_keeper_kills`; these come at random.
@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.long)])
def test_kill_during_settlement__nothing_acknowledged_is_lost_and_nothing_paid_twice(kills):
    chance = random.Random(kills)
    with data_folder() as folder:
        server = ServerProcess(folder, "--clock", "manual", settings=NODE_SETTINGS)
        server.start()
        try:
            ordeal(server, kills, chance)
        finally:
            server.discard()


def ordeal(server: ServerProcess, kills: int, chance: random.Random) -> None:
    with httpx2.Client(timeout=30) as client:
        url = server.ready["http"]
        chain_id = int(rpc(client, url, "eth_chainId"), 16)
        start_s = int(time.time()) + 1_000
        batches = kills * BATCHES_A_KILL
        workload = Workload(chain_id, start_s, passports=5, batches=batches, leaves=LEAVES)
        clock = Clock(server)
        for part in (workload.setting_up, workload.proposing):
            for sent in part:
                clock.move_to(sent.time)
                done = rpc(client, url, "eth_sendRawTransaction", text(sent.raw))
                assert done == text(parse(sent.raw).hash)
        clock.move_to(workload.settled_s)
        waiting = deque(sent.raw for sent in workload.settling)
        acknowledged: list[bytes] = []
        for _ in range(kills):
            with Sender(server.ready["http"], waiting) as sender:
                time.sleep(0.1 + 0.4 * chance.random())
                server.kill(database_first=chance.random() < 0.5)
            acknowledged += sender.acknowledged
            server.start()  # computes the journal again, and refuses to start on a difference
        with Sender(server.ready["http"], waiting) as sender:
            while waiting:
                time.sleep(0.01)
        check(client, server.ready["http"], workload, acknowledged + sender.acknowledged)
        refuses_a_changed_journal(server)


def refuses_a_changed_journal(server: ServerProcess) -> None:
    with server.database() as connection:
        connection.execute(
            "update chain_transaction set gas_used = gas_used + 1"
            " where number = (select max(number) from chain_transaction)"
        )
    server.stop()
    server.launch()
    assert server.process.wait(60) == 1
    said = server.errors()
    assert "of the chain's journal does not give what was stored of it" in said
    assert "restore the database" in said


class Clock:
    """The server's manual clock."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._time_s = 0

    def move_to(self, time_s: int) -> None:
        if time_s == self._time_s:
            return
        self._time_s = time_s
        with self._server.client() as client:
            now = client.post("clock/advance", json={"seconds": 0}).json()["now"]
            ahead_s = time_s - datetime.fromisoformat(now).timestamp()
            if ahead_s > 0:
                client.post("clock/advance", json={"seconds": ahead_s}).raise_for_status()


def check(client: httpx2.Client, url: str, workload: Workload, acknowledged: list[bytes]) -> None:
    assert acknowledged == [sent.raw for sent in workload.settling]
    for raw in acknowledged:
        receipt = rpc(client, url, "eth_getTransactionReceipt", text(parse(raw).hash))
        assert receipt["status"] == "0x1"
    euro = workload.contracts["TestEuro"]
    free, locked = read(
        client, url, workload, "gatewayOf", GATEWAY.address_text, address_text(euro)
    )
    assert (free, locked) == (DEPOSIT - workload.sessions * AMOUNT, 0)
    lane = (operator_word(OPERATOR_ID), address_text(euro))
    words = [
        read(client, url, workload, "settledWord", *lane, word)
        for word in range(workload.sessions // 256 + 1)
    ]
    assert sum(word.bit_count() for word in words) == workload.sessions
    sent = [parse(raw).sender for raw in every(workload)]
    assert count_of(client, url, KEEPER.address) == sent.count(KEEPER.address)


def every(workload: Workload) -> list[bytes]:
    parts = (workload.setting_up, workload.proposing, workload.settling)
    return [sent.raw for part in parts for sent in part]


def count_of(client: httpx2.Client, url: str, address: bytes) -> int:
    return int(rpc(client, url, "eth_getTransactionCount", text(address)), 16)


def read(client: httpx2.Client, url: str, workload: Workload, name: str, *arguments):
    function = interface("SettlementHub").function(name)
    call = {
        "to": text(workload.contracts["SettlementHub"]),
        "data": text(function.encode(arguments)),
    }
    return function.decode(bytes.fromhex(rpc(client, url, "eth_call", call)[2:]))


def text(value: bytes) -> str:
    return f"0x{value.hex()}"
