"""The mirror's answers have exactly the members of the real one's, and its lists are pages."""

import json
from pathlib import Path

import pytest
from hiero_sdk_python import (
    AccountId,
    EthereumTransaction,
    Hbar,
    ScheduleCreateTransaction,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
    TransferTransaction,
)

from chargera.ledger.chain_key import ChainKey
from chargera.proofs.keccak import keccak256
from tests.evm_contracts import COUNTER, Account

OPERATOR = AccountId.from_string("0.0.1001")
MEMBERS = {
    schema: set(names)
    for schema, names in json.loads(
        (Path(__file__).parents[2] / "vectors" / "hedera_mirror_members.json").read_text()
    )["members"].items()
}


@pytest.fixture
def network(emulator, client, mirror):
    """Something of everything; names what was made."""
    topic_id = TopicCreateTransaction().execute(client).topic_id
    message = TopicMessageSubmitTransaction(topic_id=topic_id, message="message")
    sent = message.execute(client, wait_for_receipt=False).transaction_id
    account = Account(ChainKey(bytes.fromhex(emulator.operator_key_hex)), emulator.chain_id)
    contract_id = ethereum(client, account.creation(COUNTER)).contract_id
    address = mirror.get(f"/contracts/{contract_id}")["evm_address"]
    raw = account.transaction(bytes.fromhex(address[2:]))
    ethereum(client, raw)
    transfer = TransferTransaction().add_hbar_transfer(AccountId.from_string("0.0.2"), -1)
    create = ScheduleCreateTransaction().set_scheduled_transaction(
        transfer.add_hbar_transfer(OPERATOR, 1)
    )
    schedule_id = create.execute(client).schedule_id
    start = sent.valid_start
    return {
        "topic": topic_id,
        "contract": contract_id,
        "hash": f"0x{keccak256(raw).hex()}",
        "schedule": schedule_id,
        "transaction": f"{OPERATOR}-{start.seconds}-{start.nanos:09}",
    }


def ethereum(client, raw: bytes):
    transaction = EthereumTransaction().set_ethereum_data(raw)
    return transaction.set_max_gas_allowed(Hbar(20).to_tinybars()).execute(client)


def test_members_are_those_of_the_real_mirror(network, mirror):
    topic, contract = network["topic"], network["contract"]
    account = mirror.get(f"/accounts/{OPERATOR}")
    result = mirror.get(f"/contracts/results/{network['hash']}")
    details = mirror.get(f"/transactions/{network['transaction']}")["transactions"][0]
    schedule = mirror.get(f"/schedules/{network['schedule']}")
    rates = mirror.get("/network/exchangerate")
    shown = {
        "Topic": mirror.get(f"/topics/{topic}"),
        "TopicMessage": mirror.get(f"/topics/{topic}/messages")["messages"][0],
        "Transaction": mirror.get("/transactions")["transactions"][0],
        "AccountInfo": mirror.get("/accounts")["accounts"][0],
        "AccountBalance": mirror.get("/balances")["balances"][0],
        "Balance": account["balance"],
        "ContractResponse": mirror.get(f"/contracts/{contract}"),
        "ContractResult": mirror.get(f"/contracts/{contract}/results")["results"][0],
        "ContractResultLog": result["logs"][0],
        "ContractLog": mirror.get("/contracts/results/logs")["logs"][0],
        "ContractResultStateChange": result["state_changes"][0],
        "Block": mirror.get("/blocks")["blocks"][0],
        "ExchangeRate": rates["next_rate"],
        "NetworkFee": mirror.get("/network/fees")["fees"][0],
        "NetworkNode": mirror.get("/network/nodes")["nodes"][0],
        "Schedule": schedule,
        "ScheduleSignature": schedule["signatures"][0],
    }
    assert {schema: set(document) for schema, document in shown.items()} == MEMBERS
    assert set(account) == MEMBERS["AccountInfo"] | {"links", "transactions"}
    assert set(result) == MEMBERS["ContractResult"] | {"logs", "state_changes"}
    assert set(details) == MEMBERS["Transaction"] | {"assessed_custom_fees"}


