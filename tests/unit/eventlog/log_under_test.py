"""A log with its signer over doubles, a hand-moved clock, and the steps that tests repeat."""

from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.app.log_ports import Lease, LogStore, SignedHead
from chargera.app.log_testing import Faults, MemoryLease, MemoryLogStore
from chargera.eventlog.custody import FileHeadMemory, LogKey
from chargera.eventlog.files import DurableFiles
from chargera.eventlog.reading import LogReader
from chargera.eventlog.sequencer import CheckpointPolicy, Sequencer
from chargera.eventlog.signer import Signer
from chargera.eventlog.testing import MemoryDisk
from chargera.eventlog.tiles import StoredTiles
from chargera.proofs.checkpoint import open_checkpoint
from chargera.proofs.tiles import tile_reader, tiles_of
from chargera.proofs.tree import leaf_hashes, rederive_root, root_of_size, verify_consistency

ORIGIN = "log.example/c4e/1"
PRIVATE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = LogKey.of(ORIGIN, PRIVATE_KEY)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
INTERVAL = timedelta(seconds=10)


class HandClock:
    """A network clock that moves only by hand, backwards too."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class LogUnderTest:
    """What survives a crash (disks, rows) and what `restart` makes anew (signer, sequencer)."""

    faults: Faults = field(default_factory=Faults)
    policy: CheckpointPolicy = field(default_factory=CheckpointPolicy)

    def __post_init__(self) -> None:
        self.clock = HandClock()
        self.log_disk = MemoryDisk(self.faults)
        self.signer_disk = MemoryDisk(self.faults)
        self.rows = MemoryLogStore(self.faults)
        self.published: list[SignedHead] = []
        self.signed: dict[str, set[bytes]] = defaultdict(set)
        """All texts that the key has ever signed, by tree size."""
        self.restart()

    def _sign(self, text: bytes) -> bytes:
        self.signed[text.decode().split("\n")[1]].add(text)
        return PRIVATE_KEY.sign(text)

    def restart(self, store: LogStore | None = None, lease: Lease | None = None) -> Sequencer:
        """A new process on the same disks and rows; the old one is gone without a word."""
        self.files = DurableFiles(self.log_disk)
        memory = FileHeadMemory(DurableFiles(self.signer_disk), nullcontext)
        key = LogKey(KEY.verifier, self._sign)
        self.signer = Signer(key, memory, StoredTiles(self.files).fetch)
        self.reader = LogReader(self.files)
        self.sequencer = Sequencer(
            ORIGIN,
            store or self.rows,
            lease or MemoryLease(),
            self.signer,
            self.files,
            self.clock,
            self.policy,
            self.published.append,
        )
        return self.sequencer

    def append(self, count: int) -> None:
        """Entries that a commit has acknowledged."""
        for _ in range(count):
            self.rows.entries.append(f"entry {len(self.rows.entries)}".encode())

    def cut_power(self, seed: int) -> None:
        """Lose what was not synced; rows are the database's and stay."""
        self.log_disk.cut_power(Random(seed))
        self.signer_disk.cut_power(Random(seed + 1))

    async def publish(self) -> None:
        """Let a checkpoint interval pass and the sequencer do what is due."""
        self.clock.advance(INTERVAL.total_seconds())
        await self.sequencer.tick()

    def check(self) -> None:
        """What must hold whenever nothing is in flight: heads, rows, files and signer agree."""
        assert all(len(texts) == 1 for texts in self.signed.values()), "a fork was signed"
        leaves = leaf_hashes(self.rows.entries)
        heads = [self.rows.heads[size] for size in sorted(self.rows.heads)]
        opened = [open_checkpoint(head.note, ORIGIN, [KEY.verifier]) for head in heads]
        for head, checkpoint in zip(heads, opened, strict=True):
            assert checkpoint.size == head.tree_size
            assert checkpoint.root_hash == rederive_root(leaves[: checkpoint.size])
        if not heads:
            return
        assert self.signer.last() == opened[-1]
        assert self.reader.checkpoint() == heads[-1].note
        stored = StoredTiles(self.files)
        for tile in tiles_of(opened[-1].size):
            stored.fetch(tile)
        read = tile_reader(opened[-1].size, stored.fetch)
        assert root_of_size(opened[-1].size, read) == opened[-1].root_hash
        for old in opened:
            proof = self.reader.consistency(old.size, opened[-1].size)
            verify_consistency(
                old.size, opened[-1].size, proof, old.root_hash, opened[-1].root_hash
            )
