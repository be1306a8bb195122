"""What the emulated node takes at its door: every form, and every refusal, without any SDK."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import (
    AccountAmount,
    AccountID,
    SignatureMap,
    SignaturePair,
    TopicID,
    TransactionID,
    TransferList,
)
from hiero_sdk_python.hapi.services.consensus_create_topic_pb2 import (
    ConsensusCreateTopicTransactionBody,
)
from hiero_sdk_python.hapi.services.consensus_submit_message_pb2 import (
    ConsensusSubmitMessageTransactionBody,
)
from hiero_sdk_python.hapi.services.crypto_delete_pb2 import CryptoDeleteTransactionBody
from hiero_sdk_python.hapi.services.crypto_transfer_pb2 import CryptoTransferTransactionBody
from hiero_sdk_python.hapi.services.duration_pb2 import Duration
from hiero_sdk_python.hapi.services.file_create_pb2 import FileCreateTransactionBody
from hiero_sdk_python.hapi.services.transaction_contents_pb2 import SignedTransaction
from hiero_sdk_python.hapi.services.transaction_pb2 import Transaction, TransactionBody

from tests.doubles.hedera import keys
from tests.doubles.hedera.clock import EmulatorClock
from tests.doubles.hedera.entities import timestamp
from tests.doubles.hedera.faults import Faults
from tests.doubles.hedera.ledger import OPERATOR, OPERATOR_BALANCE, Ledger

CREATE = ConsensusCreateTopicTransactionBody(autoRenewPeriod=Duration(seconds=7_776_000))


@pytest.fixture
def ledger():
    return Ledger("tests", EmulatorClock(), Faults(), 298, "auto")


def body_of(ledger: Ledger, **members) -> TransactionBody:
    if not members.keys() & {field.name for field in TransactionBody.DESCRIPTOR.oneofs[0].fields}:
        members["consensusCreateTopic"] = CREATE
    body = TransactionBody(
        transactionID=TransactionID(
            accountID=AccountID(accountNum=OPERATOR),
            transactionValidStart=timestamp(ledger.clock.now_ns() - 10**9),
        ),
        nodeAccountID=AccountID(accountNum=3),
        transactionFee=100_000_000_000,
        transactionValidDuration=Duration(seconds=120),
    )
    for name, value in members.items():
        if hasattr(value, "CopyFrom"):
            getattr(body, name).CopyFrom(value)
        else:
            setattr(body, name, value)
    return body


def signed(ledger: Ledger, body: TransactionBody) -> SignedTransaction:
    secret = ec.derive_private_key(int.from_bytes(ledger.operator_secret), ec.SECP256K1())
    data = body.SerializeToString()
    r, s = decode_dss_signature(secret.sign(keys.keccak256(data), ec.ECDSA(Prehashed(SHA256()))))
    pair = SignaturePair(
        pubKeyPrefix=keys.compressed(secret.public_key()),
        ECDSA_secp256k1=r.to_bytes(32) + s.to_bytes(32),
    )
    return SignedTransaction(bodyBytes=data, sigMap=SignatureMap(sigPair=[pair]))


def submit(ledger: Ledger, body: TransactionBody) -> str:
    data = signed(ledger, body).SerializeToString()
    code, _ = ledger.submit(Transaction(signedTransactionBytes=data), "test")
    return codes.ResponseCodeEnum.Name(code)


def transfer(*amounts: tuple[int, int]) -> CryptoTransferTransactionBody:
    moved = [
        AccountAmount(accountID=AccountID(accountNum=number), amount=amount)
        for number, amount in amounts
    ]
    return CryptoTransferTransactionBody(transfers=TransferList(accountAmounts=moved))


def test_a_good_transaction_is_taken_and_recorded_with_the_hash_of_what_was_signed(ledger):
    data = signed(ledger, body_of(ledger, memo="good")).SerializeToString()
    code, arrived = ledger.submit(Transaction(signedTransactionBytes=data), "createTopic")
    assert code == codes.OK
    (record,) = ledger.find(arrived.body.transactionID)
    assert record.status == "SUCCESS"
    assert record.hash == hashlib.sha384(data).digest()
    assert record.receipt.exchangeRate.nextRate.centEquiv == 12


def test_the_older_form_of_a_transaction_is_taken_too(ledger):
    parts = signed(ledger, body_of(ledger))
    code, _ = ledger.submit(Transaction(bodyBytes=parts.bodyBytes, sigMap=parts.sigMap), "test")
    assert code == codes.OK


@pytest.mark.parametrize(
    ("transaction", "code"),
    [
        (Transaction(), codes.INVALID_TRANSACTION),
        (Transaction(signedTransactionBytes=b"\xff\xff"), codes.INVALID_TRANSACTION),
        (Transaction(bodyBytes=b"\xff\xff"), codes.INVALID_TRANSACTION),
        (
            Transaction(bodyBytes=TransactionBody(memo="empty").SerializeToString()),
            codes.INVALID_TRANSACTION_BODY,
        ),
        (Transaction(signedTransactionBytes=bytes(133_121)), codes.TRANSACTION_OVERSIZE),
    ],
)
def test_what_is_no_transaction_is_refused(ledger, transaction, code):
    assert ledger.submit(transaction, "test") == (code, None)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"nodeAccountID": AccountID(accountNum=4)}, "INVALID_NODE_ACCOUNT"),
        ({"transactionValidDuration": Duration(seconds=14)}, "INVALID_TRANSACTION_DURATION"),
        ({"transactionValidDuration": Duration(seconds=181)}, "INVALID_TRANSACTION_DURATION"),
        ({"transactionFee": 8_333_332}, "INSUFFICIENT_TX_FEE"),
        ({"transactionFee": 8_333_333}, "OK"),
        ({"memo": "x" * 100}, "OK"),
        ({"memo": "x" * 101}, "MEMO_TOO_LONG"),
        ({"memo": "nothing\0"}, "INVALID_ZERO_BYTE_IN_STRING"),
        ({"cryptoTransfer": transfer((OPERATOR, -5), (2, 4))}, "INVALID_ACCOUNT_AMOUNTS"),
        (
            {"cryptoTransfer": transfer((OPERATOR, -5), (2, 4), (2, 1))},
            "ACCOUNT_REPEATED_IN_ACCOUNT_AMOUNTS",
        ),
        (
            {"consensusSubmitMessage": ConsensusSubmitMessageTransactionBody(message=b"x")},
            "INVALID_TOPIC_ID",
        ),
        (
            {
                "consensusSubmitMessage": ConsensusSubmitMessageTransactionBody(
                    topicID=TopicID(topicNum=5)
                )
            },
            "INVALID_TOPIC_MESSAGE",
        ),
        ({"fileCreate": FileCreateTransactionBody(contents=bytes(6_144))}, "TRANSACTION_OVERSIZE"),
        ({"cryptoDelete": CryptoDeleteTransactionBody()}, "NOT_SUPPORTED"),
    ],
)
def test_the_body_is_checked_before_anything_is_done(ledger, members, code):
    assert submit(ledger, body_of(ledger, **members)) == code
    assert bool(ledger.records) == (code == "OK")


def test_ids_are_those_of_clients_alone(ledger):
    body = body_of(ledger)
    body.transactionID.scheduled = True
    assert submit(ledger, body) == "TRANSACTION_ID_FIELD_NOT_ALLOWED"
    body = body_of(ledger)
    body.transactionID.nonce = 1
    assert submit(ledger, body) == "INVALID_TRANSACTION_ID"
    body = body_of(ledger)
    body.ClearField("transactionID")
    assert submit(ledger, body) == "INVALID_TRANSACTION_ID"


def test_a_transfer_leaves_enough_for_its_fee(ledger):
    fee = 1_000_000 // 12
    for amount, status in (
        (OPERATOR_BALANCE - fee + 1, "INSUFFICIENT_ACCOUNT_BALANCE"),
        (OPERATOR_BALANCE - 2 * fee, "SUCCESS"),  # the first attempt has cost its fee
    ):
        body = body_of(ledger, cryptoTransfer=transfer((OPERATOR, -amount), (2, amount)))
        assert submit(ledger, body) == "OK"
        assert ledger.find(body.transactionID)[0].status == status
    assert ledger.accounts[OPERATOR].balance == 0


def test_money_is_neither_made_nor_lost(ledger):
    whole = sum(account.balance for account in ledger.accounts.values())
    for _ in range(5):
        submit(ledger, body_of(ledger))
        submit(ledger, body_of(ledger, cryptoTransfer=transfer((OPERATOR, -7), (2, 7))))
    assert sum(account.balance for account in ledger.accounts.values()) == whole