def test_a_run_is_found_by_its_transaction_id_too(network, mirror):
    result = mirror.get(f"/contracts/results/{network['hash']}")
    outer = next(
        row["transaction_id"]
        for row in mirror.get("/transactions", transactiontype="ETHEREUMTRANSACTION")[
            "transactions"
        ]
        if row["consensus_timestamp"] == result["timestamp"]
    )
    assert mirror.get(f"/contracts/results/{outer}") == result
    mirror.get(f"/contracts/results/{network['transaction']}", status=404)
    mirror.get(f"/contracts/results/0x{bytes(32).hex()}", status=404)
    mirror.get("/contracts/results/0x1234", status=400)


def all_rows(mirror, path: str, member: str, **query) -> list:
    page = mirror.get(path, **query)
    rows = page[member]
    while page["links"]["next"] is not None:
        page = mirror.get(page["links"]["next"])
        rows += page[member]
    return rows


@pytest.mark.parametrize(
    ("path", "member", "name"),
    [
        ("/accounts", "accounts", "account"),
        ("/balances", "balances", "account"),
        ("/transactions", "transactions", "consensus_timestamp"),
        ("/contracts/results", "results", "timestamp"),
        ("/schedules", "schedules", "schedule_id"),
        ("/blocks", "blocks", "number"),
    ],
)
def test_pages_of_one_are_together_the_whole_list(network, mirror, path, member, name):
    lists = []
    for order in ("asc", "desc"):
        whole = [row[name] for row in mirror.get(path, order=order)[member]]
        assert [row[name] for row in all_rows(mirror, path, member, order=order, limit=1)] == whole
        lists.append(whole)
    assert lists[0] == lists[1][::-1] != []


def test_accounts_are_found_by_key_and_id(mirror, operator):
    public_key = operator.public_key().to_bytes_raw().hex()
    found = mirror.get("/accounts", **{"account.publickey": public_key})["accounts"]
    assert [row["account"] for row in found] == [str(OPERATOR)]
    some = mirror.get("/accounts", **{"account.id": "gte:98"})["accounts"]
    assert [row["account"] for row in some] == ["0.0.98", str(OPERATOR)]


def test_the_money_of_a_transaction_adds_up_to_nothing(network, mirror):
    for row in mirror.get("/transactions")["transactions"]:
        assert sum(each["amount"] for each in row["transfers"]) == 0
        paid = sum(each["amount"] for each in row["transfers"] if each["account"] == "0.0.98")
        assert paid == row["charged_tx_fee"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/accounts/0.0.987654", 404),
        ("/accounts/not-an-account", 400),
        ("/accounts/ABC", 400),
        ("/contracts/0.0.1001", 404),
        ("/contracts/nothing", 400),
        ("/topics/0.0.1001", 404),
        ("/topics/none", 400),
        ("/topics/messages/now", 400),
        ("/transactions/0.0.1001@1.2", 400),
        ("/transactions/0.0.1001-1-2", 404),
        ("/transactions?order=sideways", 400),
        ("/transactions?timestamp=gt:today", 400),
        ("/blocks/first", 400),
        ("/blocks/99999999", 404),
        ("/schedules/0.0.1001", 404),
        ("/tokens", 404),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_answered_so(mirror, path, status):
    document = mirror.get(path, status=status)
    assert document["_status"]["messages"][0]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"to": "0x12"}, 400),
        ({"to": f"0x{'11' * 20}", "data": "0xzz"}, 400),
        ({"to": f"0x{'11' * 20}", "gas": 20_999}, 400),
        ({"to": f"0x{'11' * 20}", "gas": "many"}, 400),
        ({"to": f"0x{'11' * 20}", "value": 1}, 501),
        ({"to": f"0x{'11' * 20}", "block": "0x1"}, 501),
        ({"to": f"0x{'11' * 20}", "gas": "30000"}, 200),
    ],
)
def test_calls_that_make_no_sense_are_refused(mirror, body, status):
    mirror.post("/contracts/call", body, status=status)
