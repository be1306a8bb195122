"""Contracts by EthereumTransaction and by HAPI, and what the mirror says of their runs."""

import pytest
from eth_account import Account as EthAccount
from hiero_sdk_python import (
    AccountId,
    ContractBytecodeQuery,
    ContractCallQuery,
    ContractCreateTransaction,
    ContractExecuteTransaction,
    ContractId,
    ContractInfoQuery,
    EthereumTransaction,
    FileAppendTransaction,
    FileCreateTransaction,
    Hbar,
    ResponseCode,
    TransactionRecordQuery,
    TransferTransaction,
)
from hiero_sdk_python.crypto.evm_address import EvmAddress
from hiero_sdk_python.exceptions import PrecheckError

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.transaction import sign
from chargera.proofs.chain_values import address_text
from chargera.proofs.keccak import keccak256
from tests.evm_contracts import (
    COUNTER,
    ENDLESS,
    FACTORY,
    REFUSER,
    SURROUNDINGS,
    Account,
    init_code,
    word,
)
from tests.integration.hedera.conftest import at_emulated_time

GAS_PRICE = 71
WEIBARS = 10**10
ALLOWANCE = Hbar(20).to_tinybars()


@pytest.fixture
def account(emulator):
    return Account(ChainKey(bytes.fromhex(emulator.operator_key_hex)), emulator.chain_id)


def ethereum(client, raw: bytes, allowance: int = ALLOWANCE):
    transaction = EthereumTransaction().set_ethereum_data(raw).set_max_gas_allowed(allowance)
    return transaction.execute(client)


def deploy(client, mirror, account, runtime: bytes) -> bytes:
    """Deploy code by EthereumTransaction and return its address."""
    receipt = ethereum(client, account.creation(runtime))
    assert receipt.status == ResponseCode.SUCCESS
    return bytes.fromhex(mirror.get(f"/contracts/{receipt.contract_id}")["evm_address"][2:])


def precheck(client, raw: bytes) -> str:
    with pytest.raises(PrecheckError) as caught:
        ethereum(client, raw)
    return ResponseCode(caught.value.status).name


def test_a_contract_is_deployed_called_and_read_by_mirror_alone(client, mirror, account):
    address = deploy(client, mirror, account, COUNTER)
    document = mirror.get(f"/contracts/0x{address.hex()}")
    assert document["runtime_bytecode"] == f"0x{COUNTER.hex()}"
    assert document["bytecode"] == f"0x{init_code(COUNTER).hex()}"
    raw = account.transaction(address)
    assert ethereum(client, raw).status == ResponseCode.SUCCESS
    call = {"to": f"0x{address.hex()}", "data": "0x"}
    assert int(mirror.post("/contracts/call", call)["result"], 16) == 2  # tried, not kept
    assert int(mirror.post("/contracts/call", call)["result"], 16) == 2
    result = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")
    assert (result["result"], result["status"], result["nonce"]) == ("SUCCESS", "0x1", 1)
    assert result["from"] == f"0x{account.address.hex()}"
    assert int(result["call_result"], 16) == 1
    assert [log["topics"] for log in result["logs"]] == [[f"0x{word(0xAA).hex()}"]]
    assert mirror.get(f"/accounts/0x{account.address.hex()}")["ethereum_nonce"] == 2


def test_the_relayer_pays_the_gas_of_a_sender_who_offers_nothing(client, mirror, account):
    address = deploy(client, mirror, account, COUNTER)
    raw = account.transaction(address, gas=100_000)
    needed = 100_000 * GAS_PRICE
    assert ethereum(client, raw, needed - 1).status == ResponseCode.INSUFFICIENT_TX_FEE
    receipt = ethereum(client, raw, needed)  # the nonce is still free
    assert receipt.status == ResponseCode.SUCCESS
    record = TransactionRecordQuery(receipt.transaction_id).execute(client)
    gas_used = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")["gas_used"]
    assert record.transaction_fee == gas_used * GAS_PRICE  # what is not used is not charged


