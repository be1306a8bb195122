"""The second official SDK of Hedera, npm `@hiero-ledger/sdk`, judges the emulator.

Unmodified, it runs the scenarios that the Python SDK runs in tests/integration/hedera, and reads
what that has written. Part of `make test-tools`: needs Node.js and the packages of
tests/tools/hedera_js.
"""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hiero_sdk_python import (
    AccountId,
    Client,
    EthereumTransaction,
    Hbar,
    PrivateKey,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
)

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm import artifacts
from chargera.proofs.anchor import chain, parse_mirror_page
from tests.doubles.hedera.emulator import Emulator, start, stop
from tests.evm_contracts import COUNTER, Account
from tests.tools import hedera_judge


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    started = start(seed="judged")
    yield started
    stop(started)


def mirror(emulator: Emulator, path: str) -> Any:
    answer = httpx2.get(f"{emulator.mirror_url}/api/v1{path}")
    assert answer.status_code == httpx2.codes.OK, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def seen(emulator: Emulator) -> dict[str, dict[str, Any]]:
    """What the judge saw, by scenario; it has already found everything as its SDK expects it."""
    token = artifacts.load("TestEuro")
    contract = {"abi": list(token.abi), "bytecode": f"0x{token.bytecode.hex()}"}
    return {line["scenario"]: line for line in hedera_judge.run(emulator, contract)}


def test_it_runs_all_scenarios(seen: dict[str, dict[str, Any]]) -> None:
    assert seen.keys() == {
        "contracts",
        "topicWithThresholdKey",
        "submitKeyOfAnother",
        "chunks",
        "prechecks",
        "hollowAccount",
        "schedules",
        "whatIsNotThere",
    }


def test_the_topic_that_it_wrote_chains_to_the_hash_that_it_saw(
    emulator: Emulator, seen: dict[str, dict[str, Any]]
) -> None:
    topic = seen["topicWithThresholdKey"]
    page = mirror(emulator, f"/topics/{topic['topic_id']}/messages")
    anchored = chain(parse_mirror_page(page)[0])
    assert anchored[-1].running_hash.hex() == topic["running_hash"]
    assert [each.consensus_timestamp for each in anchored] == topic["timestamps"]


def test_the_contract_that_it_deployed_has_the_state_that_it_saw(
    emulator: Emulator, seen: dict[str, dict[str, Any]]
) -> None:
    contract = seen["contracts"]
    document = mirror(emulator, f"/contracts/{contract['contract_id']}")
    assert document["evm_address"] == contract["evm_address"]
    assert document["runtime_bytecode"] == f"0x{contract['code']}"
    assert int(contract["returned"], 16) == 1_000_000 - 250_000
    assert (contract["status"], contract["refusal"]) == (
        "CONTRACT_REVERT_EXECUTED",
        "ERC20InsufficientBalance",
    )
    assert contract["used"] <= contract["estimated"]


def test_it_reads_what_the_python_sdk_has_written(emulator: Emulator) -> None:
    client = Client.for_network({emulator.grpc_address: AccountId.from_string("0.0.3")})
    operator = PrivateKey.from_string_ecdsa(emulator.operator_key_hex)
    client.set_operator(AccountId.from_string(emulator.operator_id), operator)
    topic_id = TopicCreateTransaction().execute(client).topic_id
    for text in ("one", "two"):
        TopicMessageSubmitTransaction(topic_id=topic_id, message=text).execute(client)
    key = ChainKey(bytes.fromhex(emulator.operator_key_hex))
    nonce = mirror(emulator, f"/accounts/{key.address_text.lower()}")["ethereum_nonce"]
    raw = Account(key, emulator.chain_id, nonce).creation(COUNTER)
    deploy = EthereumTransaction().set_ethereum_data(raw)
    receipt = deploy.set_max_gas_allowed(Hbar(20).to_tinybars()).execute(client)
    client.close()
    address = mirror(emulator, f"/contracts/{receipt.contract_id}")["evm_address"]

    emulator.clock.advance(86_400)  # the judge goes by the emulator's time, whatever it is
    emulator.clock.run_at(30)
    read = hedera_judge.read(emulator, {str(topic_id): 2}, [(address, "0x00")])

    page = mirror(emulator, f"/topics/{topic_id}/messages")
    anchored = chain(parse_mirror_page(page)[0])
    topic = read["topics"][str(topic_id)]
    assert topic["running_hash"] == anchored[-1].running_hash.hex()
    assert topic["messages"] == [
        {
            "message": each.message.hex(),
            "running_hash": each.running_hash.hex(),
            "sequence_number": each.sequence_number,
        }
        for each in anchored
    ]
    (call,) = read["calls"]
    assert call["node"] == call["mirror"]
    assert int(call["mirror"], 16) == 1
