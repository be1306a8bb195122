"""What the emulated ledger holds, and how its things are named."""

import re
from dataclasses import dataclass, field

from hiero_sdk_python.hapi.services.basic_types_pb2 import (
    AccountID,
    ContractID,
    Key,
    TransactionID,
)
from hiero_sdk_python.hapi.services.timestamp_pb2 import Timestamp

from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.running_hash import ZERO

ADDRESS_BYTES = 20
AUTO_RENEW_S = 7_776_000
"""90 days."""
_ID = re.compile(r"(?:0\.0\.)?([0-9]{1,19})")


@dataclass(slots=True)
class Account:
    """An account or a contract; balance in tinybars."""

    number: int
    key: Key | None
    created_ns: int
    balance: int = 0
    alias: bytes | None = None
    """The EVM address of an ECDSA key or of a contract; None: only the long-zero one."""
    memo: str = ""
    is_contract: bool = False
    init_code: bytes = b""

    @property
    def address(self) -> bytes:
        """How the EVM knows it."""
        return self.alias or long_zero(self.number)


@dataclass(slots=True)
class Message:
    """A message of a topic."""

    topic: int
    sequence_number: int
    consensus_ns: int
    payer: int
    content: bytes
    running_hash: bytes
    initial_id: TransactionID | None = None
    chunk: int = 1
    chunks: int = 1


@dataclass(slots=True)
class Topic:
    """A topic."""

    number: int
    created_ns: int
    memo: str = ""
    admin_key: Key | None = None
    submit_key: Key | None = None
    auto_renew_account: int | None = None
    auto_renew_s: int = AUTO_RENEW_S
    running_hash: bytes = ZERO
    deleted: bool = False
    messages: list[Message] = field(default_factory=list)

    @property
    def sequence_number(self) -> int:
        """How many messages it has."""
        return len(self.messages)


@dataclass(slots=True)
class File:
    """A file of the network, here only for calldata and init code that is too long."""

    number: int
    content: bytes
    keys: list[Key]


def entity_text(number: int | None) -> str | None:
    """Return `0.0.number`."""
    return None if number is None else f"0.0.{number}"


def entity_number(text: str) -> int | None:
    """Return the number of `0.0.number` or `number`; None for anything else."""
    match = _ID.fullmatch(text)
    return int(match[1]) if match else None


def long_zero(number: int) -> bytes:
    """Return the EVM address of an entity that has no other."""
    return number.to_bytes(ADDRESS_BYTES)


def number_of_long_zero(address: bytes) -> int | None:
    """Return the number that a long-zero address holds."""
    return None if any(address[:12]) else int.from_bytes(address[12:])


def account_id(number: int) -> AccountID:
    """Return an account's id."""
    return AccountID(accountNum=number)


def contract_id(number: int) -> ContractID:
    """Return a contract's id."""
    return ContractID(contractNum=number)


def timestamp(time_ns: int) -> Timestamp:
    """Return a time as HAPI has it."""
    return Timestamp(seconds=time_ns // NS_PER_S, nanos=time_ns % NS_PER_S)


def to_ns(time: Timestamp) -> int:
    """Return nanoseconds since 1970."""
    nanoseconds: int = time.seconds * NS_PER_S + time.nanos
    return nanoseconds


def time_text(time_ns: int | None) -> str | None:
    """Return `seconds.nanoseconds`."""
    return None if time_ns is None else f"{time_ns // NS_PER_S}.{time_ns % NS_PER_S:09}"


def transaction_text(transaction_id: TransactionID) -> str:
    """Return a transaction id as mirrors write it: `0.0.2-1767225600-000000001`."""
    start = transaction_id.transactionValidStart
    return f"0.0.{transaction_id.accountID.accountNum}-{start.seconds}-{start.nanos:09}"
