"""The chain of a real server, over HTTP: web3.py works with it, and kill -9 loses nothing of it."""

import random
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest
from eth_account import Account as Web3Account
from web3 import Web3
from web3.exceptions import ContractCustomError, Web3RPCError

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.transaction import parse
from tests.evm_contracts import COUNTER, REFUSER, Account, init_code, word
from tests.server import ServerProcess, data_folder

KEY = ChainKey(b"\x07" * 32)
NODE_SETTINGS = {"CHAIN_SNAPSHOT_INTERVAL": 40}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with data_folder() as folder, ServerProcess(folder) as running:
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
    """Sends without pause, each transaction again until it is acknowledged."""

    def __init__(self, url: str, chain_id: int, counter: bytes, nonce: int) -> None:
        self.url = url
        self.account = Account(KEY, chain_id, nonce)
        self.counter = counter
        self.acknowledged: list[bytes] = []
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with httpx2.Client(timeout=10) as client:
            while not self.stopped.is_set():
                raw = self.account.transaction(self.counter)
                while not self._is_acknowledged(client, raw):
                    if self.stopped.is_set():
                        return
                    time.sleep(0.02)
                self.acknowledged.append(parse(raw).hash)

    def _is_acknowledged(self, client: httpx2.Client, raw: bytes) -> bool:
        try:
            answer = rpc(client, self.url, "eth_sendRawTransaction", f"0x{raw.hex()}")
        except (httpx2.HTTPError, ValueError):
            return False
        return answer == f"0x{parse(raw).hash.hex()}"


def rpc(client: httpx2.Client, url: str, method: str, *parameters):
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
    return client.post(f"{url}/rpc", json=call).json().get("result")


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.long)])
def test_kill_while_transactions_are_sent__none_acknowledged_is_lost_or_done_twice(kills):
    chance = random.Random(kills)
    with data_folder() as folder:
        server = ServerProcess(folder, settings=NODE_SETTINGS)
        server.start()
        try:
            ordeal(server, kills, chance)
        finally:
            server.discard()


def ordeal(server: ServerProcess, kills: int, chance: random.Random) -> None:
    acknowledged: list[bytes] = []
    with httpx2.Client(timeout=10) as client:
        url = server.ready["http"]
        chain_id = int(rpc(client, url, "eth_chainId"), 16)
        creation = Account(KEY, chain_id).creation(COUNTER)
        made = rpc(client, url, "eth_sendRawTransaction", f"0x{creation.hex()}")
        receipt = rpc(client, url, "eth_getTransactionReceipt", made)
        counter = bytes.fromhex(receipt["contractAddress"][2:])
        for _ in range(kills):
            nonce = int(rpc(client, url, "eth_getTransactionCount", text(KEY.address)), 16)
            with Sender(url, chain_id, counter, nonce) as sender:
                time.sleep(0.3 + chance.random())
                server.kill(database_first=chance.random() < 0.5)
            acknowledged += sender.acknowledged
            server.start()  # computes the journal again, and refuses to start on a difference
            url = server.ready["http"]
        check(client, url, counter, acknowledged)


def check(client: httpx2.Client, url: str, counter: bytes, acknowledged: list[bytes]) -> None:
    assert len(acknowledged) > 20
    for transaction_hash in acknowledged:
        receipt = rpc(client, url, "eth_getTransactionReceipt", text(transaction_hash))
        assert receipt["status"] == "0x1"
    count = int(rpc(client, url, "eth_call", {"to": text(counter)}, "latest"), 16) - 1
    nonce = int(rpc(client, url, "eth_getTransactionCount", text(KEY.address)), 16)
    assert count == nonce - 1 == int(rpc(client, url, "eth_blockNumber"), 16) - 1
    assert count >= len(acknowledged)


def text(value: bytes) -> str:
    return f"0x{value.hex()}"
