"""Prechecks, fees, accounts and transfers by the Python SDK."""

import pytest
from hiero_sdk_python import (
    AccountCreateTransaction,
    AccountId,
    AccountInfoQuery,
    AccountUpdateTransaction,
    CryptoGetAccountBalanceQuery,
    FeeEstimateQuery,
    Hbar,
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
    TransactionGetReceiptQuery,
    TransactionId,
    TransactionRecordQuery,
    TransferTransaction,
)
from hiero_sdk_python.crypto.evm_address import EvmAddress
from hiero_sdk_python.exceptions import MaxAttemptsError, PrecheckError
from hiero_sdk_python.hapi.services import timestamp_pb2

OPERATOR = AccountId.from_string("0.0.1001")
TREASURY = AccountId.from_string("0.0.2")


def transaction_id_at(emulator, seconds_from_now: float) -> TransactionId:
    start = emulator.clock.now_ns() + int(seconds_from_now * 1e9)
    stamp = timestamp_pb2.Timestamp(seconds=start // 10**9, nanos=start % 10**9)
    return TransactionId(OPERATOR, stamp)


def balance(client, account_id) -> int:
    return CryptoGetAccountBalanceQuery(account_id).execute(client).hbars.to_tinybars()


def refused(transaction, client) -> str:
    with pytest.raises(PrecheckError) as caught:
        transaction.execute(client)
    return ResponseCode(caught.value.status).name


def test_a_payer_whose_key_has_not_signed_is_refused_at_once(client):
    client.set_operator(OPERATOR, PrivateKey.generate_ecdsa())
    assert refused(TopicCreateTransaction(), client) == "INVALID_SIGNATURE"


def test_a_payer_that_is_not_there_is_refused(client, operator):
    client.set_operator(AccountId.from_string("0.0.55555"), operator)
    assert refused(TopicCreateTransaction(), client) == "PAYER_ACCOUNT_NOT_FOUND"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (60, "INVALID_TRANSACTION_START"),
        (-115, "TRANSACTION_EXPIRED"),  # in its last ten seconds no node passes it on
        (-300, "TRANSACTION_EXPIRED"),
    ],
)
def test_a_transaction_is_taken_only_within_its_validity(emulator, client, seconds, code):
    transaction = TopicCreateTransaction()
    transaction.set_transaction_id(transaction_id_at(emulator, seconds))
    assert refused(transaction, client) == code


def test_the_same_transaction_id_is_taken_once(emulator, client):
    named = transaction_id_at(emulator, -1)
    for memo in ("first", "second"):
        transaction = TopicCreateTransaction(memo=memo)
        transaction.set_transaction_id(named)
        if memo == "first":
            assert transaction.execute(client).status == ResponseCode.SUCCESS
        else:
            assert refused(transaction, client) == "DUPLICATE_TRANSACTION"


def test_a_fee_limit_below_the_fee_is_refused(client):
    transaction = TopicCreateTransaction()
    transaction.transaction_fee = 1_000
    assert refused(transaction, client) == "INSUFFICIENT_TX_FEE"


def test_a_memo_over_100_bytes_is_refused(client):
    transaction = TopicCreateTransaction()
    transaction.set_transaction_memo("x" * 101)
    assert refused(transaction, client) == "MEMO_TOO_LONG"


@pytest.mark.parametrize(
    ("size", "usd_e10"), [(50, 8_000_000), (200, 8_680_000), (1024, 14_283_200)]
)
def test_a_message_costs_what_the_table_says(client, size, usd_e10):
    topic_id = TopicCreateTransaction().execute(client).topic_id
    before = balance(client, OPERATOR)
    response = TopicMessageSubmitTransaction(topic_id=topic_id, message="x" * size).execute(
        client, wait_for_receipt=False
    )
    paid = before - balance(client, OPERATOR)
    assert paid == usd_e10 // 12  # 12 cents an HBAR: 10^-10 dollars become tinybars
    record = TransactionRecordQuery(response.transaction_id).execute(client)
    assert record.transaction_fee == paid


def test_the_mirror_estimates_the_fee_that_is_charged(client, mirror, monkeypatch):
    monkeypatch.setattr(
        type(client.network), "get_mirror_rest_url", lambda network: f"{mirror.url}/api/v1"
    )
    topic_id = TopicCreateTransaction().execute(client).topic_id
    message = TopicMessageSubmitTransaction(topic_id=topic_id, message="x" * 200)
    message.freeze_with(client)
    estimate = FeeEstimateQuery().set_transaction(message).execute(client)
    assert estimate.total == 8_680_000  # tinycents


