"""What is used of the official SDK, which has no annotations; only `client.py` imports this."""

from hiero_sdk_python import (  # type: ignore[import-untyped]  # it has no py.typed
    AccountId,
    AccountUpdateTransaction,
    Client,
    CryptoGetAccountBalanceQuery,
    EthereumTransaction,
    LogLevel,
    Network,
    PrecheckError,
    PublicKey,
    ReceiptStatusError,
    ResponseCode,
    TopicCreateTransaction,
    TopicId,
    TopicMessageSubmitTransaction,
    TopicUpdateTransaction,
    TransactionGetReceiptQuery,
    TransactionId,
    TransferTransaction,
)
from hiero_sdk_python.crypto.key_list import KeyList  # type: ignore[import-untyped]  # as above
from hiero_sdk_python.exceptions import MaxAttemptsError  # type: ignore[import-untyped]  # as above
from hiero_sdk_python.timestamp import TimestampProto  # type: ignore[import-untyped]  # as above

__all__ = [
    "AccountId",
    "AccountUpdateTransaction",
    "Client",
    "CryptoGetAccountBalanceQuery",
    "EthereumTransaction",
    "KeyList",
    "LogLevel",
    "MaxAttemptsError",
    "Network",
    "PrecheckError",
    "PublicKey",
    "ReceiptStatusError",
    "ResponseCode",
    "TimestampProto",
    "TopicCreateTransaction",
    "TopicId",
    "TopicMessageSubmitTransaction",
    "TopicUpdateTransaction",
    "TransactionGetReceiptQuery",
    "TransactionId",
    "TransferTransaction",
]
