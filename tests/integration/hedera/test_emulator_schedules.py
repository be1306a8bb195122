"""Schedules by the Python SDK, and `scheduleCall` of the system contract at 0x16b."""

from datetime import UTC, datetime

import pytest
from hiero_sdk_python import (
    AccountCreateTransaction,
    AccountId,
    CryptoGetAccountBalanceQuery,
    Hbar,
    PrivateKey,
    ResponseCode,
    ScheduleCreateTransaction,
    ScheduleInfoQuery,
    ScheduleSignTransaction,
    Timestamp,
    TransferTransaction,
)

from chargera.ledger.chain_key import ChainKey
from chargera.proofs.keccak import keccak256
from tests.evm_contracts import COUNTER, FORWARDER, Account, word
from tests.integration.hedera.conftest import at_emulated_time
from tests.integration.hedera.test_emulator_contracts import deploy, ethereum

HSS = (0x16B).to_bytes(20)
SCHEDULE_CALL = bytes.fromhex("6f5bfde8")
HAS_CAPACITY = bytes.fromhex("dfb4a999")
OPERATOR = AccountId.from_string("0.0.1001")
SUCCESS, TOO_EARLY, TOO_FAR, BUSY = 22, 307, 306, 370


@pytest.fixture
def account(emulator):
    return Account(ChainKey(bytes.fromhex(emulator.operator_key_hex)), emulator.chain_id)


@pytest.fixture
def giver(client):
    """An account of two HBAR and its key."""
    key = PrivateKey.generate_ecdsa()
    create = AccountCreateTransaction().set_key_without_alias(key.public_key())
    return create.set_initial_balance(Hbar(2)).execute(client).account_id, key


def scheduled_transfer(giver_id) -> ScheduleCreateTransaction:
    transfer = TransferTransaction().add_hbar_transfer(giver_id, -100_000_000)
    return ScheduleCreateTransaction().set_scheduled_transaction(
        transfer.add_hbar_transfer(OPERATOR, 100_000_000)
    )


def balance(client, account_id) -> int:
    return CryptoGetAccountBalanceQuery(account_id).execute(client).hbars.to_tinybars()


def test_a_scheduled_transfer_runs_when_all_have_signed(client, mirror, giver):
    giver_id, key = giver
    receipt = scheduled_transfer(giver_id).execute(client)
    assert receipt.status == ResponseCode.SUCCESS
    assert balance(client, giver_id) == 200_000_000
    sign = ScheduleSignTransaction(schedule_id=receipt.schedule_id).freeze_with(client)
    assert sign.sign(key).execute(client).status == ResponseCode.SUCCESS
    assert balance(client, giver_id) == 100_000_000
    info = ScheduleInfoQuery(schedule_id=receipt.schedule_id).execute(client)
    assert info.executed_at is not None
    document = mirror.get(f"/schedules/{receipt.schedule_id}")
    assert document["executed_timestamp"] is not None
    assert len(document["signatures"]) == 2
    again = ScheduleSignTransaction(schedule_id=receipt.schedule_id).execute(client)
    assert again.status == ResponseCode.SCHEDULE_ALREADY_EXECUTED


def test_the_same_is_scheduled_once(client, giver):
    giver_id, _ = giver
    assert scheduled_transfer(giver_id).execute(client).status == ResponseCode.SUCCESS
    second = scheduled_transfer(giver_id).execute(client)
    assert second.status == ResponseCode.IDENTICAL_SCHEDULE_ALREADY_CREATED


def test_a_schedule_can_wait_for_its_time(emulator, client, giver):
    giver_id, key = giver
    at = Timestamp.from_date(datetime.fromtimestamp(emulator.clock.now().timestamp() + 3600, UTC))
    create = scheduled_transfer(giver_id).set_wait_for_expiry(True).set_expiration_time(at)
    receipt = create.freeze_with(client).sign(key).execute(client)
    assert receipt.status == ResponseCode.SUCCESS
    assert balance(client, giver_id) == 200_000_000
    emulator.clock.advance(3601)
    assert balance(client, giver_id) == 100_000_000