def test_a_sender_who_offers_the_price_pays_the_gas(client, mirror, account, emulator):
    key = ChainKey(b"\x07" * 32)
    fund(client, key.address, Hbar(10))
    before = mirror.get(f"/accounts/0x{key.address.hex()}")["balance"]["balance"]
    raw = sign(
        key,
        chain_id=emulator.chain_id,
        nonce=0,
        to=None,
        data=init_code(COUNTER),
        gas_limit=200_000,
        max_fee=GAS_PRICE * WEIBARS,
    )
    receipt = ethereum(client, raw, 0)
    assert receipt.status == ResponseCode.SUCCESS
    assert TransactionRecordQuery(receipt.transaction_id).execute(client).transaction_fee == 0
    document = mirror.get(f"/accounts/0x{key.address.hex()}")
    result = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")
    assert before - document["balance"]["balance"] == result["gas_used"] * GAS_PRICE
    assert document["key"]["_type"] == "ECDSA_SECP256K1"  # what it signed has completed it


def test_the_sender_of_an_ethereum_transaction_must_be_an_account(client, emulator):
    stranger = Account(ChainKey(b"\x08" * 32), emulator.chain_id)
    raw = stranger.creation(COUNTER)
    assert ethereum(client, raw).status == ResponseCode.INVALID_ACCOUNT_ID
    fund(client, stranger.address, Hbar(1))
    assert ethereum(client, raw).status == ResponseCode.SUCCESS


def test_nonce_and_chain_of_the_sender_are_checked(client, mirror, account):
    raw = account.creation(COUNTER)
    assert ethereum(client, raw).status == ResponseCode.SUCCESS
    assert ethereum(client, raw).status == ResponseCode.WRONG_NONCE
    foreign = Account(account.key, 295, nonce=1)
    assert ethereum(client, foreign.creation(COUNTER)).status == ResponseCode.WRONG_CHAIN_ID


def test_a_refusal_of_a_contract_costs_gas_and_its_error_is_told(client, mirror, account):
    address = deploy(client, mirror, account, REFUSER)
    raw = account.transaction(address)
    receipt = ethereum(client, raw)
    assert receipt.status == ResponseCode.CONTRACT_REVERT_EXECUTED
    result = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")
    assert (result["result"], result["status"]) == ("CONTRACT_REVERT_EXECUTED", "0x0")
    assert result["error_message"] == f"0x{word(0xBAD).hex()}"
    assert mirror.get(f"/accounts/0x{account.address.hex()}")["ethereum_nonce"] == 2
    for estimate in (False, True):
        call = {"to": f"0x{address.hex()}", "data": "0x", "estimate": estimate}
        said = mirror.post("/contracts/call", call, status=400)["_status"]["messages"][0]
        assert said["message"] == "CONTRACT_REVERT_EXECUTED"
        assert said["data"] == f"0x{word(0xBAD).hex()}"


def test_the_words_of_a_reverted_call_are_its_detail(client, mirror, account):
    error = bytes.fromhex("08c379a0") + word(32) + word(3) + b"no!".ljust(32, b"\0")
    head = bytes.fromhex("6064600c60003960646000fd")  # CODECOPY 100 bytes behind it, REVERT
    address = deploy(client, mirror, account, head + error)
    call = {"to": f"0x{address.hex()}"}
    said = mirror.post("/contracts/call", call, status=400)["_status"]["messages"][0]
    assert (said["detail"], said["data"]) == ("no!", f"0x{error.hex()}")


def test_running_out_of_gas_is_told_by_name(client, mirror, account):
    address = deploy(client, mirror, account, ENDLESS)
    assert ethereum(client, account.transaction(address)).status == ResponseCode.INSUFFICIENT_GAS


