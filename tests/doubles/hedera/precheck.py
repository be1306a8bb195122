"""What a node checks before it passes a transaction on, and how it reads one."""

import hashlib
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.transaction_contents_pb2 import SignedTransaction
from hiero_sdk_python.hapi.services.transaction_pb2 import Transaction, TransactionBody

from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import to_ns
from tests.doubles.hedera.keys import Agreement, Signatures

NODE = 3
"""The node's account is 0.0.3."""
TRANSACTION_BYTES_MAX = 6_144
JUMBO_BYTES_MAX = 133_120
"""Of an EthereumTransaction (HIP-1086)."""
MEMO_BYTES_MAX = 100
DURATION_S = range(15, 181)
EXPIRY_MARGIN_S = 10
"""A node takes nothing that expires before it could reach consensus."""


class ResponseError(Exception):
    """A transaction or query fails with this response code."""

    def __init__(self, code: int) -> None:
        """Name the code."""
        super().__init__(codes.ResponseCodeEnum.Name(code))
        self.code = code


@dataclass(frozen=True, slots=True)
class Arrived:
    """A transaction that could be read."""

    body: TransactionBody
    signatures: Agreement
    hash: bytes
    """SHA-384 of the signed transaction."""
    size: int
    method: str = ""
    """The method of gRPC; empty for what a schedule runs."""

    @property
    def kind(self) -> str:
        """The field of the body that says what it is."""
        return str(self.body.WhichOneof("data"))

    @property
    def content(self) -> Any:
        """The part of the body that says what is to be done."""
        return getattr(self.body, self.kind)

    @property
    def payer(self) -> int:
        """The number of the account that pays."""
        return int(self.body.transactionID.accountID.accountNum)

    @property
    def name(self) -> bytes:
        """What tells transactions apart."""
        name: bytes = self.body.transactionID.SerializeToString(deterministic=True)
        return name


def read(transaction: Transaction, method: str = "") -> Arrived:
    """Return what a client sent. Raises ResponseError for what is none of the forms."""
    size = transaction.ByteSize()
    if size > JUMBO_BYTES_MAX:
        raise ResponseError(codes.TRANSACTION_OVERSIZE)
    signed = transaction.signedTransactionBytes
    body = TransactionBody()
    try:
        if signed:
            outer = SignedTransaction.FromString(signed)
            body_bytes, signature_map = outer.bodyBytes, outer.sigMap
        else:
            body_bytes, signature_map = transaction.bodyBytes, transaction.sigMap
        body.ParseFromString(body_bytes)
    except DecodeError:
        raise ResponseError(codes.INVALID_TRANSACTION) from None
    if not body_bytes:
        raise ResponseError(codes.INVALID_TRANSACTION)
    if body.WhichOneof("data") is None:
        raise ResponseError(codes.INVALID_TRANSACTION_BODY)
    digest = hashlib.sha384(signed or transaction.SerializeToString()).digest()
    return Arrived(body, Signatures(body_bytes, signature_map), digest, size, method)


def check_form(arrived: Arrived, now_ns: int) -> None:
    """Raise ResponseError for what no node takes, whatever the state of the ledger."""
    body = arrived.body
    if arrived.size > TRANSACTION_BYTES_MAX and arrived.kind != "ethereumTransaction":
        raise ResponseError(codes.TRANSACTION_OVERSIZE)
    if not body.HasField("transactionID") or body.transactionID.nonce:
        raise ResponseError(codes.INVALID_TRANSACTION_ID)
    if body.transactionID.scheduled:
        raise ResponseError(codes.TRANSACTION_ID_FIELD_NOT_ALLOWED)
    if body.nodeAccountID.accountNum != NODE:
        raise ResponseError(codes.INVALID_NODE_ACCOUNT)
    memo = body.memo.encode()
    if len(memo) > MEMO_BYTES_MAX:
        raise ResponseError(codes.MEMO_TOO_LONG)
    if b"\0" in memo:
        raise ResponseError(codes.INVALID_ZERO_BYTE_IN_STRING)
    _check_time(body, now_ns)
    _check_content(arrived)


def _check_time(body: TransactionBody, now_ns: int) -> None:
    duration_s = body.transactionValidDuration.seconds
    if duration_s not in DURATION_S:
        raise ResponseError(codes.INVALID_TRANSACTION_DURATION)
    start_ns = to_ns(body.transactionID.transactionValidStart)
    if start_ns > now_ns:
        raise ResponseError(codes.INVALID_TRANSACTION_START)
    if start_ns + (duration_s - EXPIRY_MARGIN_S) * NS_PER_S <= now_ns:
        raise ResponseError(codes.TRANSACTION_EXPIRED)


def _check_content(arrived: Arrived) -> None:
    """Raise ResponseError for contents that can never succeed (a node's pure checks)."""
    content = arrived.content
    match arrived.kind:
        case "consensusSubmitMessage":
            if not content.HasField("topicID"):
                raise ResponseError(codes.INVALID_TOPIC_ID)
            if not content.message:
                raise ResponseError(codes.INVALID_TOPIC_MESSAGE)
        case "cryptoTransfer":
            amounts = content.transfers.accountAmounts
            if sum(each.amount for each in amounts):
                raise ResponseError(codes.INVALID_ACCOUNT_AMOUNTS)
            named = [each.accountID.SerializeToString() for each in amounts]
            if len(set(named)) != len(named):
                raise ResponseError(codes.ACCOUNT_REPEATED_IN_ACCOUNT_AMOUNTS)
        case "ethereumTransaction" if not content.ethereum_data:
            raise ResponseError(codes.INVALID_ETHEREUM_TRANSACTION)