def test_a_schedule_without_its_signatures_goes_away(emulator, client, giver):
    giver_id, _ = giver
    receipt = scheduled_transfer(giver_id).execute(client)
    emulator.clock.advance(1801)
    sign = ScheduleSignTransaction(schedule_id=receipt.schedule_id)
    late = at_emulated_time(emulator, sign).execute(client)
    assert late.status == ResponseCode.SCHEDULE_ALREADY_DELETED
    assert balance(client, giver_id) == 200_000_000


def schedule_call(to: bytes, second: int, gas: int, data: bytes) -> bytes:
    """Return the calldata of `scheduleCall(to, second, gas, 0, data)`."""
    padded = data + bytes(-len(data) % 32)
    head = word(to) + word(second) + word(gas) + word(0) + word(160)
    return SCHEDULE_CALL + head + word(len(data)) + padded


def forwarded(client, mirror, account, forwarder: bytes, data: bytes) -> tuple[int, int]:
    """Let a contract call 0x16b; return code and number of the schedule."""
    raw = account.transaction(forwarder, word(HSS) + data, gas=3_000_000)
    assert ethereum(client, raw).status == ResponseCode.SUCCESS
    said = mirror.get(f"/contracts/results/0x{keccak256(raw).hex()}")["call_result"][2:]
    return int(said[:64], 16), int(said[64:128], 16)


def test_a_contract_schedules_a_call_that_it_pays_itself(emulator, client, mirror, account):
    forwarder = deploy(client, mirror, account, FORWARDER)
    counter = deploy(client, mirror, account, COUNTER)
    contract = mirror.get(f"/contracts/0x{forwarder.hex()}")["contract_id"]
    transfer = TransferTransaction().add_hbar_transfer(OPERATOR, -1_000_000_000)
    transfer.add_hbar_transfer(AccountId.from_string(contract), 1_000_000_000).execute(client)
    due = emulator.clock.now_ns() // 10**9 + 60
    code, number = forwarded(
        client, mirror, account, forwarder, schedule_call(counter, due, 100_000, b"tick")
    )
    assert code == SUCCESS
    document = mirror.get(f"/schedules/0.0.{number}")
    assert (document["payer_account_id"], document["wait_for_expiry"]) == (contract, True)
    emulator.clock.advance(30)
    assert mirror.get("/contracts/results/logs")["logs"][0]["address"] != f"0x{counter.hex()}"
    emulator.clock.advance(31)
    log = mirror.get("/contracts/results/logs")["logs"][0]
    assert log["address"] == f"0x{counter.hex()}"
    assert int(log["timestamp"].partition(".")[0]) >= due
    result = mirror.get(f"/contracts/results/{log['transaction_hash']}")
    assert result["from"] == f"0x{forwarder.hex()}"
    assert balance(client, AccountId.from_string(contract)) < 1_000_000_000


def test_the_price_of_scheduling_is_gas(emulator, client, mirror, account):
    counter = deploy(client, mirror, account, COUNTER)
    due = emulator.clock.now_ns() // 10**9 + 60
    call = {
        "to": f"0x{HSS.hex()}",
        "data": f"0x{schedule_call(counter, due, 100_000, b'').hex()}",
        "estimate": True,
    }
    gas = int(mirror.post("/contracts/call", call)["result"], 16)
    assert 1_408_450 < gas < 1_550_000


def test_a_schedule_that_cannot_be_is_a_code_and_never_a_revert(emulator, client, mirror, account):
    forwarder = deploy(client, mirror, account, FORWARDER)
    now = emulator.clock.now_ns() // 10**9
    for due, expected in ((now - 60, TOO_EARLY), (now + 63 * 86_400, TOO_FAR)):
        data = schedule_call(forwarder, due, 100_000, b"")
        assert forwarded(client, mirror, account, forwarder, data) == (expected, 0)
    emulator.set_schedules_busy(True)
    data = schedule_call(forwarder, now + 600, 100_000, b"")
    assert forwarded(client, mirror, account, forwarder, data) == (BUSY, 0)
    capacity = {"to": f"0x{HSS.hex()}", "data": f"0x{HAS_CAPACITY.hex()}"}
    assert int(mirror.post("/contracts/call", capacity)["result"], 16) == 0
    emulator.set_schedules_busy(False)
    assert int(mirror.post("/contracts/call", capacity)["result"], 16) == 1