def test_estimated_gas_suffices_and_less_does_not(client, mirror, account):
    address = deploy(client, mirror, account, COUNTER)
    call = {"to": f"0x{address.hex()}", "from": f"0x{account.address.hex()}", "estimate": True}
    gas = int(mirror.post("/contracts/call", call)["result"], 16)
    short = account.transaction(address, gas=gas - gas // 32)
    assert ethereum(client, short).status == ResponseCode.INSUFFICIENT_GAS
    assert ethereum(client, account.transaction(address, gas=gas)).status == ResponseCode.SUCCESS


def test_calldata_and_gas_have_the_limits_of_the_network(client, mirror, account):
    address = deploy(client, mirror, account, COUNTER)
    assert precheck(client, account.transaction(None, bytes(24_577), gas=2_000_000)) == (
        "TRANSACTION_OVERSIZE"
    )
    account.next_nonce -= 1
    assert precheck(client, account.transaction(address, bytes(131_073))) == "TRANSACTION_OVERSIZE"
    account.next_nonce -= 1
    assert precheck(client, account.transaction(address, gas=15_000_001)) == (
        "MAX_GAS_LIMIT_EXCEEDED"
    )
    account.next_nonce -= 1
    assert precheck(client, account.transaction(address, gas=20_999)) == "INSUFFICIENT_GAS"
    account.next_nonce -= 1
    jumbo = account.transaction(address, bytes(100_000))
    assert ethereum(client, jumbo).status == ResponseCode.SUCCESS


def test_what_is_no_transaction_of_ethereum_is_refused(client):
    assert precheck(client, b"\x02\xc0") == "INVALID_ETHEREUM_TRANSACTION"


def test_each_run_sees_the_second_of_its_consensus(client, mirror, account, emulator):
    address = deploy(client, mirror, account, SURROUNDINGS)
    emulator.clock.advance(86_400)
    raw = account.transaction(address)
    transaction = EthereumTransaction().set_ethereum_data(raw).set_max_gas_allowed(ALLOWANCE)
    at_emulated_time(emulator, transaction).execute(client)
    result = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")
    time, number, chain_id, *_ = (
        int(result["call_result"][2 + place : 66 + place], 16) for place in range(0, 512, 64)
    )
    assert time == int(result["timestamp"].partition(".")[0])
    assert number == result["block_number"] == mirror.get(f"/blocks/{number}")["number"]
    assert chain_id == 298
    block = mirror.get(f"/blocks/{number}")
    assert block["timestamp"]["from"] <= result["timestamp"] <= block["timestamp"]["to"]


def test_contracts_that_contracts_make_are_known_by_number_and_address(client, mirror, account):
    address = deploy(client, mirror, account, FACTORY)
    raw = account.transaction(address, init_code(COUNTER))
    ethereum(client, raw)
    result = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")
    (made,) = result["created_contract_ids"]
    document = mirror.get(f"/contracts/{made}")
    assert document["runtime_bytecode"] == f"0x{COUNTER.hex()}"
    assert result["call_result"].endswith(document["evm_address"][2:])


def test_logs_are_paged_and_searched_within_a_stretch_of_time(client, mirror, account, emulator):
    counters = [deploy(client, mirror, account, COUNTER) for _ in range(2)]
    for address in (*counters, *counters):
        ethereum(client, account.transaction(address))
    page = mirror.get("/contracts/results/logs", limit=3, order="asc")
    seen = page["logs"]
    while page["links"]["next"] is not None:
        page = mirror.get(page["links"]["next"])
        seen += page["logs"]
    assert [log["address"] for log in seen] == [f"0x{a.hex()}" for a in (*counters, *counters)]
    one = mirror.get(f"/contracts/0x{counters[0].hex()}/results/logs")["logs"]
    assert [int(log["data"], 16) for log in one] == [2, 1]  # newest first
    topic = {"topic0": f"0x{word(0xAA).hex()}"}
    refusal = mirror.get("/contracts/results/logs", status=400, **topic)
    assert "timestamp range" in refusal["_status"]["messages"][0]["message"]
    now = emulator.clock.now_ns() // 10**9 + 1
    within = {"timestamp": [f"gte:{now - 3600}", f"lte:{now}"]}
    assert len(mirror.get("/contracts/results/logs", **topic, **within)["logs"]) == 4
    other = {"topic0": f"0x{word(0xAB).hex()}"}
    assert mirror.get("/contracts/results/logs", **other, **within)["logs"] == []
    too_long = {"timestamp": [f"gte:{now - 8 * 86_400}", f"lte:{now}"]}
    mirror.get("/contracts/results/logs", status=400, **topic, **too_long)
    mirror.get("/contracts/results/logs", status=400, index="gt:1")


def test_hapi_creates_and_calls_too_of_files_if_need_be(client, mirror, account):
    code = init_code(COUNTER).hex().encode()
    create = FileCreateTransaction().set_contents(code[:20])
    create.set_keys([client.operator.public_key])
    file_id = create.execute(client).file_id
    append = FileAppendTransaction(file_id=file_id, contents=code[20:])
    assert append.execute(client).status == ResponseCode.SUCCESS
    create = ContractCreateTransaction().set_bytecode_file_id(file_id).set_gas(200_000)
    receipt = create.set_contract_memo("counter").execute(client)
    assert receipt.status == ResponseCode.SUCCESS
    call = ContractExecuteTransaction(contract_id=receipt.contract_id, gas=100_000)
    assert call.execute(client).status == ResponseCode.SUCCESS
    local = ContractCallQuery(contract_id=receipt.contract_id, gas=100_000)
    local.set_function("anything")
    assert int.from_bytes(local.execute(client).contract_call_result) == 2
    info = ContractInfoQuery(contract_id=receipt.contract_id).execute(client)
    assert info.contract_memo == "counter"
    code = ContractBytecodeQuery(contract_id=receipt.contract_id).execute(client)
    assert code == COUNTER
    nowhere = ContractExecuteTransaction(contract_id=ContractId.from_string("0.0.4"), gas=50_000)
    assert nowhere.execute(client).status == ResponseCode.INVALID_CONTRACT_ID


def fund(client, address: bytes, amount: Hbar) -> None:
    """Make an account of an address by a transfer."""
    payer = client.operator_account_id
    alias = AccountId(evm_address=EvmAddress.from_bytes(address))
    transfer = TransferTransaction().add_hbar_transfer(payer, -amount.to_tinybars())
    transfer.add_hbar_transfer(alias, amount.to_tinybars())
    assert transfer.execute(client).status == ResponseCode.SUCCESS


def test_a_call_may_be_tried_as_anybody(client, mirror, account):
    address = deploy(client, mirror, account, SURROUNDINGS)
    call = {"to": f"0x{address.hex()}", "from": f"0x{(77).to_bytes(20).hex()}"}
    result = mirror.post("/contracts/call", call)["result"]
    assert int(result[2 + 4 * 64 : 66 + 4 * 64], 16) == 77
    # A contract as well, and one that is named by its number.
    number = int(mirror.get(f"/contracts/0x{address.hex()}")["contract_id"].rpartition(".")[2])
    call = {"to": f"0x{number.to_bytes(20).hex()}", "from": f"0x{address.hex()}"}
    result = mirror.post("/contracts/call", call)["result"]
    assert result[2 + 4 * 64 : 66 + 4 * 64] == word(address).hex()


def test_hbar_goes_to_accounts_and_never_to_contracts(client, mirror, account, emulator):
    def sent(to: bytes, tinybars: int):
        signed = EthAccount.sign_transaction(
            {
                "type": 2,
                "chainId": emulator.chain_id,
                "nonce": account.next_nonce,
                "to": address_text(to),
                "value": tinybars * WEIBARS,
                "gas": 100_000,
                "maxFeePerGas": 0,
                "maxPriorityFeePerGas": 0,
            },
            emulator.operator_key_hex,
        )
        return ethereum(client, bytes(signed.raw_transaction)).status

    contract = deploy(client, mirror, account, COUNTER)
    assert sent(contract, 5) == ResponseCode.NOT_SUPPORTED
    assert sent(b"\x55" * 20, 123_456) == ResponseCode.SUCCESS
    account.next_nonce += 1
    made = mirror.get(f"/accounts/0x{'55' * 20}")
    assert made["balance"]["balance"] == 123_456
    assert sent(b"\x55" * 20, 10**13) == ResponseCode.INSUFFICIENT_PAYER_BALANCE
