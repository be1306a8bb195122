"""The chain's journal in memory: the double of `store.chain`, for tests and for trying things out.

    journal = MemoryJournal()
    chain = await EmbeddedChain.open(journal, journal.snapshots, MemoryLease(), clock, entropy)

Opening another chain on the same journal is a restart.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chargera.app.chain_ports import (
    ChainIdentity,
    FoundLog,
    JournalledTransaction,
    LogFilter,
    Snapshot,
)
from chargera.app.log_testing import Faults
from chargera.app.ports import NewEntry
from chargera.domain.errors import Conflict
from chargera.proofs.entry import EntryKind

SNAPSHOTS_KEPT = 2


class MemoryJournalWork:
    """A `JournalWork` that reaches its journal at `commit`."""

    def __init__(self, journal: "MemoryJournal") -> None:
        """Write to `journal`."""
        self._journal = journal
        self._transactions: list[JournalledTransaction] = []
        self._entries: list[NewEntry] = []

    def journal(self, transactions: Sequence[JournalledTransaction]) -> None:
        """Take transactions."""
        self._transactions += transactions

    def append(self, entry: NewEntry) -> None:
        """Take an entry."""
        self._entries.append(entry)

    async def commit(self) -> None:
        """Write everything, unless others have written transactions meanwhile."""
        with self._journal.faults.around("commit"):
            stored = self._journal.stored
            expected = range(len(stored) + 1, len(stored) + 1 + len(self._transactions))
            if [transaction.number for transaction in self._transactions] != list(expected):
                raise Conflict("another process has written transactions of the chain")
            stored += self._transactions
            self._journal.entries += self._entries
            self._transactions, self._entries = [], []


class MemorySnapshots:
    """A `SnapshotStore` in memory."""

    def __init__(self, faults: Faults) -> None:
        """Start with none."""
        self.faults = faults
        self.stored: list[Snapshot] = []

    async def newest(self) -> Snapshot | None:
        """Return the newest snapshot."""
        with self.faults.around("newest snapshot"):
            return self.stored[-1] if self.stored else None

    async def save(self, snapshot: Snapshot) -> None:
        """Store a snapshot."""
        with self.faults.around("save snapshot"):
            self.stored = [*self.stored, snapshot][-SNAPSHOTS_KEPT:]


class MemoryJournal:
    """A `ChainJournal` in memory; what was committed is in `stored` and `entries`."""

    def __init__(self, faults: Faults | None = None) -> None:
        """Start empty."""
        self.faults = faults or Faults()
        self.stored: list[JournalledTransaction] = []
        self.entries: list[NewEntry] = []
        self.snapshots = MemorySnapshots(self.faults)
        self._chain_id: int | None = None

    async def identity(self, proposed: int) -> ChainIdentity:
        """Return the chain's id and the last head told."""
        with self.faults.around("identity"):
            self._chain_id = self._chain_id or proposed
            heads = [e.record for e in self.entries if e.kind is EntryKind.JOURNAL_HEAD]
            if not heads:
                return ChainIdentity(self._chain_id)
            digest = bytes.fromhex(heads[-1]["digest"][2:])
            return ChainIdentity(self._chain_id, heads[-1]["transactions"], digest)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[MemoryJournalWork]:
        """Open a unit of work."""
        with self.faults.around("open work"):
            work = MemoryJournalWork(self)
        yield work

    async def transactions(self, first: int, limit: int) -> Sequence[JournalledTransaction]:
        """Return transactions by number."""
        with self.faults.around("transactions"):
            return self.stored[first - 1 : first - 1 + limit]

    async def find(self, transaction_hash: bytes) -> JournalledTransaction | None:
        """Return a transaction by its hash."""
        with self.faults.around("find"):
            found = (t for t in self.stored if t.receipt.transaction_hash == transaction_hash)
            return next(found, None)

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order."""
        with self.faults.around("logs"):
            found = [
                FoundLog(log, receipt.block, receipt.digest, receipt.transaction_hash, place)
                for receipt in (transaction.receipt for transaction in self.stored)
                if wanted.from_block <= receipt.block.number <= wanted.to_block
                for place, log in enumerate(receipt.logs)
                if wanted.takes(log)
            ]
            return found[: wanted.limit + 1]