def test_a_transfer_to_an_address_makes_a_hollow_account_that_its_key_completes(client, mirror):
    key = PrivateKey.generate_ecdsa()
    address = key.public_key().to_evm_address()
    alias = AccountId(evm_address=EvmAddress.from_bytes(bytes.fromhex(address.to_string())))
    transfer = TransferTransaction().add_hbar_transfer(OPERATOR, -500_000_000)
    transfer.add_hbar_transfer(alias, 500_000_000)
    response = transfer.execute(client, wait_for_receipt=False)
    assert response.get_receipt(client).status == ResponseCode.SUCCESS
    account = mirror.get(f"/accounts/0x{address.to_string()}")
    assert account["key"] == {"_type": "ProtobufEncoded", "key": "3200"}
    assert account["balance"]["balance"] == 500_000_000
    assert account["evm_address"] == f"0x{address.to_string()}"
    assert mirror.get(f"/accounts/{account['alias']}")["account"] == account["account"]
    rows = mirror.get(f"/transactions/{to_mirror(response.transaction_id)}")["transactions"]
    assert [(row["name"], row["nonce"]) for row in rows] == [
        ("CRYPTOTRANSFER", 0),
        ("CRYPTOCREATEACCOUNT", 1),
    ]
    assert rows[0]["charged_tx_fee"] > 5 * 10**8 // 12  # with the account's 5 cents
    client.set_operator(AccountId.from_string(account["account"]), key)
    assert TopicCreateTransaction().execute(client).status == ResponseCode.SUCCESS
    completed = mirror.get(f"/accounts/{account['account']}")["key"]
    assert completed == {
        "_type": "ECDSA_SECP256K1",
        "key": key.public_key().to_bytes_raw().hex(),
    }


def test_an_account_gets_another_key_if_the_old_and_the_new_one_sign(client, operator):
    fresh = PrivateKey.generate_ecdsa()

    def update(*keys) -> str:
        transaction = (
            AccountUpdateTransaction().set_account_id(OPERATOR).set_key(fresh.public_key())
        )
        transaction.freeze_with(client)
        for key in keys:
            transaction.sign(key)
        return ResponseCode(transaction.execute(client).status).name

    assert update() == "INVALID_SIGNATURE"
    assert update(fresh) == "SUCCESS"
    assert refused(TopicCreateTransaction(), client) == "INVALID_SIGNATURE"
    client.set_operator(OPERATOR, fresh)
    assert TopicCreateTransaction().execute(client).status == ResponseCode.SUCCESS
    info = AccountInfoQuery(OPERATOR).execute(client)
    assert info.key.to_bytes_raw() == fresh.public_key().to_bytes_raw()
    # The address stays that of the first key.
    assert info.contract_account_id == operator.public_key().to_evm_address().to_string()


def test_an_ed25519_account_has_only_its_long_zero_address(client, mirror):
    key = PrivateKey.generate_ed25519()
    create = AccountCreateTransaction().set_key_without_alias(key.public_key())
    account_id = create.set_initial_balance(Hbar(5)).execute(client).account_id
    document = mirror.get(f"/accounts/{account_id}")
    assert document["alias"] is None
    assert int(document["evm_address"], 16) == account_id.num
    assert document["key"]["_type"] == "ED25519"
    assert mirror.get(f"/accounts/{document['evm_address']}")["account"] == str(account_id)


def test_what_is_not_there_cannot_be_transferred(client):
    key = PrivateKey.generate_ed25519()
    create = AccountCreateTransaction().set_key_without_alias(key.public_key())
    poor = create.set_initial_balance(Hbar(1)).execute(client).account_id
    transfer = TransferTransaction().add_hbar_transfer(poor, -200_000_000)
    transfer.add_hbar_transfer(OPERATOR, 200_000_000).freeze_with(client).sign(key)
    assert transfer.execute(client).status == ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE
    unsigned = TransferTransaction().add_hbar_transfer(TREASURY, -1).add_hbar_transfer(OPERATOR, 1)
    assert unsigned.execute(client).status == ResponseCode.INVALID_SIGNATURE


def test_a_payer_without_means_is_refused(client):
    key = PrivateKey.generate_ecdsa()
    create = AccountCreateTransaction().set_key_without_alias(key.public_key())
    poor = create.set_initial_balance(Hbar.from_tinybars(1_000)).execute(client).account_id
    client.set_operator(poor, key)
    assert refused(TopicCreateTransaction(), client) == "INSUFFICIENT_PAYER_BALANCE"


def test_nodes_forget_receipts_after_three_minutes_and_mirrors_never(emulator, client, mirror):
    response = TopicCreateTransaction().execute(client, wait_for_receipt=False)
    emulator.clock.advance(181)
    query = (
        TransactionGetReceiptQuery(response.transaction_id).set_max_attempts(1).set_min_backoff(0)
    )
    with pytest.raises(MaxAttemptsError, match="RECEIPT_NOT_FOUND"):
        query.execute(client)
    rows = mirror.get(f"/transactions/{to_mirror(response.transaction_id)}")["transactions"]
    assert rows[0]["result"] == "SUCCESS"


def to_mirror(transaction_id: TransactionId) -> str:
    """Return a transaction id as mirrors write it."""
    account, _, start = str(transaction_id).partition("@")
    seconds, _, nanoseconds = start.partition(".")
    return f"{account}-{seconds}-{nanoseconds.rjust(9, '0')}"
