"""The one writer of the tree: entries from the database become tiles, a head, a checkpoint.

    entries (committed) ─► tiles (durable) ─► head (signed) ─► note (stored) ─► checkpoint (served)

Each arrow may be the last thing that happens before a crash. What was done is found again at the
next start, because the database and the signer's memory are compared with the tree made anew:
one head a size, whatever happened in between.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chargera.app.log_ports import HeadSigner, Lease, LogStore, SignedHead
from chargera.app.ports import Clock
from chargera.domain.errors import ChargEraError, Conflict, Refused, Undetermined
from chargera.eventlog.files import DurableFiles
from chargera.eventlog.tiles import CHECKPOINT, Edge, StoredTiles, partials_folder
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint
from chargera.proofs.note import VerifierKey
from chargera.proofs.tiles import ENTRIES, TILE_WIDTH, Tile, tile_reader
from chargera.proofs.tree import consistency_proof

_log = logging.getLogger(__name__)


class LeaseTaken(Conflict):
    """Another process writes this log now."""


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """When a head is signed, and how much is done at once."""

    interval: timedelta = timedelta(seconds=10)
    """Least network time between two heads; promise P2 is twice this."""
    head_entries_max: int = 65_536
    """Most entries that one head adds; a backlog becomes several heads at once."""
    read_entries_max: int = 4_096
    """Most entries that one query reads."""


@dataclass(frozen=True, slots=True)
class SequencerHealth:
    """What a health check and the metrics show."""

    healthy: bool
    reason: str | None
    log_size: int
    """Entries in the database, as of the last look."""
    published_size: int
    lag_s: float
    """Network time that the oldest entry without a published head has waited, as seen here."""
    repaired_files: int
    """Tiles that were missing or damaged at a start and have been made anew."""

    @property
    def lag_entries(self) -> int:
        """How many entries no published head covers yet."""
        return self.log_size - self.published_size


class Sequencer:
    """Integrates, signs and publishes what is due, whenever `tick` is called."""

    def __init__(
        self,
        origin: str,
        store: LogStore,
        lease: Lease,
        signer: HeadSigner,
        files: DurableFiles,
        clock: Clock,
        policy: CheckpointPolicy | None = None,
        on_published: Callable[[SignedHead], None] | None = None,
    ) -> None:
        """Write the log `origin` to `files`; nothing happens before `start` or `tick`.

        `on_published` is told each new head after it is served; it must return quickly.
        """
        self._origin = origin
        self._store = store
        self._lease = lease
        self._signer = signer
        self._files = files
        self._stored = StoredTiles(files)
        self._clock = clock
        self._policy = policy or CheckpointPolicy()
        self._on_published = on_published or (lambda head: None)
        self._turn = asyncio.Lock()
        self._edge: Edge | None = None
        """The tree as it stands in durable tiles; None until it was made anew and compared."""
        self._published: Checkpoint | None = None
        self._signed_at: datetime | None = None
        self._next_due: datetime | None = None
        self._news_since: datetime | None = None
        self._log_size = 0
        self._repaired = 0
        self._fault: ChargEraError | None = None

    @property
    def health(self) -> SequencerHealth:
        """The present state; unhealthy means that heads are not being published, and why."""
        lag = timedelta()
        if self._news_since is not None:
            lag = self._clock.now() - self._news_since
        return SequencerHealth(
            healthy=self._fault is None and self._edge is not None,
            reason=self._reason(),
            log_size=self._log_size,
            published_size=_size(self._published),
            lag_s=max(lag.total_seconds(), 0.0),
            repaired_files=self._repaired,
        )

    def _reason(self) -> str | None:
        if self._fault is not None:
            return self._fault.message
        return "not started" if self._edge is None else None

    @property
    def published(self) -> Checkpoint | None:
        """The last head that was published, None before the first."""
        return self._published

    async def start(self) -> None:
        """Take the lease, make the tree anew, compare it with all that was signed, finish that.

        Raises LeaseTaken if another process writes this log, Refused if database, files and signer
        do not agree on what was signed, Unavailable if one of them cannot be reached.
        """
        async with self._turn:
            try:
                await self._recover()
                await self._publish_unfinished()
            except ChargEraError:
                await self._lease.release()
                raise

    async def tick(self, *, force: bool = False) -> None:
        """Do what is due now; with `force` sign a head for whatever news there is.

        Does not raise for a part that fails: `health` tells, and the next tick tries again. After
        Refused (what is stored is not what was signed) nothing more is signed until a restart.
        """
        async with self._turn:
            if isinstance(self._fault, Refused) and not isinstance(self._fault, LeaseTaken):
                return
            try:
                if self._edge is None or not await self._lease.is_held():
                    await self._recover()
                await self._publish_unfinished()
                await self._publish_news(force)
            except (Undetermined, Refused) as error:
                if self._fault is None or self._fault.message != error.message:
                    _log.error("the log stands still: %s", error.message)
                self._fault = error
            else:
                self._fault = None

    async def stop(self) -> None:
        """Wait for the present tick and give the lease up."""
        async with self._turn:
            self._edge = None
            await self._lease.release()

    # Publishing --------------------------------------------------------------------------------

    async def _publish_news(self, force: bool) -> None:
        edge = self._known_edge()
        self._log_size = await self._store.size()
        if self._log_size < edge.size:
            raise Refused(
                f"the database has {self._log_size} entries, but {edge.size} are in the tree",
                remedy="stop the server and restore the database that was running",
            )
        now = self._clock.now()
        if self._log_size > edge.size and self._news_since is None:
            self._news_since = now
        if not (force or self._next_due is None or now >= self._next_due):
            return
        while edge.size < self._log_size:
            edge = await self._integrate(edge)
            await self._publish_unfinished()
        self._news_since = None

    async def _integrate(self, edge: Edge) -> Edge:
        """Bring the next entries into durable tiles."""
        target = min(edge.size + self._policy.head_entries_max, self._log_size)
        tiles: dict[Tile, bytes] = {}
        grown = edge
        while grown.size < target:
            limit = min(self._policy.read_entries_max, target - grown.size)
            entries = await self._store.entries_from(grown.size, limit)
            if not entries:
                raise Refused(f"entry {grown.size} is missing in the database")
            grown, written = await asyncio.to_thread(grown.grown, entries)
            tiles.update((tile, data) for tile, data in written.items() if tile.is_full)
        tiles.update(grown.partial.values())
        await asyncio.to_thread(self._files.write, _by_path(tiles))
        self._edge = grown
        return grown

    async def _publish_unfinished(self) -> None:
        """Sign, store and serve the head of the tiles, unless that is done; safe to repeat."""
        edge, old = self._known_edge(), self._published
        if edge.size == _size(old):
            return
        if not await self._lease.is_held():
            raise LeaseTaken("the log's lease was lost", remedy="another process may write it now")
        new, note = await asyncio.to_thread(self._signed, edge, old)
        now = self._clock.now()
        self._signed_at = max(now, self._signed_at or now)  # heads never go back in time
        head = SignedHead(new.size, note, self._signed_at)
        await self._store.add_head(head)
        await self._serve(note)
        self._published = new
        self._next_due = now + self._policy.interval
        self._on_published(head)
        await asyncio.to_thread(self._drop_replaced, _size(old), new.size)

    def _signed(self, edge: Edge, old: Checkpoint | None) -> tuple[Checkpoint, bytes]:
        new = edge.head(self._origin)
        proof = []
        if old is not None:
            proof = consistency_proof(old.size, new.size, tile_reader(new.size, self._stored.fetch))
        return new, self._signer.sign(old, new, proof)

    async def _serve(self, note: bytes) -> None:
        await asyncio.to_thread(self._files.write_changed, {CHECKPOINT: note})

    def _drop_replaced(self, old_size: int, new_size: int) -> None:
        """Delete the partial tiles of full ones; a leftover does no harm."""
        for tile in _tiles_filled(old_size, new_size):
            self._files.remove(partials_folder(tile))

    # Starting ----------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Make the tree anew from the database and compare it with everything that was signed."""
        self._edge = None
        if not await self._lease.acquire():
            raise LeaseTaken(
                "another process writes this log",
                remedy="run one server on a database; stop the other one first",
            )
        stored = await self._store.last_head()
        signed = await asyncio.to_thread(self._signer.last)
        known = None if stored is None else self._opened(stored)
        _check_memories(known, signed)
        self._log_size = await self._store.size()
        if self._log_size < _size(signed):
            raise Refused(
                f"the database has {self._log_size} entries, but a head of {_size(signed)} is "
                f"signed: entries {self._log_size} to {_size(signed) - 1} are missing",
                remedy="restore a database that has them; the log does not go back",
            )
        expected = [head for head in (known, signed) if head is not None]
        edge, damaged = await self._replay(expected, repair=False)
        if damaged:
            _log.warning("%d files of the log are missing or damaged: making them anew", damaged)
            edge, self._repaired = await self._replay(expected, repair=True)
        if stored is not None:
            await self._serve(stored.note)
        self._published = known
        self._signed_at = self._next_due = None
        if stored is not None:
            self._signed_at = stored.signed_at
            # A clock that went back must not silence the log.
            self._next_due = min(stored.signed_at, self._clock.now()) + self._policy.interval
        self._edge = edge

    async def _replay(self, expected: list[Checkpoint], *, repair: bool) -> tuple[Edge, int]:
        """Return the edge at the largest of `expected` heads, and how many files were not right.

        Raises Refused if the entries do not have one of these roots. Files are first only
        compared, then repaired: nothing is overwritten by what does not have the signed root.
        """
        edge, damaged = Edge(), 0
        for head in expected:
            while edge.size < head.size:
                limit = min(self._policy.read_entries_max, head.size - edge.size)
                entries = await self._store.entries_from(edge.size, limit)
                if not entries:
                    raise Refused(f"entry {edge.size} is missing in the database")
                edge, written = await asyncio.to_thread(edge.grown, entries)
                full = {tile: data for tile, data in written.items() if tile.is_full}
                damaged += await asyncio.to_thread(self._compared, full, repair)
            if await asyncio.to_thread(edge.root) != head.root_hash:
                raise Refused(
                    f"the database's first {head.size} entries do not have the root that was "
                    "signed for them: an entry was changed",
                    remedy="restore the database from a backup made before the change; exported "
                    "tiles show which entry it is",
                )
        partial = dict(edge.partial.values())
        return edge, damaged + await asyncio.to_thread(self._compared, partial, repair)

    def _compared(self, tiles: dict[Tile, bytes], repair: bool) -> int:
        if repair:
            return self._files.write_changed(_by_path(tiles))
        return sum(not self._files.holds(path, data) for path, data in _by_path(tiles).items())

    def _opened(self, head: SignedHead) -> Checkpoint:
        keys = [VerifierKey.parse(text) for text in self._signer.vkeys]
        try:
            opened = open_checkpoint(head.note, self._origin, keys)
        except ChargEraError as error:
            raise Refused(
                f"the stored head of {head.tree_size} entries is not this log's: {error.message}",
                remedy="data folder and database must belong together",
            ) from error
        if opened.size != head.tree_size:
            raise Refused(f"the stored head of {head.tree_size} entries says {opened.size}")
        return opened

    def _known_edge(self) -> Edge:
        assert self._edge is not None, "_recover comes first"
        return self._edge


def _check_memories(stored: Checkpoint | None, signed: Checkpoint | None) -> None:
    """Raise Refused if the database knows of a head that the signer does not, or of another."""
    if stored is None or stored == signed:
        return
    if signed is None or signed.size < stored.size:
        raise Refused(
            f"a head of {stored.size} entries is signed, but the signer remembers {_size(signed)}",
            remedy="restore the newest folder of the signing key; it must never go back",
        )
    if signed.size == stored.size:
        raise Refused(f"two heads of {stored.size} entries are signed: this log is forked")


def _tiles_filled(old_size: int, new_size: int) -> list[Tile]:
    """Return the tiles and bundles that became full when the log grew to `new_size`."""
    filled, level = [], ENTRIES
    while new_size >= TILE_WIDTH:
        first, last = old_size // TILE_WIDTH, new_size // TILE_WIDTH
        filled += [Tile(level, index) for index in range(first, last)]
        if level != ENTRIES:
            old_size, new_size = first, last
        level += 1
    return filled


def _by_path(tiles: dict[Tile, bytes]) -> dict[str, bytes]:
    return {tile.path: data for tile, data in tiles.items()}


def _size(head: Checkpoint | None) -> int:
    return 0 if head is None else head.size
