"""The chain as the rooms above need it: calls, signed transactions, receipts, and its journal.

An address is 20 bytes, a hash 32 bytes; times are Unix seconds of the network clock; there is no
native coin: gas is free and nobody holds a balance. One block holds one transaction, so the
number of a block is the number of its transaction, counted from 1.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chargera.app.ports import NewEntry
from chargera.domain.errors import Refused

ADDRESS_BYTES = 20
HASH_BYTES = 32
NOBODY = bytes(ADDRESS_BYTES)
"""The sender of a call that names none."""

GAS_LIMIT = 15_000_000
"""Most gas of one transaction: what Hedera allows."""


class Reverted(Refused):
    """The contract refused the call."""

    code = "reverted"

    def __init__(self, data: bytes, reason: str = "the contract refused the call") -> None:
        """Hold what the contract said: `data` is its error as ABI bytes, or empty."""
        super().__init__(reason, remedy="the error's name says which rule forbids it")
        self.data = data


class BadTransaction(Refused):
    """The chain does not take this transaction, and nothing came of it."""

    code = "bad_transaction"


# Values ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContractLog:
    """What a contract said while it ran (an "event" of Solidity); up to 4 topics of 32 bytes."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A transaction as its sender signed it (EIP-1559); `to` None makes a contract."""

    hash: bytes
    raw: bytes
    chain_id: int
    nonce: int
    sender: bytes
    to: bytes | None
    data: bytes
    value: int
    gas_limit: int
    max_fee: int
    max_priority_fee: int
    signature: tuple[int, int, int]
    """Parity of y (0 or 1), r, s."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block: `number` from 1, `time` in Unix seconds that never fall."""

    number: int
    time: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction that the chain took.

    `output` is what the call returned, or the error of one that failed (ABI bytes, empty after a
    halt). `digest` is the hash of its block: that of the journal up to here.
    """

    transaction_hash: bytes
    block: Block
    sender: bytes
    to: bytes | None
    succeeded: bool
    gas_used: int
    created: bytes | None
    output: bytes
    logs: tuple[ContractLog, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log with its place: `log_index` from 0."""

    log: ContractLog
    block: Block
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which logs: of any of `addresses` (empty: all), with `topics[i]` any of those (None: all).

    `from_block` and `to_block` are both inside; at most `limit` logs.
    """

    from_block: int
    to_block: int
    addresses: frozenset[bytes] = frozenset()
    topics: tuple[frozenset[bytes] | None, ...] = ()
    limit: int = 10_000

    def takes(self, log: ContractLog) -> bool:
        """Whether address and topics of `log` are asked for."""
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        return all(
            wanted is None or topic in wanted
            for wanted, topic in zip(self.topics, log.topics, strict=False)
        )


class Chain(Protocol):
    """A chain that takes signed transactions: embedded, another over JSON-RPC, or Hedera's."""

    @property
    def chain_id(self) -> int:
        """The number that every signature of this chain is bound to."""

    @property
    def gas_limit(self) -> int:
        """Most gas of one transaction."""

    async def call(self, to: bytes, data: bytes, sender: bytes = NOBODY) -> bytes:
        """Return what a call would return now; nothing changes. Raises Reverted, Unavailable."""

    async def gas_for(self, to: bytes | None, data: bytes, sender: bytes) -> int:
        """Return the gas that a transaction should be given: the most, where gas is free.

        Raises Reverted where it must be estimated and the contract refuses, Unavailable.
        """

    async def send_raw(self, raw: bytes) -> bytes:
        """Give a signed transaction to the chain and return its hash.

        On the embedded chain it is executed and durable on return, whether it succeeded or not:
        its receipt says. Raises BadTransaction if the chain does not take it, Unavailable.
        """

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return what became of a transaction; None while the chain does not know."""

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order. Raises InvalidInput for more than the filter's limit."""

    async def nonce(self, address: bytes) -> int:
        """Return the nonce that the next transaction of this sender must have."""


# The journal of the embedded chain -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JournalledTransaction:
    """A transaction of the embedded chain with all that came of it.

    `state_digest` is that of the chain of all changes of state up to here.
    """

    raw: bytes
    receipt: Receipt
    state_digest: bytes

    @property
    def number(self) -> int:
        """Its number, which is its block's."""
        return self.receipt.block.number


@dataclass(frozen=True, slots=True)
class ChainHead:
    """How far a journal goes: count of transactions, time of the last, and the two digests."""

    count: int
    time: int
    digest: bytes
    state_digest: bytes


@dataclass(frozen=True, slots=True)
class ChainIdentity:
    """The chain's id, and what the log's newest entry about its journal says (None: no entry)."""

    chain_id: int
    told_count: int | None = None
    told_digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state after `head.count` transactions, so that a start need not replay all.

    `content` is opaque here; `content_digest` is its SHA-256.
    """

    head: ChainHead
    content: bytes
    content_digest: bytes


class JournalWork(Protocol):
    """One unit of work that transactions of the chain are written in."""

    def journal(self, transactions: Sequence[JournalledTransaction]) -> None:
        """Take transactions, following those that are stored; they are written at `commit`."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log; it gets its index at `commit`."""

    async def commit(self) -> None:
        """Write everything; on return it is durable.

        Raises Unavailable, or Conflict where another process has written transactions.
        """


WorkT = TypeVar("WorkT", bound=JournalWork)
WorkT_co = TypeVar("WorkT_co", bound=JournalWork, covariant=True)


class ChainJournal(Protocol[WorkT_co]):
    """Where the embedded chain survives. One process writes at a time: see `Lease`."""

    async def identity(self, proposed: int) -> ChainIdentity:
        """Return the chain's id, stored as `proposed` by the first call, and the last head told."""

    def work(self) -> AbstractAsyncContextManager[WorkT_co]:
        """Open a unit of work; leaving it without `commit` rolls back."""

    async def transactions(self, first: int, limit: int) -> Sequence[JournalledTransaction]:
        """Return transactions by number from `first` on, at most `limit`."""

    async def find(self, transaction_hash: bytes) -> JournalledTransaction | None:
        """Return a transaction by its hash."""

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order, at most one more than the filter's limit."""


class SnapshotStore(Protocol):
    """Where snapshots of the embedded chain's state are kept."""

    async def newest(self) -> Snapshot | None:
        """Return the newest snapshot."""

    async def save(self, snapshot: Snapshot) -> None:
        """Store a snapshot and drop all but the newest two."""


# What `/rpc` shows -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call that is only tried: `gas_limit` None means the most there is."""

    to: bytes | None
    data: bytes = b""
    sender: bytes = NOBODY
    gas_limit: int | None = None
    value: int = 0


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction as it was signed, and what became of it."""

    request: TransactionRequest
    receipt: Receipt


class ChainNode(Chain, Protocol):
    """The embedded chain as a node: what wallets and web3 libraries ask beside `Chain`."""

    @property
    def head(self) -> ChainHead:
        """How far it goes."""

    async def try_call(self, request: CallRequest) -> bytes:
        """Return what the call would return in a block now. Raises Reverted, BadTransaction."""

    async def estimate_gas(self, request: CallRequest) -> int:
        """Return gas with which it would succeed. Raises Reverted, BadTransaction."""

    async def code(self, address: bytes) -> bytes:
        """Return the code at an address; empty where there is no contract."""

    async def storage(self, address: bytes, slot: int) -> int:
        """Return a word of a contract's storage."""

    async def transaction(self, transaction_hash: bytes) -> Executed | None:
        """Return a transaction with its receipt."""

    async def block(self, number: int) -> Executed | None:
        """Return the transaction of a block, from 1; None for one that is not there."""

    async def block_digest(self, number: int) -> bytes | None:
        """Return the digest of a block, from 0 (the empty chain); None for one not there."""
